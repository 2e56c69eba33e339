"""Hamiltonians $H(t, x, p)$, one file a member."""

from ._abstract import AbstractConvexHamiltonian as AbstractConvexHamiltonian
from ._abstract import AbstractHamiltonian as AbstractHamiltonian
from ._abstract import AbstractMomentumHamiltonian as AbstractMomentumHamiltonian
from ._abstract import HasGodunov as HasGodunov
from ._abstract import HasSeparableLagrangian as HasSeparableLagrangian
from ._abstract import HasSpeedBound as HasSpeedBound
from ._control_affine import ControlAffine as ControlAffine
from ._eikonal import Eikonal as Eikonal
from ._linear_quadratic import LinearQuadratic as LinearQuadratic
from ._momentum_function import MomentumFunction as MomentumFunction
from ._power import Power as Power
from ._quadratic import Quadratic as Quadratic
from ._reflected import Reflected as Reflected
from ._risk_sensitive import RiskSensitive as RiskSensitive
from ._separable import Separable as Separable
from ._sum import SumOfHamiltonians as SumOfHamiltonians
from ._time_reversed import TimeReversed as TimeReversed
from ._transport import Transport as Transport
