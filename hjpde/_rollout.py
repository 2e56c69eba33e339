"""Trajectories under the optimal feedback that a solution holds."""

from collections.abc import Callable
from typing import Any, Literal, final

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from hjpde._solution import Solution
from hjpde._types import ArrayInput, Point, Scalar, ScalarLike, as_float_array, is_concrete, known_number
from hjpde.hamiltonians import ControlAffine

Policy = Literal["worst", "none"] | Callable
"""How the disturbance is chosen."""


@final
class Trajectories(eqx.Module):
    """What `hjpde.rollout` returns; the leading axes of all but `times` are those of `x0`, below `*batch`.

    - `times`: the real times $s_0 = 0, \\dots, s_n = T$, shape `(n + 1,)`.
    - `states`: $x(s_k)$, shape `(*batch, n + 1, d)`; NaN after the trajectory has left the solution's domain.
    - `controls`, `disturbances`: what is held over $[s_k, s_{k+1})$, shapes `(*batch, n, k)` and `(*batch, n, m)`.
    - `values`: $u(T - s_k, x(s_k))$ where a decision is made, shape `(*batch, n)`.
    - `left_domain`: whether the trajectory left the domain before `T`, shape `(*batch,)`.
    - `exit_time`, `exit_point`: when and where the solution was not finite any more, shapes `(*batch,)` and
      `(*batch, d)`; NaN for a trajectory that stayed inside.
    """

    times: Float[Array, " saved"]
    states: Float[Array, "*batch saved d"]
    controls: Float[Array, "*batch n k"]
    disturbances: Float[Array, "*batch n m"]
    values: Float[Array, "*batch n"]
    left_domain: Bool[Array, "*batch"]
    exit_time: Float[Array, "*batch"]
    exit_point: Float[Array, "*batch d"]


def rollout(
    hamiltonian: ControlAffine,
    solution: Solution,
    x0: ArrayInput,
    horizon: ScalarLike,
    *,
    n_steps: int = 200,
    disturbance: Policy = "worst",
) -> Trajectories:
    r"""Trajectories of $\dot x = f + G a + D b$ over the real times $s \in [0, T]$ under the optimal feedback.

    At real time `s` there is the time $T - s$ to go, so that the co-state is $p = \nabla u(T - s, x)$; `a` is optimal
    for it. `a` and `b` are chosen at the start of each of `n_steps` equal steps and held over it, as a
    sampled controller does, and each step is one of Tsitouras' fifth-order method. A feedback that is evaluated all
    along the step would make the right-hand side jump at every switch: along a sliding surface the control chatters
    and an adaptive step shrinks to nothing. What remains is of first order in the step.

    Differentiable in `x0`, the Hamiltonian's parameters and the solution, where the control does not switch.

    **Arguments:**

    - `hamiltonian`: the `hjpde.ControlAffine` of the problem.
    - `solution`: what `hjpde.solve` returned for it; it must hold for all times to go in $(0, T]$.
    - `x0`: the start, shape `(d,)` or `(..., d)` for many at once.
    - `horizon`: $T > 0$, the time to go at the start.
    - `n_steps`: the number of steps.
    - `disturbance`: "worst", the disturbance that is optimal for its own aim; "none", no disturbance at all; or a
      function of the real time `s` and the state that returns shape `(m,)`.

    **Returns:** `Trajectories`. One that leaves the domain in which the solution and its gradient are finite stops
    there, and says when and where.

    **Raises:** `ValueError` if an argument is of another kind or shape, or the solution does not hold at the time
    `horizon`.
    """
    if not isinstance(hamiltonian, ControlAffine):
        raise ValueError(
            f"`hamiltonian` must be a `hjpde.ControlAffine`, which has dynamics, got {type(hamiltonian).__name__}."
        )
    if isinstance(n_steps, bool) or not isinstance(n_steps, int) or n_steps < 1:
        raise ValueError(f"`n_steps` must be a positive integer, got {n_steps!r}.")
    if not callable(disturbance) and disturbance not in ("worst", "none"):
        raise ValueError(f'`disturbance` must be "worst", "none" or a function of (s, x), got {disturbance!r}.')
    x0 = as_float_array(x0, "x0")
    dim = hamiltonian.dim if hamiltonian.dim is not None else solution.evaluator.dim
    if x0.ndim < 1 or x0.shape[-1] < 1 or (dim is not None and x0.shape[-1] != dim):
        raise ValueError(f"`x0` must have shape (..., {'d' if dim is None else dim}), got {x0.shape}.")
    if np.ndim(horizon) != 0:
        raise ValueError(f"`horizon` must be a scalar, got shape {np.shape(horizon)}.")
    if is_concrete(horizon):
        number = known_number(horizon, "horizon")
        if not (np.isfinite(number) and number > 0):
            raise ValueError(f"`horizon` must be positive and finite, got {number:g}.")
        reason = solution.evaluator.invalid_time(number)
        if reason is not None:
            raise ValueError(f"`horizon` = {number:g}: the solution cannot be evaluated there: {reason}.")
    return _rollout(hamiltonian, solution, x0, jnp.asarray(horizon, x0.dtype), n_steps, disturbance)


