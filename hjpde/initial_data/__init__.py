"""Networks and functions as initial data."""

from ._abstract import AbstractInitialDatum as AbstractInitialDatum
from ._abstract import AbstractSoftMinimum as AbstractSoftMinimum
from ._atoms import Atoms as Atoms
from ._cones import Cones as Cones
from ._gaussian_mixture import GaussianMixture as GaussianMixture
from ._log_sum_exp import LogSumExp as LogSumExp
from ._max_planes import MaxPlanes as MaxPlanes
from ._norm import Norm as Norm
from ._quadratic_form import QuadraticForm as QuadraticForm
from ._soft_min_planes import SoftMinPlanes as SoftMinPlanes
from ._sum import SumOfData as SumOfData
