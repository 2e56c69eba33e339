"""The references of the worked problems solve their equations and agree with what is computed without solvers."""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
import scipy.optimize
import scipy.special

import hjpde
from hjpde import problems
from hjpde._viscosity import NoViscosity

X64 = jnp.result_type(float) == jnp.float64
ROUNDING = 1e-11 if X64 else 2e-4
REFERENCED = [
    entry for entry in problems.CATALOGUE.values() if entry.reference != "none" and not entry.name.endswith("-3d")
]


def built(entry):
    problem = entry.build()
    assert isinstance(problem, problems.AbstractExactProblem)
    return problem


def points_in(problem, count, seed=0, margin=0.0):
    """Random points of the domain, in the default precision."""
    domain = problem.problem.domain
    lower, upper = np.asarray(domain.lower), np.asarray(domain.upper)
    room = margin * (upper - lower)
    return jnp.asarray(np.random.default_rng(seed).uniform(lower + room, upper - room, (count, domain.dim)))


@eqx.filter_jit
def residuals(exact, times, points):
    """$u_t + H - \\mathrm{tr}(N D^2u)$, the size of its terms, and $u(0, \\cdot) - g$, at each time and point."""
    problem = exact.problem

    def at(t, x):
        u_t, p = jax.grad(exact.__call__, argnums=(0, 1))(t, x)
        H, diffusion = problem.hamiltonian(t, x, p), jnp.zeros_like(u_t)
        if not isinstance(problem.viscosity, NoViscosity):
            hessian = jax.hessian(exact.__call__, argnums=1)(t, x)
            diffusion = jnp.sum(problem.viscosity.matrix(t, x) * hessian)
        size = 1 + jnp.abs(u_t) + jnp.abs(H) + jnp.abs(diffusion)
        return (u_t + H - diffusion) / size, exact(0.0, x) - problem.initial_data(x)

    return jax.vmap(lambda t: jax.vmap(lambda x: at(t, x))(points))(times)


@pytest.mark.parametrize("entry", REFERENCED, ids=lambda entry: entry.name)
def test_the_reference_solves_the_equation_and_starts_from_the_datum(entry):
    exact = entry.build()
    times = jnp.asarray([0.3, 1.0]) * entry.time
    residual, gap = residuals(exact, times, points_in(exact, 25))
    # Second derivatives by differentiating a logarithm of sums lose a few digits.
    assert np.max(np.abs(residual)) < 100 * ROUNDING
    assert np.max(np.abs(gap)) < ROUNDING


@pytest.mark.parametrize("entry", problems.CATALOGUE.values(), ids=lambda entry: entry.name)
def test_single_precision_stays(entry):
    problem = entry.build()
    x = jax.ShapeDtypeStruct((problem.problem.domain.dim,), jnp.float32)
    t = jax.ShapeDtypeStruct((), jnp.float32)
    shapes = []
    if entry.name != "linear-quadratic-regulator":
        # Its datum and Hamiltonian are the package's classes, with arrays in a precision of their own.
        shapes.append(eqx.filter_eval_shape(problem.problem.initial_data, x))
        shapes.append(eqx.filter_eval_shape(problem.problem.hamiltonian, t, x, x))
    if isinstance(problem, problems.AbstractExactProblem):
        shapes.append(eqx.filter_eval_shape(problem, t, x))
    assert all(shape.shape == () and shape.dtype == jnp.float32 for shape in shapes)


# Lax's formula, minimised by brute force.


def least_value(objective, x, reach, nodes=81, rounds=7):
    """The least value of `objective(y)` for `|y - x| <= reach` in every component, by grids that close in on it."""
    offsets = np.linspace(-1, 1, nodes)
    cube = np.stack(np.meshgrid(*([offsets] * len(x)), indexing="ij"), axis=-1).reshape(-1, len(x))
    centre, least = np.asarray(x, float), np.inf
    for _ in range(rounds):
        y = centre + reach * cube
        values = objective(y)
        centre, reach = y[np.argmin(values)], reach * 4 / nodes
        least = min(least, np.min(values))
    return least