@eqx.filter_jit
def _rollout(
    hamiltonian: ControlAffine,
    solution: Solution,
    x0: Float[Array, "*batch d"],
    horizon: Scalar,
    n_steps: int,
    disturbance: Policy,
) -> Trajectories:
    times = horizon * jnp.linspace(0.0, 1.0, n_steps + 1, dtype=x0.dtype)
    batch = x0.shape[:-1]
    one = _one_trajectory(hamiltonian, solution, times, disturbance)
    states, *rest = jax.vmap(one)(x0.reshape(-1, x0.shape[-1]))
    states, *rest = (leaf.reshape(*batch, *leaf.shape[1:]) for leaf in (states, *rest))
    return Trajectories(times, states, *rest)


def _one_trajectory(
    hamiltonian: ControlAffine, solution: Solution, times: Float[Array, " saved"], disturbance: Policy
) -> Callable[[Point], tuple[Array, ...]]:
    horizon = times[-1]

    def velocity(s: Any, x: Any, held: Any) -> Any:
        return hamiltonian.velocity(horizon - s, x, *held)

    term, method = diffrax.ODETerm(velocity), diffrax.Tsit5()

    def choose(s: Scalar, x: Point, p: Point) -> tuple[Array, Array]:
        a = hamiltonian.optimal_control(horizon - s, x, p)
        b = hamiltonian.optimal_disturbance(horizon - s, x, p)
        if disturbance == "none":
            b = jnp.zeros_like(b)
        elif callable(disturbance):
            chosen = jnp.asarray(disturbance(s, x), x.dtype)
            if chosen.shape != b.shape:
                raise ValueError(f"`disturbance` must return shape {b.shape}, got {chosen.shape}.")
            b = chosen
        return a, b

    def step(carry: tuple[Array, ...], span: tuple[Scalar, Scalar]) -> tuple[Any, Any]:
        x, inside, exit_time = carry
        start, end = span
        value = solution(horizon - start, x).astype(x.dtype)
        p = solution.gradient(horizon - start, x).astype(x.dtype)
        # Outside its box a solution is NaN, and the derivative of what was masked so is 0.
        finite = jnp.isfinite(value) & jnp.all(jnp.isfinite(p))
        exit_time = jnp.where(inside & ~finite, start, exit_time)
        inside = inside & finite
        held = choose(start, x, jnp.where(finite, p, 0))
        state = method.init(term, start, end, x, held)
        moved, *_ = method.step(term, start, end, x, held, state, made_jump=False)
        following = jnp.where(inside, moved, x)
        saved = tuple(jnp.where(inside, leaf, jnp.nan) for leaf in (following, *held, value))
        return (following, inside, exit_time), saved

    def trajectory(x0: Point) -> tuple[Array, ...]:
        start = (x0, jnp.asarray(True), jnp.asarray(jnp.nan, x0.dtype))
        end, (states, controls, disturbances, values) = jax.lax.scan(step, start, (times[:-1], times[1:]))
        last, inside, exit_time = end
        states = jnp.concatenate([x0[None], states])
        exit_point = jnp.where(inside, jnp.nan, last)
        return states, controls, disturbances, values, ~inside, exit_time, exit_point

    return trajectory
