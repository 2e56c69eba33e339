"""Solvers, one file a method."""

from ._abstract import AbstractSolver as AbstractSolver
from ._abstract import AbstractSteppingSolver as AbstractSteppingSolver
from ._finite_difference import FiniteDifference as FiniteDifference
from ._grid import Grid as Grid
from ._hopf import Hopf as Hopf
from ._hopf_cole import HopfCole as HopfCole
from ._hopf_lax import HopfLax as HopfLax
from ._spectral import Spectral as Spectral
