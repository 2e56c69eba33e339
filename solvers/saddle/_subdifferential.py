"""The graphs of subdifferentials, as surfaces without kinks."""

import abc
from collections.abc import Callable
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._types import Point, Scalar

from ._proximal_map import proximal_map_of_norm, proximal_map_of_separable

Pair = tuple[Float[Array, " d"], Float[Array, " d"]]
"""A point and a subgradient there."""


class AbstractGraph(eqx.Module):
    r"""The graph $\{(y, s) : s \in \partial f(y)\}$ of a convex `f`, in one-to-one correspondence with the points `z`.

    Every element that it returns is one to rounding, so that Fenchel's equality $f^*(s) = s \cdot y - f(y)$ holds
    there and bounds $f^*$.

    ??? cite "References"

        G. J. Minty, *Monotone (nonlinear) operators in Hilbert space*, Duke Math. J. 29, 1962: $z = y + \tau s$.
    """

    step: eqx.AbstractVar[Scalar]
    r"""$\tau$; 0 where the graph has no kinks and `z` is `y`."""

    @abc.abstractmethod
    def element(self, z: Point) -> Pair:
        """The point and the subgradient that belong to `z`."""

    @abc.abstractmethod
    def lift(self, y: Point, s: Point) -> Point:
        """The `z` that an element belongs to."""


@final
class SmoothGraph(AbstractGraph):
    r"""$z \mapsto (z, \nabla f(z))$."""

    function: Callable[[Point], Scalar]
    step: Scalar

    def __init__(self, function: Callable[[Point], Scalar], dtype: jnp.dtype):
        self.function, self.step = function, jnp.zeros((), dtype)

    def element(self, z: Point) -> Pair:
        return z, jax.grad(self.function)(z)

    def lift(self, y: Point, s: Point) -> Point:
        del s
        return y


@final
class SeparableGraph(AbstractGraph):
    r"""$f(y) = \sum_i f_i(y_i)$, its kinks met exactly by bisection of the derivative in all coordinates at once."""

    function: Callable[[Point], Scalar]
    step: Scalar

    def element(self, z: Point) -> Pair:
        return proximal_map_of_separable(self.function, self.step, z)

    def lift(self, y: Point, s: Point) -> Point:
        return y + self.step * s


@final
class NormGraph(AbstractGraph):
    r"""$f(y) = f_0(y) + c\,|y|_q$ with a quadratic $f_0$: $z = y + \tau r$ with `r` a subgradient of the norm."""

    smooth: Callable[[Point], Scalar]
    scale: Scalar
    order: str = eqx.field(static=True)
    step: Scalar

    def element(self, z: Point) -> Pair:
        y = proximal_map_of_norm(self.order, self.step * self.scale, z)
        return y, (z - y) / self.step + jax.grad(self.smooth)(y)

    def lift(self, y: Point, s: Point) -> Point:
        return y + self.step * (s - jax.grad(self.smooth)(y))


@final
class RadialGraph(AbstractGraph):
    r"""$f(q) = q^\top A q + c\,|q| + \sum_k |q|^{e_k}/e_k$, whose proximal map is the root of one scalar equation.

    In the eigenbasis of `A`, with $r = |q|$ and $\varphi'(r) = c + \sum_k r^{e_k - 1}$,
    $((1 + 2\sigma\lambda_i)\,r + \sigma\varphi'(r))\,q_i = r z_i$: the secular equation of trust regions.

    ??? cite "References"

        A. R. Conn, N. I. M. Gould and P. L. Toint, *Trust-Region Methods*, SIAM, 2000, Section 7.3.
    """

    eigenvalues: Float[Array, " d"]
    eigenvectors: Float[Array, "d d"] | None
    speed: Scalar
    exponents: tuple[Scalar, ...]
    step: Scalar

    def element(self, z: Point) -> Pair:
        rotated = z if self.eigenvectors is None else self.eigenvectors.T @ z
        q = self._shrunk(rotated)
        q = q if self.eigenvectors is None else self.eigenvectors @ q
        return q, (z - q) / self.step

    def lift(self, y: Point, s: Point) -> Point:
        return y + self.step * s

    def _radial_slope(self, r: Scalar) -> Scalar:
        return self.speed + sum((r ** (e - 1) for e in self.exponents), start=jnp.zeros_like(r))

    def _shrunk(self, z: Point) -> Point:
        stretches = 1 + 2 * self.step * self.eigenvalues
        fixed = jax.lax.stop_gradient(z)
        length = jnp.sqrt(jnp.sum(fixed * fixed))
        at_rest = length <= self.step * self.speed

        def excess(r: Scalar, z: Point) -> Scalar:
            return jnp.sum((z / (stretches * r + self.step * self._radial_slope(r))) ** 2) - 1

        def halve(_, bracket):
            low, high = bracket
            middle = (low + high) / 2
            beyond = excess(middle, fixed) < 0
            return jnp.where(beyond, low, middle), jnp.where(beyond, middle, high)

        halvings = jnp.finfo(z.dtype).nmant + 8
        r = jnp.where(at_rest, 1, jax.lax.fori_loop(0, halvings, halve, (jnp.zeros_like(length), length))[1])
        # One step of Newton's method is the implicit function theorem, and the last digits.
        r = r - excess(r, jnp.where(at_rest, jnp.ones_like(z), z)) / jax.lax.stop_gradient(jax.grad(excess)(r, fixed))
        q = z * r / (stretches * r + self.step * self._radial_slope(r))
        return jnp.where(at_rest, 0, q)
