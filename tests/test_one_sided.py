"""One-sided derivatives: orders, exactness, symmetries, derivatives, and a peer's stencils."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from hjpde.solvers.stepping._one_sided import GHOST_CELLS, _correction, one_sided_derivatives

ORDERS = (1, 3, 5)
DOUBLE = jnp.result_type(float) == jnp.float64
EPS = float(jnp.finfo(jnp.result_type(float)).eps)

double_only = pytest.mark.skipif(not DOUBLE, reason="orders are measured in double precision")


@functools.partial(jax.jit, static_argnums=(2, 3))
def sided(padded, spacing, order, axis=0):
    return one_sided_derivatives(padded, axis, spacing, order)


def on_circle(f, n, order):
    """Both derivatives of a function of period 2 pi at `n` points, and these."""
    width, h = GHOST_CELLS[order], 2 * np.pi / n
    x = jnp.asarray(h * np.arange(-width, n + width))
    left, right = sided(f(x), jnp.asarray(h), order)
    return left, right, x[width:-width]


def wave(x):
    return jnp.exp(jnp.sin(x))


@double_only
@pytest.mark.parametrize(
    "order, l1, largest", [(1, (0.95, 1.05), (0.95, 1.05)), (3, (2.4, 3.5), (1.9, 3.5)), (5, (4.4, 6), (4.0, 6))]
)
def test_order_on_smooth_data(order, l1, largest):
    """At critical points the weights of WENO3 are those of a second-order stencil: there L-infinity has order 2."""

    def errors(n):
        left, right, x = on_circle(wave, n, order)
        exact = jnp.cos(x) * wave(x)
        error = jnp.maximum(jnp.abs(left - exact), jnp.abs(right - exact))
        return np.asarray([jnp.mean(error), jnp.max(error)])

    sizes = [64, 128, 256]
    orders = -np.polyfit(np.log(sizes), np.log([errors(n) for n in sizes]), 1)[0]
    assert l1[0] <= orders[0] <= l1[1], orders
    assert largest[0] <= orders[1] <= largest[1], orders


@pytest.mark.parametrize("order, degree", [(1, 1), (3, 2), (5, 2)])
def test_polynomials_are_differentiated_exactly(order, degree):
    """Up to the degree at which every sub-stencil is exact, so that the weights do not matter; higher by luck only."""
    width, h = GHOST_CELLS[order], 0.125
    x = h * np.arange(-width, 9 + width)
    for k in range(degree + 1):
        left, right = sided(jnp.asarray((x - 0.3) ** k), jnp.asarray(h), order)
        exact = k * (x[width:-width] - 0.3) ** (k - 1) if k else np.zeros(9)
        np.testing.assert_allclose(left, exact, atol=50 * EPS)
        np.testing.assert_allclose(right, exact, atol=50 * EPS)


def test_weno5_is_exact_for_cubics():
    """Three of its four points' sub-stencils are, each for itself."""
    width, h = 3, 0.125
    x = h * np.arange(-width, 9 + width)
    left, right = sided(jnp.asarray(x**3 - x), jnp.asarray(h), 5)
    exact = 3 * x[width:-width] ** 2 - 1
    np.testing.assert_allclose(left, exact, atol=200 * EPS)
    np.testing.assert_allclose(right, exact, atol=200 * EPS)


fields = st.lists(st.floats(-2, 2, width=16), min_size=18, max_size=18)


@pytest.mark.parametrize("order", ORDERS)
@settings(max_examples=10)
@given(fields, st.sampled_from([-1e3, 0.5, 7.0]))
def test_symmetries(order, values, constant):
    v, h = jnp.asarray(values, float), jnp.asarray(0.5, float)
    left, right = sided(v, h, order)
    size = 1 + float(jnp.abs(left).max()) + float(jnp.abs(right).max())
    # A mirror exchanges the sides and the sign.
    mirrored = sided(v[::-1], h, order)
    np.testing.assert_allclose(-mirrored[1][::-1], left, atol=100 * EPS * size)
    np.testing.assert_allclose(-mirrored[0][::-1], right, atol=100 * EPS * size)
    # The sign of the values is that of the slopes.
    np.testing.assert_allclose(-sided(-v, h, order)[0], left, atol=100 * EPS * size)
    # A constant changes the differences by its rounding only, which a weight's smoothness may enlarge.
    raised = sided(v + constant, h, order)
    room = 1e4 * EPS * (abs(constant) + 4) * (1 + size)
    np.testing.assert_allclose(raised[0], left, atol=room)
    np.testing.assert_allclose(raised[1], right, atol=room)


@pytest.mark.parametrize("order", ORDERS)
@settings(max_examples=10)
@given(fields)
def test_a_derivative_lies_between_the_sub_stencils(order, values):
    """Weights are positive and sum to 1; the sub-stencils' coefficients are bounded."""
    v, h = jnp.asarray(values, float), jnp.asarray(1.0, float)
    left, right = sided(v, h, order)
    slopes = np.abs(np.diff(values)).max()
    bound = {1: 1, 3: 2, 5: 10 / 3}[order] * slopes * (1 + 1e3 * EPS) + 1e-30
    assert float(jnp.abs(left).max()) <= bound
    assert float(jnp.abs(right).max()) <= bound


