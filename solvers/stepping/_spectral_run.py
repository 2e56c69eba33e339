"""Runs a spectral solve through its saved times: at once in one compiled program, or in chunks with a bar."""

from typing import Any, final

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from hjpde._progress import progress as progress_bar
from hjpde._types import Scalar, is_concrete

from ._exponential_runge_kutta import ExponentialRungeKutta
from ._pseudo_spectral import PseudoSpectral
from ._time_loop import LoopState, TimeLoop

Field = Float[Array, "..."]

NOT_FINITE, OUT_OF_STEPS, INTERRUPTED = 1, 2, 3

_CHUNK = 64
_LEAST_STEP = 1e-4
"""The shortest step, in parts of the mean one that `max_steps` allows; one that wants to be shorter has met NaN."""


@final
class Interval(eqx.Module):
    """What is kept of the way to one saved time; the values are NaN if it was not reached.

    - `t`, `u`, `rate`: the time, and the values and rates there. - `tail`: the part of the highest modes.
    - `failure`, `stopped`: how and when it failed. A transform spreads NaN to all nodes, so that no place is known.
    """

    t: Scalar
    u: Field
    rate: Field
    tail: Scalar
    failure: Int[Array, ""]
    stopped: Scalar
    steps: Int[Array, ""]
    rejected: Int[Array, ""]
    shortest: Scalar
    longest: Scalar


@final
class SpectralRun(eqx.Module):
    """A system with the tolerances of its time integration.

    - `scale`: the size of what `u` varies by, against which the highest modes are held.
    """

    system: PseudoSpectral
    rtol: Scalar
    atol: Scalar
    scale: Scalar
    max_steps: int = eqx.field(static=True)

    def through(self, u: Field, t: Scalar, ts: Float[Array, " T"], progress: bool) -> Interval:
        """The intervals from the values `u` at `t` to each of `ts`, stacked; fewer if it was interrupted."""
        if progress and is_concrete(self, u, t, ts):
            return self._in_chunks(u, t, ts)
        return _at_once(self, u, t, ts)

    def _in_chunks(self, u: Field, t: Scalar, ts: Float[Array, " T"]) -> Interval:
        done, steps, failure = [], 0, 0
        with progress_bar(1000, "solving") as bar:
            for end in ts:
                state = _begin(self, u, t, end)
                interrupted = False
                try:
                    while not failure and _is_under_way(state, end, self.max_steps):
                        count = min(_CHUNK, self.max_steps - int(state.steps))
                        state = jax.block_until_ready(_advance(self, state, t, end, count))
                        bar.update(
                            round(1000 * float(state.t / ts[-1])),
                            t=float(state.t),
                            steps=float(steps + int(state.steps)),
                        )
                except KeyboardInterrupt:
                    interrupted = True
                part = _close(self, state, jnp.asarray(failure), end, interrupted)
                done.append(part)
                if interrupted:
                    break
                steps, failure, t, u = steps + int(part.steps), int(part.failure), end, state.y
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *done)


@eqx.filter_jit
def _at_once(run: SpectralRun, u: Field, t: Scalar, ts: Float[Array, " T"]) -> Interval:
    def interval(carry: tuple[Any, ...], end: Scalar) -> tuple[tuple[Any, ...], Interval]:
        t, u, failure = carry
        loop = _loop(run, t, end)
        state = loop.start(t, u, end)
        # After a failure nothing is stepped any more.
        state = eqx.tree_at(lambda s: s.failure, state, jnp.where(failure > 0, failure, state.failure))
        state = loop.advance(state, end, run.max_steps)
        part = _closed(run, state, failure, end, False)
        return (end, state.y, part.failure), part

    # With one interval there is nothing to forget; with more, only their ends are kept for the reverse mode.
    body = interval if ts.shape[0] == 1 else jax.checkpoint(interval, prevent_cse=False)
    return lax.scan(body, (t, u, jnp.zeros((), jnp.int32)), ts)[1]


def _loop(run: SpectralRun, start: Scalar, end: Scalar) -> TimeLoop:
    shortest = jnp.maximum(
        _LEAST_STEP / run.max_steps * (end - start), 8 * float(jnp.finfo(end.dtype).eps) * jnp.abs(end)
    )
    controller = diffrax.PIDController(
        rtol=run.rtol, atol=run.atol, pcoeff=0.2, icoeff=0.5, dtmin=lax.stop_gradient(shortest), dtmax=end - start
    )
    term = diffrax.ODETerm(run.system)
    return TimeLoop(term, ExponentialRungeKutta(run.system), controller, _inspect)


def _inspect(t: Scalar, u: Field) -> Int[Array, ""]:
    del t
    return jnp.where(jnp.all(jnp.isfinite(u)), 0, NOT_FINITE).astype(jnp.int32)


def _closed(run: SpectralRun, state: LoopState, before: Array, end: Scalar, interrupted: bool) -> Interval:
    missed = INTERRUPTED if interrupted else OUT_OF_STEPS
    failure = jnp.where((state.t < end) & (state.failure == 0), missed, state.failure)
    failure = jnp.where(before > 0, before, failure).astype(jnp.int32)
    blank = jnp.where((failure == 0) | (failure == INTERRUPTED), 0, jnp.nan).astype(end.dtype)
    spread = jnp.sqrt(jnp.mean((state.y - jnp.mean(state.y)) ** 2))
    least = 1e3 * float(jnp.finfo(end.dtype).eps) * jnp.max(jnp.abs(state.y))
    scale = jnp.maximum(jnp.maximum(spread, run.scale), jnp.where(least > 0, least, 1))
    return Interval(
        t=state.t + blank,
        u=state.y + blank,
        rate=run.system.rate(state.t, state.y) + blank,
        tail=lax.stop_gradient(run.system.tail(state.y) / scale),
        failure=failure,
        stopped=state.t,
        steps=state.steps,
        rejected=state.rejected,
        shortest=state.shortest,
        longest=state.longest,
    )


def _is_under_way(state: LoopState, end: Scalar, max_steps: int) -> bool:
    return float(state.t) < float(end) and int(state.failure) == 0 and int(state.steps) < max_steps


_begin = eqx.filter_jit(lambda run, u, t, end: _loop(run, t, end).start(t, u, end))
_advance = eqx.filter_jit(lambda run, state, t, end, count: _loop(run, t, end).advance(state, end, count))
_close = eqx.filter_jit(_closed)
