"""Inverse problems: against known singular values, an exact posterior, convex hulls, and every refusal."""

import ast
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial import ConvexHull

import hjpde
from hjpde import _fit, solvers
from hjpde._fit_atoms import fit_atoms
from hjpde.inverse._fit_datum import fit_datum
from hjpde.inverse._forward_map import ForwardMap
from hjpde.inverse._sensitivity import adjoint, derivative, observed
from hjpde.inverse._smooth_prior import SmoothPrior
from hjpde.inverse._unknowns import Unknowns

CIRCLE = solvers.Grid([0.0], [2 * np.pi], (32,), periodic=True)
EPSILON, TIME, NOISE = 0.1, 0.5, 0.01


def wave(x):
    return 0.6 * jnp.sin(x[0]) + 0.3 * jnp.cos(2 * x[0])


def samples(n=60, noise=NOISE, seed=0):
    """Values of the solution from `wave` on the circle, by a spectral solver, with errors."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 2 * np.pi, (n, 1))
    problem = hjpde.InitialValueProblem(wave, hjpde.Quadratic(), EPSILON)
    grid = solvers.Grid([0.0], [2 * np.pi], (64,), periodic=True)
    u = hjpde.solve(problem, TIME, solver=solvers.Spectral(grid)).batch(TIME, x)
    return hjpde.Samples(TIME, x, u + noise * rng.normal(size=n))


def recover(observations, **options):
    return hjpde.fit(
        observations,
        initial_data=solvers.GridValues(CIRCLE),
        viscosity=EPSILON,
        solver=solvers.GridHopfCole(CIRCLE),
        **options,
    )


def forward_at_rest(observations=None):
    """The forward map of values on the circle from a constant, observed at the nodes: linearised, a heat flow."""
    start = hjpde.InitialValueProblem(solvers.GridValues(CIRCLE), hjpde.Quadratic(), EPSILON)
    observations = hjpde.Samples(TIME, CIRCLE.points, jnp.zeros(32)) if observations is None else observations
    return ForwardMap(Unknowns(start, ("initial_data",)), solvers.GridHopfCole(CIRCLE), observations)


@pytest.fixture(scope="module")
def recovered():
    return recover(samples(), noise=NOISE)


@pytest.mark.slow
def test_the_residual_meets_the_noise(recovered):
    assert recovered.residual <= NOISE * (1 + 1 / np.sqrt(120))
    assert recovered.residual > 0.9 * NOISE
    residuals = [entry["residual"] for entry in recovered.history]
    weights = [entry["regularisation"] for entry in recovered.history]
    order = np.argsort(weights)[::-1]
    assert np.all(np.diff(np.asarray(residuals)[order]) <= 1e-6)


@pytest.mark.slow
def test_the_solution_and_the_datum_come_back(recovered):
    held_out = samples(200, 0.0, seed=1)
    error = recovered.predict(held_out.x, TIME) - held_out.u
    assert jnp.sqrt(jnp.mean(error**2)) < NOISE
    # The datum itself is blurred by the heat kernel: less of it comes back, and of its slowest wave nearly all.
    off = recovered.initial_data.values - CIRCLE.sample(wave)
    assert jnp.sqrt(jnp.mean(off**2)) < 0.1 * jnp.sqrt(jnp.mean(CIRCLE.sample(wave) ** 2))
    assert "20-th singular value" in recovered.summary()


@pytest.mark.slow
def test_the_two_products_are_adjoint_and_agree_with_differences(getkey):
    forward = forward_at_rest(samples(20))
    z, h = (jax.random.normal(getkey(), (32,)) for _ in range(2))
    w = jax.random.normal(getkey(), (20,))
    moved = derivative(forward, z, h)
    np.testing.assert_allclose(w @ moved, adjoint(forward, z, w) @ h, rtol=1e-12)
    step = 1e-5
    difference = (observed(forward, z + step * h) - observed(forward, z - step * h)) / (2 * step)
    np.testing.assert_allclose(moved, difference, rtol=1e-6, atol=1e-7)


@pytest.mark.slow
def test_singular_values_at_rest_are_those_of_the_heat_flow():
    # From a constant, the derivative multiplies each mode by exp(-eps k^2 t), and the prior by c / (kappa^2 + k^2).
    rest = hjpde.Samples(TIME, CIRCLE.points, jnp.zeros(32))
    found = recover(rest, regularisation=1.0).singular_values(10)
    k = np.abs(np.fft.fftfreq(32, 1 / 32))
    prior = 1 / (1 + k**2)
    prior = prior / np.sqrt(np.mean(prior**2))
    expected = np.sort(prior * np.exp(-EPSILON * TIME * k**2))[::-1]
    np.testing.assert_allclose(found, expected[:10], rtol=1e-6)


@pytest.mark.slow
def test_the_deviation_at_rest_is_that_of_the_exact_posterior():
    rest = hjpde.Samples(TIME, CIRCLE.points, jnp.zeros(32))
    weight = 0.05
    found = recover(rest, regularisation=weight, noise=NOISE).standard_deviation(CIRCLE.points, k=32)
    prior = np.stack([np.asarray(SmoothPrior(CIRCLE)(row)) for row in jnp.eye(32)]).T
    modes = np.exp(-EPSILON * TIME * np.fft.fftfreq(32, 1 / 32) ** 2)
    heat = np.fft.ifft(modes[:, None] * np.fft.fft(np.eye(32), axis=0), axis=0).real
    precision = (heat @ prior).T @ (heat @ prior) / NOISE**2 + 32 * weight * np.eye(32)
    expected = np.sqrt(np.diag(prior @ np.linalg.inv(precision) @ prior.T))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.slow
def test_going_on_is_bit_for_bit_the_whole_run():
    observations = samples()
    whole = recover(observations, noise=NOISE)
    part = recover(observations, noise=NOISE, until=3)
    assert len(part.history) == 3
    rest = recover(observations, noise=NOISE, state=part.state)
    np.testing.assert_array_equal(rest.state.z, whole.state.z)
    assert rest.history == whole.history


def test_an_interruption_keeps_what_was_reached(monkeypatch):
    from hjpde.inverse import _recover

    stage, calls = _recover._stage, iter(range(100))

    def interrupted(*arguments):
        if next(calls) == 2:
            raise KeyboardInterrupt
        return stage(*arguments)

    monkeypatch.setattr(_recover, "_stage", interrupted)
    found = recover(samples(), noise=NOISE)
    assert found.interrupted
    assert len(found.history) == 2


@pytest.mark.slow
def test_a_network_through_a_closed_form():
    # The layer's own atoms are recovered up to what is seen of them: the solution at later times.
    exact = hjpde.Atoms([[-1.0], [0.3], [1.2]], [0.0, 0.4, -0.2])
    x = jnp.linspace(-2, 2, 40)[:, None]
    problem = hjpde.InitialValueProblem(exact, hjpde.Quadratic(), EPSILON)
    t = jnp.where(jnp.arange(40) % 2 == 0, 0.5, 0.8)
    u = jax.vmap(hjpde.solve(problem, 1.0))(t, x)
    start = hjpde.Atoms([[-0.8], [0.1], [1.0]], [0.1, 0.1, 0.1])
    found = hjpde.fit(hjpde.Samples(t, x, u), initial_data=start, viscosity=EPSILON)
    np.testing.assert_allclose(found.initial_data.positions, exact.positions, atol=1e-4)
    np.testing.assert_allclose(found.predict(x, 1.0), hjpde.solve(problem, 1.0).batch(1.0, x), atol=1e-5)


@pytest.mark.slow
def test_the_viscosity_and_the_datum_together():
    exact = hjpde.Atoms([[-1.0], [1.0]], [0.0, 0.3])
    x = jnp.linspace(-2, 2, 40)[:, None]
    u = hjpde.solve(hjpde.InitialValueProblem(exact, hjpde.Quadratic(), EPSILON), 1.0).batch(0.5, x)
    found = hjpde.fit(
        hjpde.Samples(0.5, x, u),
        initial_data=hjpde.Atoms([[-0.9], [1.1]], [0.1, 0.1]),
        viscosity=0.2,
        unknown=("initial_data", "viscosity"),
    )
    np.testing.assert_allclose(found.problem.temperature(), EPSILON, rtol=1e-4)
    np.testing.assert_allclose(found.initial_data.heights, exact.heights, atol=1e-4)


@pytest.mark.slow
def test_a_parameter_of_the_hamiltonian():
    grid = solvers.Grid([-3.0], [3.0], (61,))
    datum = hjpde.Norm(2)
    x = jnp.linspace(-2, 2, 9)[:, None]

    def solution(speed):
        problem = hjpde.InitialValueProblem(datum, hjpde.Eikonal(speed))
        return hjpde.solve(problem, 0.5, solver=solvers.FiniteDifference(grid, order=1, max_steps=16))

    found = hjpde.fit(
        hjpde.Samples(0.5, x, solution(0.7).batch(0.5, x)),
        initial_data=datum,
        hamiltonian=hjpde.Eikonal(1.0),
        unknown="hamiltonian",
        solver=solvers.FiniteDifference(grid, order=1, max_steps=16),
    )
    np.testing.assert_allclose(found.problem.hamiltonian.speed, 0.7, rtol=1e-6)  # pyright: ignore


# Without viscosity.


def lower_hull(points, values, at):
    """The greatest convex function below the values, at other points: from the faces of a hull."""
    hull = ConvexHull(np.column_stack([points, values]))
    below = hull.equations[hull.equations[:, -2] < 0]
    slopes, offsets = -below[:, :-2] / below[:, -2:-1], -below[:, -1] / below[:, -2]
    return (at @ slopes.T + offsets[None]).max(axis=1)


LINE = solvers.Grid([-2.0], [2.0], (256,), periodic=True)


def images(values):
    """Nodes and values of a periodic line, repeated on both sides."""
    x = np.asarray(LINE.points).reshape(-1)
    return np.concatenate([x - 4, x, x + 4]), np.tile(np.asarray(values), 3)


def recover_backwards(values, t):
    observations = hjpde.Samples(t, LINE.points, values)
    return hjpde.fit(observations, initial_data=solvers.GridValues(LINE), solver=solvers.GridHopfLax(LINE))


@pytest.mark.slow
def test_the_least_datum_is_the_semiconvex_envelope():
    t = 0.3
    datum = LINE.sample(lambda x: 0.4 * jnp.sin(np.pi * x[0]) + 0.2 * jnp.cos(2 * np.pi * x[0]))
    problem = hjpde.InitialValueProblem(solvers.GridValues(LINE, datum), hjpde.Quadratic())
    values = hjpde.solve(problem, t, solver=solvers.GridHopfLax(LINE)).evaluator.us[-1]
    found = recover_backwards(values, t)
    x, repeated = images(datum)
    nodes = np.asarray(LINE.points)
    envelope = lower_hull(x, repeated + x**2 / (4 * t), nodes) - nodes[:, 0] ** 2 / (4 * t)
    np.testing.assert_allclose(found.initial_data.values, envelope, atol=1e-3)
    assert found.residual < 1e-4
    # Where the datum is above its envelope it is lost, and that is said.
    lost = np.asarray(datum) > envelope + 1e-2
    assert not np.any(np.asarray(found.observable) & lost)
    assert "lost" not in found.summary()
    assert "only known to lie above" in found.summary()


@pytest.mark.slow
def test_what_cannot_be_reached_is_replaced_by_its_semiconcave_envelope():
    t = 0.2
    values = LINE.sample(lambda x: 0.5 * jnp.abs(jnp.sin(np.pi * x[0])))  # convex kinks: no solution has them
    found = recover_backwards(values, t)
    reached = found.solution().evaluator.us[-1]
    x, repeated = images(values)
    nodes = np.asarray(LINE.points)
    envelope = nodes[:, 0] ** 2 / (4 * t) - lower_hull(x, x**2 / (4 * t) - repeated, nodes)
    np.testing.assert_allclose(reached, envelope, atol=1e-3)


# Mistakes.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise": 0.0}, "`noise` must be positive"),
        ({"noise": -1.0}, "`noise` must be positive"),
        ({"noise": float("nan")}, "`noise` must be positive"),
        ({"regularisation": -1.0}, "`regularisation` must be at least 0"),
        ({"steps": 0}, "`steps` must be a whole number"),
        ({"stages": 1.5}, "`stages` must be a whole number"),
        ({"unknown": "datum"}, "`unknown` must name some of"),
        ({"unknown": ()}, "`unknown` must name some of"),
        ({"unknown": ("hamiltonian",)}, "holds no array to recover"),
        ({"n_atoms": 3}, "`n_atoms` is no argument of a fit with `initial_data`"),
        ({"state": 3}, "`state` must be that of a `Recovered`"),
        ({"solver": solvers.Hopf()}, "`solver` Hopf does not apply"),
    ],
)
def test_refuses(options, message):
    arguments = {"viscosity": EPSILON, "solver": solvers.GridHopfCole(CIRCLE)} | options
    with pytest.raises(ValueError, match=message):
        hjpde.fit(samples(5), initial_data=solvers.GridValues(CIRCLE), **arguments)


@pytest.mark.slow
def test_refuses_other_observations_and_dimensions():
    datum = solvers.GridValues(CIRCLE)
    with pytest.raises(ValueError, match="must be `Samples` with `initial_data`"):
        hjpde.fit(hjpde.Regression([[0.0]], [0.0]), initial_data=datum)  # pyright: ignore
    with pytest.raises(ValueError, match="`observations` have d = 2"):
        hjpde.fit(hjpde.Samples(1.0, [[0.0, 0.0]], [0.0]), initial_data=datum)
    with pytest.raises(ValueError, match="`noise` is no argument of a fit without `initial_data`"):
        hjpde.fit(samples(5), noise=0.1, viscosity=0.1)  # pyright: ignore
    with pytest.raises(ValueError, match="which must then be a positive number"):
        hjpde.fit(samples(5), initial_data=datum, unknown="viscosity")
    other = recover(samples(5), noise=NOISE, until=1).state
    one, atom = hjpde.Samples(0.5, [[0.0]], [0.0]), hjpde.Atoms([[0.0]], [0.0])
    with pytest.raises(ValueError, match="belongs to another run"):
        hjpde.fit(one, initial_data=atom, viscosity=0.1, state=other)


def test_what_is_declared_is_what_is_taken():
    """The two declared forms of `hjpde.fit` have the arguments and defaults of the functions that do the work."""
    # Read from the text, as the checks at run time wrap the declarations.
    tree = ast.parse(inspect.getsource(_fit))
    forms = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.decorator_list]
    for form, function in zip(forms, (fit_atoms, fit_datum), strict=True):
        pairs = zip(form.args.kwonlyargs, form.args.kw_defaults, strict=True)
        stated = {argument.arg: default and ast.literal_eval(default) for argument, default in pairs}
        taken = {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}
        for defaults in (stated, taken):
            defaults.pop("initial_data", None)
        taken.pop("observations")
        assert stated == taken


def test_a_sample_outside_of_the_grid_is_reported():
    grid = solvers.Grid([0.0], [1.0], (16,))
    with pytest.raises(FloatingPointError, match="samples outside of the solver's grid"):
        hjpde.fit(
            hjpde.Samples(0.1, [[2.0]], [0.0]),
            initial_data=solvers.GridValues(grid),
            hamiltonian=hjpde.Eikonal(),
            solver=solvers.FiniteDifference(grid, order=1, max_steps=16),
        )


@pytest.mark.slow
def test_what_is_not_known_is_not_made_up(recovered):
    with pytest.raises(ValueError, match="`k` must be at least 1"):
        recovered.singular_values(0)
    with pytest.raises(ValueError, match="`X` must be finite"):
        recovered.predict([[np.nan]], TIME)
    unpenalised = recover(samples(5), steps=1)
    with pytest.raises(ValueError, match="`regularisation` must be positive"):
        unpenalised.standard_deviation(CIRCLE.points)
    atoms = hjpde.Atoms([[0.0]], [0.0])
    found = hjpde.fit(hjpde.Samples(0.5, [[0.0]], [0.0]), initial_data=atoms, viscosity=0.1, steps=1)
    with pytest.raises(ValueError, match="`observable` needs"):
        _ = found.observable


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("grid",), "`grid` must be a `solvers.Grid`"),
        ((CIRCLE, np.zeros(3)), "`values` must have the grid's shape"),
        ((CIRCLE, np.full(32, np.nan)), "`values` must be finite"),
        ((CIRCLE, 0.0, "quintic"), "`order` must be 'cubic' or 'linear'"),
    ],
)
def test_grid_values_refuse(arguments, message):
    with pytest.raises(ValueError, match=message):
        solvers.GridValues(*arguments)


def test_grid_values_are_what_was_given_at_the_nodes(getkey):
    values = jax.random.normal(getkey(), (32,))
    datum = solvers.GridValues(CIRCLE, values)
    np.testing.assert_allclose(CIRCLE.sample(datum), values, rtol=1e-13)
    assert datum.dim == 1
