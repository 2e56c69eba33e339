"""Problems with their exact solutions, one file a problem."""

from ._abstract import AbstractExactProblem as AbstractExactProblem
from ._cole_hopf_cosine import ColeHopfCosine as ColeHopfCosine
from ._viscous_cone import ViscousCone as ViscousCone
