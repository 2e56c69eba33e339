"""Which solver a problem gets where the user names none: the most exact one that it admits."""

from collections.abc import Iterator

from hjpde._problem import InitialValueProblem
from hjpde.solvers import (
    AbstractSolver,
    Characteristics,
    FeynmanKac,
    FiniteDifference,
    Grid,
    GridHopfCole,
    GridHopfLax,
    Hopf,
    HopfCole,
    HopfLax,
    Spectral,
)

NODES = {1: 1024, 2: 256, 3: 64, 4: 24}
"""Nodes an axis of the grid over a problem's domain, by the dimension."""


_RESOLVED = 1e-5
"""The part of a solution in the highest modes up to which these are taken unasked: a kink leaves more, by far."""


def candidates(problem: InitialValueProblem) -> Iterator[AbstractSolver]:
    """From the most exact to the least, for the kinds of problem that they are meant for.

    1. `HopfCole`: closed forms, else an integral with an estimate of its error.
    2. `HopfLax` in closed form, and `Hopf` for planes.
    3. On the box of the problem's domain, in up to 4 dimensions: `GridHopfCole` and `GridHopfLax`, exact in time.
    4. `HopfLax` and `Hopf` by optimisation, with a certificate.
    5. On the box again: `Spectral`, then `FiniteDifference`, which takes every Hamiltonian and viscosity.
    6. `Characteristics`, and `FeynmanKac` with the standard error of its mean.
    """
    yield HopfCole()
    if HopfLax().in_closed_form(problem):
        yield HopfLax()
    if Hopf().is_of_planes(problem):
        yield Hopf()
    domain = problem.domain
    grid = None
    if domain is not None and domain.dim in NODES:
        grid = Grid.over(domain, NODES[domain.dim])
        yield GridHopfCole(grid)
        yield GridHopfLax(grid)
    yield HopfLax()
    yield Hopf()
    if grid is not None:
        yield Spectral(grid, tail_limit=_RESOLVED)
        yield FiniteDifference(grid)
    yield Characteristics()
    yield FeynmanKac()


def admitted(problem: InitialValueProblem) -> list[AbstractSolver]:
    """Those of the `candidates` that apply.

    **Raises:** `ValueError` with the reason of each, if none does.
    """
    reasons, found = {}, []
    for solver in candidates(problem):
        reason = solver.why_not(problem)
        if reason is None:
            found.append(solver)
        reasons.setdefault(type(solver).__name__, reason)
    if not found:
        listed = " ".join(f"{name}: {reason}" for name, reason in reasons.items())
        if problem.domain is None:
            listed += " With a `domain` the problem could be solved on a grid."
        raise ValueError(f"`solver`: none applies to this problem. {listed}")
    return found


def require_applicable(problem: InitialValueProblem, solver: AbstractSolver) -> None:
    """Raises a `ValueError` that says why a solver does not apply, if so, and which do."""
    reason = solver.why_not(problem)
    if reason is None:
        return
    names = dict.fromkeys(type(other).__name__ for other in candidates(problem) if other.why_not(problem) is None)
    others = f"Those that do: {', '.join(names)}." if names else "No other solver applies without a `domain` either."
    raise ValueError(f"`solver` {type(solver).__name__} does not apply: {reason} {others}")
