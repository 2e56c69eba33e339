"""Fifty dimensions: a quadratic form and a norm, both in the Hamiltonian and in the datum."""

from collections.abc import Callable
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from hjpde._problem import InitialValueProblem
from hjpde._types import Point, Scalar, ScalarLike
from hjpde.hamiltonians import AbstractHamiltonian, Eikonal, MomentumFunction, Quadratic, SumOfHamiltonians
from hjpde.initial_data import Norm, QuadraticForm, SumOfData

from ._abstract import AbstractExactProblem

_NORM = 0.5
_MOST_STEPS = 100
_LEAST_LENGTH = 2.0**-40


@final
class QuadraticPlusNorm(AbstractExactProblem):
    r"""$H = p^\top A p + |p|$ with a dense `A` and $g = \tfrac12 |x|_1 + \tfrac12 x^\top D x$ with a diagonal `D`.

    Both are convex, and neither is smooth. By Hopf's formula

    $$u(t, x) = \max_p\; p \cdot x - g^*(p) - t\,H(p), \qquad
      g^*(p) = \sum_i \frac{\max(|p_i| - \tfrac12, 0)^2}{2 D_i}.$$

    The maximum is unique. It lies at $p = 0$ if $|x| \le t$, where $u = 0$; elsewhere what is maximised is smooth
    about it but for jumps of the second derivative at $|p_i| = \tfrac12$, and Newton's method ends after a few steps,
    to rounding. That is the reference: computed for each point on its own, by no solver of the package.

    ??? cite "References"

        J. Darbon and S. Osher, *Algorithms for overcoming the curse of dimensionality for certain Hamilton-Jacobi
        equations arising in control theory and elsewhere*, Res. Math. Sci. 3:19, 2016.

        L. Qi and J. Sun, *A nonsmooth version of Newton's method*, Math. Program. 58, 1993.
    """

    A: Float[Array, "d d"]
    D: Float[Array, " d"]
    structured: bool = eqx.field(static=True)

    def __init__(self, dim: int = 50, structured: bool = True):
        r"""**Arguments:**

        - `dim`: $d \ge 1$; the eigenvalues of `A` run from 0.3 to 2, the diagonal of `D` from 0.2 to 3.
        - `structured`: whether datum and Hamiltonian are sums whose parts know their kinks, or plain functions of
          which a solver knows nothing but that the Hamiltonian is convex.

        **Raises:** `ValueError` if it is less.
        """
        if dim < 1:
            raise ValueError(f"`dim` must be at least 1, got {dim}.")
        dtype, random = jnp.result_type(float), np.random.default_rng(5)
        axes, _ = np.linalg.qr(random.normal(size=(dim, dim)))
        A = (axes * np.linspace(0.3, 2.0, dim)) @ axes.T
        self.A = jnp.asarray((A + A.T) / 2, dtype)
        self.D = jnp.asarray(random.permutation(np.linspace(0.2, 3.0, dim)), dtype)
        self.structured = structured

    @property
    def problem(self) -> InitialValueProblem:
        return InitialValueProblem(self.datum, self.hamiltonian)

    @property
    def datum(self) -> Callable:
        """`g`, as `structured` asks."""
        if self.structured:
            return SumOfData(QuadraticForm(jnp.diag(self.D)), Norm(1, _NORM))
        return eqx.Partial(_datum, self)

    @property
    def hamiltonian(self) -> AbstractHamiltonian:
        """`H`, as `structured` asks."""
        if self.structured:
            return SumOfHamiltonians(Quadratic(self.A), Eikonal())
        return MomentumFunction(eqx.Partial(_energy, self), "convex")

    def __call__(self, t: ScalarLike, x: Point) -> Scalar:
        t = jnp.asarray(t, x.dtype)
        positive = t > 0
        p = self.costate(jnp.where(positive, t, 1), x)
        value = p @ x - self._conjugate(p) - t * _energy(self, p)
        return jnp.where(positive, value, _datum(self, x))

    def costate(self, t: ScalarLike, x: Point) -> Float[Array, " d"]:
        r"""$\nabla u(t, x)$, the maximiser in Hopf's formula, for $t > 0$."""
        t, (A, D) = jnp.asarray(t, x.dtype), (self.A.astype(x.dtype), self.D.astype(x.dtype))
        squared = x @ x
        inside = squared <= t**2
        # Where the maximiser is 0 any other point will do; it is not used.
        x = jnp.where(inside, jnp.zeros_like(x).at[0].set(2 * t), x)
        fixed = jax.lax.stop_gradient(_Ascent(A, D, t, x))
        p = jax.lax.stop_gradient(fixed.maximiser())
        # One more step, whose derivatives are those of the maximiser; its value is rounding.
        step = jnp.linalg.solve(jax.lax.stop_gradient(fixed.bend(p)), _Ascent(A, D, t, x).slope(p))
        return jnp.where(inside, 0, p + step - jax.lax.stop_gradient(step))

    def _conjugate(self, p: Float[Array, " d"]) -> Scalar:
        return jnp.sum(jnp.maximum(jnp.abs(p) - _NORM, 0) ** 2 / self.D.astype(p.dtype)) / 2


