"""The catalogue's problems without viscosity: kinks, fronts, transport."""

import functools
import math

from ._burgers_potential import BurgersPotential
from ._entry import Entry
from ._merging_balls import MergingBalls
from ._notched_disk import NotchedDisk
from ._osher_shu import OsherShu
from ._quadratic_minima import QuadraticMinima
from ._smooth_kinks import SmoothKinks
from ._star_front import StarFront

_HOPF_LAX = "Evans, Partial Differential Equations, 2nd ed., Section 3.3.2"
_OSHER_SHU = "Osher and Shu, SIAM J. Numer. Anal. 28(4), 1991"
_OSHER_SETHIAN = "Osher and Sethian, J. Comput. Phys. 79, 1988"

FRONTS = (
    Entry(
        name="quadratic-paraboloids",
        title="Minimum of paraboloids: concave kinks that stay",
        equation="u_t + |grad u|^2 = 0 on the torus [-2, 2)^2",
        source=_HOPF_LAX,
        reference="exact",
        make=QuadraticMinima,
        time=0.25,
        sizes=(64, 128, 256),
        order="1 or more in L1: cells with kinks count, the pieces between them are quadratic",
    ),
    Entry(
        name="quadratic-cones",
        title="Minimum of paraboloids and cones: convex kinks open into rarefactions",
        equation="u_t + |grad u|^2 = 0 on the torus [-2, 2)^2",
        source=_HOPF_LAX,
        reference="exact",
        make=functools.partial(QuadraticMinima, cones=2),
        time=0.25,
        sizes=(64, 128, 256),
        order="1 in L1: the datum's tips lie between grid points",
    ),
    Entry(
        name="quadratic-paraboloids-3d",
        title="Minimum of paraboloids in three dimensions",
        equation="u_t + |grad u|^2 = 0 on the torus [-2, 2)^3",
        source=_HOPF_LAX,
        reference="exact",
        make=functools.partial(QuadraticMinima, dim=3),
        time=0.25,
        sizes=(16, 32, 64),
        order="1 or more in L1",
        plot="slices",
    ),
    Entry(
        name="smooth",
        title="Oblique waves before their first kink",
        equation="u_t + |grad u|^2 = 0 on the torus [-2, 2)^2",
        source=_OSHER_SHU,
        reference="exact",
        make=SmoothKinks,
        time=0.1,
        sizes=(64, 128, 256),
        order="that of the scheme: smooth, with critical points, and in steps so short that time adds nothing",
        cfl=0.05,
    ),
    Entry(
        name="smooth-kinks",
        title="Oblique waves after their kinks have formed",
        equation="u_t + |grad u|^2 = 0 on the torus [-2, 2)^2",
        source=_OSHER_SHU,
        reference="exact",
        make=SmoothKinks,
        time=0.4,
        sizes=(64, 128, 256),
        order="1 or more in L1",
    ),
    Entry(
        name="burgers-potential",
        title="Potential of Burgers' equation past its shock",
        equation="u_t + (u_x)^2/2 = 0 on the circle [0, 2 pi)",
        source="Hopf, Comm. Pure Appl. Math. 3, 1950",
        reference="exact",
        make=BurgersPotential,
        time=1.5,
        sizes=(64, 128, 256),
        order="1 or more in L1: one kink, on a grid point",
        plot="profiles",
    ),
    Entry(
        name="eikonal-distance",
        title="Discs that grow and merge",
        equation="u_t + |grad u| = 0 on [-2, 2]^2",
        source=_OSHER_SETHIAN,
        reference="exact",
        make=MergingBalls,
        time=0.5,
        sizes=(64, 128, 256),
        order="1 in L1: kinks where discs meet and about their centres",
    ),
    Entry(
        name="eikonal-distance-3d",
        title="Balls that grow and merge",
        equation="u_t + |grad u| = 0 on [-2, 2]^3",
        source=_OSHER_SETHIAN,
        reference="exact",
        make=functools.partial(MergingBalls, dim=3),
        time=0.5,
        sizes=(16, 32, 64),
        order="1 in L1",
        plot="slices",
    ),
    Entry(
        name="eikonal-star",
        title="A star-shaped front",
        equation="u_t + |grad u| = 0 on [-2.5, 2.5]^2",
        source="Sethian, Level Set Methods and Fast Marching Methods, 2nd ed., Section 2",
        reference="computed",
        make=StarFront,
        time=0.5,
        sizes=(64, 128, 256),
        order="1 in L1: kinks in the star's valleys",
    ),
    Entry(
        name="osher-shu",
        title="A Hamiltonian neither convex nor concave, before kinks",
        equation="u_t - cos(u_x + 1) = 0 on the circle [-1, 1)",
        source=_OSHER_SHU,
        reference="computed",
        make=OsherShu,
        time=0.5 / math.pi**2,
        sizes=(64, 128, 256),
        order="that of the scheme: smooth, with critical points, and in steps so short that time adds nothing",
        cfl=0.05,
        plot="profiles",
    ),
    Entry(
        name="osher-shu-kinks",
        title="A Hamiltonian neither convex nor concave, after kinks",
        equation="u_t - cos(u_x + 1) = 0 on the circle [-1, 1)",
        source=_OSHER_SHU,
        reference="computed",
        make=OsherShu,
        time=1.5 / math.pi**2,
        sizes=(64, 128, 256),
        order="1 or more in L1",
        plot="profiles",
    ),
    Entry(
        name="notched-disk",
        title="Zalesak's notched disk after one turn",
        equation="u_t + 2 pi (-y, x).grad u = 0 on [-1, 1]^2",
        source="Zalesak, J. Comput. Phys. 31, 1979",
        reference="exact",
        make=NotchedDisk,
        time=1.0,
        sizes=(64, 128, 256),
        order="about 1 in L1: the notch's edges are kinks",
    ),
)
