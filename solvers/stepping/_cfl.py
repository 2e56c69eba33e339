"""The step of an explicit method, from the speed at which the equation carries values across the grid."""

from collections.abc import Callable
from typing import Any, final

import diffrax
import jax.numpy as jnp
from diffrax import RESULTS as DIFFRAX_RESULTS
from jaxtyping import Array, Float

from hjpde._types import Scalar

Field = Float[Array, "..."]


@final
class CFLController(diffrax.AbstractStepSizeController):
    r"""A `diffrax` controller after Courant, Friedrichs and Lewy, with steps of

    $$\mathrm{cfl} / \max_x \sum_i \alpha_i/\Delta x_i.$$

    The bound is read from the accepted state, so that no step is ever rejected; the step is differentiated like the
    rest. Where nothing moves, a step is `longest`.
    """

    rate: Callable[[Scalar, Field], Scalar]
    cfl: Scalar
    longest: Scalar

    def wrap(self, direction: Any) -> "CFLController":
        return self

    def init(
        self, terms: Any, t0: Any, t1: Any, y0: Any, dt0: Any, args: Any, func: Any, error_order: Any
    ) -> tuple[Any, None]:
        return t0 + self.step(t0, y0), None

    def adapt_step_size(
        self,
        t0: Any,
        t1: Any,
        y0: Any,
        y1_candidate: Any,
        args: Any,
        y_error: Any,
        error_order: Any,
        controller_state: Any,
    ) -> Any:
        next_t1 = t1 + self.step(t1, y1_candidate)
        return jnp.array(True), t1, next_t1, jnp.array(False), None, DIFFRAX_RESULTS.successful

    def step(self, t: Scalar, y: Field) -> Scalar:
        """The longest stable step from the values `y`, in units of time."""
        rate = self.rate(t, y)
        # Bounded from below, so that a rate of 0 gives `longest` and a derivative of 0 instead of NaN; and a rate that
        # is NaN gives it too, so that the NaN shows in the values at its own place and at a finite time.
        return self.cfl / jnp.fmax(rate, self.cfl / self.longest)
