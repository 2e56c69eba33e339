"""Entropic optimal transport: a pair of Hopf-Cole flows between two point clouds."""

import math
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from hjpde._solution import RESULTS, Solution
from hjpde._solve import SolveError, solve
from hjpde._types import ArrayInput, Point, Scalar, ScalarLike, is_concrete, positive_viscosity
from hjpde.hamiltonians import AbstractHamiltonian, Quadratic
from hjpde.solvers import HopfCole

from ._clouds import Clouds, as_clouds
from ._dual_newton import Stage, attainable_error, dual, first_stage, newton_step, next_stage
from ._sinkhorn import Settings, sinkhorn
from ._staged_loop import staged_loop


@final
class EntropicTransport(eqx.Module):
    r"""Transport between two clouds with entropy: of all couplings `P` of the masses $a_i$ at $x_i$ and $b_j$ at $y_j$,

    $$\min_P\; \sum_{ij} P_{ij}\, c(x_i, y_j) + \varepsilon \sum_{ij} P_{ij} \log \frac{P_{ij}}{a_i b_j}, \qquad
      c(x, y) = \frac{(x - y)^\top A^{-1} (x - y)}{4t}.$$

    The best coupling is $P_{ij} = a_i b_j \exp((f_i + g_j - c_{ij})/\varepsilon)$, where each potential is carried to
    the other cloud by a viscous Hamilton-Jacobi equation, $u_\tau + \nabla u^\top A \nabla u = \varepsilon\,
    \mathrm{tr}(A D^2 u)$ up to the time `t`, without the constant of the heat kernel:

    - `f` is the solution at $x_i$ from point masses at $y_j$ of heights $-g_j - \varepsilon \log b_j$,
    - `g` is the solution at $y_j$ from point masses at $x_i$ of heights $-f_i - \varepsilon \log a_i$.

    Solving the two in turn is Sinkhorn's algorithm. As $\varepsilon \to 0$ the flows become those of Hopf and Lax, and
    the problem `PointCloudTransport`.

    ??? cite "References"

        M. Cuturi, *Sinkhorn distances: lightspeed computation of optimal transport*, NeurIPS 2013.

        G. Peyre and M. Cuturi, *Computational optimal transport*, Found. Trends Mach. Learn. 11, 2019, Sections 4.1
        to 4.4.

        C. Leonard, *A survey of the Schrodinger problem and some of its connections with optimal transport*, Discrete
        Contin. Dyn. Syst. 34, 2014.
    """

    clouds: Clouds
    viscosity: Scalar

    def __init__(
        self,
        x: ArrayInput,
        y: ArrayInput,
        viscosity: ScalarLike,
        x_weights: ArrayInput | None = None,
        y_weights: ArrayInput | None = None,
        *,
        time: ScalarLike = 0.5,
        hamiltonian: AbstractHamiltonian = Quadratic(),
    ):
        r"""**Arguments:**

        - `x`, `y`: the points, shapes `(N, d)` and `(M, d)`.
        - `viscosity`: $\varepsilon > 0$, in units of the cost.
        - `x_weights`, `y_weights`: the masses $a_i$ and $b_j$, positive, shapes `(N,)` and `(M,)`, scaled to the sum 1;
          by default uniform.
        - `time`: $t > 0$; by default 1/2, for the cost $|x - y|^2/2$.
        - `hamiltonian`: a `hjpde.Quadratic`, $p^\top A p$; by default $A = I$.

        **Raises:** `ValueError` if the shapes disagree, a number is not finite, or a weight, `time` or `viscosity` is
        not positive.
        """
        self.clouds = as_clouds(x, y, x_weights, y_weights, time, hamiltonian)
        self.viscosity = positive_viscosity(viscosity, self.clouds.x.dtype)

    def solve(
        self,
        method: str = "newton",
        *,
        tolerance: float | None = None,
        max_steps: int = 10_000,
        throw: bool = True,
        progress: bool = False,
    ) -> "EntropicPlan":
        r"""The potentials, by halving the temperature from the largest cost down to $\varepsilon$.

        **Arguments:**

        - `method`: "newton" for Newton's method on the dual: a few steps at every temperature, however low, each with a
          linear system of `M` unknowns; "sinkhorn" for the two flows in turn: memory $O(N + M)$, but the more sweeps
          the lower $\varepsilon$, of order $\max c/\varepsilon$ and more.
        - `tolerance`: the mass that the second marginal may miss, summed over the cloud; the first one is exact.
          `None` is what rounding allows: 2e-13 and a few units in the last place of $\max c/\varepsilon$.
        - `max_steps`: Newton steps, or sweeps, over all temperatures.
        - `throw`: whether a failure raises; otherwise `EntropicPlan.result` says how it ended.
        - `progress`: whether to show a bar.

        **Returns:** an `EntropicPlan`; differentiable once in points, weights, `time` and `viscosity`.

        **Raises:** `ValueError` if an option is out of range; `hjpde.SolveError` if the marginals are not met and
        `throw` is set.
        """
        _check(method, tolerance, max_steps)
        clouds, viscosity = jax.lax.stop_gradient((self.clouds, self.viscosity))
        wanted = _attainable(clouds, viscosity) if tolerance is None else jnp.asarray(tolerance, viscosity.dtype)
        settings = Settings(clouds, viscosity, wanted, jnp.asarray(max_steps))
        g, steps, error = {"newton": _newton_down_to, "sinkhorn": sinkhorn}[method](settings, progress)
        plan = _plan(self, g, error, steps, wanted)
        failed = plan.result != RESULTS.successful
        if throw and is_concrete(failed) and bool(failed):
            raise SolveError(f"EntropicTransport by {method}: {RESULTS[plan.result]}", plan.potential)
        return plan