LAX = {
    # The reach covers 2 t |grad g|, and the rate is the factor of |x - y|^2 / t in the Lagrangian.
    "quadratic-cones": (2.5, 0.25),
    "smooth": (0.4, 0.25),
    "smooth-kinks": (1.5, 0.25),
    "burgers-potential": (1.6, 0.5),
}


@pytest.mark.parametrize("name", LAX)
def test_laxs_formula_by_brute_force(name):
    entry = problems.find(name)
    exact, (reach, rate) = built(entry), LAX[name]
    datum = jax.jit(jax.vmap(exact.problem.initial_data))
    for x in points_in(exact, 5, seed=1):

        def cost(y, x=np.asarray(x)):
            return np.asarray(datum(y)) + rate * np.sum((y - x) ** 2, axis=1) / entry.time

        least = least_value(cost, x, reach)
        assert -ROUNDING <= least - exact(entry.time, x) < 1e-7 + ROUNDING


@pytest.mark.parametrize("name", ["eikonal-distance", "eikonal-star"])
def test_the_least_value_in_a_ball_by_brute_force(name):
    entry = problems.find(name)
    exact, t = built(entry), entry.time
    datum = jax.jit(jax.vmap(exact.problem.initial_data))
    radii, angles = np.meshgrid(np.linspace(0, 1, 41), np.linspace(0, 2 * np.pi, 361))
    disk = t * np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=-1).reshape(-1, 2)
    for x in points_in(exact, 12, seed=2):
        gap = float(np.min(datum(np.asarray(x) + disk)) - exact(t, x))
        # The disk's samples are within 0.008 of each of its points, and g has the slope 1; at the rim the
        # steepest direction is met up to half a degree.
        assert -ROUNDING <= gap < 0.008


