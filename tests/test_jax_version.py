"""The fault of jaxlib 0.10.2 on CPU, which hits the library's core, and the warning about it."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hjpde._jaxlib import warn_if_faulty


@pytest.mark.parametrize("dtype, n", [("float64", 20_000), ("float32", 40_000)])
def test_squared_norm_on_a_batch(dtype, n):
    # From 16,385 points on in float64, from 32,769 in float32, a faulty jaxlib is off by half the value.
    rng = np.random.default_rng(0)
    A = rng.normal(size=(3, 3)).astype(dtype)
    points = rng.normal(size=(n, 3)).astype(dtype)
    jax_A, jax_points = jnp.asarray(A), jnp.asarray(points)

    computed = jax.jit(jax.vmap(lambda r: jnp.sum((jax_A @ r) ** 2)))(jax_points)

    expected = np.sum((points @ A.T) ** 2, axis=1)
    np.testing.assert_allclose(computed, expected, rtol=100 * float(jnp.finfo(computed.dtype).eps))


@pytest.mark.parametrize("version", ["0.10.2", "0.11.0"])
def test_a_faulty_version_is_named(version):
    with pytest.warns(RuntimeWarning, match=f"jaxlib {version} .* on CPU.*Install another"):
        warn_if_faulty(version)


@pytest.mark.parametrize("version", ["0.10.1", "0.11.1", "0.12.0.1"])
def test_a_sound_version_is_silent(version):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_faulty(version)


def test_the_installed_version_is_silent():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_faulty()
