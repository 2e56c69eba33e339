"""Finite differences on grids: orders against exact solutions, viscosity, boundaries, dimensions."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hjpde
from hjpde import problems, solvers
from hjpde.hamiltonians import AbstractHamiltonian


def slow(*values):
    """A case that only a run of the slow tests takes."""
    return pytest.param(*values, marks=pytest.mark.slow)


EPS = float(jnp.finfo(jnp.result_type(float)).eps)
double_only = pytest.mark.skipif(EPS > 1e-10, reason="errors are measured in double precision")


@eqx.filter_jit
def exact_values(problem, t, grid):
    return grid.sample(lambda x: problem(t, x))


def solved(case, n, t, order=5, **options):
    """The solution on `n` nodes an axis, and the errors at all of them at the last time."""
    grid = solvers.Grid.over(case.problem.domain, n)
    solution = hjpde.solve(case.problem, t, solver=solvers.FiniteDifference(grid, order, **options))
    return solution, np.abs(solution.evaluator.us[-1] - exact_values(case, t, grid))


def orders(case, sizes, t, order=5, **options):
    """The observed orders in L1 and L-infinity."""
    errors = [solved(case, n, t, order, **options)[1] for n in sizes]
    return -np.polyfit(np.log(sizes), np.log([[error.mean(), error.max()] for error in errors]), 1)[0]


def circle(n, lower=0.0, upper=2 * np.pi):
    return solvers.Grid((lower,), (upper,), (n,), True)


HALF = hjpde.Quadratic([[0.5]])


def before_the_kink(t, n):
    """u of u_t + u_x^2/2 = 0, g = cos: along x = y - t sin y it is cos y + t sin(y)^2/2; Newton's method for y."""
    x = 2 * np.pi * np.arange(n) / n
    y = x.copy()
    for _ in range(60):
        y -= (y - t * np.sin(y) - x) / (1 - t * np.cos(y))
    return np.cos(y) + t * np.sin(y) ** 2 / 2


@double_only
@pytest.mark.parametrize("order, least_l1, least_linf", [(5, 4.4, 4.0), (3, 2.4, 1.5), (1, 0.9, 0.8)])
def test_order_on_smooth_data_with_critical_points(order, least_l1, least_linf):
    errors = []
    for n in (64, 128, 256):
        solver = solvers.FiniteDifference(circle(n), order, time_order=3, cfl=0.1)
        u = hjpde.solve(hjpde.InitialValueProblem(lambda x: jnp.cos(x[0]), HALF), 0.3, solver).evaluator.us[-1]
        error = np.abs(np.asarray(u) - before_the_kink(0.3, n))
        errors.append((error.mean(), error.max()))
    l1, linf = -np.polyfit(np.log([64, 128, 256]), np.log(errors), 1)[0]
    assert l1 >= least_l1
    assert linf >= least_linf
    if order == 1:
        assert l1 <= 1.1


def hopf_lax(g, x, t):
    y = np.linspace(x.min() - 3, x.max() + 3, 40_001)
    return np.array([(g(y) + (y - z) ** 2 / (2 * t)).min() for z in x])


@double_only
def test_order_with_a_rarefaction_from_a_convex_kink():
    """g = |x| on [-1, 1], periodic: a convex kink opens at 0, a concave one stays at the border."""
    g, t, errors = (lambda y: np.abs((y + 1) % 2 - 1)), 0.3, []
    for n in (64, 128, 256):
        grid = circle(n, -1.0, 1.0)
        problem = hjpde.InitialValueProblem(lambda x: jnp.abs(x[0]), HALF)
        u = hjpde.solve(problem, t, solvers.FiniteDifference(grid, 5)).evaluator.us[-1]
        errors.append(np.abs(np.asarray(u) - hopf_lax(g, np.asarray(grid.points[:, 0]), t)).mean())
    assert -np.polyfit(np.log([64, 128, 256]), np.log(errors), 1)[0] >= 0.95


@double_only
@pytest.mark.slow
@pytest.mark.parametrize("flux", ["godunov", "global", "local", "local-local"])
def test_orders_before_kinks_in_two_dimensions(flux):
    wave = problems.SmoothKinks(2)
    l1, largest = orders(wave, (64, 128, 256), 0.1, 5, cfl=0.1, flux=flux)
    assert l1 >= 4.4
    assert largest >= 4.0
    assert orders(wave, (64, 128, 256), 0.1, 3, cfl=0.4, flux=flux)[0] >= 2.4
    assert 0.9 <= orders(wave, (64, 128, 256), 0.1, 1, cfl=0.4, flux=flux)[0] <= 1.1