def test_the_distance_to_the_star_by_brute_force():
    from hjpde.problems._star_front import star_distance

    angle = np.linspace(0, 2 * np.pi, 200_001)
    curve = (1 + 0.3 * np.cos(5 * angle))[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    x = points_in(problems.StarFront(), 40, seed=3)
    distances = np.asarray(jax.jit(jax.vmap(star_distance))(x))
    brute = np.array([np.sqrt(np.min(np.sum((curve - np.asarray(point)) ** 2, axis=1))) for point in x])
    near = distances > -0.15
    np.testing.assert_allclose(distances[near & (distances > 0)], brute[near & (distances > 0)], atol=1e-6)
    np.testing.assert_allclose(-distances[near & (distances < 0)], brute[near & (distances < 0)], atol=1e-6)


def test_the_notched_disk_returns_after_one_turn():
    exact = problems.NotchedDisk()
    x = points_in(exact, 200)
    turned = jax.vmap(exact, (None, 0))
    np.testing.assert_allclose(turned(1.0, x), turned(0.0, x), atol=1e-13 if X64 else 1e-5)
    np.testing.assert_allclose(turned(0.25, jnp.stack([-x[:, 1], x[:, 0]], axis=1)), turned(0.0, x), atol=1e-6)


def test_kinks_form_when_they_are_said_to():
    exact = problems.SmoothKinks()
    # Up to the kink's time the gradient is continuous across the line on which it forms, and after that it jumps.
    normal = np.asarray(exact.waves[0]) / np.linalg.norm(exact.waves[0])
    crest = np.asarray(exact.phases[0]) * normal / np.linalg.norm(exact.waves[0])
    slopes = jax.jit(lambda t, s: jax.grad(exact.__call__, 1)(t, crest + s * normal) @ normal)
    times = [factor * exact.kink_time for factor in (0.8, 1.2)]
    jump = [float(slopes(t, -1e-4) - slopes(t, 1e-4)) for t in times]
    assert abs(jump[0]) < 1e-2
    assert jump[1] > 0.5


# A Hamiltonian that is neither convex nor concave.


def godunov(n, time):
    """Osher and Shu's problem by the first-order Godunov scheme, in numpy."""
    x = -1 + 2 * np.arange(n) / n
    u, dx, t = -np.cos(np.pi * x), 2 / n, 0.0

    def H(p):
        return -np.cos(p + 1)

    while t < time:
        dt = min(0.9 * dx, time - t)
        left, right = (u - np.roll(u, 1)) / dx, (np.roll(u, -1) - u) / dx
        low, high = np.minimum(left, right), np.maximum(left, right)
        # The extrema of H between the slopes are at the ends or at the multiples of pi less 1.
        turning = np.pi * np.arange(-3, 4)[:, None] - 1
        inside = (low < turning) & (turning < high)
        candidates = np.stack([H(left), H(right), *np.where(inside, H(turning), H(left))])
        u = u - dt * np.where(left <= right, candidates.min(axis=0), candidates.max(axis=0))
        t += dt
    return x, u


@pytest.mark.parametrize("factor", [0.5, 1.2, 1.5])
def test_osher_shu_is_the_limit_of_a_monotone_scheme(factor):
    exact, time = problems.OsherShu(), factor / np.pi**2
    evaluate = jax.jit(jax.vmap(exact, (None, 0)))
    errors = []
    for n in (500, 2000):
        x, u = godunov(n, time)
        shared = slice(None, None, n // 500)
        reference = np.asarray(evaluate(time, jnp.asarray(x[shared, None])))
        errors.append(np.max(np.abs(u[shared] - reference)))
    assert errors[1] < 0.4 * errors[0]
    assert errors[1] < 4e-3


def test_osher_shu_ends_where_its_reference_does():
    assert np.isnan(problems.OsherShu()(1.7 / np.pi**2, jnp.array([0.3])))


# Viscosity.


@pytest.mark.parametrize("nu", [0.05, 0.3])
def test_burgers_potential_by_its_fourier_series(nu):
    exact, t = problems.BurgersPotential(nu), 0.9
    x, n, z = np.linspace(0, 2 * np.pi, 9), np.arange(60), 1 / (2 * nu)
    # exp(-z cos x) = sum of Bessel functions; `ive` carries the factor exp(-z).
    terms = (-1.0) ** n * scipy.special.ive(n, z) * np.exp(-nu * n**2 * t) * np.where(n == 0, 1, 2)
    series = -2 * nu * (np.log(np.cos(np.outer(x, n)) @ terms) + z)
    np.testing.assert_allclose(jax.vmap(exact, (None, 0))(t, jnp.asarray(x)[:, None]), series, atol=max(ROUNDING, 1e-9))


@pytest.mark.slow
def test_small_viscosity_tends_to_the_inviscid_solution():
    x, t = jnp.linspace(0, 6, 13)[:, None], 1.5
    inviscid = jax.vmap(problems.BurgersPotential(), (None, 0))(t, x)
    gaps = [np.max(np.abs(jax.vmap(problems.BurgersPotential(nu), (None, 0))(t, x) - inviscid)) for nu in (0.02, 0.002)]
    assert gaps[1] < 0.2 * gaps[0] < 0.2 * 0.1
    sharp, soft = problems.QuadraticMinima(), problems.ViscousMixture(0.002)
    points = points_in(sharp, 20)
    gap = jax.vmap(soft, (None, 0))(0.2, points) - jax.vmap(sharp, (None, 0))(0.2, points)
    # Each component carries eps log(1 + 2 a t) for its spread; a mixture of six lies at most eps log 6 below it.
    assert np.all(gap > -0.002 * np.log(6) - 1e-6)
    assert np.all(gap < 0.002 * np.log(3) + 1e-6)


def test_strong_diffusion_by_quadrature_and_in_the_limit():
    exact, t = problems.StrongDiffusion(), 0.01
    nodes, weights = np.polynomial.hermite.hermgauss(48)
    offsets = 2 * np.sqrt(10 * t) * np.stack(np.meshgrid(nodes, nodes, indexing="ij"), axis=-1).reshape(-1, 2)
    weights = np.outer(weights, weights).ravel() / np.pi
    datum = jax.jit(jax.vmap(exact.problem.initial_data))
    for x in points_in(exact, 3, seed=4):
        quadrature = -20 * np.log(weights @ np.exp(-np.asarray(datum(np.asarray(x) + offsets)) / 20))
        np.testing.assert_allclose(exact(t, x), quadrature, atol=1e-10 if X64 else 1e-4)
    axis = -2 + 4 * np.arange(64) / 64
    torus = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    limit = -20 * np.log(np.mean(np.exp(-np.asarray(datum(torus)) / 20)))
    np.testing.assert_allclose(exact(5.0, jnp.array([0.3, -1.2])), limit, atol=1e-10 if X64 else 1e-4)


@pytest.mark.slow
def test_the_quadrature_finds_the_viscous_cone_within_its_own_estimate():
    exact = problems.ViscousCone(0.1)
    solution = hjpde.solve(exact.problem, 1.0)
    evaluate = eqx.filter_jit(lambda s, t, x: (s(t, x), s.standard_error(t, x)))
    for t in (0.05, 0.7):
        for x in (-1.7, 0.1, 2.2):
            value, estimate = evaluate(solution, t, jnp.array([x]))
            assert abs(value - exact(t, jnp.array([x]))) <= 10 * estimate + ROUNDING


def test_the_cone_tends_to_hubers_function():
    x, t = jnp.array([1.3]), 0.4
    huber = hjpde.solve(hjpde.InitialValueProblem(hjpde.Norm(2), hjpde.Quadratic()), t)
    # Away from the kink the datum is affine over the reach of the noise, so the gap is exponentially small.
    assert abs(problems.ViscousCone(0.005)(t, x) - huber(t, x)) < ROUNDING


@pytest.mark.parametrize("name", [name for name, entry in problems.CATALOGUE.items() if entry.viscous])
def test_a_chosen_viscosity_is_taken(name):
    exact: Any = problems.find(name).build(0.2)
    assert np.isclose(float(exact.viscosity), 0.2)
    assert not isinstance(exact.problem.viscosity, NoViscosity)


# Control.


def test_the_minimum_time_of_the_double_integrator():
    times = jax.jit(jax.vmap(problems.minimum_time))
    x = points_in(problems.DoubleIntegrator(), 60, seed=5)
    # max over |a| <= 1 of -grad T . (x2, a) = 1 almost everywhere.
    slope = jax.jit(jax.vmap(jax.grad(problems.minimum_time)))(x)
    np.testing.assert_allclose(-x[:, 1] * slope[:, 0] + jnp.abs(slope[:, 1]), 1, rtol=1e-10 if X64 else 1e-3)
    # From (x, 0) half the way is accelerated, half decelerated; from (0, v) T = (1 + sqrt 2) |v|.
    np.testing.assert_allclose(
        times(jnp.array([[1.7, 0.0], [0.0, -0.8]])), [2 * 1.7**0.5, 0.8 * (1 + 2**0.5)], rtol=1e-6
    )
    # On the switching curve one arc leads home.
    np.testing.assert_allclose(times(jnp.array([[-0.5, 1.0], [0.5, -1.0]])), [1.0, 1.0], rtol=1e-6)
    # u vanishes exactly where there is time enough.
    missed = jax.jit(jax.vmap(problems.DoubleIntegrator(), (None, 0)))
    for t in (0.5, 1.5, 3.0):
        assert np.all((np.asarray(missed(t, x)) > (0 if X64 else 1e-6)) == (np.asarray(times(x)) > t))


def test_the_double_integrator_by_a_convex_programme():
    t, steps = 1.0, 400
    s = t * (np.arange(steps) + 0.5) / steps
    push = np.stack([t - s, np.ones(steps)]) * t / steps
    exact = jax.jit(problems.DoubleIntegrator())
    # For the last one the best direction lies close to an axis, at which an end of the integrand changes sign.
    for x in [*points_in(problems.DoubleIntegrator(), 5, seed=6), jnp.array([0.9404, -0.9404])]:
        coasted = np.array([x[0] + t * x[1], x[1]], float)
        best = scipy.optimize.lsq_linear(push, -coasted, bounds=(-1, 1), tol=1e-12)
        assert abs(np.sqrt(2 * best.cost) - exact(t, x)) < 1e-4


@pytest.mark.slow
def test_zermelo_without_shear_and_along_its_own_course():
    x = points_in(problems.Zermelo(), 20, seed=7, margin=0.25)
    plain, t = problems.Zermelo(shear=0.0), 0.8
    closed = np.maximum(np.hypot(*(np.asarray(x) + t * np.array([0.3, 0.2])).T) - t, 0) - 0.25
    np.testing.assert_allclose(jax.vmap(plain, (None, 0))(t, x), closed, atol=1e-12 if X64 else 1e-5)
    # Steering against the co-state, which obeys p' = -F'p, attains the value.
    exact = problems.Zermelo()
    for place in x[:4]:
        p = np.asarray(jax.grad(exact.__call__, 1)(t, place), float)

        def course(s, z, p=p):
            costate = np.array([p[0], p[1] - s * p[0]])
            return np.array([0.3 + z[1], 0.2]) - costate / np.linalg.norm(costate)

        end = scipy.integrate.solve_ivp(course, (0, t), np.asarray(place, float), rtol=1e-10, atol=1e-12).y[:, -1]
        assert abs(np.linalg.norm(end) - 0.25 - exact(t, place)) < (1e-8 if X64 else 1e-4)


def test_the_regulator_by_time_stepping_and_in_the_limit():
    exact = problems.LinearQuadraticRegulator()
    F, A, Q, P0 = (np.asarray(matrix, float) for matrix in (exact.F, exact.A, exact.Q, exact.P0))

    def riccati(t, P):
        P = P.reshape(2, 2)
        return (Q + F.T @ P + P @ F - 2 * P @ A @ P).ravel()

    stepped = scipy.integrate.solve_ivp(riccati, (0, 1.3), P0.ravel(), rtol=1e-11, atol=1e-12).y[:, -1].reshape(2, 2)
    np.testing.assert_allclose(exact.riccati(jnp.asarray(1.3))[0], stepped, atol=1e-8 if X64 else 1e-5)
    forever = scipy.linalg.solve_continuous_are(F, np.eye(2), Q, np.linalg.inv(2 * A))
    np.testing.assert_allclose(exact.riccati(jnp.asarray(12.0))[0], forever, atol=1e-7 if X64 else 1e-3)
    noise = residuals(problems.LinearQuadraticRegulator(0.3), jnp.asarray([0.4]), points_in(exact, 5))[0]
    assert np.max(np.abs(noise)) < 100 * ROUNDING


def reflect(*signs, shift=None):
    return np.diag(np.array(signs, float)), np.zeros(len(signs)) if shift is None else np.array(shift)


SYMMETRIES = [
    ("air3d", *reflect(1, -1, -1)),
    ("dubins-car", *reflect(1, -1, -1)),
    ("dubins-car", np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]), np.array([0, 0, np.pi / 2])),
    ("pendulum", *reflect(-1, -1)),
    ("bicycle", *reflect(1, -1, -1, 1)),
    ("bicycle", *reflect(1, 1, 1, -1, shift=[0, 0, np.pi, 0])),
    ("double-integrator", *reflect(-1, -1)),
]


