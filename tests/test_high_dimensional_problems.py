"""Problems in many dimensions: their references against the other of the two formulas, and against the solvers."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

import hjpde
from hjpde import problems
from hjpde.hamiltonians import AbstractMomentumHamiltonian

X64 = jnp.result_type(float) == jnp.float64
ROUNDING = 1e-12 if X64 else 1e-4


def points(dim, count, reach, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(-reach, reach, size=(count, dim)) * rng.uniform(size=(count, 1))


@eqx.filter_jit
def residuals(exact, t, X):
    """`u_t + H` at the points, and the gradients."""

    def at(x):
        rate, p = jax.grad(exact.__call__, argnums=(0, 1))(t, x)
        return rate + exact.problem.hamiltonian(t, x, p), p

    return jax.vmap(at)(X)


@eqx.filter_jit
def reference(exact, t, X):
    return jax.vmap(lambda x: exact(t, x))(X)


@pytest.mark.slow
@pytest.mark.parametrize("name", problems.POINTWISE)
def test_the_reference_solves_the_equation_and_starts_from_the_datum(name):
    entry = problems.POINTWISE[name]
    exact, X = entry.build(), entry.points(20)
    assert X.shape == (20, entry.dim)
    assert float(jnp.abs(X).max()) <= entry.reach
    for t in (0.3 * entry.time, entry.time):
        assert np.max(np.abs(residuals(exact, t, X)[0])) < 100 * ROUNDING
    np.testing.assert_allclose(reference(exact, 0.0, X), jax.vmap(exact.problem.initial_data)(X), atol=ROUNDING)


@pytest.mark.parametrize("name", problems.POINTWISE)
def test_single_precision_stays(name):
    entry = problems.POINTWISE[name]
    x, t = jax.ShapeDtypeStruct((entry.dim,), jnp.float32), jax.ShapeDtypeStruct((), jnp.float32)
    assert eqx.filter_eval_shape(entry.build(), t, x).dtype == jnp.float32


# The minimum of paraboloids.


@pytest.mark.slow
def test_the_same_paraboloids_as_a_class_and_as_a_function():
    X = jnp.asarray(points(10, 50, 2.0))
    known, plain = problems.MinimumOfParaboloids(), problems.MinimumOfParaboloids(structured=False)
    np.testing.assert_allclose(jax.vmap(known.datum)(X), jax.vmap(plain.datum)(X), rtol=10 * ROUNDING)
    solution = hjpde.solve(known.problem, 0.5)
    np.testing.assert_allclose(solution.batch(0.5, X), reference(known, 0.5, X), rtol=10 * ROUNDING)


def test_each_paraboloid_by_the_matrices_themselves():
    exact, t = problems.MinimumOfParaboloids(), 0.7
    A, centres, offsets, precisions = (
        np.asarray(array, float) for array in (exact.A, exact.centres, exact.offsets, exact.precisions)
    )
    X = points(10, 20, 2.0, seed=1)
    least = [
        min(
            b + (x - c) @ np.linalg.solve(np.linalg.inv(P) + 2 * t * A, x - c) / 2
            for b, c, P in zip(offsets, centres, precisions, strict=True)
        )
        for x in X
    ]
    np.testing.assert_allclose(reference(exact, t, jnp.asarray(X)), least, rtol=1e-10 if X64 else 1e-4)
    # All of them are the least somewhere, or the minimum would be none.
    offset = points(10, 400, 2.0, seed=2)[:, None] - centres[None]
    heights = offsets + np.einsum("nki,kij,nkj->nk", offset, precisions, offset) / 2
    winners = set(np.argmin(heights, axis=1))
    assert winners == set(range(5))


def test_paraboloids_are_no_convex_datum():
    datum = problems.MinimumOfParaboloids().datum
    ends = jnp.asarray(points(10, 100, 2.0, seed=3)).reshape(50, 2, 10)
    middle = jax.vmap(lambda pair: datum(pair.mean(axis=0)) - (datum(pair[0]) + datum(pair[1])) / 2)(ends)
    assert np.any(np.asarray(middle) > 0.01)


# A quadratic form and a norm.


def test_both_formulas_of_hopf_and_of_lax_agree():
    """Any start of a path gives an upper bound of `u`, any co-state a lower one: their equality proves both."""
    exact, t = problems.QuadraticPlusNorm(), 0.7
    A, D = np.asarray(exact.A, float), np.asarray(exact.D, float)
    X, outside = points(50, 12, 1.0, seed=4), 0
    costates = jax.jit(jax.vmap(lambda x: exact.costate(t, x)))(jnp.asarray(X))
    for x, p, u in zip(X, np.asarray(costates, float), reference(exact, t, jnp.asarray(X)), strict=True):
        length = np.linalg.norm(p)
        lower = p @ x - np.sum(np.maximum(abs(p) - 0.5, 0) ** 2 / (2 * D)) - t * (p @ A @ p + length)
        # The velocity is H's slope, and L(v) = p.v - H(p) there; about p = 0 the ball of radius 1 costs nothing.
        v = 2 * A @ p + p / length if length > 0 else x / t
        y = x - t * v
        upper = np.sum(abs(y)) / 2 + y @ (D * y) / 2 + t * (p @ v - p @ A @ p - length)
        assert length > 0 or np.linalg.norm(v) <= 1
        assert upper - lower < 100 * ROUNDING
        assert abs(float(u) - lower) < 100 * ROUNDING
        outside += length > 0
    assert 0 < outside < 12


def test_on_a_line_by_brute_force():
    exact, t = problems.QuadraticPlusNorm(dim=1), 0.7
    a, d = float(exact.A[0, 0]), float(exact.D[0])
    for x in (-2.0, -0.9, 0.3, 1.4):

        def cost(y, x=x):
            # The conjugate of a p^2 + |p|.
            return abs(y) / 2 + d * y**2 / 2 + t * max(abs(x - y) / t - 1, 0) ** 2 / (4 * a)

        found: Any = scipy.optimize.minimize_scalar(cost, bounds=(-3, 3), method="bounded", options={"xatol": 1e-12})
        least = min(found.fun, cost(0.0))
        assert float(exact(t, jnp.array([x]))) == pytest.approx(least, abs=1e-8 if X64 else 1e-5)


def test_the_gradient_is_the_costate_and_has_a_derivative():
    with jax.enable_x64(True):
        exact, t, h = problems.QuadraticPlusNorm(dim=6), 0.7, 1e-5
        x, direction = jnp.asarray(points(6, 1, 1.0)[0] + 1.0), jnp.asarray(points(6, 1, 1.0, seed=5)[0])

        @jax.jit
        def everything(x):
            value, change = jax.jvp(lambda x: exact(t, x), (x,), (direction,))
            slope, bend = jax.jvp(jax.grad(lambda x: exact(t, x)), (x,), (direction,))
            return value, change, slope, bend, exact.costate(t, x)

        _, forward, slope, bend, costate = everything(x)
        np.testing.assert_allclose(slope, costate, rtol=1e-10)
        assert float(forward) == pytest.approx(float(slope @ direction), rel=1e-10)
        ahead, behind = everything(x + h * direction), everything(x - h * direction)
        assert float(forward) == pytest.approx(float(ahead[0] - behind[0]) / (2 * h), rel=1e-6)
        change = (ahead[2] - behind[2]) / (2 * h)
        np.testing.assert_allclose(bend, change, rtol=1e-6, atol=1e-8)


def test_the_same_problem_as_sums_and_as_functions():
    X = jnp.asarray(points(50, 10, 1.0, seed=6))
    known, plain = problems.QuadraticPlusNorm().problem, problems.QuadraticPlusNorm(structured=False).problem
    np.testing.assert_allclose(jax.vmap(known.initial_data)(X), jax.vmap(plain.initial_data)(X), rtol=10 * ROUNDING)
    energies = [jax.vmap(lambda p, H=problem.hamiltonian: H(0.0, p, p))(X) for problem in (known, plain)]
    np.testing.assert_allclose(*energies, rtol=10 * ROUNDING)
    for problem in (known, plain):
        assert isinstance(problem.hamiltonian, AbstractMomentumHamiltonian)
        assert problem.hamiltonian.curvature == "convex"


@pytest.mark.slow
def test_the_solver_finds_it_in_fifty_dimensions_with_a_certificate():
    exact, t, X = problems.QuadraticPlusNorm(), 0.7, jnp.asarray(points(50, 64, 1.0, seed=7))
    found = hjpde.solve(exact.problem, t).certificate(t, X)
    error = np.abs(np.asarray(found.value - reference(exact, t, X)))
    assert found.closed.all()
    assert np.all(error <= np.asarray(found.gap) + 100 * ROUNDING)
    assert error.max() < 1e-10 if X64 else 1e-3


@pytest.mark.slow
def test_of_plain_functions_the_solver_says_where_it_is_not_certain():
    """It cannot see the Hamiltonian's kink at 0, where the paths that start within reach of the point end."""
    exact, t, X = problems.QuadraticPlusNorm(structured=False), 0.7, jnp.asarray(points(50, 64, 1.0, seed=7))
    found = hjpde.solve(exact.problem, t).certificate(t, X)
    error = np.abs(np.asarray(found.value - reference(exact, t, X)))
    assert np.all(error <= np.asarray(found.gap) + 1e-4)
    assert np.all(error[np.asarray(found.closed)] < (1e-6 if X64 else 1e-2))


