"""What a solver is."""

import abc

import equinox as eqx
from jaxtyping import Array, Float

from hjpde._problem import InitialValueProblem
from hjpde._solution import Solution


class AbstractSolver(eqx.Module):
    """A method for initial-value problems; a user hands one to `hjpde.solve`."""

    @abc.abstractmethod
    def why_not(self, problem: InitialValueProblem) -> str | None:
        """Why the method does not apply to this problem, in a sentence, or `None` where it does."""

    @abc.abstractmethod
    def solve(self, problem: InitialValueProblem, ts: Float[Array, " T"], *, progress: bool) -> Solution:
        """The solution for the increasing times `ts`; `progress` shows a bar where the work is long."""
