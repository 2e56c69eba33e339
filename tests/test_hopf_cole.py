"""The closed forms: the layer's identity, the equation itself, linear-quadratic problems, escape."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _helpers import jets, random_spd, residuals, values
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

import hjpde
from hjpde import solvers


def hopf_cole(datum, hamiltonian, viscosity, t=1.0, **options):
    problem = hjpde.InitialValueProblem(datum, hamiltonian, viscosity)
    return hjpde.solve(problem, t, solvers.HopfCole(**options))


@eqx.filter_jit
def _layers_and_solutions(weights, biases, viscosity, times, X):
    """One point a time, so that one program serves all times."""
    layer = hjpde.LogSumExp(weights, biases, viscosity)

    def both(t, x):
        solution = hopf_cole(layer.atoms(t), hjpde.Quadratic(), viscosity, t, normalised=False)
        return layer.batch(x[None])[0], solution(t, x)

    return jax.lax.map(lambda tx: both(*tx), (times, X))


@eqx.filter_jit
def _solutions_and_layers(positions, heights, viscosity, times, X):
    atoms = hjpde.Atoms(positions, heights)

    def both(t, x):
        solution = hopf_cole(atoms, hjpde.Quadratic(), viscosity, t, normalised=False)
        return hjpde.LogSumExp.from_atoms(atoms, t, viscosity).batch(x[None])[0], solution(t, x)

    return jax.lax.map(lambda tx: both(*tx), (times, X))


@pytest.mark.parametrize("d, n", [(1, 1000), (2, 40), (10, 3), (64, 1000)])
def test_layer_identity(d, n):
    # The layer goes by the streaming kernel, the solution by squared distances to the atoms. A layer of unit weights
    # has its atoms at distance t: points nearer to the origin lose digits in the heights, -b - t|W|^2.
    rng = np.random.default_rng(d)
    slopes, offsets = rng.normal(size=(n, d)), rng.normal(size=n)
    times = np.exp(rng.uniform(np.log(0.01), np.log(100), 30))
    X = rng.normal(size=(30, d))
    for viscosity in (0.01, 0.1, 1.0):
        near = _solutions_and_layers(slopes, offsets, jnp.asarray(viscosity), times, X)
        far = _layers_and_solutions(slopes, offsets, jnp.asarray(viscosity), times, 2 * times[:, None] * X)
        for (f, u), size in ((near, np.sum(X**2, axis=1) / (4 * times)), (far, np.sum(X**2, axis=1) * times)):
            assert np.all(np.abs(f + u - size) <= 1e-13 * (np.abs(f) + np.abs(u) + size))


def test_layer_identity_in_any_metric():
    rng = np.random.default_rng(0)
    A, t = random_spd(rng, 3), 0.6
    layer = hjpde.LogSumExp(rng.normal(size=(20, 3)), rng.normal(size=20), 0.2)
    X = rng.normal(size=(10, 3))
    u = hopf_cole(layer.atoms(t, A), hjpde.Quadratic(A), 0.2 * A, t, normalised=False).batch(t, X)
    parabola = np.einsum("kd,kd->k", X, np.linalg.solve(A, X.T).T) / (4 * t)
    np.testing.assert_allclose(layer.batch(X) + u, parabola, rtol=1e-12)


def _data(rng, d, n=20):
    precisions = np.stack([random_spd(rng, d, 0.0) for _ in range(n)])
    Y, g = rng.normal(size=(n, d)), rng.normal(size=n)
    return {
        "atoms": hjpde.Atoms(Y, g),
        "planes": hjpde.SoftMinPlanes(Y, g),
        "mixture": hjpde.GaussianMixture(Y, g, precisions, slopes=0.3 * Y),
    }


TIMES = jnp.asarray([0.05, 0.7, 3.0])


@pytest.mark.parametrize("d", [1, 10])
@pytest.mark.parametrize("kind", ["atoms", "planes", "mixture"])
def test_solves_the_equation(kind, d):
    rng = np.random.default_rng(d)
    datum, A = _data(rng, d)[kind], random_spd(rng, d)
    X = jnp.asarray(rng.normal(size=(3, d)))
    for eps in (0.02, 0.5):
        problem = hjpde.InitialValueProblem(datum, hjpde.Quadratic(A), eps * A)
        residual, size = residuals(problem, hjpde.solve(problem, 1.0), TIMES, X)
        assert np.all(np.abs(residual) <= 1e-12 * size)


def test_solves_the_isotropic_equation_with_scalar_viscosity():
    rng = np.random.default_rng(3)
    problem = hjpde.InitialValueProblem(_data(rng, 3)["atoms"], hjpde.Quadratic(), 0.1)
    residual, size = residuals(problem, hjpde.solve(problem, 1.0), TIMES, jnp.asarray(rng.normal(size=(3, 3))))
    assert np.all(np.abs(residual) <= 1e-12 * size)


@pytest.mark.parametrize("d", [1, 10])
def test_without_the_normaliser_the_residual_is_known(d):
    rng = np.random.default_rng(d)
    A, eps = random_spd(rng, d), 0.2
    problem = hjpde.InitialValueProblem(_data(rng, d)["atoms"], hjpde.Quadratic(A), eps * A)
    solution = hjpde.solve(problem, 1.0, solvers.HopfCole(normalised=False))
    residual, size = residuals(problem, solution, TIMES, jnp.asarray(rng.normal(size=(3, d))))
    np.testing.assert_allclose(residual, -eps * d / (2 * TIMES), atol=1e-12 * size.max(), rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind, d",
    [*(pytest.param(*case, marks=pytest.mark.slow) for case in (("atoms", 10), ("planes", 2))), ("mixture", 2)],
)
def test_solves_the_equation_with_drift_and_cost(kind, d):
    rng = np.random.default_rng(d)
    datum, A = _data(rng, d)[kind], random_spd(rng, d)
    B, c = rng.normal(size=(d, d)) / np.sqrt(d), rng.normal(size=d)
    X = jnp.asarray(rng.normal(size=(3, d)))
    for Q in (np.zeros((d, d)), random_spd(rng, d)):
        problem = hjpde.InitialValueProblem(datum, hjpde.LinearQuadratic(A, B, c, Q), 0.1 * A)
        residual, size = residuals(problem, hjpde.solve(problem, 1.0), jnp.asarray([0.05, 0.4, 1.0]), X)
        assert np.all(np.abs(residual) <= 1e-12 * size)


@pytest.mark.slow
def test_solves_the_equation_with_coefficients_that_depend_on_time():
    rng = np.random.default_rng(4)
    A, B = random_spd(rng, 2), rng.normal(size=(2, 2))
    H = hjpde.LinearQuadratic(A, lambda t: B * jnp.cos(t), lambda t: jnp.sin(t) * jnp.ones(2), np.eye(2))
    problem = hjpde.InitialValueProblem(_data(rng, 2)["mixture"], H, 0.1 * A)
    solution = hjpde.solve(problem, 3.0)
    residual, size = residuals(problem, solution, TIMES, jnp.asarray(rng.normal(size=(3, 2))))
    assert np.all(np.abs(residual) <= 1e-11 * size)


@pytest.mark.slow
def test_constant_functions_of_time_are_constants():
    rng = np.random.default_rng(5)
    datum, A, B, c = _data(rng, 2)["atoms"], random_spd(rng, 2), rng.normal(size=(2, 2)), rng.normal(size=2)
    X, eps = jnp.asarray(rng.normal(size=(3, 2))), 0.1
    varying = hjpde.LinearQuadratic(A, lambda t: jnp.asarray(B), lambda t: jnp.asarray(c), np.eye(2))
    one = hopf_cole(datum, hjpde.LinearQuadratic(A, B, c, np.eye(2)), eps * A).batch(0.8, X)
    two = hopf_cole(datum, varying, eps * A).batch(0.8, X)
    np.testing.assert_allclose(one, two, rtol=1e-10)


@pytest.mark.slow
def test_batch_agrees_with_single_points():
    rng = np.random.default_rng(6)
    A, B, c = random_spd(rng, 2), rng.normal(size=(2, 2)), rng.normal(size=2)
    X = jnp.asarray(rng.normal(size=(3, 2)))
    coupled, data = hjpde.LinearQuadratic(A, B, c, np.eye(2)), _data(rng, 2)
    for kind, H in (("planes", hjpde.Quadratic(A)), ("mixture", coupled)):
        solution = hopf_cole(data[kind], H, 0.1 * A)
        one = values(solution, jnp.full(3, 0.8), X)
        np.testing.assert_allclose(solution.batch(0.8, X), one, rtol=1e-12, atol=1e-13)


def test_planes_stay_planes():
    rng = np.random.default_rng(7)
    A, eps, t = random_spd(rng, 3), 0.3, 1.7
    W, b = rng.normal(size=(15, 3)), rng.normal(size=15)
    solution = hopf_cole(hjpde.SoftMinPlanes(W, b), hjpde.Quadratic(A), eps * A)
    x = rng.normal(size=3)
    layer = hjpde.LogSumExp(W, b, eps)
    np.testing.assert_allclose(solution(0.0, x), -layer(jnp.asarray(x)), rtol=1e-13)
    moved = hjpde.LogSumExp(W, b + t * np.einsum("nd,de,ne->n", W, A, W), eps)
    np.testing.assert_allclose(solution(t, x), -moved(jnp.asarray(x)), rtol=1e-12)


@pytest.mark.slow
def test_a_mixture_contains_planes_and_atoms():
    rng = np.random.default_rng(8)
    A, eps, X = random_spd(rng, 2), 0.3, rng.normal(size=(3, 2))
    Y, g = rng.normal(size=(20, 2)), rng.normal(size=20)
    H, N = hjpde.Quadratic(A), eps * A
    flat = hopf_cole(hjpde.GaussianMixture(Y, g, 0.0, slopes=-Y), H, N).batch(0.7, X)
    planes = hopf_cole(hjpde.SoftMinPlanes(Y, -g - np.sum(Y * Y, axis=1)), H, N).batch(0.7, X)
    np.testing.assert_allclose(flat, planes, rtol=1e-12)
    # A Gaussian of precision P and mass one is a point mass as P grows: exp(-g/eps) gains (P/(2 pi eps))^(d/2).
    atoms = hopf_cole(hjpde.Atoms(Y, g), H, N).batch(0.7, X)
    gaps = []
    for precision in (1e4, 1e6):
        heights = g - eps * np.log(precision / (2 * np.pi * eps))
        gaps.append(np.abs(hopf_cole(hjpde.GaussianMixture(Y, heights, precision), H, N).batch(0.7, X) - atoms).max())
    assert gaps[1] == pytest.approx(gaps[0] / 100, rel=0.05)
    assert gaps[1] < 1e-4


@pytest.mark.parametrize("eps", [0.01, 1.0])
def test_a_quadratic_form_is_one_gaussian_at_every_temperature(eps):
    rng = np.random.default_rng(9)
    A, P, s, t = random_spd(rng, 3), random_spd(rng, 3), rng.normal(size=3), 0.8
    x = rng.normal(size=3)
    solution = hopf_cole(hjpde.QuadraticForm(P, s, 0.5), hjpde.Quadratic(A), eps * A)
    # By hand: the minimum over the start y of g(y) + (x - y)'A^-1(x - y)/4t, and the determinant of 1 + 2tPA.
    y = np.linalg.solve(P + np.linalg.inv(A) / (2 * t), np.linalg.solve(A, x) / (2 * t) - s)
    least = y @ P @ y / 2 + s @ y + 0.5 + (x - y) @ np.linalg.solve(A, x - y) / (4 * t)
    expected = least + eps / 2 * np.log(np.linalg.det(np.eye(3) + 2 * t * P @ A))
    np.testing.assert_allclose(solution(t, x), expected, rtol=1e-12)


def test_ornstein_uhlenbeck_against_its_transition_density():
    # dX = -(bX + c) ds + sqrt(2 eps a) dW: the solution grown from a point mass at y is -eps log of the density at y.
    a, b, c, eps, t, y, x = 0.7, 0.9, -0.4, 0.2, 1.3, 0.5, -0.8
    mean = np.exp(-b * t) * x - c * (1 - np.exp(-b * t)) / b
    variance = 2 * eps * a * (1 - np.exp(-2 * b * t)) / (2 * b)
    log_density = -((y - mean) ** 2) / (2 * variance) - np.log(2 * np.pi * variance) / 2
    H = hjpde.LinearQuadratic([[a]], [[b]], [c])
    solution = hopf_cole(hjpde.Atoms([[y]], [0.0]), H, [[eps * a]])
    np.testing.assert_allclose(solution(t, [x]), -eps * log_density, rtol=1e-12)


@pytest.mark.slow
def test_linear_quadratic_against_an_integrated_riccati_equation():
    # u = x'Px/2 + s.x + r:  P' = -2PAP - PB - B'P + Q,  s' = -2PAs - B's - Pc,  r' = -s'As - c.s + eps tr(AP).
    rng = np.random.default_rng(10)
    d, eps, t = 2, 0.3, 1.1
    A, Q, P0 = (random_spd(rng, d) for _ in range(3))
    B, s0, x = rng.normal(size=(d, d)), rng.normal(size=d), rng.normal(size=d)

    def drift_matrix(time):
        return B * np.cos(2 * time)

    def drift(time):
        return np.asarray([np.sin(time), 0.5])

    def rates(time, state):
        P, s, B, c = state[: d * d].reshape(d, d), state[d * d : -1], drift_matrix(time), drift(time)
        dP = -2 * P @ A @ P - P @ B - B.T @ P + Q
        ds = -2 * P @ A @ s - B.T @ s - P @ c
        return np.concatenate([dP.ravel(), ds, [-s @ A @ s - c @ s + eps * np.trace(A @ P)]])

    start = np.concatenate([P0.ravel(), s0, [0.0]])
    end = solve_ivp(rates, (0, t), start, method="DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
    P, s, r = end[: d * d].reshape(d, d), end[d * d : -1], end[-1]
    H = hjpde.LinearQuadratic(A, lambda t: B * jnp.cos(2 * t), lambda t: jnp.stack([jnp.sin(t), 0.5 + 0 * t]), Q)
    solution = hopf_cole(hjpde.QuadraticForm(P0, s0), H, eps * A, 2.0)
    (u,) = values(solution, jnp.asarray([t]), jnp.asarray(x)[None])
    np.testing.assert_allclose(u, x @ P @ x / 2 + s @ x + r, rtol=1e-9)


@pytest.mark.slow
def test_a_switched_drift_is_two_flows():
    eps, t = 0.2, jnp.asarray(0.5)
    A, B0, B1, x = np.eye(1), jnp.asarray([[0.8]]), jnp.asarray([[-1.1]]), jnp.asarray([[0.4]])
    start = hjpde.QuadraticForm([[0.6]], [0.3])
    first = hopf_cole(start, hjpde.LinearQuadratic(A, B0), eps * A)
    value, _, slope, bend = (part[0] for part in jets(first, t[None], jnp.zeros((1, 1))))
    then = hopf_cole(hjpde.QuadraticForm(bend, slope, value), hjpde.LinearQuadratic(A, B1), eps * A)
    switched = hjpde.LinearQuadratic(A, lambda time: jnp.where(time < 0.5, B0, B1))
    both = hopf_cole(start, switched, eps * A)
    np.testing.assert_allclose(values(both, 2 * t[None], x), values(then, t[None], x), rtol=1e-9)


@pytest.mark.parametrize("eps", [0.0, 0.1])
def test_a_concave_parabola_escapes(eps):
    c = 2.0
    problem = hjpde.InitialValueProblem(hjpde.QuadraticForm(-c * np.eye(2)), hjpde.Quadratic(), eps)
    early = hjpde.solve(problem, 0.2)
    assert early.result == hjpde.RESULTS.successful
    assert early.stats["escape_time"] == np.inf
    with pytest.raises(hjpde.SolveError, match="escape_time") as raised:
        hjpde.solve(problem, 1.0)
    assert raised.value.solution.result == hjpde.RESULTS.escaped
    late = hjpde.solve(problem, 1.0, throw=False)
    assert late.result == hjpde.RESULTS.escaped
    assert float(late.stats["escape_time"]) == pytest.approx(1 / (2 * c), rel=1e-6)
    # Before the escape the value holds: -c|x|^2 / (2 (1 - 2ct)) + eps log(1 - 2ct) in two dimensions.
    gap = 1 - 2 * c * 0.2
    np.testing.assert_allclose(late(0.2, jnp.ones(2)), -c / gap + eps * np.log(gap), rtol=1e-12)
    assert np.isnan(late(0.3, jnp.ones(2)))
    assert np.isnan(late.batch(0.3, jnp.ones((1, 2)))).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind, turns", [("planes", 0.5), ("atoms", 1.0)])
def test_an_inverted_oscillator_escapes(kind, turns):
    # X'' = -omega^2 X with omega^2 = 2q: planes start at X = 1, point masses at X = 0.
    q = 2.0
    datum = hjpde.Atoms([[0.3, 0.1]], [0.0]) if kind == "atoms" else hjpde.SoftMinPlanes([[0.3, 0.1]], [0.0])
    H = hjpde.LinearQuadratic(np.eye(2), Q=-q * np.eye(2))
    problem = hjpde.InitialValueProblem(datum, H, 0.1 * np.eye(2))
    solution = hjpde.solve(problem, 4.0, throw=False)
    assert solution.result == hjpde.RESULTS.escaped
    assert float(solution.stats["escape_time"]) == pytest.approx(turns * np.pi / np.sqrt(2 * q), rel=1e-5)


def _semigroup_case(d):
    rng = np.random.default_rng(d)
    datum = hjpde.Atoms(rng.normal(size=(5, d)), rng.normal(size=5) * 0.3)
    return datum, rng.normal(size=d)


@pytest.mark.slow
@pytest.mark.parametrize("d", [1, 2])
def test_semigroup_against_a_trapezoidal_rule(d):
    # exp(-u(t1 + t2)/eps) is the heat kernel's average of exp(-u(t1)/eps); the rule converges geometrically.
    datum, x = _semigroup_case(d)
    eps, t1, t2 = 0.1, 0.4, 0.7
    solution = hopf_cole(datum, hjpde.Quadratic(), eps)
    nodes, width = np.linspace(-1, 1, 161), 9 * np.sqrt(2 * eps * t2)
    grid = np.stack(np.meshgrid(*[nodes * width] * d, indexing="ij"), axis=-1).reshape(-1, d)
    u = solution.batch(t1, x + grid)
    log_kernel = -np.sum(grid**2, axis=1) / (4 * eps * t2) - d / 2 * np.log(4 * np.pi * eps * t2)
    log_cell = d * np.log((nodes[1] - nodes[0]) * width)
    moved = -eps * jax.nn.logsumexp(-u / eps + log_kernel + log_cell)
    assert abs(moved - solution(t1 + t2, x)) <= 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("d", [1, 2])
def test_semigroup_against_the_gaussian_integral(d):
    datum, x = _semigroup_case(d)
    eps, t1, t2 = 0.1, 0.4, 0.7
    solution = hopf_cole(datum, hjpde.Quadratic(), eps)
    again = hopf_cole(lambda y: solution(t1, y), hjpde.Quadratic(), eps)
    moved = values(again, jnp.asarray([t2]), jnp.asarray(x)[None])[0]
    assert abs(moved - solution(t1 + t2, x)) <= 1e-12


SETTINGS = {"heights": st.lists(st.floats(-2, 2), min_size=4, max_size=4), "shift": st.floats(-3, 3)}
POSITIONS = np.random.default_rng(11).normal(size=(4, 2))


@eqx.filter_jit
def _value(positions, heights, eps, t, x):
    return hopf_cole(hjpde.Atoms(positions, heights), hjpde.Quadratic(), eps, t, normalised=False)(t, x)


@given(**SETTINGS)
def test_constants_and_translations_pass_through(heights, shift):
    heights, eps, t, x = jnp.asarray(heights), jnp.asarray(0.1), jnp.asarray(0.5), jnp.asarray([0.3, -0.2])
    u = _value(POSITIONS, heights, eps, t, x)
    np.testing.assert_allclose(_value(POSITIONS, heights + shift, eps, t, x), u + shift, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(_value(POSITIONS + shift, heights, eps, t, x + shift), u, rtol=1e-11, atol=1e-12)


@given(rise=st.lists(st.floats(0, 2), min_size=4, max_size=4), **SETTINGS)
def test_higher_data_give_higher_solutions(heights, shift, rise):
    eps, t, x = jnp.asarray(0.1), jnp.asarray(0.5), jnp.asarray([0.3, shift])
    low = _value(POSITIONS, jnp.asarray(heights), eps, t, x)
    high = _value(POSITIONS, jnp.asarray(heights) + jnp.asarray(rise), eps, t, x)
    assert high >= low - 1e-13
    assert high <= low + max(rise) + 1e-13


@given(eps=st.floats(1e-3, 1.0), **SETTINGS)
def test_tends_to_the_inviscid_solution_from_below(heights, shift, eps):
    x, t = jnp.asarray([0.3, shift]), 0.5
    inviscid = np.min(np.asarray(heights) + np.sum((np.asarray(x) - POSITIONS) ** 2, axis=1) / (4 * t))
    u, lower = (_value(POSITIONS, jnp.asarray(heights), jnp.asarray(e), jnp.asarray(t), x) for e in (eps, 2 * eps))
    assert inviscid - eps * np.log(4) - 1e-12 <= u <= inviscid + 1e-12
    # The soft minimum falls as the temperature rises.
    assert lower <= u + 1e-12


def test_the_smallest_temperatures_stay_finite():
    for eps in (1e-6, 1e3):
        solution = hopf_cole(hjpde.Atoms(POSITIONS, jnp.zeros(4)), hjpde.Quadratic(), eps)
        assert all(np.all(np.isfinite(part)) for part in jets(solution, jnp.asarray([0.3]), jnp.ones((1, 2))))


def test_a_dropped_atom_counts_for_nothing():
    heights = np.asarray([0.1, np.inf, -0.4, 0.2])
    kept = np.isfinite(heights)
    H = hjpde.Quadratic()
    all_four = hopf_cole(hjpde.Atoms(POSITIONS, heights), H, 0.1)
    three = hopf_cole(hjpde.Atoms(POSITIONS[kept], heights[kept]), H, 0.1)
    x = jnp.asarray([[0.4, -0.1]])
    for part, expected in zip(jets(all_four, jnp.ones(1), x), jets(three, jnp.ones(1), x), strict=True):
        np.testing.assert_allclose(part, expected, rtol=1e-12)


def test_refuses_what_it_cannot_solve():
    atoms = hjpde.Atoms(POSITIONS, np.zeros(4))
    solver = solvers.HopfCole()
    with pytest.raises(
        ValueError, match=r"HopfCole does not apply: the Hamiltonian is neither.*Those that do: HopfLax"
    ):
        hjpde.solve(hjpde.InitialValueProblem(atoms, hjpde.Eikonal()), 1.0, solver)
    with pytest.raises(ValueError, match=r"there is no viscosity.*Those that do: HopfLax"):
        hjpde.solve(hjpde.InitialValueProblem(atoms, hjpde.Quadratic()), 1.0, solver)
    with pytest.raises(ValueError, match=r"must be eps \* A"):
        hjpde.solve(hjpde.InitialValueProblem(atoms, hjpde.Quadratic(np.diag([1.0, 2.0])), 0.1), 1.0, solver)
    varying = hjpde.InitialValueProblem(atoms, hjpde.Quadratic(), lambda t, x: jnp.eye(2))
    with pytest.raises(ValueError, match=r"depends on time and place"):
        hjpde.solve(varying, 1.0, solver)
    with pytest.raises(ValueError, match=r"none applies to this problem. HopfCole: .* HopfLax: .* Hopf: "):
        hjpde.solve(varying, 1.0)
    for n_samples in (0, 3):
        with pytest.raises(ValueError, match="`n_samples` must be an even number"):
            solvers.HopfCole(n_samples=n_samples)


def test_what_rounding_has_taken_is_not_a_number():
    # With a running cost the flow grows as exp(sqrt(2 q) t): by t = 40 no digit of the curvature is left.
    problem = hjpde.InitialValueProblem(hjpde.Atoms([[0.4]], [0.2]), hjpde.LinearQuadratic([[1.0]], Q=[[1.0]]), [[0.1]])
    with pytest.raises(hjpde.SolveError, match="rounding has taken the digits"):
        hjpde.solve(problem, 40.0)
    solution = hjpde.solve(problem, 40.0, throw=False)
    assert np.isnan(solution(40.0, [0.3]))
    assert np.isfinite(solution(5.0, [0.3]))
