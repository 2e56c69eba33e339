"""Inverse problems: a part of a problem from observations of its solution, through any solver."""

import dataclasses
import time
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hjpde._progress import ProgressBar
from hjpde._progress import progress as progress_bar

from ._backwards import applies_backwards, backwards
from ._forward_map import ForwardMap
from ._recovered import Recovered, RecoveryState
from ._sensitivity import adjoint, derivative, linear_operator, observed

_FALL = 0.2
"""The factor between the weights of two stages."""
_LINEAR_TOLERANCE = 1e-6
_PROGRESS = 1e-3
_SHORTEST = 1e-2
_NEGLIGIBLE = 1e-6
_REFINEMENTS = 3
_POWER_STEPS = 4


class Settings(NamedTuple):
    """What the user may choose.

    - `noise`: the standard deviation of the observations' errors, in units of `u`, or `None`.
    - `regularisation`: the weight of the penalty, or `None` to choose it by the noise (0 without).
    - `steps`: Gauss-Newton steps in a stage. - `stages`: at most so many weights are tried.
    """

    noise: float | None
    regularisation: float | None
    steps: int
    stages: int


def recover(
    forward: ForwardMap, settings: Settings, *, state: RecoveryState | None, until: int | None, progress: bool
) -> Recovered:
    r"""The `z` that minimises $|F(z) - u|^2/(n s^2) + \lambda |z|^2$, with `s` the noise or the values' spread.

    With known noise the regularised Gauss-Newton iteration: the weight $\lambda$ falls by a factor of 5 from stage to
    stage, each beginning where the last one ended, until the residual is down to the noise (Morozov's discrepancy
    principle; to within $1/\sqrt{2n}$, as the noise of `n` samples itself varies by that); a few bisections of
    $\log\lambda$ then meet it more closely. Linear systems are solved by Lanczos steps, few of them in coordinates in
    which a smooth datum is small, and no Jacobian is stored.

    ??? cite "References"

        A. B. Bakushinskii, *The problem of the convergence of the iteratively regularized Gauss-Newton method*,
        Comput. Math. Math. Phys. 32, 1992.

        H. W. Engl, M. Hanke and A. Neubauer, *Regularization of Inverse Problems*, Kluwer, 1996, Sections 4.3, 11.2.

        D. Fong and M. Saunders, *LSMR: an iterative algorithm for sparse least-squares problems*, SIAM J. Sci.
        Comput. 33, 2011.
    """
    started = time.perf_counter()
    if settings == Settings(None, None, settings.steps, settings.stages) and applies_backwards(forward):
        forward = backwards(forward)
        state = RecoveryState.at(jnp.zeros(forward.unknowns.size, forward.unknowns.dtype), done=True)
    scale = _scale(forward, settings.noise)
    state = _begin(forward, settings, scale) if state is None else _of_this_run(state, forward)
    interrupted = False
    goal = settings.stages if until is None else min(until, settings.stages)
    with progress_bar(settings.stages, "recovering", progress) as bar:
        try:
            while not state.done and state.stage < goal:
                state = _advance(forward, settings, scale, state, bar)
        except KeyboardInterrupt:
            interrupted = True
    seconds = time.perf_counter() - started
    return Recovered(forward, state, settings.noise, seconds, interrupted)


def _scale(forward: ForwardMap, noise: float | None) -> float:
    """What a residual is measured in: the noise, or the spread of the values."""
    if noise is not None:
        return noise
    spread = float(jnp.std(forward.u))
    return spread if spread > 0 else 1.0


def _begin(forward: ForwardMap, settings: Settings, scale: float) -> RecoveryState:
    z = jnp.zeros(forward.unknowns.size, forward.unknowns.dtype)
    if settings.regularisation is not None:
        weight = settings.regularisation
    elif settings.noise is None:
        weight = 0.0
    else:
        weight = _largest_squared_singular_value(forward, z) / (forward.u.shape[0] * scale**2)
    return RecoveryState.at(z, weight=weight)


def _of_this_run(state: RecoveryState, forward: ForwardMap) -> RecoveryState:
    if state.z.shape != (forward.unknowns.size,):
        raise ValueError(
            f"`state` belongs to another run: it holds {state.z.shape[0]} coordinates, and here there "
            f"are {forward.unknowns.size}."
        )
    return state