# The catalogue, and mistakes.


@pytest.mark.parametrize("entry", problems.POINTWISE.values(), ids=lambda entry: entry.name)
def test_an_entry_says_what_it_needs_to(entry):
    for text in (entry.name, entry.title, entry.equation, entry.source, entry.expected):
        assert text.strip()
        assert "\n" not in text
    assert entry.reference in ("exact", "computed")
    assert list(entry.counts) == sorted(set(entry.counts))
    assert entry.build().problem.dim in (None, entry.dim)
    np.testing.assert_array_equal(entry.points(8), entry.points(30)[:8])
    places, X = entry.segment(5)
    np.testing.assert_allclose(jnp.linalg.norm(X, axis=1), abs(places), atol=ROUNDING)
    with pytest.raises(ValueError, match="solved point by point"):
        problems.find(entry.name)


def test_a_name_like_a_pointwise_one():
    with pytest.raises(ValueError, match=r"no problem 'paraboloids'.*paraboloids-10d"):
        problems.find("paraboloids")


@pytest.mark.parametrize(
    "make",
    [problems.QuadraticPlusNorm, problems.MinimumOfParaboloids, lambda dim: problems.MinimumOfParaboloids(2, dim)],
)
def test_counts_out_of_range_are_refused(make):
    with pytest.raises(ValueError, match="`dim`"):
        make(0)
