"""Networks whose neurons are a real two-component Dirac spinor on a ring."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hjpde._types import Scalar, ScalarLike, is_concrete, positive_scalar

from ._duality import AbstractLearningSystem

PROPAGATORS = ("cayley", "exponential")


def forward_shift(sites: int) -> np.ndarray:
    """The matrix that reads a field one site further on a ring."""
    return np.roll(np.eye(sites), 1, 1)


def dirac_generator(sites: int, *, spacing: ScalarLike, mass: ScalarLike) -> Float[Array, "n n"]:
    r"""The generator of $\dot\psi = G\psi$ with central differences,

    $$G = -\sigma_3 \otimes D_c - m\,(i\sigma_2) \otimes 1, \qquad G^\top = -G, \qquad G^2 = D_c^2 - m^2.$$

    Each term is a symmetric factor times an antisymmetric one: $\sigma_3$ with $D_c$, and $i\sigma_2$ with 1.

    **Arguments:** `sites`, at least 3; `spacing`, positive; `mass`, may be traced.

    **Raises:** `ValueError` for too few sites or a `spacing` that is not positive.
    """
    _check_sites(sites)
    dtype = jnp.result_type(float)
    a, m = positive_scalar(spacing, "spacing", dtype), jnp.asarray(mass, dtype)
    shift, sigma_3, i_sigma_2 = forward_shift(sites), np.diag([1, -1]), np.array([[0, 1], [-1, 0]])
    kinetic = jnp.asarray(np.kron(sigma_3, shift - shift.T) / 2, dtype)
    return -kinetic / a - m * jnp.asarray(np.kron(i_sigma_2, np.eye(sites)), dtype)


@final
class Dirac(eqx.Module):
    r"""A network of two kinds of neurons, $\psi' = W\psi$, whose weights propagate a Dirac spinor.

    `W` is orthogonal as the generator `G` is antisymmetric: $e^{\varepsilon G}$, or its Cayley form
    $(1 - \tfrac\varepsilon2 G)^{-1}(1 + \tfrac\varepsilon2 G)$. In contrast, $1 + \varepsilon G$ grows by
    $\sqrt{1 + \varepsilon^2 E^2}$ a step. The central difference vanishes at the edge of the zone as well: at
    $ka = \pi$ lives a second particle, the doubler.
    """

    weights: Float[Array, "n n"]

    def __init__(
        self,
        sites: int,
        *,
        spacing: ScalarLike,
        step: ScalarLike,
        mass: ScalarLike,
        propagator: str = "cayley",
    ):
        r"""**Arguments:**

        - `sites`: `N`, at least 3.
        - `spacing`, `step`: `a` and $\varepsilon$, positive, in units of length and time with a speed of light 1.
        - `mass`: `m`, in units of 1/time; may be traced.
        - `propagator`: `"cayley"` or `"exponential"`.

        **Raises:** `ValueError` for an unknown propagator, too few sites, or lengths that are not positive.
        """
        if propagator not in PROPAGATORS:
            raise ValueError(f"`propagator` must be 'cayley' or 'exponential', got {propagator!r}.")
        generator = dirac_generator(sites, spacing=spacing, mass=mass)
        eps = positive_scalar(step, "step", generator.dtype)
        self.weights = jax.scipy.linalg.expm(eps * generator) if propagator == "exponential" else cayley(generator, eps)

    def __call__(self, psi: Float[Array, "2 N"]) -> Float[Array, "2 N"]:
        """The spinor after one step, shape `(2, N)`."""
        return (self.weights @ psi.reshape(-1)).reshape(psi.shape)


def cayley(generator: Array, step: Scalar) -> Array:
    """The Cayley form of `exp(step * generator)`: orthogonal, or unitary, for an antisymmetric generator."""
    one = jnp.asarray(np.eye(generator.shape[0]), generator.dtype)
    return jnp.linalg.solve(one - step / 2 * generator, one + step / 2 * generator)


@final
class StaggeredDirac(AbstractLearningSystem):
    r"""A spinor $(\varphi, \pi)$ whose first component is activated and whose second one learns,

    $$\varphi' = \varphi - \varepsilon M \pi, \qquad \pi' = \pi + \varepsilon M^\top \varphi', \qquad M = D_+ + m,$$

    which is gradient descent on the loss $H = \tfrac12|\varphi'|^2$ through the activation. Its weights
    $\bigl(\begin{smallmatrix} 0 & -M \\ M^\top & 0 \end{smallmatrix}\bigr)$ are antisymmetric. The forward difference
    $D_+$ has no doubler, but the error of the dispersion is of first order in `a`, by the factor $1 - ma$.
    """

    coupling: Float[Array, "N N"]

    def __init__(self, sites: int, *, spacing: ScalarLike, step: ScalarLike, mass: ScalarLike):
        r"""**Arguments:** as of `Dirac`.

        **Raises:** `ValueError` as `Dirac`; a step with $\varepsilon E_{\max} \ge 2$ is unstable and a runtime error
        if it is traced.
        """
        _check_sites(sites)
        dtype = jnp.result_type(float)
        a, eps = positive_scalar(spacing, "spacing", dtype), positive_scalar(step, "step", dtype)
        m = jnp.asarray(mass, dtype)
        one, shift = jnp.asarray(np.eye(sites), dtype), jnp.asarray(forward_shift(sites), dtype)
        coupling = eps * ((shift - one) / a + m * one)
        # The symbol (e^{ika} - 1)/a + m is largest in modulus at one of the two ends of the zone.
        largest = eps * jnp.maximum(jnp.abs(m), jnp.abs(m - 2 / a))
        message = "The step is unstable: `step` times the largest energy max(m, |m - 2/a|) must be below 2."
        if is_concrete(largest) and not float(largest) < 2:
            raise ValueError(f"{message[:-1]}, got {float(largest):.4g}.")
        self.coupling = eqx.error_if(coupling, largest >= 2, message)

    def activate(self, phi: Float[Array, " N"], beta: Float[Array, " N"]) -> Float[Array, " N"]:
        return phi - self.coupling @ beta

    def loss(self, phi: Float[Array, " N"], beta: Float[Array, " N"]) -> Scalar:
        del beta
        return phi @ phi / 2


def _check_sites(sites: int) -> None:
    if sites < 3:
        raise ValueError(f"`sites` must be at least 3, got {sites}.")
