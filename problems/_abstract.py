"""What a worked problem is."""

import abc

import equinox as eqx

from hjpde._problem import InitialValueProblem
from hjpde._types import Point, Scalar, ScalarLike


class AbstractProblem(eqx.Module):
    """An initial-value problem from the literature, on its natural domain."""

    @property
    @abc.abstractmethod
    def problem(self) -> InitialValueProblem:
        """The problem: what `hjpde.solve` takes."""


class AbstractExactProblem(AbstractProblem):
    """An initial-value problem and, beside it, its solution, found without this package's solvers.

    The solution is a closed form, or computed to rounding from one: by a root, a quadrature or a maximum over one
    direction. The class says which. It is evaluated at one point; batch with `jax.vmap`.
    """

    @abc.abstractmethod
    def __call__(self, t: ScalarLike, x: Point) -> Scalar:
        """The exact $u(t, x)$ at one time $t \\ge 0$ and one point `x` of shape `(d,)`."""
