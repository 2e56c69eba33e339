"""The largest and the least entry under differentiation."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hjpde._extremum import largest, least

ENTRIES = st.lists(st.integers(-5, 5), min_size=1, max_size=8)


@given(ENTRIES, st.integers(0, 10**6))
def test_the_derivative_is_that_of_an_entry_that_attains_it(entries, seed):
    values = jnp.asarray(entries, float)
    direction = jnp.asarray(np.random.default_rng(seed).normal(size=len(entries)), float)
    for extremum, numpys in ((largest, np.max), (least, np.min)):
        assert extremum(values) == numpys(entries)
        _, slope = jax.jvp(extremum, (values,), (direction,))
        attained = np.asarray(entries) == numpys(entries)
        assert float(slope) in np.asarray(direction)[attained]
        assert float(jax.grad(extremum)(values) @ direction) == float(slope)


def test_what_is_evaluated_twice_keeps_its_derivative():
    """A maximum of a fused expression in forward mode: looking for entries equal to it would find none."""

    def f(a):
        x = jnp.linspace(0.1, 3.0, 64)
        inner = jnp.sin(a * x) / (1 + jnp.cos(x) ** 2) + jnp.exp(-a * x**2) / 3
        return largest(inner) - least(inner)

    _, slope = jax.jit(lambda a: jax.jvp(f, (a,), (1.0,)))(1.3)
    step = 1e-6 if jnp.result_type(float) == jnp.float64 else 1e-2
    np.testing.assert_allclose(slope, (f(1.3 + step) - f(1.3 - step)) / (2 * step), rtol=1e-3)
