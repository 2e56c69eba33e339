"""The couplings of the field theory of a ring network, from its training data."""

from typing import final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hjpde._types import ArrayInput, Scalar, ScalarLike, as_float_array, positive_scalar, require_finite

SCALINGS = ("canonical", "source")

LINEAR_IN_TARGETS = ("J2", "J3", "K1", "K3", "K4", "K5", "K6", "K7")
"""The couplings that change sign with the targets: those that the cross term of $(Y - Z)^2$ makes."""


@final
class SynapticCouplings(eqx.Module):
    r"""The couplings of the potential density of the weight fields $w_1(x)$ and $w_2(x)$ of a `ToyChain`,

    $$V = \tfrac12 m^2 w_2^2 + J_1 + J_2 w_2 + J_3 w_1 w_2 + K_1 w_2 w_1' + K_2 w_2 w_2'' + K_3 w_2 w_1''
    + K_4 w_1' w_2' + K_5 w_1 w_2' + K_6 w_2'' + K_7 w_1 w_2'',$$

    to second order in the fields and in the spacing. `J` and `K` are functions of `x`, on an even grid over the ring,
    shape `(M,)`; $m^2$ and $K_2$ are numbers.

    - `weight`: the cost is `weight` times the integral of `V`: 1/4 under the source's scaling, as outputs lie $4a$
      apart and its couplings carry $1/a$; $1/(2a)$ under the canonical one, where the kinetic density of either field
      is $\tfrac12 \dot w^2$ with the same weight in front.
    """

    mass_squared: Scalar
    J1: Float[Array, " M"]
    J2: Float[Array, " M"]
    J3: Float[Array, " M"]
    K1: Float[Array, " M"]
    K2: Scalar
    K3: Float[Array, " M"]
    K4: Float[Array, " M"]
    K5: Float[Array, " M"]
    K6: Float[Array, " M"]
    K7: Float[Array, " M"]
    weight: Scalar
    length: Scalar

    def potential(self, first: ArrayInput, second: ArrayInput) -> Float[Array, " M"]:
        """The density `V` on the grid, from the fields on it; derivatives are spectral.

        **Arguments:** `first`, `second`: $w_1$ and $w_2$ on the grid, shape `(M,)`.

        **Raises:** `ValueError` for another shape.
        """
        w1, w2 = as_float_array(first, "first", 1), as_float_array(second, "second", 1)
        if not w1.shape == w2.shape == self.J1.shape:
            raise ValueError(f"`first` and `second` must have shape {self.J1.shape}, got {w1.shape} and {w2.shape}.")
        (dw1, ddw1), (dw2, ddw2) = ([periodic_derivative(w, self.length, n) for n in (1, 2)] for w in (w1, w2))
        one_field = self.mass_squared / 2 * w2**2 + self.K2 * w2 * ddw2 + self.J1 + self.J2 * w2 + self.K6 * ddw2
        with_second = w2 * (self.J3 * w1 + self.K1 * dw1 + self.K3 * ddw1)
        return one_field + with_second + dw2 * (self.K4 * dw1 + self.K5 * w1) + self.K7 * w1 * ddw2

    def cost(self, first: ArrayInput, second: ArrayInput) -> Scalar:
        """The cost of the network in the continuum, `weight` times the integral of the density over the ring."""
        return self.weight * self.length * jnp.mean(self.potential(first, second))


def synaptic_couplings(
    inputs: ArrayInput,
    targets: ArrayInput,
    *,
    constant: ScalarLike,
    linear: ScalarLike,
    spacing: ScalarLike,
    length: ScalarLike = 2 * np.pi,
    scaling: str = "canonical",
) -> SynapticCouplings:
    r"""The couplings that training data induce, with $S$ the sum over the $N_i$ samples and the source's scaling

    $$m^2 = 8 N_i r^2/a,\quad J_1 = S Y^2/a,\quad J_2 = -4r\,SY/a,\quad J_3 = -8q\,S(X + 4a^2X'')Y/a,\quad
    K_1 = -48qa\,SX'Y,$$

    $$K_2 = 4aN_ir^2,\quad K_3 = -20qa\,SXY,\quad K_4 = -16qa\,SXY,\quad K_5 = -16qa\,SX'Y,\quad K_6 = -2ra\,SY,\quad
    K_7 = -4qa\,SXY.$$

    Canonically each is $a/2$ times that, and the mass is $m^2 = 4N_ir^2$ whatever the spacing. All couplings that are
    linear in `Y` are negative, relative to the source as it could be read: the cross term of $(Y - Z)^2$ is $-2YZ$.

    **Arguments:**

    - `inputs`, `targets`: the fields `X` and `Y` on an even grid over the ring, shape `(samples, M)`, periodic and
      resolved by the grid: their derivatives are spectral.
    - `constant`, `linear`: `r` and `q` of the activation. - `spacing`: `a`, between sites. - `length`: of the ring.
    - `scaling`: `"canonical"` or `"source"`.

    **Raises:** `ValueError` for an unknown scaling, shapes that differ, no sample, numbers that are not finite, or a
    length that is not positive.
    """
    if scaling not in SCALINGS:
        raise ValueError(f"`scaling` must be 'canonical' or 'source', got {scaling!r}.")
    X, Y = as_float_array(inputs, "inputs", 2), as_float_array(targets, "targets", 2)
    if X.shape != Y.shape or not X.size:
        raise ValueError(f"`inputs` and `targets` must have one shape (samples, M), got {X.shape} and {Y.shape}.")
    require_finite(X, "inputs")
    require_finite(Y, "targets")
    a, total = positive_scalar(spacing, "spacing", X.dtype), positive_scalar(length, "length", X.dtype)
    r, q, samples = jnp.asarray(constant, X.dtype), jnp.asarray(linear, X.dtype), X.shape[0]
    SY, SYY, SXY = Y.sum(0), (Y * Y).sum(0), (X * Y).sum(0)
    SdXY, SddXY = ((periodic_derivative(X, total, n) * Y).sum(0) for n in (1, 2))
    scale = 1 / a if scaling == "source" else jnp.asarray(0.5, X.dtype)
    return SynapticCouplings(
        mass_squared=scale * 8 * samples * r**2,
        J1=scale * SYY,
        J2=-scale * 4 * r * SY,
        J3=-scale * 8 * q * (SXY + 4 * a**2 * SddXY),
        K1=-scale * 48 * q * a**2 * SdXY,
        K2=scale * 4 * samples * r**2 * a**2,
        K3=-scale * 20 * q * a**2 * SXY,
        K4=-scale * 16 * q * a**2 * SXY,
        K5=-scale * 16 * q * a**2 * SdXY,
        K6=-scale * 2 * r * a**2 * SY,
        K7=-scale * 4 * q * a**2 * SXY,
        weight=jnp.asarray(0.25, X.dtype) if scaling == "source" else 1 / (2 * a),
        length=total,
    )


def periodic_derivative(f: Float[Array, "*rows M"], length: Scalar, order: int) -> Float[Array, "*rows M"]:
    """The derivative along the last axis of a periodic function on an even grid, exact below the grid's last mode."""
    points = f.shape[-1]
    modes = jnp.fft.rfft(f)
    factors = (2j * np.pi * np.arange(modes.shape[-1])) ** order
    if points % 2 == 0 and order % 2:
        factors[-1] = 0
    factors = jnp.asarray(factors, modes.dtype) / length.astype(f.dtype) ** order
    return jnp.fft.irfft(modes * jnp.broadcast_to(factors, modes.shape), points)
