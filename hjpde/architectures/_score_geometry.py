"""What the scores of an attention head measure: how far their bilinear form is from a metric."""

from typing import final

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


@final
class ScoreGeometry(eqx.Module):
    r"""The bilinear forms $x^\top A\,x'$ of the scores, $A = W_Q^\top W_K$ for each head, and how far each is a metric.

    Whatever `A` is, $\nabla_x\,\varepsilon\,\mathrm{LSE}_j(x^\top A x_j/\varepsilon) = \sum_j \pi_j\,A x_j$: the atoms
    are the moved tokens $A x_j$. Only where `A` is symmetric and positive definite may it be read as a metric on the
    tokens themselves, with the Hamiltonian $p^\top M p$, $M = A^{-1}/2t$.

    - `forms`: $A$.
    - `symmetric_share`, `antisymmetric_share`: $|S|_F^2/|A|_F^2$ and $|K|_F^2/|A|_F^2$ for $A = S + K$; their sum is 1,
      and a random form has about a half of each. Both are 0 for $A = 0$.
    - `signature`: how many eigenvalues of `S` are positive, negative and zero (to rounding).
    """

    forms: Float[Array, "heads w w"]
    symmetric_share: Float[Array, " heads"]
    antisymmetric_share: Float[Array, " heads"]
    signature: Int[Array, "heads 3"]

    def __init__(self, forms: Float[Array, "heads w w"]):
        """**Arguments:**

        - `forms`: one square matrix a head.
        """
        transposed = jnp.swapaxes(forms, 1, 2)
        symmetric, antisymmetric = (forms + transposed) / 2, (forms - transposed) / 2
        total = jnp.sum(forms**2, axis=(1, 2))
        safe = jnp.where(total > 0, total, 1)
        eigenvalues = jnp.linalg.eigvalsh(symmetric)
        largest = jnp.max(jnp.abs(eigenvalues), axis=1, keepdims=True)
        threshold = jnp.broadcast_to(forms.shape[1] * jnp.finfo(forms.dtype).eps * largest, eigenvalues.shape)
        positive, negative = (jnp.sum(sign * eigenvalues > threshold, axis=1) for sign in (1, -1))
        self.forms = forms
        self.symmetric_share = jnp.sum(symmetric**2, axis=(1, 2)) / safe
        self.antisymmetric_share = jnp.sum(antisymmetric**2, axis=(1, 2)) / safe
        self.signature = jnp.stack([positive, negative, forms.shape[1] - positive - negative], axis=1)

    @property
    def is_metric(self) -> Bool[Array, " heads"]:
        """Whether the form is symmetric, to rounding, and positive definite."""
        roundoff = (self.forms.shape[1] * jnp.finfo(self.forms.dtype).eps) ** 2
        return (self.antisymmetric_share <= roundoff) & (self.signature[:, 0] == self.forms.shape[1])
