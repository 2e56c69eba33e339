"""Hamilton-Jacobi equations whose initial data are neural networks: solve, fit, compare."""

import importlib
from typing import Any

from . import architectures as architectures
from . import hamiltonians as hamiltonians
from . import initial_data as initial_data
from . import landscape as landscape
from . import problems as problems
from . import solvers as solvers
from . import training as training
from ._compare import compare as compare
from ._comparison import ComparisonReport as ComparisonReport
from ._constraint import Constraint as Constraint
from ._domain import Dirichlet as Dirichlet
from ._domain import Domain as Domain
from ._domain import Extrapolation as Extrapolation
from ._domain import ExtrapolationAwayFromZero as ExtrapolationAwayFromZero
from ._domain import Neumann as Neumann
from ._fit import fit as fit
from ._fitted import Fitted as Fitted
from ._jaxlib import warn_if_faulty as _warn_if_faulty
from ._network_value import network_value as network_value
from ._observations import Classification as Classification
from ._observations import Regression as Regression
from ._observations import Samples as Samples
from ._problem import InitialValueProblem as InitialValueProblem
from ._rollout import Trajectories as Trajectories
from ._rollout import rollout as rollout
from ._serialisation import load as load
from ._serialisation import save as save
from ._sets import Ball as Ball
from ._sets import Box as Box
from ._solution import RESULTS as RESULTS
from ._solution import Solution as Solution
from ._solve import SolveError as SolveError
from ._solve import solve as solve
from ._value_problem import value_problem as value_problem
from .architectures import as_hamiltonian as as_hamiltonian
from .hamiltonians import ControlAffine as ControlAffine
from .hamiltonians import Eikonal as Eikonal
from .hamiltonians import LinearQuadratic as LinearQuadratic
from .hamiltonians import MomentumFunction as MomentumFunction
from .hamiltonians import Power as Power
from .hamiltonians import Quadratic as Quadratic
from .hamiltonians import Separable as Separable
from .hamiltonians import SumOfHamiltonians as SumOfHamiltonians
from .hamiltonians import TimeReversed as TimeReversed
from .hamiltonians import Transport as Transport
from .initial_data import Atoms as Atoms
from .initial_data import Cones as Cones
from .initial_data import GaussianMixture as GaussianMixture
from .initial_data import LogSumExp as LogSumExp
from .initial_data import MaxPlanes as MaxPlanes
from .initial_data import Norm as Norm
from .initial_data import QuadraticForm as QuadraticForm
from .initial_data import SoftMinPlanes as SoftMinPlanes
from .initial_data import SumOfData as SumOfData
from .inverse import Recovered as Recovered

__version__ = "0.1.0"

_warn_if_faulty()


def __getattr__(name: str) -> Any:
    # The estimators bring scikit-learn, which costs more than all the rest.
    if name == "estimators":
        return importlib.import_module("hjpde.estimators")
    raise AttributeError(f"module 'hjpde' has no attribute {name!r}")
