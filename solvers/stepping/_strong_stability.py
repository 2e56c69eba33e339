"""Strong-stability-preserving Runge-Kutta methods, with and without an exact heat step between the stages.

Written as `diffrax` solvers whose stages are spelled out: a Butcher tableau would keep every stage and add an error
estimate, which costs a sixth to a third more.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Literal, final

import diffrax
import equinox as eqx
from diffrax import RESULTS as DIFFRAX_RESULTS
from jaxtyping import Array, Float, PyTree

from hjpde._types import Scalar

TimeOrder = Literal[1, 2, 3]
Field = Float[Array, "..."]
Propagator = Callable[[Scalar, Field], Field]
"""`propagate(s, v)`: the exact flow of a linear part over the time `s >= 0`."""


@final
class SSPRungeKutta(diffrax.AbstractSolver):
    r"""Shu and Osher's methods of order 1, 2 and 3, convex combinations of forward Euler steps.

    ??? cite "References"

        C.-W. Shu and S. Osher, *Efficient implementation of essentially non-oscillatory shock-capturing schemes*, J.
        Comput. Phys. 77, 1988, equation (2.18).
    """

    time_order: TimeOrder = eqx.field(static=True, default=3)
    term_structure: ClassVar[Any] = diffrax.AbstractTerm
    interpolation_cls: ClassVar[Any] = diffrax.LocalLinearInterpolation

    def order(self, terms: PyTree) -> int:
        return self.time_order

    def init(self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any) -> None:
        return None

    def func(self, terms: Any, t0: Any, y0: Any, args: Any) -> Any:
        return terms.vf(t0, y0, args)

    def step(self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any, solver_state: Any, made_jump: Any) -> Any:
        step = terms.contr(t0, t1)

        def euler(t: Scalar, y: Field) -> Field:
            return y + terms.vf_prod(t, y, args, step)

        y1 = euler(t0, y0)
        if self.time_order == 2:
            y1 = (y0 + euler(t1, y1)) / 2
        elif self.time_order == 3:
            y2 = 0.75 * y0 + 0.25 * euler(t1, y1)
            y1 = y0 / 3 + (2 / 3) * euler((t0 + t1) / 2, y2)
        return y1, None, {"y0": y0, "y1": y1}, None, DIFFRAX_RESULTS.successful


@final
class IntegratingFactorRungeKutta(diffrax.AbstractSolver):
    r"""Methods of order 1, 2 and 3 for $y' = Ly + f(t, y)$ that follow $L$ exactly, by $e^{sL}$ with $s \ge 0$ only.

    The abscissae do not decrease, so that no stage runs the heat equation backwards, and the step is that of `f` alone.

    ??? cite "References"

        L. Isherwood, Z. J. Grant and S. Gottlieb, *Strong stability preserving integrating factor Runge-Kutta methods*,
        SIAM J. Numer. Anal. 56, 2018, equations (18) and (19): eSSPRK+(2,2) and eSSPRK+(3,3).
    """

    propagate: Propagator
    time_order: TimeOrder = eqx.field(static=True, default=3)
    term_structure: ClassVar[Any] = diffrax.AbstractTerm
    interpolation_cls: ClassVar[Any] = diffrax.LocalLinearInterpolation

    def order(self, terms: PyTree) -> int:
        return self.time_order

    def init(self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any) -> None:
        return None

    def func(self, terms: Any, t0: Any, y0: Any, args: Any) -> Any:
        return terms.vf(t0, y0, args)

    def step(self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any, solver_state: Any, made_jump: Any) -> Any:
        h, contr = t1 - t0, terms.contr(t0, t1)

        def increment(t: Scalar, y: Field) -> Field:
            return terms.vf_prod(t, y, args, contr)

        k1 = increment(t0, y0)
        if self.time_order == 1:
            y1 = self.propagate(h, y0 + k1)
        elif self.time_order == 2:
            y2 = self.propagate(h, y0 + k1)
            y1 = self.propagate(h, y0) / 2 + (y2 + increment(t1, y2)) / 2
        else:
            # The second and third stage stand at the same time, so that two heat steps serve three sums.
            t2, carried, k1 = t0 + (2 / 3) * h, self.propagate((2 / 3) * h, y0), self.propagate((2 / 3) * h, k1)
            y2 = carried + (2 / 3) * k1
            y3 = (2 / 3) * carried + (y2 + (4 / 3) * increment(t2, y2)) / 3
            carried = (37 / 64) * carried + (5 / 32) * k1
            y1 = self.propagate(h / 3, carried + (27 / 64) * (y3 + (4 / 3) * increment(t2, y3)))
        return y1, None, {"y0": y0, "y1": y1}, None, DIFFRAX_RESULTS.successful