@double_only
@pytest.mark.slow
@pytest.mark.parametrize(
    "case, t, order, least",
    [
        (problems.QuadraticMinima(2), 0.25, 5, 0.95),
        (problems.QuadraticMinima(2), 0.25, 3, 0.95),
        (problems.SmoothKinks(2), 0.4, 5, 0.95),
        (problems.QuadraticMinima(2, cones=2), 0.25, 5, 0.95),
        (problems.QuadraticMinima(2, cones=2), 0.25, 3, 0.95),
        (problems.QuadraticMinima(2, cones=2), 0.25, 1, 0.85),
    ],
    ids=["concave-5", "concave-3", "formed-5", "convex-5", "convex-3", "convex-1"],
)
def test_orders_with_kinks(case, t, order, least):
    assert orders(case, (64, 128, 256), t, order)[0] >= least


@double_only
def test_a_shock_of_the_slope_stays_where_it_is():
    """Past the kink of Burgers' potential, which stands at the ends of the axis."""
    errors = {n: solved(problems.BurgersPotential(), n, 1.5)[1] for n in (64, 128)}
    assert np.log2(errors[64].mean() / errors[128].mean()) >= 0.95
    # Nothing of the kink's error gets where the solution is smooth: characteristics run into the kink.
    away = {n: np.abs(np.arange(n) - n // 2) < n // 4 for n in errors}
    assert errors[128][away[128]].max() <= 0.1 * errors[128].max()
    assert np.log2(errors[64][away[64]].max() / errors[128][away[128]].max()) >= 2.5


# Viscosity.


class OneMode(problems.AbstractExactProblem):
    r"""$u = -\varepsilon \log(1 + a e^{-\varepsilon k^\top A k t} \varphi(k \cdot x))$, $H = p^\top A p$.

    With $N = \varepsilon A$.
    """

    A: jax.Array
    k: jax.Array
    mode: object = eqx.field(static=True)
    domain: hjpde.Domain
    epsilon: float = 0.5
    amplitude: float = 0.6

    @property
    def problem(self):
        N = self.epsilon * self.A if self.A.shape[0] > 1 else self.epsilon * self.A[0, 0]
        return hjpde.InitialValueProblem(eqx.Partial(self, 0.0), hjpde.Quadratic(self.A), N, domain=self.domain)

    def __call__(self, t, x):
        decay = jnp.exp(-self.epsilon * (self.k @ self.A @ self.k) * t)
        return -self.epsilon * jnp.log1p(self.amplitude * decay * self.mode(self.k @ x))  # pyright: ignore


def on_interval(mode, boundary, lower=0.0, upper=np.pi):
    domain = hjpde.Domain([lower], [upper], boundary=boundary)
    return OneMode(jnp.eye(1), jnp.ones(1), mode, domain)


@pytest.mark.slow
def test_exact_heat_between_periodic_sides():
    solution, coarse = solved(problems.ColeHopfCosine(0.5), 32, 1.0)
    assert "integrating-factor SSP Runge-Kutta 3" in solution.stats["scheme"]
    _, fine = solved(problems.ColeHopfCosine(0.5), 64, 1.0)
    assert fine.max() <= max(3e-6, 1e3 * EPS)
    if EPS < 1e-10:
        assert coarse.max() / fine.max() >= 8


@pytest.mark.slow
@double_only
def test_exact_heat_with_a_full_matrix():
    A = jnp.asarray([[1.0, 0.4], [0.4, 0.5]])
    case = OneMode(A, jnp.asarray([1.0, 1.0]), jnp.cos, hjpde.Domain([0.0, 0.0], [2 * np.pi] * 2, periodic=True))
    solution, error = solved(case, 32, 0.5)
    assert solution.stats["scheme"] == "WENO5, local, integrating-factor SSP Runge-Kutta 3"
    assert error.max() <= 2e-4


@pytest.mark.slow
@double_only
def test_boundary_values_that_move():
    """Dirichlet values which no transform knows: super-time-stepping, with steps that are short beside the wall."""
    known = on_interval(jnp.cos, hjpde.Dirichlet(0.0), 0.5, 2.5)
    case = on_interval(jnp.cos, hjpde.Dirichlet(lambda t, x: known(t, x)), 0.5, 2.5)
    solution, coarse = solved(case, 17, 0.5, cfl=0.05)
    assert "Runge-Kutta-Legendre 16" in solution.stats["scheme"]
    _, fine = solved(case, 33, 0.5, cfl=0.05)
    assert fine.max() <= 1e-4
    assert np.log2(coarse.mean() / fine.mean()) >= 1.8
    np.testing.assert_allclose(fine[[0, -1]], 0, atol=1e-14)


@pytest.mark.slow
@double_only
def test_viscosity_that_depends_on_the_place():
    """Of fourth order in space where the steps are short."""
    solution, coarse = solved(problems.VariableDiffusion(), 16, 1.0, cfl=0.01)
    assert "Runge-Kutta-Legendre" in solution.stats["scheme"]
    _, fine = solved(problems.VariableDiffusion(), 32, 1.0, cfl=0.01)
    assert np.log2(coarse.mean() / fine.mean()) >= 3.5
    assert fine.max() <= 1e-4


class Stirred(problems.AbstractExactProblem):
    """A wave that travels while its damping grows: N = eps (1 + t)."""

    @property
    def problem(self):
        return hjpde.InitialValueProblem(
            eqx.Partial(self, 0.0),
            hjpde.Transport([1.0]),
            lambda t, x: 0.5 * (1 + t) * jnp.eye(1, dtype=x.dtype),
            domain=hjpde.Domain([0.0], [2 * np.pi], periodic=True),
        )

    def __call__(self, t, x):
        return jnp.exp(-0.5 * (t + t**2 / 2)) * jnp.cos(x[0] - t)


@double_only
def test_viscosity_that_depends_on_time():
    assert solved(Stirred(), 32, 1.0)[1].max() <= 1e-5


@double_only
@pytest.mark.slow
def test_strong_diffusion_does_not_dictate_the_step():
    case = problems.StrongDiffusion()
    grid = solvers.Grid.over(case.problem.domain, 256)  # pyright: ignore
    ts = jnp.asarray([0.01, 0.1, 1.0])
    solution = hjpde.solve(case.problem, ts, solver=solvers.FiniteDifference(grid))
    assert int(solution.stats["steps"]) <= 500
    for k, t in enumerate(ts):
        error = jnp.abs(solution.evaluator.us[k + 1] - exact_values(case, t, grid))
        assert float(error.max()) <= 1e-4


# Boundaries.


@pytest.mark.slow
@double_only
@pytest.mark.parametrize("side, mode, part", [(hjpde.Dirichlet(0.0), jnp.sin, 2e-3), (hjpde.Neumann(), jnp.cos, 1e-5)])
def test_sides_with_viscosity(side, mode, part):
    """phi = 1 + a e^{-eps t} mode(x) on [0, pi], u = -eps log phi: 0 at the sides, or even about them. A Dirichlet
    side, about which u is not odd, costs accuracy beside it."""
    eps, a, t = 0.3, 0.4, 0.7
    exact = lambda t, x: -eps * jnp.log1p(a * jnp.exp(-eps * t) * mode(x[0]))  # noqa: E731
    domain = hjpde.Domain((0.0,), (np.pi,), boundary=side)
    grid = solvers.Grid.over(domain, (65,))
    problem = hjpde.InitialValueProblem(lambda x: exact(0.0, x), hjpde.Quadratic(), eps, domain=domain)
    u = hjpde.solve(problem, t, solvers.FiniteDifference(grid, 5)).evaluator.us[-1]
    reference = jax.vmap(lambda x: exact(t, x))(grid.points)
    assert jnp.abs(u - reference).max() <= part * (reference.max() - reference.min())


@pytest.mark.slow
@pytest.mark.parametrize("order, flux", [(1, "godunov"), (5, "local")])
def test_a_plane_stays_a_plane_between_extrapolated_sides(order, flux):
    a = jnp.asarray([0.7, -1.3])
    problem = hjpde.InitialValueProblem(lambda x: a.astype(x.dtype) @ x + 0.2, hjpde.Quadratic())
    grid = solvers.Grid([-1.0, 0.0], [1.0, 1.0], (9, 7))
    solution = hjpde.solve(problem, 0.5, solver=solvers.FiniteDifference(grid, order, flux=flux))
    exact = grid.points @ a + 0.2 - 0.5 * (a @ a)
    np.testing.assert_allclose(solution.evaluator.us[-1], exact, atol=200 * EPS)
    # Between the nodes, and before the last time, as well.
    np.testing.assert_allclose(
        solution(0.2, [0.33, 0.77]), a @ jnp.asarray([0.33, 0.77]) + 0.2 - 0.2 * (a @ a), rtol=1e3 * EPS
    )
    np.testing.assert_allclose(solution.gradient(0.2, [0.33, 0.77]), a, rtol=1e4 * EPS)


class Inflow(problems.AbstractExactProblem):
    @property
    def problem(self):
        def wave(t, x):
            return jnp.sin(2 * (x[0] - t))

        domain = hjpde.Domain([0.0], [2.0], boundary=[(hjpde.Dirichlet(wave), hjpde.Extrapolation())])
        return hjpde.InitialValueProblem(functools.partial(wave, 0.0), hjpde.Transport([1.0]), domain=domain)

    def __call__(self, t, x):
        return jnp.sin(2 * (x[0] - t))


@double_only
@pytest.mark.parametrize("order, least", [slow(1, 0.8), (5, 1.8)])
def test_what_flows_in_is_what_is_given(order, least):
    """After all of the datum has left the box; the ghost cells beyond a wave's wall are of second order."""
    errors = [solved(Inflow(), n, 2.5, order)[1] for n in (33, 65)]
    assert errors[1][0] <= 1e-15
    assert np.log2(errors[0].mean() / errors[1].mean()) >= least


@pytest.mark.parametrize("order", [1, slow(5)])
def test_a_reflecting_wall_is_a_mirror(order):
    def datum(x):
        return jnp.exp(jnp.cos(x[0]))

    t, n = 0.4, 24
    mirror = hjpde.Domain([0.0], [np.pi], boundary=hjpde.Neumann())
    ring = hjpde.Domain([0.0], [2 * np.pi], periodic=True)
    values = []
    for domain, size in ((mirror, n // 2 + 1), (ring, n)):
        problem = hjpde.InitialValueProblem(datum, hjpde.Quadratic(), domain=domain)
        solver = solvers.FiniteDifference(solvers.Grid.over(domain, size), order)
        values.append(hjpde.solve(problem, t, solver=solver).evaluator.us[-1])
    np.testing.assert_allclose(values[0], values[1][: n // 2 + 1], atol=1e3 * EPS)


def test_a_slope_at_the_wall():
    """The given normal derivative is that of a plane."""
    domain = hjpde.Domain([0.0], [1.0], boundary=[(hjpde.Neumann(-0.7), hjpde.Neumann(lambda t, x: 0.7))])
    problem = hjpde.InitialValueProblem(lambda x: 0.7 * x[0], hjpde.Quadratic(), 0.1, domain=domain)
    solver = solvers.FiniteDifference(solvers.Grid.over(domain, 8))
    values = hjpde.solve(problem, 0.5, solver=solver).evaluator.us[-1]
    np.testing.assert_allclose(values, 0.7 * solver.grid.points[:, 0] - 0.5 * 0.49, atol=1e3 * EPS)


# Dimensions and dtypes.


@pytest.mark.slow
@pytest.mark.parametrize("shape, axis, order", [slow((4, 16), 1, 5), ((16, 5, 4), 0, 5), slow((3, 4, 16, 3), 2, 3)])
def test_data_of_one_variable_in_more_dimensions(shape, axis, order):
    """On anisotropic grids: the solution is that in one dimension."""

    def solve(shape, axis, upper):
        problem = hjpde.InitialValueProblem(lambda x: jnp.exp(jnp.sin(x[axis])), hjpde.Quadratic())
        grid = solvers.Grid(np.zeros(len(shape)), upper, shape, True)
        return hjpde.solve(problem, 0.3, solver=solvers.FiniteDifference(grid, order)).evaluator.us[-1]

    upper = np.arange(1.0, len(shape) + 1)
    upper[axis] = 2 * np.pi
    many = jnp.moveaxis(solve(shape, axis, upper), axis, -1).reshape(-1, shape[axis])
    one = solve((shape[axis],), 0, [2 * np.pi])
    np.testing.assert_allclose(many, np.broadcast_to(one, many.shape), atol=1e3 * EPS)


@pytest.mark.slow
def test_single_precision_is_kept():
    domain = hjpde.Domain(np.zeros(1, np.float32), np.full(1, 2 * np.pi, np.float32), periodic=True)
    for viscosity in (0.0, np.float32(0.1), lambda t, x: (0.1 + 0.05 * jnp.sin(x))[:, None]):
        problem = hjpde.InitialValueProblem(lambda x: jnp.cos(x[0]), hjpde.Quadratic(), viscosity, domain=domain)
        solver = solvers.FiniteDifference(solvers.Grid.over(domain, 12))
        evaluator = hjpde.solve(problem, np.float32(0.2), solver=solver).evaluator
        dtypes = {leaf.dtype for leaf in (evaluator.us, evaluator.rates, evaluator.ts)}
        assert dtypes == {jnp.dtype(jnp.float32)}


# What the solver chooses.

RING = hjpde.Domain([0.0], [2 * np.pi], periodic=True)
NODES = solvers.Grid.over(RING, 24)


class Own(AbstractHamiltonian):
    """A user's Hamiltonian, without bounds."""

    @property
    def dim(self):
        return 1

    def __call__(self, t, x, p):
        return jnp.sqrt(1 + p[0] ** 2) * (1 + 0.1 * t) + 0.1 * jnp.sin(x[0])


class Black(AbstractHamiltonian):
    """One whose operations interval arithmetic does not know."""

    @property
    def dim(self):
        return 1

    def __call__(self, t, x, p):
        return jnp.linalg.eigvalsh(jnp.reshape(p[0], (1, 1)))[0] ** 2


@pytest.mark.parametrize(
    "hamiltonian, user, source",
    [
        (hjpde.Quadratic(), None, "hamiltonian"),
        (Own(), None, "interval"),
        (Own(), [2.0], "user"),
        (Black(), None, "sampled"),
    ],
)
def test_the_source_of_the_speeds_is_told(hamiltonian, user, source):
    problem = hjpde.InitialValueProblem(lambda x: jnp.cos(x[0]), hamiltonian, domain=RING)
    solution = hjpde.solve(problem, 0.1, solver=solvers.FiniteDifference(NODES, 1, speed_bound=user))
    stats = solution.stats
    assert stats["solver"] == "FiniteDifference"
    assert stats["speed_bound"] == source
    assert stats["scheme"].startswith("first-order upwind, " + ("godunov" if source == "hamiltonian" else "local"))
    assert int(stats["steps"]) >= 16
    assert 0 < float(stats["shortest_step"]) <= float(stats["longest_step"]) <= 0.1 / 16 * (1 + 8 * EPS)
    assert np.isnan(float(stats["failure_time"]))
    assert float(stats["cfl"]) == 0.75


@pytest.mark.slow
@double_only
@pytest.mark.parametrize("sign", [1, -1])
def test_backward_in_time(sign):
    """A terminal-value problem is the initial-value problem of the Hamiltonian reversed."""
    case = problems.SmoothKinks(1)
    H = hjpde.TimeReversed(hjpde.TimeReversed(hjpde.Quadratic(), 0.1), 0.1)
    if sign < 0:
        H = hjpde.TimeReversed(hjpde.Quadratic(), 0.1)
    problem = hjpde.InitialValueProblem(lambda x: sign * case(0.0, x), H, domain=case.problem.domain)
    grid = solvers.Grid.over(case.problem.domain, 32)  # pyright: ignore
    solution = hjpde.solve(problem, 0.1, solver=solvers.FiniteDifference(grid))
    np.testing.assert_allclose(sign * solution.evaluator.us[-1], exact_values(case, 0.1, grid), atol=5e-4)
    # -u solves the reversed problem from -g, to rounding.
    plain = hjpde.solve(case.problem, 0.1, solver=solvers.FiniteDifference(grid))
    np.testing.assert_allclose(sign * solution.evaluator.us[-1], plain.evaluator.us[-1], atol=1e-13)