def _advance(
    forward: ForwardMap, settings: Settings, scale: float, state: RecoveryState, bar: ProgressBar
) -> RecoveryState:
    """One stage, and what comes after it."""
    z, residual, steps = _stage(forward, state.z, state.weight, scale, settings.steps)
    if not np.isfinite(residual):
        raise FloatingPointError(
            f"The solution at the samples is no longer finite in stage {state.stage + 1}: look for samples outside of "
            "the solver's grid or beyond the times at which it holds, or give a larger `regularisation`."
        )
    stage = state.stage + 1
    entry = {"stage": stage, "regularisation": state.weight, "residual": residual, "steps": steps}
    bar.update(stage, residual=residual, regularisation=state.weight)
    moved = dataclasses.replace(state, z=z, stage=stage, history=(*state.history, entry))
    if settings.noise is None or settings.regularisation is not None:
        return dataclasses.replace(moved, done=True)
    if moved.weight * float(jnp.sum(z**2)) < _NEGLIGIBLE * (residual / scale) ** 2:
        return dataclasses.replace(moved, done=True)  # a smaller weight would change nothing
    return _next_weight(moved, residual, settings.noise * (1 + 1 / np.sqrt(2 * forward.u.shape[0])))


def _next_weight(moved: RecoveryState, residual: float, bound: float) -> RecoveryState:
    """Downwards until the residual is below the bound, then bisections between the last two weights."""
    if residual > bound:
        bracketed = dataclasses.replace(moved, high=moved.weight)
    else:
        bracketed = dataclasses.replace(moved, low=moved.weight, kept=moved.z)
    low, high = bracketed.low, bracketed.high
    if low is None:
        return dataclasses.replace(bracketed, weight=_FALL * moved.weight)
    if high is None or high / low < _FALL ** (-(0.5**_REFINEMENTS)) * 1.01:
        # Of the bracket's two ends, the one whose residual is below the noise.
        return dataclasses.replace(bracketed, weight=low, z=bracketed.kept, done=True)
    return dataclasses.replace(bracketed, weight=float(np.sqrt(low * high)))


def _stage(
    forward: ForwardMap, z: Float[Array, " P"], weight: float, scale: float, steps: int
) -> tuple[Float[Array, " P"], float, int]:
    """Gauss-Newton steps at one weight: coordinates, residual, number of steps."""
    n = forward.u.shape[0]

    def objective(z: Float[Array, " P"]) -> tuple[float, Float[np.ndarray, " n"]]:
        misfit = np.asarray(forward.u - observed(forward, z))
        return float(np.sum(misfit**2) / (n * scale**2) + weight * np.sum(np.asarray(z) ** 2)), misfit

    now, misfit = objective(z)
    step = 0
    while step < steps and np.isfinite(now):
        step += 1
        target = _linearised_minimiser(forward, z, misfit, weight * n * scale**2)
        fraction, before = 1.0, now
        while True:
            candidate = z + fraction * (target - z)
            now, misfit = objective(candidate)
            if now <= before or fraction < _SHORTEST:
                break
            fraction /= 2
        if not now <= before:  # no step along this direction helps: rounding has been reached
            now, misfit = objective(z)
            break
        z = candidate
        if before - now <= _PROGRESS * before:
            break
    return z, float(np.sqrt(np.mean(misfit**2))), step


def _linearised_minimiser(
    forward: ForwardMap, z: Float[Array, " P"], misfit: Float[np.ndarray, " n"], damping: float
) -> Float[Array, " P"]:
    r"""The `y` that minimises $|F'(z)(y - z) - m|^2 + \delta |y|^2$, by the LSMR method.

    It runs on the host, as that compiles the two products with $F'$ and nothing else.
    """
    from scipy.sparse.linalg import lsmr

    operator = linear_operator(forward, z)
    right = misfit + np.asarray(derivative(forward, z, z))
    found = lsmr(operator, right, damp=damping**0.5, atol=_LINEAR_TOLERANCE, btol=_LINEAR_TOLERANCE, maxiter=z.size)
    return jnp.asarray(found[0], z.dtype)


def _largest_squared_singular_value(forward: ForwardMap, z: Float[Array, " P"]) -> float:
    """Of the derivative of the forward map, by a few power iterations: an estimate from below."""
    direction = jnp.ones_like(z) / jnp.sqrt(z.size)
    value = jnp.ones(())
    for _ in range(_POWER_STEPS):
        moved = adjoint(forward, z, derivative(forward, z, direction))
        value = jnp.linalg.norm(moved)
        direction = moved / jnp.where(value > 0, value, 1)
    return float(value)
