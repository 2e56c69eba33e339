"""What a Hamiltonian is, and what some know of themselves."""

import abc
from typing import Literal, Protocol, runtime_checkable

import equinox as eqx
from jaxtyping import Array, Float

from hjpde._sets import Box
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


@runtime_checkable
class HasSpeedBound(Protocol):
    r"""A Hamiltonian that bounds its speeds $|\partial H/\partial p_i|$ in closed form."""

    def speed_bound(self, t: ScalarLike, x: Point, box: Box) -> Float[Array, " d"]:
        r"""An upper bound of $\max_{p \in \text{box}} |\partial H/\partial p_i(t, x, p)|$, shape `(d,)`.

        In units of `x` per unit of time; rigorous up to rounding.

        **Arguments:**

        - `t`: time.
        - `x`: position, shape `(d,)`.
        - `box`: the co-states, a `Box` of dimension `d`.
        """
        ...


@runtime_checkable
class HasGodunov(Protocol):
    r"""A Hamiltonian that knows its Godunov form: the exact upwind value between two one-sided derivatives.

    For $u_t + H = 0$ it takes along every axis the minimum of `H` over $[p^-, p^+]$ if $p^- \le p^+$, and the
    maximum over $[p^+, p^-]$ otherwise; it is monotone and the least dissipative of all monotone forms.

    ??? cite "References"

        M. Bardi and S. Osher, *The nonconvex multidimensional Riemann problem for Hamilton-Jacobi equations*,
        SIAM Journal on Mathematical Analysis 22 (1991), 344-351.
    """

    def why_not_godunov(self) -> str | None:
        """Why `godunov` does not apply to this member, or `None`."""
        ...

    def godunov(self, t: ScalarLike, x: Point, left: Float[Array, " d"], right: Float[Array, " d"]) -> Scalar:
        """The Godunov Hamiltonian at one point.

        **Arguments:**

        - `t`: time.
        - `x`: position, shape `(d,)`.
        - `left`: the derivatives from the left, shape `(d,)`.
        - `right`: the derivatives from the right, shape `(d,)`.
        """
        ...


@runtime_checkable
class HasSeparableLagrangian(Protocol):
    r"""A convex Hamiltonian that is a sum over the axes, $H(p) = \sum_i h_i(p_i)$, and its conjugate with it,
    $L(v) = \sum_i L_i(v_i)$, so that Hopf's and Lax's minimum may be taken along one axis after the other.

    The functions of one axis are evaluated elementwise, on arrays of any shape.

    ??? cite "References"

        R. T. Rockafellar, *Convex Analysis*, Princeton University Press, 1970, Section 16: the conjugate of a
        separable sum.
    """

    def why_not_separable(self, dim: int) -> str | None:
        """Why this member is no such sum in `dim` dimensions, or `None`."""
        ...

    def hamiltonian_along(self, axis: int, p: Float[Array, "..."]) -> Float[Array, "..."]:
        r"""$h_i(p)$ for $i$ = `axis`, elementwise."""
        ...

    def lagrangian_along(self, axis: int, v: Float[Array, "..."]) -> Float[Array, "..."]:
        r"""$L_i(v) = h_i^*(v)$ for $i$ = `axis`, elementwise; $+\infty$ outside of `velocities_along`."""
        ...

    def velocities_along(self, axis: int) -> tuple[ScalarLike, ScalarLike]:
        """The ends of the closed interval where $L_i$ is finite, infinite where it is not bounded."""
        ...