@pytest.mark.parametrize("name, matrix, shift", SYMMETRIES, ids=lambda value: value if isinstance(value, str) else "")
def test_symmetries(name, matrix, shift):
    problem = problems.find(name).build().problem
    x = points_in(problems.find(name).build(), 30)
    p = jnp.asarray(np.random.default_rng(8).normal(size=x.shape))
    H, g = jax.jit(jax.vmap(problem.hamiltonian, (None, 0, 0))), jax.jit(jax.vmap(problem.initial_data))
    image, costate = x @ jnp.asarray(matrix.T) + jnp.asarray(shift)[None, :], p @ jnp.asarray(matrix.T)
    tolerance = 1e-12 if X64 else 1e-3
    np.testing.assert_allclose(H(0.0, image, costate), H(0.0, x, p), atol=tolerance)
    np.testing.assert_allclose(g(image), g(x), atol=tolerance)


def closed_hamiltonian(name, x, p):
    """The Hamiltonians of the docstrings, in numpy."""
    if name == "dubins-car":
        return -p[0] * np.cos(x[2]) - p[1] * np.sin(x[2]) + abs(p[2])
    if name == "pendulum":
        return -p[0] * x[1] - p[1] * np.sin(x[0]) + 0.4 * abs(p[1])
    if name == "bicycle":
        return -x[3] * (p[0] * np.cos(x[2]) + p[1] * np.sin(x[2])) + abs(x[3] * p[2]) + abs(p[3])
    if name == "air3d":
        drift = 5 * p[0] * (np.cos(x[2]) - 1) + 5 * p[1] * np.sin(x[2])
        return -(drift + abs(p[0] * x[1] - p[1] * x[0] - p[2]) - abs(p[2]))
    raise KeyError(name)