@final
class EntropicPlan(eqx.Module):
    r"""The solution of an `EntropicTransport`.

    - `f`, `g`: the potentials at $x_i$ and at $y_j$, in units of the cost; a constant may move from one to the other.
    - `marginal_error`: the mass that the second marginal misses, summed over the cloud.
    - `steps`: Newton steps, or sweeps.
    - `result`: how it ended.
    """

    transport: EntropicTransport
    f: Float[Array, " N"]
    g: Float[Array, " M"]
    marginal_error: Scalar
    steps: Int[Array, ""]
    result: RESULTS

    @property
    def coupling(self) -> Float[Array, "N M"]:
        r"""$P_{ij} = a_i b_j \exp((f_i + g_j - c_{ij})/\varepsilon)$."""
        clouds = self.transport.clouds
        scores = (self.f[:, None] + self.g[None, :] - clouds.costs) / self.transport.viscosity
        return clouds.x_weights[:, None] * clouds.y_weights[None, :] * jnp.exp(scores)

    @property
    def value(self) -> Scalar:
        r"""The least value, $\sum_i a_i f_i + \sum_j b_j g_j$: cost and entropy together."""
        return self.transport.clouds.x_weights @ self.f + self.transport.clouds.y_weights @ self.g

    @property
    def cost(self) -> Scalar:
        r"""The cost alone, $\sum_{ij} P_{ij} c_{ij}$."""
        return jnp.sum(self.coupling * self.transport.clouds.costs)

    @property
    def potential(self) -> Solution:
        """The flow from `y` to `x`, a `hjpde.Solution`: at `time` it is `f` at $x_i$, and continues it to all points.

        At other times it is the soft minimum of $c_\\tau(x, y_j) - g_j$ for the cost of that time.
        """
        clouds, viscosity = self.transport.clouds, self.transport.viscosity
        problem = clouds.flow_to_x(self.g, viscosity)
        return solve(problem, clouds.time, HopfCole(normalised=False), throw=False)

    def map(self, x: Point) -> Float[Array, " d"]:
        r"""The mean of where the mass at `x` goes, $x - t\,\nabla H(\nabla u(t, x))$, shape `(d,)`."""
        clouds = self.transport.clouds
        p = self.potential.gradient(clouds.time, x)
        return x - clouds.time * jax.grad(clouds.hamiltonian, argnums=2)(clouds.time, x, p)


def _check(method: str, tolerance: float | None, max_steps: int) -> None:
    if method not in ("newton", "sinkhorn"):
        raise ValueError(f'`method` must be "newton" or "sinkhorn", got {method!r}.')
    if tolerance is not None and not tolerance > 0:
        raise ValueError(f"`tolerance` must be positive, got {tolerance}.")
    if max_steps < 1:
        raise ValueError(f"`max_steps` must be at least 1, got {max_steps}.")


def _newton_down_to(settings: Settings, progress: bool) -> tuple[Float[Array, " M"], Int[Array, ""], Scalar]:
    start = first_stage(settings.clouds, settings.viscosity)
    stage = staged_loop(
        _unfinished,
        _next,
        settings,
        start,
        progress=progress,
        description="temperatures",
        rounds=lambda: math.ceil(math.log2(float(start.viscosity / settings.viscosity))),
    )
    return stage.g, stage.steps, jnp.where(stage.viscosity > settings.viscosity, jnp.inf, stage.error)


def _unfinished(settings: Settings, stage: Stage) -> Bool[Array, ""]:
    return (stage.viscosity > settings.viscosity) & (stage.steps < settings.max_steps)


def _next(settings: Settings, stage: Stage) -> Stage:
    return next_stage(settings.clouds, stage, settings.viscosity, settings.tolerance, settings.max_steps)


_attainable = eqx.filter_jit(attainable_error)


@eqx.filter_jit
def _plan(
    transport: EntropicTransport, g: Float[Array, " M"], error: Scalar, steps: Int[Array, ""], wanted: Scalar
) -> EntropicPlan:
    """With `f` by its flow, and one more Newton step, which carries the derivatives of both potentials."""
    clouds, viscosity = transport.clouds, transport.viscosity
    now = dual(clouds, clouds.costs, g, viscosity)
    step = newton_step(clouds.stopped(), jax.lax.stop_gradient(now), jax.lax.stop_gradient(viscosity), now.missing)
    # Beyond convergence the step is rounding; where it has not converged it would lead astray.
    g = g + step - jax.lax.stop_gradient(step)
    problem = clouds.flow_to_x(g, viscosity)
    f = HopfCole(normalised=False).solve(problem, clouds.time[None], progress=False).batch(clouds.time, clouds.x)
    result = RESULTS.where(error <= wanted, RESULTS.successful, RESULTS.transport_not_converged)
    return EntropicPlan(transport, f, g, error, steps, result)
