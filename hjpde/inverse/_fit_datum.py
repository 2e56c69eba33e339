"""Any initial datum from samples, through any solver: the arguments of an inverse problem."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hjpde._choose_solver import admitted, require_applicable
from hjpde._domain import Domain
from hjpde._observations import Samples
from hjpde._problem import InitialValueProblem
from hjpde._types import ScalarLike, known_number
from hjpde._value_problem import value_problem
from hjpde.architectures import DepthFlow
from hjpde.hamiltonians import AbstractHamiltonian, Quadratic
from hjpde.solvers import AbstractSolver

from ._forward_map import ForwardMap
from ._recover import Settings, recover
from ._recovered import Recovered, RecoveryState
from ._unknowns import Unknowns


def fit_datum(
    observations: Any,
    initial_data: Callable,
    *,
    hamiltonian: AbstractHamiltonian | DepthFlow | None = None,
    viscosity: Any = 0.0,
    solver: AbstractSolver | None = None,
    domain: Domain | None = None,
    unknown: Sequence[str] = ("initial_data",),
    noise: ScalarLike | None = None,
    regularisation: ScalarLike | None = None,
    steps: Any = None,
    stages: Any = 20,
    state: Any = None,
    until: int | None = None,
    progress: bool = False,
) -> Recovered:
    """The inverse problem of `hjpde.fit`, whose docstring tells of the arguments."""
    if not isinstance(observations, Samples):
        raise ValueError(
            f"`observations` must be `Samples` with `initial_data`, got {type(observations).__name__}: the values of "
            "one solution at known times and points."
        )
    if not isinstance(state, RecoveryState | None):
        raise ValueError(f"`state` must be that of a `Recovered`, got {type(state).__name__}.")
    if isinstance(hamiltonian, DepthFlow):
        # A network's own Hamiltonian: what is fitted is the readout at its end.
        hamiltonian = value_problem(hamiltonian, domain=domain).hamiltonian
    start = InitialValueProblem(
        initial_data, Quadratic() if hamiltonian is None else hamiltonian, viscosity, domain=domain
    )
    if start.dim is not None and start.dim != observations.x.shape[1]:
        raise ValueError(f"`observations` have d = {observations.x.shape[1]}, the problem d = {start.dim}.")
    unknowns = Unknowns(start, (unknown,) if isinstance(unknown, str) else tuple(unknown))
    if solver is None:
        solver = admitted(start)[0]
    else:
        require_applicable(start, solver)
    forward = ForwardMap(unknowns, solver, observations)
    single = noise is None or regularisation is not None
    settings = Settings(
        noise=_at_least(noise, "noise", positive=True),
        regularisation=_at_least(regularisation, "regularisation", positive=False),
        steps=_count(100 if single else 4, "steps") if steps is None else _count(steps, "steps"),
        stages=_count(stages, "stages"),
    )
    return recover(forward, settings, state=state, until=until, progress=progress)


def _at_least(value: ScalarLike | None, name: str, *, positive: bool) -> float | None:
    if value is None:
        return None
    number = known_number(value, name)
    if not np.isfinite(number) or number < 0 or (positive and number == 0):
        raise ValueError(f"`{name}` must be {'positive' if positive else 'at least 0'} and finite, got {number:g}.")
    return number


def _count(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"`{name}` must be a whole number of at least 1, got {value!r}.")
    return value
