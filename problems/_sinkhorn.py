"""Sinkhorn's algorithm: two Hopf-Cole flows in turn, at falling temperatures."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from hjpde._problem import InitialValueProblem
from hjpde._types import Scalar
from hjpde.solvers import HopfCole

from ._clouds import Clouds
from ._dual_newton import HALVING
from ._staged_loop import staged_loop

_LOOSE = 1e-2


class Sweep(NamedTuple):
    """The potential on `y` after some sweeps, and by how much its marginal was wrong before the last."""

    g: Float[Array, " M"]
    viscosity: Scalar
    steps: Int[Array, ""]
    error: Scalar


class Settings(NamedTuple):
    """The clouds, the last temperature, the error that is wanted there, and the most sweeps."""

    clouds: Clouds
    viscosity: Scalar
    tolerance: Scalar
    max_steps: Int[Array, ""]


def sinkhorn(settings: Settings, progress: bool) -> tuple[Float[Array, " M"], Int[Array, ""], Scalar]:
    """Sweeps, at each temperature until a hundredth of the mass is misplaced, at the last one until `tolerance`.

    **Returns:** `g`, the number of sweeps, and the mass that was misplaced.
    """
    clouds, viscosity = settings.clouds, settings.viscosity
    g, highest = jnp.zeros_like(clouds.y_weights), jnp.maximum(clouds.largest_cost, viscosity)
    start = Sweep(g, highest, jnp.asarray(0), jnp.asarray(jnp.inf, g.dtype))
    end = staged_loop(
        _unfinished,
        _swept,
        settings,
        start,
        progress=progress,
        description="sweeps",
        rounds=lambda: int(settings.max_steps),
    )
    return end.g, end.steps, jnp.where(end.viscosity > viscosity, jnp.inf, end.error)


def _unfinished(settings: Settings, now: Sweep) -> Bool[Array, ""]:
    last = now.viscosity <= settings.viscosity
    return ~(last & (now.error <= settings.tolerance)) & (now.steps < settings.max_steps)


def _swept(settings: Settings, now: Sweep) -> Sweep:
    falls = (now.error <= _LOOSE) & (now.viscosity > settings.viscosity)
    viscosity = jnp.where(falls, jnp.maximum(now.viscosity * HALVING, settings.viscosity), now.viscosity)
    g, error = sweep(settings.clouds, now.g, viscosity)
    # The error is that of the potential from before the sweep.
    met = (viscosity == settings.viscosity) & (error <= settings.tolerance)
    return Sweep(jnp.where(met, now.g, g), viscosity, now.steps + 1, error)


def sweep(clouds: Clouds, g: Float[Array, " M"], viscosity: Scalar) -> tuple[Float[Array, " M"], Scalar]:
    r"""To `x` and back: the new `g`, and the mass that the old one misplaced.

    The marginal of the old one is $b_j e^{(g_j - g_j^{new})/\varepsilon}$.
    """
    f = _at(clouds.flow_to_x(g, viscosity), clouds.time, clouds.x)
    new = _at(clouds.flow_to_y(f, viscosity), clouds.time, clouds.y)
    return new, jnp.sum(clouds.y_weights * jnp.abs(jnp.expm1((g - new) / viscosity)))


def _at(problem: InitialValueProblem, time: Scalar, points: Float[Array, "K d"]) -> Float[Array, " K"]:
    return HopfCole(normalised=False).solve(problem, time[None], progress=False).batch(time, points)
