r"""The characteristic through a point from both ends: Hopf's and Lax's formulas as bounds of each other."""

from collections.abc import Callable
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from hjpde._types import Point, Scalar

from ._convex_parts import DatumParts, PlainParts, RadialParts
from ._starting_points import seems_convex, seems_convex_by_coordinates, seems_separable, starting_points
from ._subdifferential import AbstractGraph


class Ends(NamedTuple):
    r"""A start `y` with a co-state $s \in \partial g(y)$, and a start $w = x - tv$ with $v \in \partial H(q)$.

    On the characteristic through `x`, $y = w$ and $s = q$. Whatever the four, with
    $\ell(y, p) = p \cdot (x - y) + g(y) - t\,H(p)$, Fenchel's equalities give

    $$\ell(y, s) = s \cdot x - g^*(s) - t\,H(s) \le u \le g(w) + t\,L((x - w)/t) = \ell(w, q),$$

    the left side where `g` is convex, the right side where `H` is. If `s` is `q`, the gap is Bregman's distance
    $g(w) - g(y) - s \cdot (w - y)$.

    ??? cite "References"

        R. T. Rockafellar, *Convex Analysis*, Princeton, 1970, Theorem 23.5 (Fenchel's equality).

        J. Darbon and S. Osher, *Algorithms for overcoming the curse of dimensionality for certain Hamilton-Jacobi
        equations arising in control theory and elsewhere*, Res. Math. Sci. 3:19, 2016.
    """

    y: Point
    s: Point
    w: Point
    q: Point


def lagrangian(g: Callable, H: Callable, t: Scalar, x: Point, y: Point, p: Point) -> Scalar:
    r"""$\ell(y, p)$; at a saddle its partial derivatives in `t`, `x` and all parameters are those of `u`."""
    return p @ (x - y) + g(y) - t * H(p)


def closes(value: Scalar, gap: Scalar) -> Bool[Array, ""]:
    """Whether a gap counts as none: below half the square root of the roundoff, relative to 1 or the value."""
    return gap <= 0.5 * jnp.finfo(value.dtype).eps ** 0.5 * jnp.maximum(1, jnp.abs(value))


@final
class Saddle(eqx.Module):
    r"""The saddle of $\ell$ for one point `x` and time `t`: both graphs, and the points at which things are tried."""

    g: DatumParts
    H: Callable[[Point], Scalar]
    t: Scalar
    x: Point
    datum_graph: AbstractGraph
    momentum_graph: AbstractGraph
    tried: Float[Array, "K d"]
    datum_scale: Scalar
    momentum_scale: Scalar
    convex: Bool[Array, ""]
    graph_holds: Bool[Array, ""]

    def __init__(
        self,
        g: DatumParts,
        H: Callable[[Point], Scalar],
        momentum: RadialParts | PlainParts,
        t: Scalar,
        x: Point,
    ):
        self.g, self.H, self.t, self.x = g, H, t, x
        slope = _finite(jax.grad(g.function)(x))
        velocity = _finite(jax.grad(H)(slope))
        steep, fast, far = _length(slope), _length(velocity), _length(x)
        # The Hamiltonian's stiffness makes starts and co-states comparable.
        stiffness = jnp.where((steep > 0) & (fast > 0), fast / jnp.where(steep > 0, steep, 1), 1)
        step = g.shortened(t * stiffness)
        self.datum_graph, self.momentum_graph = g.graph(step), momentum.graph(t / step)
        reach = jnp.maximum(t * fast, far / 3)
        reach = jnp.where(reach > 0, reach, 1)
        self.tried = starting_points(x, x - t * velocity, reach)
        self.datum_scale, self.momentum_scale = reach + far, steep + reach / step
        self.convex = self.graph_holds = g.convex
        if g.kind == "plain":
            separable = seems_separable(g.function, x, reach)
            self.graph_holds = separable & seems_convex_by_coordinates(g.function, x, reach)
            self.convex = jnp.where(separable, self.graph_holds, seems_convex(g.function, x, reach))

    def from_datum(self, z: Point) -> Ends:
        y, s = self.datum_graph.element(z)
        q, v = self.momentum_graph.element(s + self.momentum_graph.step * (self.x - y) / self.t)
        return Ends(y, s, self.x - self.t * v, q)

    def from_momentum(self, z: Point) -> Ends:
        q, v = self.momentum_graph.element(z)
        w = self.x - self.t * v
        return Ends(w, jax.grad(self.g.function)(w), w, q)

    def ell(self, y: Point, p: Point) -> Scalar:
        return lagrangian(self.g.function, self.H, self.t, self.x, y, p)

    def upper(self, ends: Ends) -> Scalar:
        """Lax's bound, infinite where it is no number."""
        value = self.ell(ends.w, ends.q)
        return jnp.where(jnp.isnan(value), jnp.inf, value)

    def lower(self, ends: Ends) -> Scalar:
        r"""Hopf's bound where `g` is convex, $-\infty$ where it is not or the bound is no number."""
        value = self.ell(ends.y, ends.s)
        return jnp.where(self.convex & ~jnp.isnan(value), value, -jnp.inf)


def _length(v: Point) -> Scalar:
    return jnp.sqrt(jnp.sum(v * v))


def _finite(v: Point) -> Point:
    return jnp.where(jnp.all(jnp.isfinite(v)), v, 0)
