"""Solvers, one file a method."""

from ._abstract import AbstractSolver as AbstractSolver
from ._hopf import Hopf as Hopf
from ._hopf_cole import HopfCole as HopfCole
from ._hopf_lax import HopfLax as HopfLax
