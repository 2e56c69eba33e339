r"""Newton's method for the dual of entropic transport, followed from high temperatures to low ones.

With `f` eliminated by its own Hopf-Cole flow the dual $J(g) = a \cdot f(g) + b \cdot g$ is concave in `g`. Its gradient
is what the second marginal lacks, $b - P^\top 1$, and $-\varepsilon D^2J = \mathrm{diag}(P^\top 1) - P^\top
\mathrm{diag}(a)^{-1} P$ is the Laplacian of a graph: its kernel are the constants, by which potentials are free.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import lineax
from jaxtyping import Array, Float, Int

from hjpde._types import Scalar

from ._clouds import Clouds

_ARMIJO = 0.1
_LEAST_STEP = 2.0**-30
_LEAST_MASS = 1e-3
_DAMPING = 1e-3
HALVING = 0.5
"""By what the temperature falls from one stage to the next."""


class Dual(NamedTuple):
    r"""The dual at one `g`: $f$, the conditional laws $P_{ij}/a_i$, the value, and what the marginal lacks."""

    f: Float[Array, " N"]
    laws: Float[Array, "N M"]
    value: Scalar
    missing: Float[Array, " M"]

    @property
    def error(self) -> Scalar:
        """The misplaced mass, twice the total variation of the second marginal; the first one is exact."""
        return jnp.sum(jnp.abs(self.missing))


class Stage(NamedTuple):
    """The potential at one temperature, and at the one before."""

    g: Float[Array, " M"]
    before: Float[Array, " M"]
    viscosity: Scalar
    steps: Int[Array, ""]
    error: Scalar

    def at_zero(self) -> Float[Array, " M"]:
        r"""`g` extrapolated to $\varepsilon = 0$: but for terms that vanish exponentially it is affine there."""
        return self.g + (self.g - self.before) * HALVING / (1 - HALVING)


def dual(clouds: Clouds, costs: Float[Array, "N M"], g: Float[Array, " M"], viscosity: Scalar) -> Dual:
    """The dual at `g`, with `f` by the flow from there."""
    scores = (g[None, :] - costs) / viscosity + jnp.log(clouds.y_weights)[None, :]
    logs = jax.nn.logsumexp(scores, axis=1)
    laws = jnp.exp(scores - logs[:, None])
    f = -viscosity * logs
    value = clouds.x_weights @ f + clouds.y_weights @ g
    return Dual(f, laws, value, clouds.y_weights - clouds.x_weights @ laws)


def attainable_error(clouds: Clouds, viscosity: Scalar) -> Scalar:
    r"""The marginal error that rounding leaves: that of costs in units of $\varepsilon$."""
    roundoff = float(jnp.finfo(viscosity.dtype).eps)
    return 1e3 * roundoff + 10 * roundoff * clouds.largest_cost / viscosity


def first_stage(clouds: Clouds, least: Scalar) -> Stage:
    """Before any step; the first temperature is the largest cost, where the coupling is all but independent."""
    g = jnp.zeros_like(clouds.y_weights)
    viscosity = jnp.maximum(clouds.largest_cost, least) / HALVING
    return Stage(g, g, viscosity, jnp.asarray(0), jnp.asarray(jnp.inf, g.dtype))


def next_stage(
    clouds: Clouds, stage: Stage, least: Scalar, tolerance: Scalar | None, max_steps: Int[Array, ""]
) -> Stage:
    r"""The potential at half the temperature, or at `least` if that is higher.

    Potentials are affine in $\varepsilon$ but for terms that vanish exponentially, so the start is extrapolated.

    **Arguments:**

    - `tolerance`: the error at which the stage ends; `None` for what rounding allows at its temperature.
    """
    viscosity = jnp.maximum(stage.viscosity * HALVING, least)
    start = stage.g + jnp.where(viscosity > least, (stage.g - stage.before) * HALVING, 0)
    wanted = attainable_error(clouds, viscosity) if tolerance is None else tolerance
    g, steps, error = _newton(clouds, start, viscosity, wanted, max_steps - stage.steps)
    return Stage(g, stage.g, viscosity, stage.steps + steps, error)


def newton_step(
    clouds: Clouds, now: Dual, viscosity: Scalar, missing: Float[Array, " M"] | None = None
) -> Float[Array, " M"]:
    """Newton's step, damped by the error so that parts of the graph that hardly touch stay where they are.

    **Arguments:**

    - `missing`: in place of `now.missing`.
    """
    missing = now.missing if missing is None else missing
    roundoff = float(jnp.finfo(missing.dtype).eps)
    mass = clouds.y_weights - now.missing
    scale = jnp.sqrt(jnp.maximum(mass, _LEAST_MASS * clouds.y_weights))
    rows = jnp.sqrt(clouds.x_weights)[:, None] * now.laws / scale[None, :]
    damping = 10 * roundoff + _DAMPING * now.error
    # The last term fixes the free constant: its weighted mean stays.
    matrix = jnp.diag(mass / scale**2 + damping) - rows.T @ rows + jnp.outer(scale, scale)
    operator = lineax.MatrixLinearOperator(matrix, lineax.positive_semidefinite_tag)
    solution = lineax.linear_solve(operator, missing / scale, lineax.Cholesky(), throw=False)
    return viscosity * solution.value / scale


def _newton(
    clouds: Clouds,
    g: Float[Array, " M"],
    viscosity: Scalar,
    tolerance: Scalar,
    max_steps: Int[Array, ""],
) -> tuple[Float[Array, " M"], Int[Array, ""], Scalar]:
    """Newton's method with backtracking at one temperature: `g`, the steps, the error."""
    costs = clouds.costs

    def go_on(carry):
        _, now, steps, moved = carry
        return (now.error > tolerance) & (steps < max_steps) & moved

    def step(carry):
        g, now, steps, _ = carry
        direction = newton_step(clouds, now, viscosity)
        length = _backtrack(clouds, costs, g, direction, now, viscosity)
        g = g + length * direction
        return g, dual(clouds, costs, g, viscosity), steps + 1, length > _LEAST_STEP

    start = (g, dual(clouds, costs, g, viscosity), jnp.zeros_like(max_steps), jnp.asarray(True))
    g, now, steps, _ = jax.lax.while_loop(go_on, step, start)
    return g, steps, now.error


def _backtrack(
    clouds: Clouds,
    costs: Float[Array, "N M"],
    g: Float[Array, " M"],
    direction: Float[Array, " M"],
    now: Dual,
    viscosity: Scalar,
) -> Scalar:
    """The longest step, halved until the dual rises as Armijo asks."""
    slope = now.missing @ direction
    slack = 10 * float(jnp.finfo(g.dtype).eps) * (jnp.abs(now.value) + jnp.max(jnp.abs(g)))

    def too_long(length):
        risen = dual(clouds, costs, g + length * direction, viscosity).value
        return ~(risen >= now.value + _ARMIJO * length * slope - slack) & (length > _LEAST_STEP)

    return jax.lax.while_loop(too_long, lambda length: length / 2, jnp.ones_like(viscosity))
