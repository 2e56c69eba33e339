"""What a Hamiltonian is, and what some know of themselves."""

import abc
from typing import Literal

import equinox as eqx
from jaxtyping import Array, Float

from hjpde._types import Point, Scalar, ScalarLike

Curvature = Literal["linear", "convex", "concave", "unknown"]
"""How a Hamiltonian depends on the co-state `p`."""


class AbstractHamiltonian(eqx.Module):
    """A Hamiltonian $H(t, x, p)$, evaluated at one point; batch with `jax.vmap`."""

    @property
    @abc.abstractmethod
    def dim(self) -> int | None:
        """The dimension $d$ of `x` and `p`, or `None` where any dimension will do."""

    @abc.abstractmethod
    def __call__(self, t: ScalarLike, x: Point, p: Float[Array, " d"]) -> Scalar:
        """The value $H(t, x, p)$, in units of `u` per unit of time.

        **Arguments:**

        - `t`: time.
        - `x`: position, shape `(d,)`.
        - `p`: co-state $\\nabla u(t, x)$, shape `(d,)`; units of `u` per unit of `x`.
        """


class AbstractMomentumHamiltonian(AbstractHamiltonian):
    """A Hamiltonian $H(p)$ that depends on the co-state alone: its characteristics are straight lines."""

    @property
    @abc.abstractmethod
    def curvature(self) -> Curvature:
        """Whether `H` is linear, convex, concave, or neither as far as is known."""


class AbstractConvexHamiltonian(AbstractMomentumHamiltonian):
    """A convex Hamiltonian $H(p)$ that knows its conjugate, so that Hopf's and Lax's formulas apply."""

    @abc.abstractmethod
    def lagrangian(self, v: Float[Array, " d"]) -> Scalar:
        r"""The conjugate $L(v) = H^*(v) = \sup_p\, p \cdot v - H(p)$, $+\infty$ outside its domain.

        **Arguments:**

        - `v`: velocity, shape `(d,)`, in units of `x` per unit of time.
        """
