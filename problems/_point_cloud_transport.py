"""Optimal transport between two point clouds: a pair of Hopf-Lax flows, reached by annealing."""

import math
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from hjpde._solution import RESULTS, Solution
from hjpde._solve import SolveError, solve
from hjpde._types import ArrayInput, Point, Scalar, ScalarLike, is_concrete
from hjpde.hamiltonians import AbstractHamiltonian, Quadratic
from hjpde.solvers import HopfLax

from ._clouds import Clouds, as_clouds
from ._dual_newton import Stage, dual, first_stage, next_stage
from ._staged_loop import staged_loop

_LEAST_TEMPERATURE = 1e3
"""In units of roundoff times the largest cost: below it the weights of a coupling are noise."""


@final
class PointCloudTransport(eqx.Module):
    r"""The cheapest coupling `P` of the masses $a_i$ at $x_i$ and $b_j$ at $y_j$,

    $$\min_P \sum_{ij} P_{ij}\, c(x_i, y_j) = \max_g\; \sum_i a_i f(x_i) + \sum_j b_j g_j, \qquad
      c(x, y) = \frac{(x - y)^\top A^{-1} (x - y)}{4t}.$$

    Kantorovich's potentials are carried to the other cloud by $u_\tau + \nabla u^\top A \nabla u = 0$: the
    c-transform $f(x) = \min_j c(x, y_j) - g_j$ is Hopf and Lax's formula at the time `t` for point masses at $y_j$ of
    heights $-g_j$, and `g` is in the same way the flow of point masses at $x_i$ of heights $-f_i$.

    It is solved as the limit of `EntropicTransport` for $\varepsilon \to 0$. A coupling of these masses bounds the
    cost from above, a potential from below, and the two bounds are the certificate: what lies between them vanishes
    exponentially once $\varepsilon$ is below the gaps of the best coupling to the next ones.

    ??? cite "References"

        C. Villani, *Optimal Transport: Old and New*, Springer, 2009, Theorem 5.10.

        R. Cominetti and J. San Martin, *Asymptotic analysis of the exponential penalty trajectory in linear
        programming*, Math. Program. 67, 1994.

        J. Altschuler, J. Weed and P. Rigollet, *Near-linear time approximation algorithms for optimal transport via
        Sinkhorn iteration*, NeurIPS 2017, Algorithm 2.
    """

    clouds: Clouds

    def __init__(
        self,
        x: ArrayInput,
        y: ArrayInput,
        x_weights: ArrayInput | None = None,
        y_weights: ArrayInput | None = None,
        *,
        time: ScalarLike = 0.5,
        hamiltonian: AbstractHamiltonian = Quadratic(),
    ):
        r"""**Arguments:**

        - `x`, `y`: the points, shapes `(N, d)` and `(M, d)`.
        - `x_weights`, `y_weights`: the masses $a_i$ and $b_j$, positive, shapes `(N,)` and `(M,)`, scaled to the sum 1;
          by default uniform.
        - `time`: $t > 0$; by default 1/2, for the cost $|x - y|^2/2$.
        - `hamiltonian`: a `hjpde.Quadratic`, $p^\top A p$; by default $A = I$.

        **Raises:** `ValueError` if the shapes disagree, a number is not finite, or a weight or `time` is not positive.
        """
        self.clouds = as_clouds(x, y, x_weights, y_weights, time, hamiltonian)

    def solve(
        self,
        *,
        tolerance: float | None = None,
        max_steps: int = 2000,
        throw: bool = True,
        progress: bool = False,
    ) -> "TransportPlan":
        """The coupling and the potentials, by halving the temperature until both bounds of the cost agree.

        Each Newton step takes a linear system of `M` unknowns, and memory grows with `N M`; for the cloud with fewer
        points, take `y`.

        **Arguments:**

        - `tolerance`: how far the bounds may differ, relative to the cost. `None` for 1e-8 in float64, 2e-2 in float32.
        - `max_steps`: Newton steps over all temperatures.
        - `throw`: whether a failure raises; otherwise `TransportPlan.result` says how it ended.
        - `progress`: whether to show a bar.

        **Returns:** a `TransportPlan`.

        **Raises:** `ValueError` if an option is out of range; `hjpde.SolveError` if the bounds differ by more and
        `throw` is set.
        """
        if tolerance is not None and not tolerance > 0:
            raise ValueError(f"`tolerance` must be positive, got {tolerance}.")
        if max_steps < 1:
            raise ValueError(f"`max_steps` must be at least 1, got {max_steps}.")
        dtype = self.clouds.x.dtype
        wanted = tolerance or (1e-8 if dtype == jnp.float64 else 2e-2)
        settings = _Settings(self.clouds.stopped(), jnp.asarray(wanted, dtype), jnp.asarray(max_steps))
        coldest = _LEAST_TEMPERATURE * float(jnp.finfo(dtype).eps)
        end = staged_loop(
            _unfinished,
            _next,
            settings,
            _start(settings.clouds),
            progress=progress,
            description="temperatures",
            rounds=lambda: math.ceil(-math.log2(coldest)) + 1,
        )
        plan = _plan(self, settings, end)
        failed = plan.result != RESULTS.successful
        if throw and is_concrete(failed) and bool(failed):
            raise SolveError(f"PointCloudTransport: {RESULTS[plan.result]}", plan.potential)
        return plan


