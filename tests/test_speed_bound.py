"""Where the bound on |dH/dp| comes from, that interval arithmetic encloses, and what sampling sees."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hjpde
from hjpde.solvers.stepping._interval import interval_gradient
from hjpde.solvers.stepping._interval_rules import NotAvailable
from hjpde.solvers.stepping._speed_bound import _fractions, is_rigorous, sampled_bound, speed_bound_of, speed_met

M = np.asarray([[1.0, 2.0], [-0.5, 0.3]])
TABLE = np.linspace(-1.0, 1.0, 7)


def with_table(t, x, p):
    # An index that depends on the place is none of the box's business.
    row = jnp.clip(jnp.floor(x[0]).astype(int), 0, 6)
    return jnp.asarray(TABLE, p.dtype)[row] * p[0] ** 3 + t * p[1] / (2 + jnp.cos(x[1]))


ENCLOSED = {
    "polynomial": lambda t, x, p: p[0] * p[1] - p @ p * x[0] + p[1] ** 3 + p[0] ** 4,
    "root": lambda t, x, p: jnp.sqrt(1 + p @ p) + (2 + p[1] ** 2) ** -1.5,
    "quotient": lambda t, x, p: p[0] / (1 + p[1] ** 2) + (1.5 + jnp.cos(p[0])) ** -2,
    "osher-shu": lambda t, x, p: -jnp.cos(p[0] + p[1] + 1),
    "waves": lambda t, x, p: jnp.sin(p[0]) * jnp.exp(-p[1]) + jnp.cosh(p[0]) + jnp.arctan(p[1]),
    "kinks": lambda t, x, p: jnp.abs(p[0]) * p[1] + jnp.maximum(p[0], p[1]) - jnp.where(p[1] > x[0], p[1], 2 * p[1]),
    "networks": lambda t, x, p: jnp.sum(jnp.tanh(jnp.asarray(M, p.dtype) @ p)) + jax.nn.silu(p[0]) + jax.nn.relu(p[1]),
    "clipped": lambda t, x, p: jnp.clip(p[0], -1, 1) * p[1] + jax.nn.softplus(p[1]) + jnp.maximum(p[0], 0.0) ** 1.5,
    "table": with_table,
    "linear": lambda t, x, p: jnp.sum(x * p) + t * p[0],
}
NOT_ENCLOSED = {
    "length": (lambda t, x, p: jnp.linalg.norm(p), "may"),
    "reciprocal": (lambda t, x, p: jnp.sum(1 / p), "may be 0"),
    "logarithm": (lambda t, x, p: p[0] * jnp.log(p[1]), "`log` of what may reach 0"),
    "power": (lambda t, x, p: p[0] ** x[0], "`pow`"),
    "loop": (lambda t, x, p: jax.lax.fori_loop(0, 3, lambda i, q: q * p[0], p[1]), "`scan`"),
    "index": (lambda t, x, p: jnp.arange(3.0)[jnp.floor(p[0]).astype(int)] * p[1], "index"),
}
numbers = st.floats(-3, 3, width=32)
pairs = st.tuples(numbers, numbers)


@jax.jit
def enclosures_and_slopes(t, x, lower, upper):
    s = jnp.linspace(0.0, 1.0, 9, dtype=lower.dtype)
    fractions = jnp.stack(jnp.meshgrid(s, s), axis=-1).reshape(-1, 2)
    # By the ends, so that rounding leaves no point outside.
    points = jax.vmap(lambda f: jnp.clip((1 - f) * lower + f * upper, lower, upper))(fractions)
    out = {}
    for name, H in ENCLOSED.items():
        box = interval_gradient(H, 2, lower.dtype)(t, x, hjpde.Box(lower, upper))
        out[name] = box.lower, box.upper, jax.vmap(lambda p, H=H: jax.grad(H, 2)(t, x, p))(points)
    return out


@settings(max_examples=20)
@given(t=numbers, x=pairs, ends=st.tuples(pairs, pairs))
def test_the_interval_contains_every_derivative(t, x, ends):
    dtype = jnp.result_type(float)
    ends = np.sort(np.asarray(ends, dtype), axis=0)
    out = enclosures_and_slopes(
        jnp.asarray(t, dtype), jnp.asarray(x, dtype), jnp.asarray(ends[0]), jnp.asarray(ends[1])
    )
    for name, (lower, upper, slopes) in jax.tree.map(np.asarray, out).items():
        assert np.all(np.isfinite(lower)), name
        assert np.all(np.isfinite(upper)), name
        # Rounding is relative to the terms, which may cancel.
        slack = 100 * np.finfo(dtype).eps * (1 + np.maximum(np.abs(lower), np.abs(upper)))
        assert np.all(slopes >= lower - slack), name
        assert np.all(slopes <= upper + slack), name


def test_the_interval_is_exact_where_a_costate_occurs_once():
    t, x = jnp.zeros(()), jnp.asarray([0.5, -2.0])
    box = hjpde.Box(np.asarray([-1.0, 0.5]), np.asarray([2.0, 1.0]))
    tolerance = 50 * np.finfo(x.dtype).eps
    sine = interval_gradient(ENCLOSED["osher-shu"], 2, x.dtype)(t, x, box)
    # p1 + p2 + 1 runs over [0.5, 4], where the sine has its top but not its bottom.
    np.testing.assert_allclose(sine.upper, 1.0, rtol=tolerance)
    np.testing.assert_allclose(sine.lower, np.sin(4.0), rtol=tolerance)
    linear = interval_gradient(ENCLOSED["linear"], 2, x.dtype)(t, x, box)
    np.testing.assert_allclose(linear.largest, np.abs(x), rtol=tolerance)
    squares = interval_gradient(lambda t, x, p: p @ p / 2 + p[0] ** 3, 2, x.dtype)(t, x, box)
    np.testing.assert_allclose(squares.largest, [2 + 12, 1], rtol=tolerance)


@pytest.mark.parametrize("name", NOT_ENCLOSED)
def test_what_has_no_finite_range_is_not_available(name):
    H, reason = NOT_ENCLOSED[name]
    with pytest.raises(NotAvailable, match=reason):
        interval_gradient(H, 2, jnp.result_type(float))


def test_intervals_under_jit_with_traced_parameters():
    sources = []

    @jax.jit
    def bound(strength, x, lower, upper):
        H = hjpde.MomentumFunction(lambda p: strength * jnp.sqrt(1 + p @ p) + p[0] * p[1])
        function, source = speed_bound_of(H, dim=2)
        sources.append(source)
        # Here the traced parameter may make the divisor vanish.
        sources.append(speed_bound_of(hjpde.MomentumFunction(lambda p: p[0] / (strength + p[1] ** 2)), dim=2)[1])
        return jax.vmap(lambda x, lower, upper: function(0.0, x, hjpde.Box(lower, upper)))(x, lower, upper)

    ends = jnp.ones((3, 2))
    bounds = bound(2.0, ends, -ends, 3 * ends)
    assert sources == ["interval", "sampled"]
    assert np.all(bounds >= 2.0 * 3 / np.sqrt(19) + 3)
    assert np.all(np.isfinite(bounds))


class Unbounded(hjpde.hamiltonians.AbstractHamiltonian):
    @property
    def dim(self):
        return 2

    def __call__(self, t, x, p):
        return jnp.linalg.norm(p)


def test_the_order_of_the_sources():
    x, box = jnp.ones(2), hjpde.Box(-np.ones(2), np.ones(2))
    linear = hjpde.Transport([1.0, -2.0])
    reversed_twice = hjpde.TimeReversed(hjpde.TimeReversed(linear, 1.0), 1.0)
    for H in (linear, reversed_twice):
        bound, source = speed_bound_of(H, 9.0)
        assert source == "hamiltonian"
        np.testing.assert_allclose(bound(0.0, x, box), [1.0, 2.0])
    burgers = hjpde.MomentumFunction(lambda p: p @ p / 2)
    for user in (9.0, [9.0, 9.0], lambda t, x, box: 9 * box.largest):
        bound, source = speed_bound_of(burgers, user)
        assert source == "user"
        np.testing.assert_allclose(bound(0.0, x, box), [9.0, 9.0])
    bound, source = speed_bound_of(burgers, dim=2)
    assert source == "interval"
    np.testing.assert_allclose(bound(0.0, x, box), [1.0, 1.0], rtol=1e-5)
    assert speed_bound_of(hjpde.TimeReversed(burgers, 1.0), dim=2)[1] == "interval"
    # Where nobody knows the dimension there is nothing to trace.
    assert speed_bound_of(burgers)[1] == "sampled"
    assert speed_bound_of(Unbounded())[1] == "sampled"
    assert [is_rigorous(source) for source in ("hamiltonian", "user", "interval", "sampled")] == [True, False] * 2


@pytest.mark.parametrize("lower, upper", [((-1.0, -1.0), (1.0, 1.0)), ((-1.0, -3.0), (5.0, 0.2))])
def test_sampling_sees_what_the_corners_do_not(lower, upper):
    # On [-1, 1]^2 the corners show |p_i|/|p| = 0.71, the axes 1.
    box, x = hjpde.Box(lower, upper), jnp.zeros(2)
    np.testing.assert_allclose(sampled_bound(Unbounded(), 0.0, x, box), 1.5, rtol=1e-6)
    corners = jax.vmap(jax.grad(jnp.linalg.norm))(jnp.stack([box.lower, box.upper]))
    assert np.abs(corners).min(axis=0).max() < 0.999


def test_samples_in_many_dimensions_stay_inside_and_few():
    fractions = _fractions(9)
    assert fractions.shape == (64 + 18 + 1 + 32, 9)
    assert fractions.min() == 0
    assert fractions.max() == 1
    # The inner points are spread: every half of every axis has between a third and two thirds of them.
    assert np.all(np.abs((fractions[-32:] < 0.5).mean(axis=0) - 0.5) <= 1 / 6)


def test_speeds_met():
    x = jnp.zeros(2)
    burgers = hjpde.MomentumFunction(lambda p: p @ p / 2)
    np.testing.assert_allclose(speed_met(burgers, 0.0, x, jnp.asarray([1.0, -4.0]), jnp.asarray([2.0, 3.0])), [2, 4])
    # At the tip of the cone automatic differentiation gives NaN, which is no speed.
    np.testing.assert_allclose(speed_met(Unbounded(), 0.0, x, x, jnp.asarray([2.0, 0.0])), [1, 0])
    assert np.all(np.isnan(speed_met(Unbounded(), 0.0, x, x, x)))


WRONG = [
    (-1.0, "`speed_bound` must be finite and not negative, got -1"),
    (np.inf, "`speed_bound` must be finite"),
    (np.ones((2, 2)), r"`speed_bound` must be a number or have shape \(d,\), got shape \(2, 2\)"),
    ([1.0, 2.0, 3.0], r"`speed_bound` must be a number or have shape \(2,\), got \(3,\)"),
    (lambda t, x, box: jnp.ones((2, 2)), r"`speed_bound` must be a number or have shape \(2,\), got \(2, 2\)"),
]


@pytest.mark.parametrize("user, message", WRONG)
def test_refuses(user, message):
    with pytest.raises(ValueError, match=message):
        speed_bound_of(hjpde.MomentumFunction(jnp.sum), user)[0](0.0, jnp.ones(2), hjpde.Box(-np.ones(2), np.ones(2)))
