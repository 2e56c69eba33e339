"""The first time at which a Riccati equation escapes to minus infinity."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._types import Scalar
from hjpde.hamiltonians import LinearQuadratic, Quadratic
from hjpde.initial_data import Atoms, GaussianMixture, SoftMinPlanes

from ._canonical_flow import flow_matrices

_STEPS = 200
"""Steps in which the horizon is searched; an escape and a return within one step would be missed."""


@eqx.filter_jit
def escape_time(
    datum: Atoms | SoftMinPlanes | GaussianMixture, hamiltonian: Quadratic | LinearQuadratic, horizon: Scalar
) -> Scalar:
    r"""The first time in $(0, \text{horizon}]$ at which a quadratic datum ceases to be finite, or infinity.

    The frame's block $X(t)$ starts as the identity, or as a multiple of $A$ for point masses, and the curvature
    $YX^{-1}$ escapes where $X(t)$ first loses rank. Relative to the start of a short step, $X$ is close to a matrix
    similar to a symmetric one, whose least eigenvalue changes sign then: even a double root is seen.
    """
    # The data's dtype: coefficients of lower precision would stall an integration in double.
    dtype, d = jax.tree.leaves(datum)[0].dtype, datum.dim
    horizon = horizon.astype(dtype)
    if isinstance(hamiltonian, Quadratic):
        if not isinstance(datum, GaussianMixture):
            return jnp.full_like(horizon, jnp.inf)
        A = jnp.eye(d, dtype=dtype) if hamiltonian.A is None else hamiltonian.A.astype(dtype)
        hamiltonian = LinearQuadratic(A)
    root = jnp.linalg.cholesky(hamiltonian.A.astype(dtype))
    P = datum.precisions.astype(dtype) if isinstance(datum, GaussianMixture) else jnp.zeros((1, d, d), dtype)

    def blocks(ts: Float[Array, " T"]) -> Float[Array, "T N d d"]:
        flows, _ = flow_matrices(hamiltonian, ts)
        xx, xp = flows[:, :d, :d], flows[:, :d, d + 1 : 2 * d + 1]
        return xp[:, None] if isinstance(datum, Atoms) else xx[:, None] + jnp.einsum("tij,njk->tnik", xp, P)

    def margins(start: Float[Array, "S N d d"], end: Float[Array, "T N d d"]) -> Float[Array, "T N"]:
        relative = jnp.swapaxes(jnp.linalg.solve(jnp.swapaxes(start, -1, -2), jnp.swapaxes(end, -1, -2)), -1, -2)
        similar = jax.scipy.linalg.solve_triangular(root, jnp.eye(d, dtype=dtype), lower=True) @ relative @ root
        return jnp.linalg.eigvalsh((similar + jnp.swapaxes(similar, -1, -2)) / 2)[..., 0]

    # Point masses leave infinity at once: their search starts one step in.
    first = 1 if isinstance(datum, Atoms) else 0
    ts = jnp.linspace(0, horizon, _STEPS + 1, dtype=dtype)[first:]
    coarse = blocks(ts)
    lost = ~jnp.all(margins(coarse[:-1], coarse[1:]) > 0, axis=1)
    k = jnp.argmax(lost)
    fine = ts[k] + (ts[k + 1] - ts[k]) * jnp.linspace(0, 1, _STEPS + 1, dtype=dtype)
    least = jnp.min(margins(coarse[k][None], blocks(fine)), axis=1)
    j = jnp.maximum(jnp.argmax(~(least > 0)), 1)
    crossing = fine[j - 1] + (fine[j] - fine[j - 1]) * least[j - 1] / (least[j - 1] - least[j])
    return jnp.where(jnp.any(lost), crossing, jnp.inf)