@pytest.mark.parametrize("order", ORDERS)
def test_each_axis_is_treated_alike(order):
    random = np.random.default_rng(order)
    width = GHOST_CELLS[order]
    v, h = jnp.asarray(random.normal(size=(4 + 2 * width, 3, 2))), jnp.asarray(0.3, float)
    for side, moved, single in zip(
        sided(v, h, order), sided(jnp.moveaxis(v, 0, 2), h, order, 2), sided(v[:, 1, 0], h, order), strict=True
    ):
        assert side.shape == (4, 3, 2)
        np.testing.assert_allclose(jnp.moveaxis(moved, 2, 0), side, rtol=100 * EPS, atol=100 * EPS)
        np.testing.assert_allclose(side[:, 1, 0], single, rtol=100 * EPS, atol=100 * EPS)


@pytest.mark.parametrize("order", ORDERS)
def test_single_precision_is_kept(order):
    v = jnp.linspace(0, 1, 12, dtype=jnp.float32) ** 2
    assert {side.dtype for side in sided(v, jnp.float32(1 / 11), order)} == {jnp.dtype(jnp.float32)}


@double_only
@pytest.mark.parametrize("order", ORDERS)
def test_the_peer_has_the_same_stencils(order):
    upwind_first = pytest.importorskip("hj_reachability.finite_differences.upwind_first")
    peer = {1: upwind_first.first_order, 3: upwind_first.WENO3, 5: upwind_first.WENO5}[order]
    width = GHOST_CELLS[order]
    random = np.random.default_rng(1)
    x = np.linspace(-1, 1, 40 + 2 * width)
    for values in (np.abs(x), np.exp(np.sin(3 * x)), random.normal(size=x.size), np.where(x > 0, 1.0, 0.0)):
        v, h = jnp.asarray(values), jnp.asarray(0.05)
        theirs = peer(v, 0.05, lambda v, _: v)
        for own, other in zip(sided(v, h, order), theirs, strict=True):
            np.testing.assert_allclose(own, other, rtol=1e-12, atol=1e-12)


def plain_correction(a, b, c, d):
    """Jiang and Peng's Phi_WENO as it is printed, with its weights one by one."""
    s = (
        13 * (a - b) ** 2 + 3 * (a - 3 * b) ** 2,
        13 * (b - c) ** 2 + 3 * (b + c) ** 2,
        13 * (c - d) ** 2 + 3 * (3 * c - d) ** 2,
    )
    alpha = [weight / (12e-6 + smoothness) ** 2 for weight, smoothness in zip((1, 6, 3), s, strict=True)]
    total = sum(alpha)
    return alpha[0] / total * (a - 2 * b + c) / 3 + (alpha[2] / total - 0.5) * (b - 2 * c + d) / 6


@double_only
@pytest.mark.parametrize("scale", [1e-4, 1e-2, 1.0, 1e2])
def test_the_correction_and_its_derivative_by_hand(scale):
    directions = np.random.default_rng(0).normal(size=(2, 4, 200))
    bends, tangents = scale * jnp.asarray(directions[0]), scale * jnp.asarray(directions[1])
    value, tangent = jax.jvp(_correction, tuple(bends), tuple(tangents))
    plain, plain_tangent = jax.jvp(plain_correction, tuple(bends), tuple(tangents))
    np.testing.assert_allclose(value, plain, atol=1e-13 * scale)
    np.testing.assert_allclose(tangent, plain_tangent, atol=1e-12 * float(jnp.abs(plain_tangent).max()))
    # The transposed rule is what the reverse mode uses.
    _, pull = jax.vjp(_correction, *bends)
    _, plain_pull = jax.vjp(plain_correction, *bends)
    ones = jnp.ones(200)
    np.testing.assert_allclose(jnp.stack(pull(ones)), jnp.stack(plain_pull(ones)), rtol=1e-9, atol=1e-11)


@double_only
@pytest.mark.parametrize("order", [3, 5])
def test_derivatives_of_the_stencils(order):
    v = jnp.asarray(np.random.default_rng(2).normal(size=12))
    weights = jnp.asarray(np.random.default_rng(3).normal(size=(2, 12 - 2 * GHOST_CELLS[order])))

    def weighted(v):
        return jnp.sum(weights * jnp.stack(sided(v, jnp.asarray(0.5), order)))

    check_grads(weighted, (v,), order=1, modes=("fwd", "rev"), eps=1e-5, rtol=1e-5, atol=1e-5)


def test_flat_data_have_no_slope_and_finite_derivatives():
    for order in ORDERS:
        v = jnp.full(12, 3.0)
        assert not np.any(np.asarray(sided(v, jnp.asarray(0.5, float), order)))
        pulled = jax.grad(lambda v, order=order: sided(v, jnp.asarray(0.5, float), order)[0].sum())(v)
        assert np.all(np.isfinite(pulled))
