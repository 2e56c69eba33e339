"""The ring network: two layers whose weights have a place, each neuron wired to its neighbours alone."""

from collections.abc import Callable
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hjpde._types import ArrayInput, Scalar, as_float_array, positive_scalar, require_finite

Field = Callable[[np.ndarray], ArrayInput]


@final
class ToyChain(eqx.Module):
    r"""A network of two layers on a ring of $4N$ sites, whose weights become fields when the ring is refined.

    Inputs $X$ and outputs $Z$ sit at the sites 0 mod 4, hidden neurons at 2 mod 4, and each odd site holds one weight
    of either layer, $w^1$ and $w^2$. A neuron is wired to its two neighbours through the weight that lies between:

    $$u_h = \sum_{\pm} w^1_{h \pm 1} X_{h \pm 2}, \qquad Z_k = \sum_{\pm} w^2_{k \pm 1} \sigma(u_{k \pm 2}), \qquad
    \sigma(u) = r + q u + \tfrac{s}{2} u^2.$$

    The geometry is the one that reproduces every coupling that can be read in the source; its figure was not seen.

    ??? cite "References"

        D. Lee, H.-S. Lee and J. Yi, *Synaptic field theory for neural networks*, arXiv 2503.08827.
    """

    first: Float[Array, " weights"]
    second: Float[Array, " weights"]
    constant: float = eqx.field(static=True)
    linear: float = eqx.field(static=True)
    quadratic: float = eqx.field(static=True)

    def __init__(
        self, first: ArrayInput, second: ArrayInput, *, constant: float, linear: float, quadratic: float = 0.0
    ):
        """**Arguments:**

        - `first`, `second`: the weights of the two layers at the sites 1, 3, 5, ..., shape `(2N,)`.
        - `constant`, `linear`, `quadratic`: `r`, `q` and `s` of the activation.

        **Raises:** `ValueError` if the shapes differ, the ring has no multiple of 4 sites, or a number is not finite.
        """
        first, second = as_float_array(first, "first", 1), as_float_array(second, "second", 1)
        if first.shape != second.shape:
            raise ValueError(f"`first` and `second` must have one shape, got {first.shape} and {second.shape}.")
        _check_sites(2 * first.shape[0])
        require_finite(first, "first")
        require_finite(second, "second")
        self.first, self.second = first, second
        self.constant, self.linear, self.quadratic = float(constant), float(linear), float(quadratic)

    @classmethod
    def from_fields(
        cls,
        first: Field,
        second: Field,
        sites: int,
        *,
        length: float = 2 * np.pi,
        constant: float,
        linear: float,
        quadratic: float = 0.0,
    ) -> "ToyChain":
        """The chain whose weights are two fields, read at the odd sites.

        **Arguments:**

        - `first`, `second`: functions of the positions `x`, periodic over `length`.
        - `sites`: the sites of the ring, a multiple of 4; they lie `length / sites` apart.
        - `length`: of the ring, positive.
        - `constant`, `linear`, `quadratic`: of the activation.
        """
        _check_sites(sites)
        positive_scalar(length, "length", jnp.result_type(float))
        x = np.arange(1, sites, 2) * (length / sites)
        return cls(first(x), second(x), constant=constant, linear=linear, quadratic=quadratic)

    @property
    def sites(self) -> int:
        """The sites of the ring, $4N$."""
        return 2 * self.first.shape[0]

    @property
    def weight_sites(self) -> np.ndarray:
        """The site of every weight, in the order of the parameters: both layers on the odd sites, shape `(4N,)`."""
        return np.tile(np.arange(1, self.sites, 2), 2)

    def activation(self, u: Float[Array, "..."]) -> Float[Array, "..."]:
        r"""$\sigma(u) = r + q u + s u^2 / 2$."""
        return self.constant + self.linear * u + self.quadratic / 2 * u**2

    def __call__(self, x: Float[Array, " N"]) -> Float[Array, " N"]:
        """The outputs at the sites 0, 4, 8, ... from the inputs at the same sites."""
        left, right = self.first.reshape(-1, 2).T
        hidden = self.activation(left * x + right * jnp.roll(x, -1))
        before, after = self.second.reshape(-1, 2).T
        return before * hidden + jnp.roll(after * hidden, 1)

    def cost(self, inputs: ArrayInput, targets: ArrayInput) -> Scalar:
        r"""The cost $C = \sum_l \sum_k (Y^l_k - Z^l_k)^2$ of some samples.

        **Arguments:** `inputs`, `targets`: $X$ and $Y$, shape `(samples, N)`.

        **Raises:** `ValueError` for another shape.
        """
        X, Y = as_float_array(inputs, "inputs", 2), as_float_array(targets, "targets", 2)
        if not X.shape == Y.shape == (X.shape[0], self.sites // 4):
            raise ValueError(
                f"`inputs` and `targets` must have shape (samples, {self.sites // 4}), got {X.shape} and {Y.shape}."
            )
        return jnp.sum((Y - jax.vmap(self)(X)) ** 2)


def _check_sites(sites: int) -> None:
    if sites < 8 or sites % 4:
        raise ValueError(f"The ring must have a multiple of 4 sites, at least 8, got {sites}.")
