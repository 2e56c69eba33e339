"""The catalogue's problems of control and games."""

import functools

import jax.numpy as jnp
from jaxtyping import Array, Bool

from hjpde._types import Point, ScalarLike

from ._air3d import Air3d
from ._bicycle import Bicycle
from ._double_integrator import DoubleIntegrator
from ._dubins_car import DubinsCar
from ._entry import Entry
from ._linear_quadratic_regulator import LinearQuadraticRegulator
from ._pendulum import Pendulum
from ._zermelo import Zermelo


def _never_leaves(t: ScalarLike, x: Point) -> Bool[Array, ""]:
    """Where a double integrator stays in its box [-4, 4] x [-3, 3] up to the time `t`, whatever it does."""
    place, speed = jnp.abs(x[0::2]), jnp.abs(x[1::2])
    return jnp.all((place + speed * t + t**2 / 2 < 4) & (speed + t < 3))


def _near_harbour(t: ScalarLike, x: Point) -> Bool[Array, ""]:
    """Where the boat stays in its box [-4, 4]^2 up to the time 1."""
    del t
    return jnp.all(jnp.abs(x) < 1)


CONTROL = (
    Entry(
        name="double-integrator",
        title="A car that is to stop at the origin",
        equation="u_t - x2 p1 + |p2| = 0 on [-4, 4] x [-3, 3]",
        source="Athans and Falb, Optimal Control, 1966, Section 7-2",
        reference="computed",
        make=DoubleIntegrator,
        time=1.0,
        sizes=(64, 128, 256),
        order="1 in L1: a kink about the set from which the origin is reached",
        measured=_never_leaves,
    ),
    Entry(
        name="hovering-quadrotor",
        title="A planar quadrotor near hovering: two double integrators in four dimensions",
        equation="u_t - x2 p1 + |p2| - x4 p3 + |p4| = 0 on ([-4, 4] x [-3, 3])^2",
        source="Athans and Falb, Optimal Control, 1966, Section 7-2",
        reference="computed",
        make=functools.partial(DoubleIntegrator, axes=2),
        time=0.5,
        sizes=(12, 18, 24),
        order="1 in L1",
        plot="slices",
        measured=_never_leaves,
    ),
    Entry(
        name="linear-quadratic-regulator",
        title="An oscillator under linear-quadratic control",
        equation="u_t + p.Ap - (Fx).p - x.Qx/2 = 0 on [-2, 2]^2",
        source="Anderson and Moore, Optimal Control: Linear Quadratic Methods, 1990",
        reference="exact",
        make=LinearQuadraticRegulator,
        time=1.0,
        sizes=(32, 64, 128),
        order="that of the time steps for order 3 and 5, which are exact on quadratics; 1 for upwinding",
        viscous=True,
    ),
    Entry(
        name="zermelo",
        title="A boat in a current with shear",
        equation="u_t - c(x).p + |p| = 0 on [-4, 4]^2, c = (0.3 + y, 0.2)",
        source="Zermelo, Z. Angew. Math. Mech. 11, 1931",
        reference="computed",
        make=Zermelo,
        time=0.75,
        sizes=(64, 128, 256),
        order="1 in L1: a kink about the set from which the harbour's centre is reached",
        measured=_near_harbour,
    ),
    Entry(
        name="pendulum",
        title="A pendulum with a motor too weak to lift it at once",
        equation="u_t - omega p1 - sin(theta) p2 + 0.4 |p2| = 0 on the cylinder [-pi, pi) x [-4, 4]",
        source="Astrom and Furuta, Automatica 36, 2000",
        reference="none",
        make=Pendulum,
        time=2.0,
        sizes=(64, 128, 256),
        order="no reference",
    ),
    Entry(
        name="dubins-car",
        title="A car of constant speed and bounded turn rate",
        equation="u_t + max(0, -cos(theta) p1 - sin(theta) p2 + |p3|) = 0 on [-3, 3]^2 x [0, 2 pi)",
        source="Dubins, Amer. J. Math. 79, 1957",
        reference="none",
        make=DubinsCar,
        time=1.5,
        sizes=(20, 40, 60),
        order="no reference",
        plot="slices",
    ),
    Entry(
        name="air3d",
        title="Collision avoidance of two aircraft: a pursuit-evasion game",
        equation="u_t + max(0, H) = 0 on [-6, 20] x [-10, 10] x [0, 2 pi)",
        source="Mitchell, Bayen and Tomlin, IEEE Trans. Automat. Control 50(7), 2005",
        reference="none",
        make=Air3d,
        time=2.8,
        sizes=(20, 40, 60),
        order="no reference",
        plot="slices",
        proportions=(1.275, 1.0, 1.25),
    ),
    Entry(
        name="bicycle",
        title="A kinematic bicycle in four dimensions",
        equation="u_t + max(0, H) = 0 for place, heading and speed",
        source="Rajamani, Vehicle Dynamics and Control, 2nd ed., Section 2.2",
        reference="none",
        make=Bicycle,
        time=1.0,
        sizes=(10, 14, 18),
        order="no reference",
        plot="slices",
    ),
)
