"""Runs a semi-discretisation through its saved times: at once inside one compiled program, or in chunks with a bar."""

from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from hjpde._progress import progress as progress_bar
from hjpde._solution import RESULTS
from hjpde._types import Scalar, is_concrete

from ._semi_discretisation import LEFT_DOMAIN, NOT_FINITE, UNSTABLE, SemiDiscretisation
from ._time_loop import LoopState

Field = Float[Array, "..."]

_PARTS = 16
"""No step is longer than this part of the time between two saved times: where nothing moves yet, something may."""

_CHUNK = 64


@final
class History(eqx.Module):
    """What a run saved, and how it ended.

    - `ts`, `us`, `rates`: the saved times, values and rates; NaN from the first time that was not reached.
    - `first`, `first_rate`: at the start.
    """

    ts: Float[Array, " T"]
    us: Float[Array, "T *n"]
    rates: Float[Array, "T *n"]
    first: Field
    first_rate: Field
    result: RESULTS
    counts: dict[str, Any]


def run(
    system: SemiDiscretisation,
    v: Field,
    t: Scalar,
    interval_start: Scalar,
    ts: Float[Array, " T"],
    max_steps: int,
    progress: bool,
) -> History:
    """From the values `v` at `t` to the last of `ts`.

    **Arguments:**

    - `interval_start`: the last saved time, from which `t` differs only after an interruption.
    - `max_steps`: between two saved times.
    - `progress`: whether to show a bar, where all is known now; such a run can be interrupted.
    """
    if progress and is_concrete(system, v, t, ts):
        return _run_in_chunks(system, v, t, interval_start, ts, max_steps)
    return _run_at_once(system, v, t, interval_start, ts, max_steps)


@eqx.filter_jit
def _run_at_once(
    system: SemiDiscretisation, v: Field, t: Scalar, start: Scalar, ts: Float[Array, " T"], max_steps: int
) -> History:
    system = system.tabulated()

    def interval(carry: tuple[Any, ...], end: Scalar) -> tuple[tuple[Any, ...], tuple[Field, Field, Any]]:
        t, v, start, failed = carry
        state = system.loop(_longest(start, end)).start(t, v, end)
        # After a failure nothing is stepped any more.
        state = eqx.tree_at(lambda s: s.failure, state, jnp.where(failed > 0, failed, state.failure))
        state = system.loop(_longest(start, end)).advance(state, end, max_steps)
        reached = state.t >= end
        failed = jnp.where(reached | (state.failure > 0), state.failure, _OUT_OF_STEPS)
        blank = jnp.where(reached & (failed == 0), 0, jnp.nan).astype(v.dtype)
        return (state.t, state.y, end, failed), (
            state.y + blank,
            system.rate(end, state.y) + blank,
            _Report.of(system, state),
        )

    # With one interval there is nothing to forget; with more, only their ends are kept for the reverse mode.
    body = interval if ts.shape[0] == 1 else jax.checkpoint(interval, prevent_cse=False)
    carry = (t, v, start, jnp.zeros((), jnp.int32))
    (last_t, _, _, failed), (us, rates, reports) = lax.scan(body, carry, ts)
    result = RESULTS.successful
    for code, failure in _FAILURES.items():
        result = RESULTS.where(failed == code, failure, result)
    reached = jnp.where(jnp.isnan(us.reshape(ts.shape[0], -1)[:, 0]), jnp.nan, ts)
    # The first interval that failed knows where.
    place = reports.place[jnp.argmax(reports.failure > 0)]
    counts = _counts(system, reports.steps.sum(), reports.shortest.min(), reports.longest.max(), ts[-1])
    counts |= _failure(failed, last_t, place)
    return History(reached, us, rates, v, system.rate(t, v), result, counts)


