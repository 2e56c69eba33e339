"""An exponential Runge-Kutta method of order 4 with an error estimate of order 3."""

from typing import Any, ClassVar, final

import diffrax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._pseudo_spectral import PseudoSpectral

Field = Float[Array, "..."]

_SERIES = 18
"""Terms of the series of phi_3: for |z| < 1 the next one is below the roundoff of float64."""


@final
class ExponentialRungeKutta(diffrax.AbstractAdaptiveSolver):
    r"""Krogstad's ETDRK4 for $\hat u_t = -\lambda \hat u + \hat n(t, \hat u)$ with $z = -h\lambda$: the linear part is
    exact whatever the step.

    With $\varphi_1 = (e^z - 1)/z$ and $\varphi_{j+1} = (\varphi_j - 1/j!)/z$ the new value is

    $$e^z \hat u + h(\varphi_1 - 3\varphi_2 + 4\varphi_3) n_1 + h(2\varphi_2 - 4\varphi_3)(n_2 + n_3)
    + h(4\varphi_3 - \varphi_2) n_4.$$

    The method of order 3 that takes $n$ at the new value for $n_4$ gives the estimate of the error.

    ??? cite "References"

        S. Krogstad, *Generalized integrating factor methods for stiff PDEs*, J. Comput. Phys. 203, 2005, Section 3.
        P. Whalen, M. Brio and J. V. Moloney, *Exponential time-differencing with embedded Runge-Kutta adaptive step
        control*, J. Comput. Phys. 280, 2015.
    """

    system: PseudoSpectral

    term_structure: ClassVar = diffrax.ODETerm
    interpolation_cls: ClassVar = diffrax.LocalLinearInterpolation

    def order(self, terms: Any) -> int:
        del terms
        return 4

    def init(self, terms: Any, t0: Any, t1: Any, y0: Field, args: Any) -> None:
        return None

    def func(self, terms: Any, t0: Any, y0: Field, args: Any) -> Field:
        return terms.vf(t0, y0, args)

    def step(
        self, terms: Any, t0: Any, t1: Any, y0: Field, args: Any, solver_state: None, made_jump: Any
    ) -> tuple[Field, Field, dict[str, Field], None, diffrax.RESULTS]:
        del terms, args, made_jump
        flow, slopes = self.system.flow, self.system.slopes
        h = t1 - t0
        middle = t0 + h / 2
        z = -h * flow.symbol.astype(y0.dtype)
        half, half1, half2, _ = phi_functions(z / 2)
        whole, whole1, whole2, whole3 = phi_functions(z)
        start = flow.forward(y0)
        n1 = slopes(t0, start)
        n2 = slopes(middle, half * start + h / 2 * half1 * n1)
        n3 = slopes(middle, half * start + h * ((half1 / 2 - half2) * n1 + half2 * n2))
        n4 = slopes(t1, whole * start + h * ((whole1 - 2 * whole2) * n1 + 2 * whole2 * n3))
        last = 4 * whole3 - whole2
        inner = 2 * whole2 - 4 * whole3
        end = whole * start + h * ((whole1 - 3 * whole2 + 4 * whole3) * n1 + inner * (n2 + n3) + last * n4)
        n5 = slopes(t1, end)
        y1, error = flow.inverse(end), flow.inverse(h * last * (n4 - n5))
        whole_step = jnp.all(jnp.isfinite(y1)) & jnp.all(jnp.isfinite(error))
        # A controller makes nothing of a NaN: an infinite error has the step rejected.
        error = jnp.where(whole_step, error, jnp.inf)
        return y1, error, {"y0": y0, "y1": y1}, None, diffrax.RESULTS.successful


def phi_functions(z: Field) -> tuple[Field, Field, Field, Field]:
    r"""$e^z, \varphi_1, \varphi_2, \varphi_3$ for $z \le 0$, to rounding.

    Below 1 by the series of $\varphi_3$ and from there down, where the recursion upwards would cancel.
    """
    small = jnp.abs(z) < 1
    near = jnp.where(small, z, 0)
    series = jnp.ones_like(z)
    for j in range(_SERIES, 3, -1):
        series = 1 + series * near / j
    near3 = series / 6
    near2 = near * near3 + 0.5
    near1 = near * near2 + 1
    far = jnp.where(small, -1, z)
    far1 = jnp.expm1(far) / far
    far2 = (far1 - 1) / far
    far3 = (far2 - 0.5) / far
    pairs = ((near1, far1), (near2, far2), (near3, far3))
    phi1, phi2, phi3 = (jnp.where(small, inside, outside) for inside, outside in pairs)
    return jnp.exp(z), phi1, phi2, phi3
