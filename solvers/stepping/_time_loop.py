"""The time loop of the grid solvers: any `diffrax` solver and controller, stepped between two saved times.

Forwards it is a while loop. Its derivative, in both modes, is that of the same steps in two nested scans of
checkpointed parts, which do nothing once the time is reached: the reverse mode keeps about two square roots of
`max_steps` states and runs each step three times, where a checkpointed while loop takes twice as long. (A third level
would save memory, and half as much compilation again.)
"""

import functools
import math
from collections.abc import Callable
from typing import Any, final

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from hjpde._types import Scalar

Field = Float[Array, "..."]
Inspection = Callable[[Scalar, Field], Int[Array, ""]]


@final
class LoopState(eqx.Module):
    """Where a solve stands.

    - `t`, `y`: time and values. - `next_t`: the end of the next step, as the controller proposes it.
    - `failure`: 0, or a code of the inspection.
    - `steps`, `rejected`: counts; `shortest`, `longest`: of the steps taken.
    """

    t: Scalar
    y: Field
    next_t: Scalar
    controller_state: Any
    failure: Int[Array, ""]
    steps: Int[Array, ""]
    rejected: Int[Array, ""]
    shortest: Scalar
    longest: Scalar


@final
class TimeLoop(eqx.Module):
    """What is stepped, and how.

    - `term`, `solver`, `controller`: of `diffrax`; the solver keeps no state between its steps.
    - `project`: what is done to the values after each accepted step, or `None`.
    - `inspect`: `(t, y) -> code`, 0 where all is well; the loop stops at the first other code.
    """

    term: diffrax.AbstractTerm
    solver: diffrax.AbstractSolver
    controller: diffrax.AbstractStepSizeController
    inspect: Inspection
    project: Callable[[Scalar, Field], Field] | None = None

    def start(self, t: Scalar, y: Field, end: Scalar) -> LoopState:
        """The state at the beginning of an interval that ends at `end`."""
        order = self.solver.order(self.term)
        next_t, controller_state = self.controller.init(
            self.term, t, end, y, None, None, self.solver.func, None if order is None else float(order)
        )
        failure = self.inspect(t, y)
        zero = jnp.zeros((), jnp.int32)
        return LoopState(
            t,
            y,
            jnp.asarray(next_t),
            controller_state,
            failure,
            zero,
            zero,
            jnp.asarray(jnp.inf, t.dtype),
            jnp.zeros_like(t),
        )

    def advance(self, state: LoopState, end: Scalar, max_steps: int) -> LoopState:
        """At most `max_steps` steps towards `end`, none after a failure."""
        # What the user's functions close over becomes an argument, as a rule for derivatives must see all of it.
        step, constants = jax.closure_convert(lambda state, end: self._step(state, end), state, end)
        budget = state.steps + max_steps
        return _march(step, max_steps, state, end, budget, constants)

    def _step(self, state: LoopState, end: Scalar) -> LoopState:
        # A step that would end just before `end` ends there; a rest of rounding's size is never stepped.
        lands = lax.stop_gradient(state.next_t) >= end - 1e-6 * (end - lax.stop_gradient(state.t))
        t1 = jnp.where(lands, end, state.next_t)
        y1, error, _, _, _ = self.solver.step(self.term, state.t, t1, state.y, None, None, jnp.array(False))
        order = self.solver.order(self.term)
        keep, _, next_t, _, controller_state, _ = self.controller.adapt_step_size(
            state.t, t1, state.y, y1, None, error, float(order or 1), state.controller_state
        )
        keep = jnp.asarray(keep)
        if self.project is not None:
            y1 = self.project(t1, y1)
        failure = self.inspect(t1, y1)
        taken = t1 - state.t
        return LoopState(
            t=jnp.where(keep, t1, state.t),
            y=jnp.where(keep, y1, state.y),
            next_t=jnp.asarray(next_t),
            controller_state=controller_state,
            failure=jnp.where(keep, failure, 0),
            steps=state.steps + 1,
            rejected=state.rejected + jnp.where(keep, 0, 1),
            shortest=jnp.where(keep, jnp.minimum(state.shortest, taken), state.shortest),
            longest=jnp.where(keep, jnp.maximum(state.longest, taken), state.longest),
        )


Step = Callable[..., LoopState]


def _is_running(state: LoopState, end: Scalar, budget: Int[Array, ""]) -> Bool[Array, ""]:
    """Whether the interval's end is still ahead, nothing has failed and steps are left."""
    return (lax.stop_gradient(state.t) < end) & (state.failure == 0) & (state.steps < budget)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _march(
    step: Step, max_steps: int, state: LoopState, end: Scalar, budget: Int[Array, ""], constants: list[Array]
) -> LoopState:
    del max_steps
    return lax.while_loop(
        lambda state: _is_running(state, end, budget), lambda state: step(state, end, *constants), state
    )


@_march.defjvp
def _march_tangent(step: Step, max_steps: int, primals: Any, tangents: Any) -> tuple[LoopState, LoopState]:
    return jax.jvp(functools.partial(_march_in_scans, step, max_steps), primals, tangents)


def _march_in_scans(
    step: Step, max_steps: int, state: LoopState, end: Scalar, budget: Int[Array, ""], constants: list[Array]
) -> LoopState:
    """The same steps with a known number of iterations, each level checkpointed."""

    def guarded(part: Callable[[LoopState], LoopState]) -> Callable[[LoopState], LoopState]:
        part = jax.checkpoint(part, prevent_cse=False)
        return lambda state: lax.cond(_anywhere(_is_running(state, end, budget)), part, lambda state: state, state)

    def one(state: LoopState) -> LoopState:
        after = step(state, end, *constants)
        # In a batch of problems some are done while others still step.
        running = _is_running(state, end, budget)
        return jax.tree.map(lambda new, old: jnp.where(running, new, old), after, state)

    run = one
    length = math.isqrt(max_steps - 1) + 1
    for _ in range(2):
        part = guarded(run)
        run = functools.partial(_repeat, part, length)
    return run(state)


def _repeat(part: Callable[[LoopState], LoopState], length: int, state: LoopState) -> LoopState:
    return lax.scan(lambda state, _: (part(state), None), state, None, length=length)[0]


@jax.custom_batching.custom_vmap
def _anywhere(flag: Bool[Array, ""]) -> Bool[Array, ""]:
    """The flag itself; under `vmap` whether it holds for any member, so that a branch stays a branch."""
    return flag


@_anywhere.def_vmap
def _anywhere_in_batch(axis_size: int, in_batched: Any, flag: Any) -> tuple[Any, bool]:
    del axis_size
    return _anywhere(jnp.any(flag, axis=0) if in_batched[0] else flag), False
