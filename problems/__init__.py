"""Worked problems, one file a problem, most of them beside their exact solution; and a catalogue of them."""

from ._abstract import AbstractExactProblem as AbstractExactProblem
from ._abstract import AbstractProblem as AbstractProblem
from ._air3d import Air3d as Air3d
from ._bicycle import Bicycle as Bicycle
from ._burgers_potential import BurgersPotential as BurgersPotential
from ._catalogue import CATALOGUE as CATALOGUE
from ._catalogue import find as find
from ._cole_hopf_cosine import ColeHopfCosine as ColeHopfCosine
from ._double_integrator import DoubleIntegrator as DoubleIntegrator
from ._double_integrator import minimum_time as minimum_time
from ._dubins_car import DubinsCar as DubinsCar
from ._entry import Entry as Entry
from ._linear_quadratic_regulator import LinearQuadraticRegulator as LinearQuadraticRegulator
from ._merging_balls import MergingBalls as MergingBalls
from ._notched_disk import NotchedDisk as NotchedDisk
from ._osher_shu import OsherShu as OsherShu
from ._pendulum import Pendulum as Pendulum
from ._quadratic_minima import QuadraticMinima as QuadraticMinima
from ._smooth_kinks import SmoothKinks as SmoothKinks
from ._star_front import StarFront as StarFront
from ._strong_diffusion import StrongDiffusion as StrongDiffusion
from ._variable_diffusion import VariableDiffusion as VariableDiffusion
from ._viscous_cone import ViscousCone as ViscousCone
from ._viscous_mixture import ViscousMixture as ViscousMixture
from ._zermelo import Zermelo as Zermelo