def _datum(problem: QuadraticPlusNorm, x: Point) -> Scalar:
    return _NORM * jnp.sum(jnp.abs(x)) + jnp.sum(problem.D.astype(x.dtype) * x**2) / 2


def _energy(problem: QuadraticPlusNorm, p: Float[Array, " d"]) -> Scalar:
    squared = p @ p
    at_zero = squared == 0
    length = jnp.where(at_zero, 0, jnp.sqrt(jnp.where(at_zero, 1, squared)))
    return p @ problem.A.astype(p.dtype) @ p + length


class _Ascent(eqx.Module):
    """What Hopf's formula maximises, at one time and one point outside the ball of radius `t`, and how."""

    A: Float[Array, "d d"]
    D: Float[Array, " d"]
    t: Scalar
    x: Point

    def value(self, p: Float[Array, " d"]) -> Scalar:
        excess = jnp.maximum(jnp.abs(p) - _NORM, 0)
        return p @ self.x - jnp.sum(excess**2 / self.D) / 2 - self.t * (p @ self.A @ p + jnp.sqrt(p @ p))

    def slope(self, p: Float[Array, " d"]) -> Float[Array, " d"]:
        excess = jnp.sign(p) * jnp.maximum(jnp.abs(p) - _NORM, 0)
        return self.x - excess / self.D - self.t * (2 * self.A @ p + p / jnp.sqrt(p @ p))

    def bend(self, p: Float[Array, " d"]) -> Float[Array, "d d"]:
        """Minus the second derivative, positive definite."""
        squared = p @ p
        round_part = jnp.eye(p.shape[0], dtype=p.dtype) - jnp.outer(p, p) / squared
        beyond = jnp.where(jnp.abs(p) > _NORM, 1 / self.D, 0)
        return jnp.diag(beyond) + self.t * (2 * self.A + round_part / jnp.sqrt(squared))

    def start(self) -> Float[Array, " d"]:
        """Along `x`, so short that the value is above that at 0, to which the ascent then cannot return."""
        length = jnp.sqrt(self.x @ self.x)
        direction = self.x / length
        bend = 2 * self.t * (direction @ self.A @ direction) + 1 / jnp.min(self.D)
        return (length - self.t) / bend * direction

    def maximiser(self) -> Float[Array, " d"]:
        """By Newton's method, each step halved until the value rises; ends where rounding lets it rise no more."""

        def go_on(carry):
            _, steps, moved = carry
            return moved & (steps < _MOST_STEPS)

        def step(carry):
            p, steps, _ = carry
            slope = self.slope(p)
            direction = jnp.linalg.solve(self.bend(p), slope)
            length = self._rise(p, direction, slope @ direction)
            roundoff = float(jnp.finfo(p.dtype).eps)
            small = jnp.max(jnp.abs(length * direction)) <= 4 * roundoff * jnp.max(jnp.abs(p))
            return p + length * direction, steps + 1, ~small & (length > _LEAST_LENGTH)

        return jax.lax.while_loop(go_on, step, (self.start(), jnp.asarray(0), jnp.asarray(True)))[0]

    def _rise(self, p: Float[Array, " d"], direction: Float[Array, " d"], slope: Scalar) -> Scalar:
        now = self.value(p)
        slack = 4 * float(jnp.finfo(p.dtype).eps) * (jnp.abs(now) + jnp.abs(p) @ jnp.abs(self.x))

        def too_long(length: Scalar) -> Bool[Array, ""]:
            risen = self.value(p + length * direction)
            return ~(risen >= now + 0.1 * length * slope - slack) & (length > _LEAST_LENGTH)

        return jax.lax.while_loop(too_long, lambda length: length / 2, jnp.ones_like(self.t))