def _run_in_chunks(
    system: SemiDiscretisation, v: Field, t: Scalar, start: Scalar, ts: Float[Array, " T"], max_steps: int
) -> History:
    first, first_rate = v, _rate(system, t, v)
    saved, us, rates = [], [], []
    steps, shortest, longest = 0, float("inf"), 0.0
    result, failed = RESULTS.successful, 0
    with progress_bar(1000, "solving") as bar:
        for end in ts:
            state, done = _begin_compiled(system, t, v, start, end), 0
            try:
                while float(state.t) < float(end) and int(state.failure) == 0 and done < max_steps:
                    state = jax.block_until_ready(_advance(system, state, start, end, min(_CHUNK, max_steps - done)))
                    done = int(state.steps)
                    bar.update(round(1000 * float(state.t / ts[-1])), t=float(state.t), steps=float(steps + done))
            except KeyboardInterrupt:
                result = RESULTS.interrupted
            steps += done
            shortest, longest = min(shortest, float(state.shortest)), max(longest, float(state.longest))
            t, v = state.t, state.y
            failed = int(state.failure)
            if failed == 0 and result == RESULTS.successful and float(t) < float(end):
                failed = _OUT_OF_STEPS
            if failed:
                result = _FAILURES[failed]
            whole = failed == 0 and float(t) >= float(end)
            if whole or result == RESULTS.interrupted:
                saved, us, rates = [*saved, t], [*us, v], [*rates, _rate(system, t, v)]
            if not whole:
                break
            start = end
    missing = 0 if result == RESULTS.interrupted else ts.shape[0] - len(saved)
    blank = jnp.full_like(v, jnp.nan)
    place = system.locate(t, v, jnp.asarray(failed))
    counts = _counts(system, jnp.asarray(steps), shortest, longest, start) | _failure(jnp.asarray(failed), t, place)
    return History(
        jnp.stack([*saved, *[jnp.full_like(t, jnp.nan)] * missing]),
        jnp.stack([*us, *[blank] * missing]),
        jnp.stack([*rates, *[blank] * missing]),
        first,
        first_rate,
        result,
        counts,
    )


_OUT_OF_STEPS = 4
_FAILURES = {
    NOT_FINITE: RESULTS.not_finite,
    UNSTABLE: RESULTS.unstable,
    LEFT_DOMAIN: RESULTS.left_domain,
    _OUT_OF_STEPS: RESULTS.max_steps_reached,
}


@final
class _Report(eqx.Module):
    """What is told of an interval."""

    failure: Array
    place: Array
    steps: Array
    shortest: Array
    longest: Array

    @classmethod
    def of(cls, system: SemiDiscretisation, state: LoopState) -> "_Report":
        place = system.locate(state.t, state.y, state.failure)
        return cls(state.failure, place, state.steps, state.shortest, state.longest)


def _longest(start: Scalar, end: Scalar) -> Scalar:
    return (end - start) / _PARTS


def _begin(system: SemiDiscretisation, t: Scalar, v: Field, start: Scalar, end: Scalar) -> LoopState:
    return system.tabulated().loop(_longest(start, end)).start(t, v, end)


_begin_compiled = eqx.filter_jit(_begin)


@eqx.filter_jit
def _advance(system: SemiDiscretisation, state: LoopState, start: Scalar, end: Scalar, max_steps: int) -> LoopState:
    return system.tabulated().loop(_longest(start, end)).advance(state, end, max_steps)


@eqx.filter_jit
def _rate(system: SemiDiscretisation, t: Scalar, v: Field) -> Field:
    return system.tabulated().rate(t, v)


def _counts(system: SemiDiscretisation, steps: Any, shortest: Any, longest: Any, interval_start: Scalar) -> dict:
    return {
        "steps": steps,
        "shortest_step": shortest,
        "longest_step": longest,
        "cfl": system.cfl,
        "interval_start": interval_start,
    }


def _failure(failed: Array, t: Scalar, place: Float[Array, " d"]) -> dict[str, Array]:
    """When and where the run failed; NaN where it did not, or not at one place."""
    return {"failure_time": jnp.where(failed > 0, t, jnp.nan), "failure_point": place}
