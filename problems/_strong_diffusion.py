"""A diffusion so strong that it would dictate the time step of an explicit scheme."""

from typing import final

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hjpde._domain import Domain
from hjpde._problem import InitialValueProblem
from hjpde._types import Point, Scalar, ScalarLike
from hjpde.hamiltonians import Quadratic

from ._abstract import AbstractExactProblem

_NU = 10.0
_MODES = 20


@final
class StrongDiffusion(AbstractExactProblem):
    r"""$H = \tfrac12|p|^2$ and $N = 10\,I$ on the torus $[-2, 2)^2$, from

    $$g = 8\,\bigl(\tfrac12\cos\tfrac{\pi x}2 + \tfrac25\sin(\tfrac{\pi y}2 + \tfrac45\cos\tfrac{\pi x}2)\bigr).$$

    The Hopf-Cole temperature is 20: $\varphi = e^{-u/20}$ solves $\varphi_t = 10\,\Delta\varphi$. Its Fourier
    coefficients, computed by a fast Fourier transform, fall below rounding within 20 modes and decay in time as
    $e^{-10|k|^2t}$; the series is summed at the point. As $t \to \infty$, $u$ tends to a constant that is not the
    mean of `g`.
    """

    coefficients: Float[Array, "2 n m"]

    def __init__(self):
        n = 4 * _MODES
        axis = -2 + 4 * np.arange(n) / n
        phi = np.exp(-_datum(np.stack(np.meshgrid(axis, axis, indexing="ij")), np) / (2 * _NU))
        modes = np.r_[-_MODES : _MODES + 1]
        # The grid starts at -2, half a period from the origin.
        sign = (-1.0) ** modes
        table = (np.fft.fft2(phi) / n**2)[np.ix_(modes, modes)] * np.outer(sign, sign)
        self.coefficients = jnp.asarray(np.stack([table.real, table.imag]), jnp.result_type(float))

    @property
    def problem(self) -> InitialValueProblem:
        domain = Domain([-2.0, -2.0], [2.0, 2.0], periodic=True)
        return InitialValueProblem(_as_datum, Quadratic(np.eye(2) / 2), _NU, domain=domain)

    def __call__(self, t: ScalarLike, x: Point) -> Scalar:
        k = jnp.pi / 2 * jnp.arange(-_MODES, _MODES + 1, dtype=x.dtype)
        decay = jnp.exp(-_NU * k**2 * jnp.asarray(t, x.dtype))
        (c0, s0), (c1, s1) = ((decay * jnp.cos(k * x[i]), decay * jnp.sin(k * x[i])) for i in range(2))
        real, imaginary = self.coefficients.astype(x.dtype)
        # Re sum (a + ib)(c0 + i s0)(c1 + i s1)
        along_x = c0 @ real - s0 @ imaginary, s0 @ real + c0 @ imaginary
        return -2 * _NU * jnp.log(along_x[0] @ c1 - along_x[1] @ s1)


def _datum(x, namespace):
    waves = namespace.pi * x / 2
    inner = waves[1] + 0.8 * namespace.cos(waves[0])
    return 8 * (0.5 * namespace.cos(waves[0]) + 0.4 * namespace.sin(inner))


def _as_datum(x: Point) -> Scalar:
    return _datum(x, jnp)
