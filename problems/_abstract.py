"""What a problem with an exact solution is."""

import abc

import equinox as eqx

from hjpde._problem import InitialValueProblem
from hjpde._types import Point, Scalar, ScalarLike


class AbstractExactProblem(eqx.Module):
    """An initial-value problem and, beside it, its solution in closed form, found without this package's solvers."""

    @property
    @abc.abstractmethod
    def problem(self) -> InitialValueProblem:
        """The problem: what `hjpde.solve` takes."""

    @abc.abstractmethod
    def __call__(self, t: ScalarLike, x: Point) -> Scalar:
        """The exact $u(t, x)$ at one time $t \\ge 0$ and one point `x` of shape `(d,)`."""
