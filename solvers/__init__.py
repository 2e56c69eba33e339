"""Solvers, one file a method."""

from ._abstract import AbstractSolver as AbstractSolver
from ._abstract import AbstractSteppingSolver as AbstractSteppingSolver
from ._characteristics import Characteristics as Characteristics
from ._feynman_kac import FeynmanKac as FeynmanKac
from ._finite_difference import FiniteDifference as FiniteDifference
from ._grid_hopf_cole import GridHopfCole as GridHopfCole
from ._grid_hopf_lax import GridHopfLax as GridHopfLax
from ._hopf import Hopf as Hopf
from ._hopf_cole import HopfCole as HopfCole
from ._hopf_lax import HopfLax as HopfLax
from ._spectral import Spectral as Spectral
from .grids._grid import Grid as Grid
from .grids._grid_values import GridValues as GridValues
