"""Tiles of the query-by-neuron table, and what is computed inside one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hjpde import _streaming

needs_x64 = pytest.mark.skipif(jnp.result_type(float) != jnp.float64, reason="float64 is off")


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=needs_x64)])
def test_exp2(dtype):
    t = np.concatenate([-np.linspace(0, 100, 20001), [0.4, -2000.0, -1e30, -np.inf]]).astype(dtype)
    exact = np.exp2(t.astype(np.longdouble))
    power = jax.jit(_streaming.exp2)(t)
    # XLA's own, elsewhere than on a CPU, rounds its argument.
    units = np.where(jax.default_backend() == "cpu", 2, 2 + np.abs(np.maximum(t, -1e4)))
    assert np.all(
        np.abs(np.asarray(power, np.longdouble) - exact) <= units * np.finfo(dtype).eps * exact + np.finfo(dtype).tiny
    )
    assert power[0] == 1
    assert np.all(power[-3:] == 0)
    slope = jax.vmap(jax.grad(_streaming.exp2))(jnp.asarray(t[:-4]))
    assert np.all(np.abs(slope / (np.log(2) * exact[:-4].astype(float)) - 1) <= 2 * units[:-4] * np.finfo(dtype).eps)


@pytest.mark.parametrize(("width", "rows"), [(5, 3), (512, 4), (777, 2)])
def test_row_max(width, rows, getkey):
    z = jax.random.normal(getkey(), (rows, width))
    np.testing.assert_array_equal(_streaming.row_max(z), z.max(1))
    for column in (0, width - 1):
        assert jnp.all(_streaming.row_max(z.at[:, column].set(9.0)) == 9.0)


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(1, 5000), st.integers(1, 100))
def test_tiles_cover_the_queries_and_stay_small(n_queries, n_neurons, dimension, lanes):
    rows = _streaming.tile_rows(n_queries, (n_neurons, dimension), "float32", lanes)
    assert 1 <= rows <= n_queries
    few = 8 * n_neurons * lanes
    most = 4 * _streaming._TILE_ELEMENTS.get(jax.default_backend(), _streaming._TILE_ELEMENTS_ELSEWHERE)
    assert rows * n_neurons * lanes <= max(few, most) + few