@final
class TransportPlan(eqx.Module):
    r"""The solution of a `PointCloudTransport`.

    - `coupling`: `P`, shape `(N, M)`, with both marginals met to rounding.
    - `f`, `g`: the potentials at $x_i$ and at $y_j$, in units of the cost, with $f_i + g_j \le c_{ij}$ everywhere.
    - `cost`: $\sum_{ij} P_{ij} c_{ij}$, differentiable once in points, weights and `time`.
    - `lower_bound`: $\sum_i a_i f_i + \sum_j b_j g_j$: no coupling costs less.
    - `viscosity`: the temperature at which the bounds met.
    - `steps`: Newton steps.
    - `result`: how it ended.
    """

    transport: PointCloudTransport
    coupling: Float[Array, "N M"]
    f: Float[Array, " N"]
    g: Float[Array, " M"]
    cost: Scalar
    lower_bound: Scalar
    viscosity: Scalar
    steps: Int[Array, ""]
    result: RESULTS

    @property
    def potential(self) -> Solution:
        """The flow from `y` to `x`, a `hjpde.Solution`: at `time` it is `f` at $x_i$, and continues it to all points.

        At other times it is the least of $c_\\tau(x, y_j) - g_j$ for the cost of that time.
        """
        clouds = self.transport.clouds
        return solve(clouds.flow_to_x(self.g, None), clouds.time, HopfLax())

    def map(self, x: Point) -> Float[Array, " d"]:
        r"""Where the mass at `x` would go, the $y_j$ of the least $c(x, y_j) - g_j$: $x - t\,\nabla H(\nabla u(t, x))$.

        For mass that is split between several $y_j$ see `coupling`.
        """
        clouds = self.transport.clouds
        p = self.potential.gradient(clouds.time, x)
        return x - clouds.time * jax.grad(clouds.hamiltonian, argnums=2)(clouds.time, x, p)


class _Settings(NamedTuple):
    clouds: Clouds
    tolerance: Scalar
    max_steps: Int[Array, ""]


class _Bounds(NamedTuple):
    """The stage, and the best potential so far with its lower bound beside the upper one of this stage."""

    stage: Stage
    g: Float[Array, " M"]
    lower: Scalar
    upper: Scalar

    def met(self, settings: _Settings) -> Bool[Array, ""]:
        rounding = 10 * float(jnp.finfo(self.lower.dtype).eps) * settings.clouds.largest_cost
        close = self.upper - self.lower <= settings.tolerance * jnp.abs(self.upper) + rounding
        return close & jnp.isfinite(self.upper)


@eqx.filter_jit
def _start(clouds: Clouds) -> _Bounds:
    stage = first_stage(clouds, jnp.zeros_like(clouds.time))
    infinity = jnp.full_like(clouds.time, jnp.inf)
    return _Bounds(stage, stage.g, -infinity, infinity)


def _unfinished(settings: _Settings, bounds: _Bounds) -> Bool[Array, ""]:
    roundoff = float(jnp.finfo(bounds.lower.dtype).eps)
    warm = bounds.stage.viscosity > _LEAST_TEMPERATURE * roundoff * settings.clouds.largest_cost
    return ~bounds.met(settings) & warm & (bounds.stage.steps < settings.max_steps)


def _next(settings: _Settings, bounds: _Bounds) -> _Bounds:
    clouds = settings.clouds
    stage = next_stage(clouds, bounds.stage, jnp.zeros_like(clouds.time), None, settings.max_steps)
    costs = clouds.costs
    upper = jnp.sum(_coupling(clouds, costs, stage) * costs)
    g, lower = bounds.g, bounds.lower
    for candidate in (stage.g, stage.at_zero()):
        bound = clouds.x_weights @ _transform(costs, candidate) + clouds.y_weights @ candidate
        g, lower = jnp.where(bound > lower, candidate, g), jnp.fmax(bound, lower)
    return _Bounds(stage, g, lower, upper)


def _transform(costs: Float[Array, "N M"], g: Float[Array, " M"]) -> Float[Array, " N"]:
    """The c-transform, from the costs at hand."""
    return jnp.min(costs - g[None, :], axis=1)


def _coupling(clouds: Clouds, costs: Float[Array, "N M"], stage: Stage) -> Float[Array, "N M"]:
    """The entropic coupling, made to meet both marginals: columns are cut to size, and what is missing is spread."""
    a, b = clouds.x_weights, clouds.y_weights
    P = a[:, None] * dual(clouds, costs, stage.g, stage.viscosity).laws
    P = P * jnp.minimum(1, b / jnp.maximum(jnp.sum(P, axis=0), float(jnp.finfo(b.dtype).tiny)))[None, :]
    rows, columns = (jnp.maximum(lack, 0) for lack in (a - jnp.sum(P, axis=1), b - jnp.sum(P, axis=0)))
    missing = jnp.sum(columns)
    return P + rows[:, None] * columns[None, :] / jnp.where(missing > 0, missing, 1)


@eqx.filter_jit
def _plan(transport: PointCloudTransport, settings: _Settings, bounds: _Bounds) -> TransportPlan:
    fixed, clouds = settings.clouds, transport.clouds
    coupling = _coupling(fixed, fixed.costs, bounds.stage)
    f = _transform(fixed.costs, bounds.g)
    # Danskin: the cost moves with the points as the coupling stands still, with the masses as the potentials do.
    cost = jnp.sum(coupling * clouds.costs)
    cost = cost + f @ (clouds.x_weights - fixed.x_weights) + bounds.g @ (clouds.y_weights - fixed.y_weights)
    result = RESULTS.where(bounds.met(settings), RESULTS.successful, RESULTS.transport_not_converged)
    return TransportPlan(
        transport, coupling, f, bounds.g, cost, bounds.lower, bounds.stage.viscosity, bounds.stage.steps, result
    )
