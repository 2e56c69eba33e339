"""The search for the characteristic through a point, and the bounds that say how near it came."""

from collections.abc import Callable
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from hjpde._types import Point, Scalar

from ._convex_parts import DatumParts, PlainParts, RadialParts, plain_datum
from ._newton_descent import newton_descent
from ._saddle import Ends, Saddle, closes


class Found(NamedTuple):
    """The ends with the best bound on either side."""

    ends: Ends
    lower: Scalar
    upper: Scalar

    @property
    def gap(self) -> Float[Array, "*points"]:
        """What the bounds leave open: not negative, and infinite where they contradict each other."""
        gap, size = self.upper - self.lower, jnp.maximum(1, jnp.abs(self.upper))
        honest = gap >= -1e4 * jnp.finfo(gap.dtype).eps * size
        return jnp.where(honest, jnp.maximum(gap, 0), jnp.inf)

    def least(self, other: "Found") -> "Found":
        """Of two functions' bounds, those of their minimum."""
        return self._choose(other, other.lower < self.lower, other.upper < self.upper)

    def better(self, other: "Found") -> "Found":
        """The best of both, bound by bound."""
        return self._choose(other, other.lower > self.lower, other.upper < self.upper)

    def _choose(self, other: "Found", lower: Bool[Array, ""], upper: Bool[Array, ""]) -> "Found":
        mine, others = self.ends, other.ends
        start, costate = (jnp.where(lower, theirs, own) for own, theirs in zip(mine[:2], others[:2], strict=True))
        foot, slope = (jnp.where(upper, theirs, own) for own, theirs in zip(mine[2:], others[2:], strict=True))
        bounds = jnp.where(lower, other.lower, self.lower), jnp.where(upper, other.upper, self.upper)
        return Found(Ends(start, costate, foot, slope), *bounds)


@final
class SaddleSearch(eqx.Module):
    """From the datum's end where its subdifferential is known, and from the Hamiltonian's end where it is not."""

    g: DatumParts
    H: Callable[[Point], Scalar]
    momentum: RadialParts | PlainParts
    t: Scalar
    max_steps: int = eqx.field(static=True)
    branches: Callable[[Point], Float[Array, " K"]] | None
    many_starts: bool = eqx.field(static=True)

    def convex(self, x: Point) -> Found:
        """For a convex `H`, each branch of a minimum alone; where one is not known to be convex, descents go on until
        a gap closes."""
        if self.branches is None:
            return self._one_branch(self.g, x)
        branches, none = self.branches, jnp.full((), jnp.inf, x.dtype)

        def take(least: Found, k: Int[Array, ""]) -> tuple[Found, None]:
            return least.least(self._one_branch(plain_datum(lambda y: branches(y)[k]), x)), None

        count = jax.eval_shape(branches, x).shape[0]
        return jax.lax.scan(take, Found(Ends(x, x, x, x), none, none), jnp.arange(count))[0]

    def _one_branch(self, g: DatumParts, x: Point) -> Found:
        local = Saddle(g, self.H, self.momentum, self.t, x)
        found = self._from_datum(local)
        return self._descents(local, found) if g.kind == "plain" else found

    def ascents(self, x: Point) -> Found:
        """For a convex `g` and any `H`: the highest of many ascents of Hopf's bound, with no upper bound."""
        local = Saddle(self.g, self.H, self.momentum, self.t, x)

        def evaluate(z: Point) -> tuple[Point, Scalar]:
            ends = local.from_datum(z)
            return ends.y - ends.w, -local.ell(ends.y, ends.s)

        def ascend(start: Point) -> Found:
            z = local.datum_graph.lift(start, jax.grad(self.g.function)(start))
            z = self._newton(evaluate, z, local.datum_scale, jnp.asarray(True))
            ends = local.from_datum(z)
            return Found(ends, local.lower(ends), jnp.asarray(jnp.inf, x.dtype))

        reached = jax.lax.map(ascend, local.tried)
        highest = jnp.argmax(reached.lower)
        return jax.tree.map(lambda leaf: leaf[highest], reached)

    def _from_datum(self, local: Saddle) -> Found:
        def evaluate(z: Point) -> tuple[Point, Scalar]:
            ends = local.from_datum(z)
            residual = ends.y - ends.w
            return residual, jnp.sqrt(residual @ residual)

        x = local.x
        start = local.datum_graph.lift(x, jax.grad(local.g.function)(x))
        z = self._newton(evaluate, start, local.datum_scale, local.graph_holds, nonexpansive=True)
        ends = local.from_datum(z)
        lower = jnp.where(local.graph_holds, local.lower(ends), -jnp.inf)
        return Found(ends, lower, local.upper(ends))

    def _descents(self, local: Saddle, found: Found) -> Found:
        """Lax's bound, lowered along the graph of the Hamiltonian's subdifferential from one start after another."""

        def descend(state):
            k, found = state
            still_open, start = unfinished(state), local.tried[k]
            slope = jax.grad(local.g.function)(start)

            def phase(z: Point, aiming: Bool[Array, ""]) -> tuple[Point, None]:
                def evaluate(z: Point) -> tuple[Point, Scalar]:
                    ends = local.from_momentum(z)
                    miss = (start - ends.w) * local.momentum_scale / local.datum_scale
                    merit = jnp.where(aiming, jnp.sqrt(miss @ miss), local.upper(ends))
                    return jnp.where(aiming, miss, ends.q - ends.s), merit

                return self._newton(evaluate, z, local.momentum_scale, still_open), None

            z = local.momentum_graph.lift(slope, jax.grad(self.H)(slope))
            z, _ = jax.lax.scan(phase, z, jnp.asarray([True, False]))
            ends = local.from_momentum(z)
            return k + 1, found.better(Found(ends, local.lower(ends), local.upper(ends)))

        def unfinished(state):
            k, found = state
            return (k < n_starts) & ~closes(found.upper, found.gap)

        n_starts = local.tried.shape[0] if self.many_starts else 2
        return jax.lax.while_loop(unfinished, descend, (0, found))[1]

    def _newton(
        self, evaluate: Callable, start: Point, scale: Scalar, needed: Bool[Array, ""], **options: bool
    ) -> Point:
        return newton_descent(evaluate, start, scale=scale, max_steps=self.max_steps, needed=needed, **options)
