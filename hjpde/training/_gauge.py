"""A Dirac spinor in a background gauge field: phases on the links of the ring and on its sites."""

from typing import final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from hjpde._types import ArrayInput, Scalar, ScalarLike, as_float_array, positive_scalar, require_finite

from ._dirac import cayley, forward_shift


@final
class GaugeField(eqx.Module):
    r"""The two components $A_x$ and $A_0$ of a $U(1)$ potential on a ring, at one step; shapes `(N,)`.

    $A_x$ sits on the link from a site to the next, $A_0$ on the site. It is a background: nothing here moves it.
    """

    spatial: Float[Array, " N"]
    temporal: Float[Array, " N"]

    def __init__(self, spatial: ArrayInput, temporal: ArrayInput):
        """**Raises:** `ValueError` for shapes that differ, fewer than 3 sites, or numbers that are not finite."""
        spatial, temporal = as_float_array(spatial, "spatial", 1), as_float_array(temporal, "temporal", 1)
        if spatial.shape != temporal.shape or spatial.shape[0] < 3:
            raise ValueError(
                f"`spatial` and `temporal` must have one shape (N,), N at least 3, got {spatial.shape} and "
                f"{temporal.shape}."
            )
        require_finite(spatial, "spatial")
        require_finite(temporal, "temporal")
        self.spatial, self.temporal = spatial, temporal

    def transformed(
        self, theta: Float[Array, " N"], later: Float[Array, " N"], *, spacing: ScalarLike, step: ScalarLike
    ) -> "GaugeField":
        r"""The potential after $\psi \to e^{i\theta}\psi$,

        $$A_x \to A_x - \frac{\theta_{j+1} - \theta_j}{a}, \qquad
        A_0 \to A_0 - \frac{\theta_{t+1} - \theta_t}{\varepsilon}.$$

        **Arguments:** `theta`, `later`: the angles at this step and at the next, shape `(N,)`; `spacing`, `step`.
        """
        a = positive_scalar(spacing, "spacing", self.spatial.dtype)
        eps = positive_scalar(step, "step", self.spatial.dtype)
        return GaugeField(self.spatial - (jnp.roll(theta, -1) - theta) / a, self.temporal - (later - theta) / eps)


def covariant_generator(field: GaugeField, *, spacing: ScalarLike, mass: ScalarLike) -> Complex[Array, "n n"]:
    r"""The generator $-\sigma_3 \otimes D_A - m\,(i\sigma_2) \otimes 1$ with the covariant central difference

    $$(D_A \psi)_j = \frac{e^{iaA_{x,j}} \psi_{j+1} - e^{-iaA_{x,j-1}} \psi_{j-1}}{2a},$$

    which is anti-Hermitian for every potential.
    """
    a = positive_scalar(spacing, "spacing", field.spatial.dtype)
    sites = field.spatial.shape[0]
    hop = jnp.exp(1j * a * field.spatial)[:, None] * jnp.asarray(forward_shift(sites), a.dtype)
    difference, one = (hop - hop.conj().T) / (2 * a), jnp.asarray(np.eye(sites), a.dtype)
    m = jnp.asarray(mass, a.dtype)
    return jnp.block([[-difference, -m * one], [m * one, difference]])


@final
class GaugedDirac(eqx.Module):
    r"""One step of a complex spinor in a potential, $\psi' = e^{-i\varepsilon A_0} W(A_x)\,\psi$.

    `W` is the Cayley form of the covariant generator, hence unitary. The step commutes with changes of the gauge
    exactly, on the lattice: transforming spinor and potential and then stepping is stepping and then transforming with
    the later angles.
    """

    weights: Complex[Array, "n n"]
    phases: Complex[Array, " N"]

    def __init__(self, field: GaugeField, *, spacing: ScalarLike, step: ScalarLike, mass: ScalarLike):
        """**Arguments:** `field`, the potential; `spacing`, `step`, positive; `mass`.

        **Raises:** `ValueError` if `spacing` or `step` is not positive.
        """
        eps: Scalar = positive_scalar(step, "step", field.spatial.dtype)
        self.weights = cayley(covariant_generator(field, spacing=spacing, mass=mass), eps)
        self.phases = jnp.exp(-1j * eps * field.temporal)

    def __call__(self, psi: Complex[Array, "2 N"]) -> Complex[Array, "2 N"]:
        """The spinor after one step, shape `(2, N)`."""
        return self.phases[None] * (self.weights @ psi.reshape(-1)).reshape(psi.shape)
