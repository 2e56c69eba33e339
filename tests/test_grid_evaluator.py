"""Solutions that are known on a grid: interpolation in time and space, borders, and what is refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hjpde
from hjpde import solvers
from hjpde.solvers.grids import _grid_evaluator
from hjpde.solvers.grids._grid_evaluator import GridEvaluator
from hjpde.solvers.grids._interpolation import Order

EPS = float(jnp.finfo(jnp.result_type(float)).eps)
GRID = solvers.Grid((0.0, -1.0), (1.0, 1.0), (6, 5))
TS = jnp.asarray([0.0, 0.2, 0.7])


def exact(t, x):
    """Cubic in time and in each variable."""
    return (1 + t - 2 * t**3) * (x[0] ** 3 - x[0]) + t**2 * x[1]


@functools.cache
def evaluator(order: Order = "cubic", function=exact):
    def fields(ts):
        us = jax.vmap(lambda t: GRID.sample(lambda x: function(t, x)))(ts)
        return us, jax.vmap(lambda t: GRID.sample(lambda x: jax.grad(function)(t, x)))(ts)

    us, rates = jax.jit(fields)(TS)
    return GridEvaluator(GRID, TS, us, rates, order)


def solution(order: Order = "cubic"):
    return hjpde.Solution(evaluator(order), TS[1:], solver="by hand", counts={"steps": 7})


X = jnp.asarray(np.concatenate([np.random.default_rng(0).uniform([0, -1], [1, 1], (12, 2)), [[0, -1], [1, 1]]]))


@jax.jit
def _jets(solved, t, X):
    parts = (solved, solved.time_derivative, solved.gradient, solved.hessian)
    return jax.vmap(lambda x: tuple(part(t, x) for part in parts))(X)


def test_cubics_are_exact_with_all_derivatives():
    solved = solution()
    for t in (0.0, 0.1, 0.2, 0.45, 0.7):
        found = _jets(solved, jnp.asarray(t), X)
        derivatives = (exact, jax.grad(exact), jax.grad(exact, 1), jax.hessian(exact, 1))
        for value, derivative in zip(found, derivatives, strict=True):
            expected = jax.vmap(derivative, (None, 0))(t, X)
            np.testing.assert_allclose(value, expected, atol=5e3 * EPS)


def wave(t, x):
    return jnp.sin(3 * t + x[0]) * jnp.exp(x[1])


def test_saved_values_and_rates_are_met_at_the_nodes():
    smooth = evaluator(function=wave)
    at_nodes = jax.jit(jax.vmap(jax.value_and_grad(smooth), (None, 0)))
    for k, t in enumerate(TS):
        u, rate = at_nodes(t, GRID.points.reshape(-1, 2))
        np.testing.assert_allclose(u, smooth.us[k].reshape(-1), atol=20 * EPS)
        np.testing.assert_allclose(rate, smooth.rates[k].reshape(-1), atol=200 * EPS)


def test_fourth_order_in_time():
    def error(n):
        ts = jnp.linspace(0.0, 1.0, n)
        us, rates = (jnp.stack([w, w], axis=1) for w in (jnp.sin(5 * ts), 5 * jnp.cos(5 * ts)))
        wave = GridEvaluator(solvers.Grid([0.0], 1, 2), ts, us, rates)
        t = jnp.linspace(0.0, 1.0, 101)
        u = jax.jit(jax.vmap(lambda t: wave(t, jnp.full(1, 0.5))))(t)
        return float(jnp.abs(u - jnp.sin(5 * t)).max())

    assert np.log2(error(5) / error(9)) == pytest.approx(4, abs=0.3)


def test_batches_are_streamed_and_equal(monkeypatch):
    solved = solution()

    def both(X):
        return solved.batch(0.3, X), solved.batch_gradient(0.3, X)

    one_by_one = jax.jit(jax.vmap(lambda x: (solved(0.3, x), solved.gradient(0.3, x))))(X)
    whole = jax.jit(both)(X)
    monkeypatch.setattr(_grid_evaluator, "_MOST_NODES", 80)
    streamed = jax.jit(lambda X: both(X))(X)
    for found in (whole, streamed):
        np.testing.assert_allclose(found[0], one_by_one[0], atol=50 * EPS)
        np.testing.assert_allclose(found[1], one_by_one[1], atol=500 * EPS)
    shapes = jax.eval_shape(both, X.reshape(7, 2, 2))
    assert [part.shape for part in shapes] == [(7, 2), (7, 2, 2)]


def test_times_and_points_outside_are_refused_by_name():
    solved = solution()
    for t in (-0.1, 0.71):
        with pytest.raises(ValueError, match=r"`t` = .* a grid solution holds between 0 and its last saved time, 0\.7"):
            solved(t, X[0])
    for call in (solved, solved.gradient, solved.hessian):
        with pytest.raises(
            ValueError, match=r"`x` cannot be evaluated: \[0\.5, 1\.1\] lies outside .* \[0, 1\] x \[-1, 1\]"
        ):
            call(0.3, [0.5, 1.1])
    with pytest.raises(ValueError, match=r"`X` cannot be evaluated: \[1\.2, 0\] lies outside"):
        solved.batch(0.3, [[0.5, 0.5], [1.2, 0.0], [1.3, 0.0]])
    with pytest.raises(ValueError, match="no estimate of its discretisation error"):
        solved.standard_error(0.3, X[0])
    with pytest.raises(ValueError, match="gives the value and its gradient only"):
        solution("linear").hessian(0.3, X[0])
    ring = GridEvaluator(solvers.Grid([0.0], 1.0, 4, True), TS, jnp.ones((3, 4)), jnp.zeros((3, 4)))
    assert hjpde.Solution(ring, TS[1:], solver="by hand")(0.3, [7.3]) == pytest.approx(1)


def test_what_is_known_only_at_run_time_gives_nan():
    solved = solution()
    at = jax.jit(lambda t, x: (solved(t, x), solved.gradient(t, x)))
    for t, x in ((0.8, [0.5, 0.5]), (-0.1, [0.5, 0.5]), (0.3, [1.1, 0.5])):
        value, slope = at(jnp.asarray(t), jnp.asarray(x))
        assert np.isnan(value)
        assert np.all(np.isnan(slope))
    assert np.all(np.isfinite(at(jnp.asarray(0.7), jnp.ones(2))[1]))


def test_the_ends_are_met_in_either_precision():
    # 0.7 is not the same number in both.
    for dtype in (jnp.float32, jnp.result_type(float)):
        grid = solvers.Grid(np.zeros(1, dtype), np.full(1, 0.7, dtype), 5)
        ts = jnp.asarray([0.0, 0.7], dtype)
        fields = jnp.ones((2, 5), dtype)
        solved = hjpde.Solution(GridEvaluator(grid, ts, fields, 0 * fields), ts[1:], solver="by hand")
        for x in (np.asarray([0.7], np.float32), np.asarray([0.7])):
            assert solved(0.7, x) == pytest.approx(1, rel=1e-6)
            assert solved.batch(np.float32(0.7), x) == pytest.approx(1, rel=1e-6)
        assert solved(0.5, np.asarray([0.1], np.float32)).dtype == dtype


@pytest.mark.slow
def test_solutions_pass_through_transformations():
    solved = solution()
    again = jax.jit(lambda s: s)(solved)
    assert again(0.3, X[0]) == solved(0.3, X[0])
    ts = jnp.asarray([0.1, 0.5])
    np.testing.assert_allclose(
        jax.vmap(lambda t: solved(t, X[0]))(ts), [exact(t, X[0]) for t in ts], rtol=1e3 * EPS, atol=1e2 * EPS
    )
    slope = jax.grad(lambda us: GridEvaluator(GRID, TS, us, 0 * us)(TS[1], X[0]))(evaluator().us)
    np.testing.assert_allclose(slope.sum(axis=(1, 2)), [0, 1, 0], atol=50 * EPS)


def test_one_saved_time_is_enough():
    start = GridEvaluator(GRID, TS[:1], jnp.ones((1, 6, 5)), jnp.ones((1, 6, 5)))
    assert start(jnp.zeros(()), X[0]) == pytest.approx(1)
    assert start.invalid_time(0.0) is None
    assert start.invalid_time(0.1) is not None


def test_refuses_fields_of_another_shape():
    with pytest.raises(ValueError, match=r"`us` and `rates` must have shape \(3, 6, 5\), got \(3, 5, 6\)"):
        GridEvaluator(GRID, TS, jnp.ones((3, 5, 6)), jnp.ones((3, 5, 6)))
    with pytest.raises(Exception, match="order"):
        GridEvaluator(GRID, TS, jnp.ones((3, 6, 5)), jnp.ones((3, 6, 5)), "quintic")  # pyright: ignore