@pytest.mark.parametrize("name", ["dubins-car", "pendulum", "bicycle", "air3d"])
def test_the_games_hamiltonians(name):
    problem = problems.find(name).build()
    H = eqx.filter_jit(problem.problem.hamiltonian)
    random = np.random.default_rng(9)
    for x in points_in(problem, 5):
        p = random.normal(size=x.shape)
        expected = closed_hamiltonian(name, np.asarray(x, float), p)
        np.testing.assert_allclose(H(0.0, x, jnp.asarray(p)), expected, atol=1e-12 if X64 else 1e-3)


def test_air3d_is_hj_reachabilitys():
    systems = pytest.importorskip("hj_reachability.systems")
    theirs, ours = systems.Air3d(), problems.Air3d().problem
    random = np.random.default_rng(10)
    for x in points_in(problems.Air3d(), 3):
        p = jnp.asarray(random.normal(size=3))
        # Theirs runs backwards in time, u_s + H = 0.
        value = theirs.hamiltonian(x, 0.0, jnp.zeros(()), p)
        np.testing.assert_allclose(ours.hamiltonian(0.0, x, p), -value, atol=1e-12 if X64 else 1e-3)


# Mistakes.


@pytest.mark.parametrize("amplitude", [0.0, 1.0, -0.5])
def test_an_amplitude_out_of_range_is_refused(amplitude):
    with pytest.raises(ValueError, match="`amplitude`"):
        problems.ColeHopfCosine(0.1, amplitude)


