r"""Steps that shrink the symplectic form exactly as friction does, by $e^{-\gamma h}$; one of them is heavy ball."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

from hjpde._compilation import compiled_once
from hjpde._types import ScalarLike

from ._damped_dynamics import DampedDynamics, at_rest, moved, positive_number

FORMS = ("heavy ball", "strang")


@final
class Trajectory(eqx.Module):
    """Training recorded at evenly spaced times; made by `simulate`.

    - `times`: shape `(T,)`, from the start to the end.
    - `positions`: the parameters, each array with a leading axis of times.
    - `velocities`: alike, with `None` in place of what is not trained.
    """

    times: Float[Array, " T"]
    positions: PyTree
    velocities: PyTree


def conformal_symplectic_step(
    dynamics: DampedDynamics,
    t: ScalarLike,
    theta: PyTree,
    velocity: PyTree,
    step_size: ScalarLike,
    form: str = "heavy ball",
) -> tuple[PyTree, PyTree]:
    r"""One step of length `h` of $\ddot\theta + \gamma\dot\theta + \nabla C = 0$ that is stable however large
    $\gamma$ is.

    - `"heavy ball"`, of order 1: $v \leftarrow e^{-\gamma h}v - h\nabla C(\theta)$, $\theta \leftarrow \theta + hv$. In
      the positions alone it is $\theta_{n+1} = \theta_n + \mu(\theta_n - \theta_{n-1}) - h^2\nabla C(\theta_n)$ with
      $\mu = e^{-\gamma h}$.
    - `"strang"`, of order 2: friction for half a step, a Verlet step, friction for half a step.

    **Arguments:**

    - `dynamics`: the cost and the friction.
    - `t`, `theta`, `velocity`: where the step starts.
    - `step_size`: $h > 0$, in units of time, possibly traced.
    - `form`: one of the two.

    **Returns:** parameters and velocity at `t + h`.

    **Raises:** `ValueError` if `form` is neither.

    ??? cite "References"

        R. McLachlan and M. Perlmutter, *Conformal Hamiltonian systems*, Journal of Geometry and Physics 39 (2001),
        276-300. G. França, J. Sulam, D. Robinson and R. Vidal, *Conformal symplectic and relativistic optimization*,
        Journal of Statistical Mechanics (2020) 124008.
    """
    require_form(form)
    h = step_size
    if form == "heavy ball":
        velocity = _kicked(_damped(velocity, dynamics.friction, h), h, dynamics.gradient(t, theta))
        return moved(theta, h, velocity), velocity
    velocity = _damped(velocity, dynamics.friction, h / 2)
    velocity = _kicked(velocity, h / 2, dynamics.gradient(t, theta))
    theta = moved(theta, h, velocity)
    velocity = _kicked(velocity, h / 2, dynamics.gradient(t + h, theta))
    return theta, _damped(velocity, dynamics.friction, h / 2)


def simulate(
    dynamics: DampedDynamics,
    theta: PyTree,
    velocity: PyTree = None,
    *,
    step_size: ScalarLike,
    steps: int,
    form: str = "strang",
    t: ScalarLike = 0.0,
) -> Trajectory:
    r"""Steps of training with friction, all of them recorded.

    **Arguments:**

    - `dynamics`: the cost and the friction.
    - `theta`: parameters at the start: a tree of arrays or an Equinox module; their dtype is kept.
    - `velocity`: at the start; at rest by default.
    - `step_size`: $h > 0$, in units of time. Stable while $h$ is below about $2/\sqrt{\lambda}$ for the largest
      curvature $\lambda$ of the cost.
    - `steps`: how many, at least 1. The record holds `steps + 1` copies of the parameters.
    - `form`: as for `conformal_symplectic_step`; by default the one of order 2.
    - `t`: the time at the start.

    **Raises:** `ValueError` if an argument is out of range or `theta` holds nothing to train.
    """
    require_form(form)
    if steps < 1:
        raise ValueError(f"`steps` must be at least 1, got {steps}.")
    velocity = at_rest(theta) if velocity is None else velocity
    dtype = jnp.result_type(*jax.tree.leaves(velocity))
    h = jnp.asarray(positive_number(step_size, "step_size"), dtype)
    return _simulate(dynamics, theta, velocity, h, jnp.asarray(t, dtype), steps, form)


@compiled_once
def _simulate(dynamics, theta, velocity, h, t, steps, form):
    start, rest = eqx.partition(theta, eqx.is_inexact_array)

    def step(state, n):
        parameters, velocity = state
        model = eqx.combine(parameters, rest)
        model, velocity = conformal_symplectic_step(dynamics, t + n * h, model, velocity, h, form)
        state = eqx.filter(model, eqx.is_inexact_array), velocity
        return state, state

    counts = jnp.arange(steps, dtype=h.dtype)
    _, path = jax.lax.scan(step, (start, velocity), counts)
    positions, velocities = jax.tree.map(
        lambda first, rest: jnp.concatenate([first[None], rest]), (start, velocity), path
    )
    return Trajectory(t + h * jnp.arange(steps + 1, dtype=h.dtype), eqx.combine(positions, rest), velocities)


class ConformalSymplecticState(NamedTuple):
    """Of the optax transformation: the number of updates made, and the velocity of the parameters."""

    updates: Int[Array, ""]
    velocity: Any


def conformal_symplectic(step_size: float | Callable[[Any], Any], friction: float) -> optax.GradientTransformation:
    r"""The heavy-ball form of the step as an optimiser of optax: training as mechanics with friction.

    Its velocity and its time are those of $\ddot\theta + \gamma\dot\theta + \nabla C = 0$. The learning rate in the
    sense of `optax.sgd(h**2, momentum=exp(-friction * h))`, whose updates it makes, is $h^2$, and that in effect is
    $h^2/(1 - e^{-\gamma h})$, about $h/\gamma$: see `heavy_ball`.

    **Arguments:**

    - `step_size`: $h > 0$ in units of time, or a schedule of optax: a function of the count of updates.
    - `friction`: $\gamma > 0$, per unit of time.

    **Returns:** a transformation with `init` and `update`, to be used alone or in `optax.chain`.

    **Raises:** `ValueError` if `friction`, or a `step_size` that is a number, is not positive and finite.
    """
    friction = positive_number(friction, "friction")
    if not callable(step_size):
        step_size = partial(_always, positive_number(step_size, "step_size"))

    def init(params: Any) -> ConformalSymplecticState:
        return ConformalSymplecticState(jnp.zeros((), jnp.int32), jax.tree.map(jnp.zeros_like, params))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        h = jnp.asarray(step_size(state.updates))
        velocity = _kicked(_damped(state.velocity, friction, h), h, updates)
        moves = jax.tree.map(lambda v: jnp.asarray(h, v.dtype) * v, velocity)
        return moves, ConformalSymplecticState(state.updates + 1, velocity)

    return optax.GradientTransformation(init, update)


def heavy_ball(step_size: ScalarLike, friction: ScalarLike) -> tuple[float, float]:
    r"""Momentum $\mu = e^{-\gamma h}$ and learning rate $h^2$ of the heavy-ball method that the step is.

    **Raises:** `ValueError` if an argument is not positive and finite.
    """
    h, friction = positive_number(step_size, "step_size"), positive_number(friction, "friction")
    return math.exp(-friction * h), h**2


def from_heavy_ball(momentum: ScalarLike, learning_rate: ScalarLike) -> tuple[float, float]:
    r"""Step $h = \sqrt{\alpha}$ and friction $\gamma = -\log(\mu)/h$ of a heavy-ball method with the momentum $\mu$ and
    the learning rate $\alpha$: the inverse of `heavy_ball`.

    **Raises:** `ValueError` if an argument is not positive and finite or `momentum` is not below 1.
    """
    momentum = positive_number(momentum, "momentum")
    if not momentum < 1:
        raise ValueError(f"`momentum` must be below 1, got {momentum:g}.")
    h = math.sqrt(positive_number(learning_rate, "learning_rate"))
    return h, -math.log(momentum) / h


def _damped(velocity: PyTree, friction: ScalarLike, h: ScalarLike) -> PyTree:
    """Friction alone, for a time `h`, exactly."""
    return jax.tree.map(lambda v: jnp.exp(-jnp.asarray(friction) * h).astype(v.dtype) * v, velocity)


def _kicked(velocity: PyTree, h: ScalarLike, gradient: PyTree) -> PyTree:
    """The force alone, for a time `h`."""
    return jax.tree.map(lambda v, g: v - jnp.asarray(h, v.dtype) * g, velocity, gradient)


def _always(value: float, count: Any) -> float:
    del count
    return value


def require_form(form: str) -> None:
    if form not in FORMS:
        raise ValueError(f"`form` must be one of {FORMS}, got {form!r}.")
