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


class AbstractSteppingSolver(AbstractSolver):
    """A method that steps through time on a grid, and can go on from where it stood."""

    @abc.abstractmethod
    def resume(
        self, problem: InitialValueProblem, ts: Float[Array, " T"], start: Solution, *, progress: bool
    ) -> Solution:
        """The solution for the times of `start` and the later ones `ts`: bit for bit what one run would have given.

        **Raises:** `ValueError` if `start` is no solution on the same grid, or has gone beyond `ts`.
        """