@pytest.mark.parametrize(
    "make",
    [
        problems.ViscousCone,
        problems.ColeHopfCosine,
        problems.BurgersPotential,
        problems.ViscousMixture,
        problems.VariableDiffusion,
        problems.LinearQuadraticRegulator,
    ],
)
def test_a_viscosity_of_zero_is_refused(make):
    with pytest.raises(ValueError, match="`viscosity` must be positive"):
        make(0.0)


@pytest.mark.parametrize(
    "make, named",
    [
        (functools.partial(problems.QuadraticMinima, dim=0), "`dim` and `paraboloids`"),
        (functools.partial(problems.QuadraticMinima, cones=-1), "`cones`"),
        (functools.partial(problems.ViscousMixture, components=0), "`components`"),
        (functools.partial(problems.SmoothKinks, dim=0), "`dim`"),
        (functools.partial(problems.MergingBalls, dim=0), "`dim`"),
        (functools.partial(problems.DoubleIntegrator, axes=0), "`axes`"),
        (functools.partial(problems.Zermelo, radius=-1.0), "`radius`"),
        (functools.partial(problems.Zermelo, current=(1.0,)), "`current`"),
    ],
)
def test_counts_out_of_range_are_refused(make, named):
    with pytest.raises(ValueError, match=named):
        make()
