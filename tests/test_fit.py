"""Fitting: against the targets' own noise, exact parameters, the exported problem, and every refusal."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hjpde


def one_dimensional(x):
    return np.sin(3 * x[:, 0]) + 0.5 * np.abs(x[:, 0])


def two_dimensional(x):
    return np.sin(2 * x[:, 0]) * np.cos(1.5 * x[:, 1]) + 0.3 * np.abs(x[:, 0] - x[:, 1])


def noisy_set(target, d, n, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-2, 2, (n, d))
    return hjpde.Regression(x, target(x) + 0.05 * rng.normal(size=n))


def error_of(fitted, target, d):
    x = np.random.default_rng(99).uniform(-1.9, 1.9, (1000, d))
    return float(np.sqrt(np.mean((np.asarray(fitted.predict(x)) - target(x)) ** 2)))


@pytest.mark.parametrize(
    ("target", "d", "n", "n_atoms", "bound"),
    [
        (one_dimensional, 1, 200, 24, 0.03),
        pytest.param(two_dimensional, 2, 600, 48, 0.045, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("optimiser", ["adam", "lbfgs"])
def test_regression_reaches_the_known_error(target, d, n, n_atoms, bound, optimiser):
    observations = noisy_set(target, d, n)
    errors = [
        error_of(hjpde.fit(observations, n_atoms=n_atoms, optimiser=optimiser, key=jax.random.key(seed)), target, d)
        for seed in range(3)
    ]
    assert np.mean(errors) < bound


@pytest.fixture(scope="module")
def regression():
    return hjpde.fit(noisy_set(two_dimensional, 2, 100), n_atoms=8, steps=60, difference=True)


def test_the_exported_problem_is_what_predicts(regression, getkey):
    X = jax.random.uniform(getkey(), (20, 2), minval=-2.0, maxval=2.0)
    solutions = [
        hjpde.solve(problem, time) for problem, time in zip(regression.problems, regression.times, strict=True)
    ]
    values = [s.batch(t, X) for s, t in zip(solutions, regression.times, strict=True)]
    np.testing.assert_allclose(regression.predict(X), values[0] - values[1], rtol=1e-11, atol=1e-11)


def test_the_exported_layer_is_the_exported_problem(regression, getkey):
    x = jax.random.normal(getkey(), (2,))
    t, problem = regression.time, regression.problem
    u = hjpde.solve(problem, t, solver=hjpde.solvers.HopfCole(normalised=False))(t, x)
    parabola = x @ jnp.linalg.solve(problem.hamiltonian.A, x) / (4 * t)
    np.testing.assert_allclose(regression.layer(x) + u, parabola, rtol=1e-11)


@pytest.mark.slow
def test_a_difference_goes_beyond_semiconcave_targets():
    def convex_kink(x):
        return 3 * np.abs(x[:, 0])

    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, (200, 1))
    errors = {
        difference: error_of(
            hjpde.fit(hjpde.Regression(x, convex_kink(x)), n_atoms=16, difference=difference, optimiser="lbfgs"),
            convex_kink,
            1,
        )
        for difference in (False, True)
    }
    assert errors[True] < errors[False]


@pytest.mark.parametrize("scale", [1e-3, 1e4])
def test_units_of_the_data_do_not_matter(scale):
    # The equation is invariant: u -> s u, eps -> s eps, t -> t / s, and x -> c x with A -> c^2 A.
    base = noisy_set(one_dimensional, 1, 60)
    scaled = hjpde.Regression(7 * base.X + 3, scale * base.y - 5 * scale)
    a, b = (hjpde.fit(data, n_atoms=6, steps=40) for data in (base, scaled))
    x = np.linspace(-1.5, 1.5, 11)[:, None]
    np.testing.assert_allclose(b.predict(7 * x + 3), scale * np.asarray(a.predict(x)) - 5 * scale, rtol=1e-6)
    np.testing.assert_allclose(b.viscosity, scale * a.viscosity, rtol=1e-9)


@pytest.mark.slow
def test_samples_of_a_known_solution_give_it_back_elsewhere(getkey):
    epsilon, t = 0.1, jnp.linspace(0.3, 1.0, 150)
    atoms = hjpde.Atoms([[-1.0], [0.2], [1.1]], [0.0, 0.3, -0.2])
    exact = hjpde.solve(hjpde.InitialValueProblem(atoms, hjpde.Quadratic(), epsilon), 1.0)
    x = jax.random.uniform(getkey(), (150, 1), minval=-2.0, maxval=2.0)
    u = jax.vmap(exact)(t, x)
    fitted = hjpde.fit(
        hjpde.Samples(t, x, u), viscosity=epsilon, n_atoms=3, optimiser="lbfgs", steps=150, validation_fraction=0.0
    )
    solution = hjpde.solve(fitted.problem, 1.0)
    x_new = jnp.linspace(-2, 2, 41)[:, None]
    np.testing.assert_allclose(solution.batch(0.6, x_new), exact.batch(0.6, x_new), atol=1e-3)
    np.testing.assert_allclose(fitted.predict(x_new, t=0.6), solution.batch(0.6, x_new), rtol=1e-10, atol=1e-10)


@pytest.fixture(scope="module")
def blobs():
    rng = np.random.default_rng(1)
    centres = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 3.0]])
    labels = np.repeat(["a", "b", "c"], 40)
    return np.repeat(centres, 40, axis=0) + 0.4 * rng.normal(size=(120, 2)), labels


@pytest.fixture(scope="module")
def classification(blobs):
    return hjpde.fit(hjpde.Classification(*blobs), n_atoms=3, steps=60)


def test_separated_classes_are_told_apart(classification, blobs):
    X, labels = blobs
    assert np.mean(classification.predict(X) == labels) == 1
    assert classification.classes.tolist() == ["a", "b", "c"]


def test_probability_is_the_gibbs_mass_of_the_class(classification, blobs):
    X, _ = blobs
    probabilities = np.asarray(classification.predict_proba(X[:5]))
    for x, row in zip(X[:5], probabilities, strict=True):
        gibbs = np.asarray(classification.layer.gibbs(jnp.asarray(x)))
        masses = np.bincount(classification.atom_classes, weights=gibbs, minlength=3)
        np.testing.assert_allclose(row, masses, rtol=1e-9, atol=1e-12)


def test_parameters_are_counted(classification, regression):
    assert classification.parameters == 9 * 3 + 1
    assert regression.parameters == 2 * (8 * 3 + 1)


@pytest.mark.parametrize("optimiser", ["adam", "lbfgs"])
def test_going_on_is_the_same_as_never_stopping(optimiser, tmp_path):
    observations, options = noisy_set(one_dimensional, 1, 60), {"n_atoms": 6, "steps": 60, "optimiser": optimiser}
    whole = hjpde.fit(observations, **options)
    part = hjpde.fit(observations, **options, until=20)
    hjpde.save(tmp_path / "part.hjpde", part)
    resumed = hjpde.fit(observations, **options, state=hjpde.load(tmp_path / "part.hjpde").state)
    assert len(part.history) < len(whole.history)
    for a, b in zip(jax.tree.leaves(whole.models), jax.tree.leaves(resumed.models), strict=True):
        np.testing.assert_array_equal(a, b)
    assert whole.history == resumed.history


def test_saved_and_loaded_it_predicts_the_same(classification, regression, blobs, tmp_path):
    for name, fitted in (("c", classification), ("r", regression)):
        hjpde.save(tmp_path / name, fitted)
        loaded = hjpde.load(tmp_path / name)
        np.testing.assert_array_equal(loaded.predict(blobs[0]), fitted.predict(blobs[0]))
    assert loaded.history == regression.history


def test_patience_stops_early():
    fitted = hjpde.fit(noisy_set(one_dimensional, 1, 60), n_atoms=6, steps=3000, patience=2, learning_rate=0.1)
    assert fitted.stopped_early
    assert fitted.history[-1]["step"] < 3000


def test_a_feature_that_never_varies_and_repeated_rows_are_harmless():
    x = np.repeat(np.linspace(-1, 1, 10), 6)[:, None]
    X = np.concatenate([x, np.full_like(x, 5.0)], axis=1)
    fitted = hjpde.fit(hjpde.Regression(X, x[:, 0]), n_atoms=32, steps=60)
    assert np.all(np.isfinite(np.asarray(fitted.predict(X))))


GOOD_X, GOOD_Y = np.linspace(0, 1, 12)[:, None], np.linspace(0, 1, 12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: hjpde.Regression([[np.nan]], [0.0]), "`X` must be finite"),
        (lambda: hjpde.Regression([[1.0]], [np.inf]), "`y` must be finite"),
        (lambda: hjpde.Regression([1.0, 2.0], [1.0, 2.0]), "`X` must have shape"),
        (lambda: hjpde.Regression(np.zeros((0, 2)), np.zeros(0)), "`X` must have shape"),
        (lambda: hjpde.Regression(GOOD_X, GOOD_Y[:-1]), "`y` must have shape"),
        (lambda: hjpde.Classification(GOOD_X, np.zeros(12, int)), "at least two classes"),
        (lambda: hjpde.Classification(GOOD_X, np.zeros(3, int)), "`labels` must have shape"),
        (lambda: hjpde.Classification(GOOD_X, np.full(12, np.nan)), "`labels` must be finite"),
        (lambda: hjpde.Samples(0.0, GOOD_X, GOOD_Y), "`t` must be positive"),
        (lambda: hjpde.Samples([1.0], GOOD_X, GOOD_Y), "`t` must have shape"),
        (lambda: hjpde.Samples(1.0, GOOD_X, GOOD_Y + np.nan), "`u` must be finite"),
    ],
)
def test_bad_observations_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"viscosity": 0.0}, "`viscosity` must be positive"),
        ({"viscosity": -1.0}, "`viscosity` must be positive"),
        ({"viscosity": np.nan}, "`viscosity` must be positive"),
        ({"n_atoms": 0}, "`n_atoms` must be at least 1"),
        ({"validation_fraction": 1.0}, "`validation_fraction`"),
        ({"metric": "city"}, "`metric`"),
        ({"optimiser": "sgd"}, "`optimiser`"),
        ({"steps": 0}, "`steps`"),
        ({"label_smoothing": 1.0}, "`label_smoothing`"),
        ({"hamiltonian": hjpde.Eikonal()}, "`hamiltonian` must be `Quadratic"),
        ({"hamiltonian": hjpde.Quadratic(np.eye(2))}, "`hamiltonian` has d = 2"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        hjpde.fit(hjpde.Regression(GOOD_X, GOOD_Y), **options)


def test_what_belongs_to_one_kind_of_observation_is_refused_for_others(regression, classification):
    with pytest.raises(ValueError, match="`viscosity` must be given"):
        hjpde.fit(hjpde.Samples(1.0, GOOD_X, GOOD_Y))
    with pytest.raises(ValueError, match="`difference` must be False"):
        hjpde.fit(hjpde.Classification(GOOD_X, np.arange(12) % 2), difference=True)
    with pytest.raises(ValueError, match="`predict_proba` needs a classification"):
        regression.predict_proba(np.zeros((1, 2)))
    with pytest.raises(ValueError, match="`t` must be None"):
        regression.predict(np.zeros((1, 2)), t=1.0)
    with pytest.raises(ValueError, match=r"`X` must have shape \(M, 2\)"):
        classification.predict(np.zeros((1, 3)))
    with pytest.raises(ValueError, match="`X` must be finite"):
        classification.predict(np.full((1, 2), np.nan))
