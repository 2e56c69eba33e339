"""Hamiltonians: values, conjugates, curvature, speed bounds, Godunov forms, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _helpers import random_spd

import hjpde
from hjpde.hamiltonians import HasGodunov, HasSpeedBound

X0 = jnp.zeros(2)
P = jnp.asarray([0.6, -0.8])
A = random_spd(np.random.default_rng(0), 2)


def test_values():
    assert hjpde.Quadratic()(0.0, X0, P) == pytest.approx(1.0)
    assert hjpde.Quadratic(A)(0.0, X0, P) == pytest.approx(float(P @ A @ P))
    assert hjpde.Eikonal(3.0)(0.0, X0, 2 * P) == pytest.approx(6.0)
    assert hjpde.Power(3.0)(0.0, X0, 2 * P) == pytest.approx(8 / 3)
    assert hjpde.Transport([1.0, 2.0])(0.0, X0, P) == pytest.approx(-1.0)
    assert hjpde.Transport(lambda t, x: t + x)(2.0, jnp.ones(2), P) == pytest.approx(3 * float(P.sum()))
    assert hjpde.MomentumFunction(lambda p: p[0] ** 3)(0.0, X0, P) == pytest.approx(0.216)
    B, c, Q, x = np.asarray([[0.0, 1.0], [2.0, 0.0]]), np.asarray([0.5, 0.0]), np.eye(2), jnp.asarray([1.0, 3.0])
    expected = float(P @ A @ P + (B @ x + c) @ P - x @ Q @ x / 2)
    assert hjpde.LinearQuadratic(A, B, c, Q)(0.0, x, P) == pytest.approx(expected)
    varying = hjpde.LinearQuadratic(A, lambda t: t * B, lambda t: t * c, lambda t: t * Q)
    assert varying.time_dependent
    assert varying(1.0, x, P) == pytest.approx(expected)
    assert hjpde.LinearQuadratic(A)(0.0, x, P) == pytest.approx(float(P @ A @ P))


@pytest.mark.parametrize("H", [hjpde.Quadratic(), hjpde.Quadratic(A), hjpde.Power(1.5), hjpde.Power(4.0)])
def test_the_lagrangian_is_the_conjugate(H):
    # At v = dH/dp(p) the supremum of p.v - H is attained at p, and Fenchel's inequality holds elsewhere.
    def energy(p):
        return H(0.0, X0, p)

    v = jax.grad(energy)(P)
    np.testing.assert_allclose(H.lagrangian(v), P @ v - energy(P), rtol=1e-13)
    others = jnp.asarray(np.random.default_rng(1).normal(size=(200, 2)) * 2)
    assert np.all(others @ v - jax.vmap(energy)(others) <= H.lagrangian(v) + 1e-13)


def test_the_eikonal_lagrangian_is_an_indicator():
    H = hjpde.Eikonal(2.0)
    assert H.lagrangian(2.0 * P) == 0
    assert H.lagrangian(2.001 * P) == np.inf


def test_derivatives_at_the_origin_are_finite():
    for H in (hjpde.Eikonal(), hjpde.Power(1.5), hjpde.Power(3.0)):
        np.testing.assert_array_equal(jax.grad(lambda p, H=H: H(0.0, X0, p))(X0), X0)
    np.testing.assert_array_equal(jax.grad(hjpde.Power(3.0).lagrangian)(X0), X0)


def test_curvature_and_dimension():
    assert hjpde.Quadratic().curvature == hjpde.Eikonal().curvature == hjpde.Power(2.0).curvature == "convex"
    assert hjpde.MomentumFunction(jnp.sum).curvature == "unknown"
    assert hjpde.MomentumFunction(jnp.sum, "linear").curvature == "linear"
    assert hjpde.Quadratic(A).dim == hjpde.LinearQuadratic(A).dim == hjpde.Transport([1.0, 2.0]).dim == 2
    for H in (hjpde.Quadratic(), hjpde.Eikonal(), hjpde.Power(2.0), hjpde.Transport(lambda t, x: x)):
        assert H.dim is None


ASYMMETRIC = np.triu(np.ones((2, 2)))
WRONG = [
    (lambda: hjpde.Quadratic(np.ones((2, 3))), r"`A` must be a square matrix, got shape \(2, 3\)"),
    (lambda: hjpde.Quadratic(np.ones(2)), "`A` must have 2 axes"),
    (lambda: hjpde.Quadratic(ASYMMETRIC), "`A` must be symmetric"),
    (lambda: hjpde.Quadratic(-np.eye(2)), "`A` must be positive definite, got the eigenvalue -1"),
    (lambda: hjpde.Quadratic(np.zeros((2, 2))), "`A` must be positive definite"),
    (lambda: hjpde.Quadratic([[np.nan]]), "`A` must be finite"),
    (lambda: hjpde.LinearQuadratic(np.ones((2, 3))), "`A` must be a square matrix"),
    (lambda: hjpde.LinearQuadratic(-np.eye(2)), "`A` must be positive definite"),
    (lambda: hjpde.LinearQuadratic([[np.inf]]), "`A` must be finite"),
    (lambda: hjpde.LinearQuadratic(np.eye(2), B=np.eye(3)), r"`B` must have shape \(2, 2\), got \(3, 3\)"),
    (lambda: hjpde.LinearQuadratic(np.eye(2), c=np.ones(3)), r"`c` must have shape \(2,\)"),
    (lambda: hjpde.LinearQuadratic(np.eye(2), B=np.full((2, 2), np.nan)), "`B` must be finite"),
    (lambda: hjpde.LinearQuadratic(np.eye(2), Q=ASYMMETRIC), "`Q` must be symmetric"),
    (lambda: hjpde.Eikonal(0.0), "`speed` must be positive"),
    (lambda: hjpde.Eikonal(np.ones(2)), "`speed` must be a scalar"),
    (lambda: hjpde.Power(1.0), "`exponent` must be above 1, got 1"),
    (lambda: hjpde.Power(-2.0), "`exponent` must be positive"),
    (lambda: hjpde.Transport(1.0), "`velocity` must have 1 axes"),
    (lambda: hjpde.Transport([np.nan]), "`velocity` must be finite"),
]


@pytest.mark.parametrize("build, message", WRONG)
def test_refuses(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_hamiltonians_are_built_and_differentiated_under_jit():
    @jax.jit
    @jax.grad
    def slope(speed):
        H, G, K = hjpde.Eikonal(speed), hjpde.Power(1 + speed), hjpde.Quadratic(speed * jnp.eye(2))
        return H(0.0, X0, P) + G(0.0, X0, P) + K(0.0, X0, P) + hjpde.Power(3.0)(0.0, X0, P)

    # d/ds of s + 1/(1 + s) + s, as |p| = 1.
    assert slope(1.0) == pytest.approx(2 - 1 / 4)


DRIFT = np.asarray([[0.0, 1.0], [-2.0, 0.5]])
KNOWING = {
    "identity": hjpde.Quadratic(),
    "diagonal": hjpde.Quadratic(np.diag([2.0, 0.5])),
    "quadratic": hjpde.Quadratic(A),
    "linear-quadratic": hjpde.LinearQuadratic(A, DRIFT, [0.3, -0.2], np.eye(2)),
    "linear-quadratic-diagonal": hjpde.LinearQuadratic(np.diag([2.0, 0.5]), DRIFT, [0.3, -0.2], np.eye(2)),
    "eikonal": hjpde.Eikonal(1.5),
    "power-1.5": hjpde.Power(1.5),
    "power-3": hjpde.Power(3.0),
    "transport": hjpde.Transport(lambda t, x: jnp.stack([x[1] - t, -x[0]])),
    "reversed": hjpde.TimeReversed(hjpde.LinearQuadratic(np.diag([2.0, 0.5]), DRIFT, lambda t: t * jnp.ones(2)), 3.0),
}
SEPARATE = [name for name, H in KNOWING.items() if H.why_not_godunov() is None]
rng = np.random.default_rng(2)
# Boxes about 0, off it along one axis and along both, and degenerate ones.
CORNERS = np.sort(rng.normal(size=(12, 2, 2)), axis=1)
CORNERS[0] += 4
CORNERS[1, :, 0] -= 4
CORNERS[2, 1] = CORNERS[2, 0]
CORNERS[3] = 0
CORNERS[4, :, 1] = 0
PLACES = rng.normal(size=(12, 2))


@pytest.mark.parametrize("name", KNOWING)
def test_the_speed_bound_is_the_largest_speed_over_the_box(name):
    H = KNOWING[name]

    @jax.jit
    def bounds_and_speeds(x, corners):
        box = hjpde.Box(corners[0], corners[1])
        s = jnp.linspace(0.0, 1.0, 41)
        fractions = jnp.stack(jnp.meshgrid(s, s), axis=-1).reshape(-1, 2)
        points = jax.vmap(lambda f: jnp.clip(corners[0] + f * (corners[1] - corners[0]), corners[0], corners[1]))(
            fractions
        )
        # The co-state nearest to 0, and the same with each entry at an end, where |p_i|/|p| is largest.
        nearest = jnp.clip(jnp.zeros(2, corners.dtype), corners[0], corners[1])
        ends = jnp.stack([nearest.at[i].set(corner[i]) for corner in (corners[0], corners[1]) for i in range(2)])
        points = jnp.concatenate([points, ends])
        speeds = jax.vmap(lambda p: jnp.abs(jax.grad(H, argnums=2)(0.7, x, p)))(points)
        return H.speed_bound(0.7, x, box), speeds.max(axis=0)

    bounds, speeds = jax.vmap(bounds_and_speeds)(jnp.asarray(PLACES), jnp.asarray(CORNERS))
    roundoff = 20 * np.finfo(bounds.dtype).eps
    assert np.all(speeds <= bounds * (1 + roundoff) + roundoff)
    np.testing.assert_allclose(bounds, speeds, rtol=1e3 * roundoff, atol=roundoff)


def test_which_hamiltonians_have_a_godunov_form():
    assert set(KNOWING) - set(SEPARATE) == {"quadratic", "linear-quadratic"}
    assert all(isinstance(H, HasGodunov) and isinstance(H, HasSpeedBound) for H in KNOWING.values())
    assert "not diagonal" in str(hjpde.Quadratic(A).why_not_godunov())
    assert not isinstance(hjpde.MomentumFunction(jnp.sum), HasGodunov | HasSpeedBound)
    backwards = hjpde.TimeReversed(hjpde.MomentumFunction(jnp.sum), 1.0)
    assert "MomentumFunction has no Godunov" in str(backwards.why_not_godunov())
    reasons = []

    @jax.jit
    def traced(matrix):
        reasons.append(hjpde.Quadratic(matrix).why_not_godunov())
        reasons.append(hjpde.Quadratic(matrix[:1, :1]).why_not_godunov())
        return matrix

    traced(jnp.eye(2))
    assert "traced" in reasons[0]
    assert reasons[1] is None


@pytest.mark.parametrize("name", SEPARATE)
def test_the_godunov_form_is_the_extremum_between_the_derivatives(name):
    H = KNOWING[name]
    x, t = jnp.asarray(PLACES[0]), 0.7
    rng = np.random.default_rng(3)
    left, right = jnp.asarray(rng.normal(size=(40, 2)) * 2), jnp.asarray(rng.normal(size=(40, 2)) * 2)

    @jax.jit
    def form(left, right):
        return jax.vmap(lambda l, r: H.godunov(t, x, l, r))(left, right)

    @jax.jit
    def by_definition(left, right):
        s = jnp.linspace(0.0, 1.0, 801)

        def extremum(values, axis, l, r):
            return jnp.where(l <= r, values.min(axis=axis), values.max(axis=axis))

        def one(l, r):
            p0, p1 = l[0] + s * (r[0] - l[0]), l[1] + s * (r[1] - l[1])
            values = jax.vmap(lambda a: jax.vmap(lambda b: H(t, x, jnp.stack([a, b])))(p1))(p0)
            # The members are sums or grow with every |p_i|, so the order of the axes does not matter.
            return extremum(extremum(values, 1, l[1], r[1]), 0, l[0], r[0])

        return jax.lax.map(lambda pair: one(*pair), (left, right))

    values = form(left, right)
    # Between two of 801 points a smooth extremum is missed by H'' h^2 / 8, the tip of the cone by c h / 2.
    np.testing.assert_allclose(values, by_definition(left, right), atol=1e-2)
    energies = jax.vmap(lambda p: H(t, x, p))(left)
    roundoff = 100 * np.finfo(values.dtype).eps
    np.testing.assert_allclose(form(left, left), energies, rtol=roundoff, atol=roundoff)
    more = jnp.asarray(rng.uniform(0, 1, size=(40, 2)))
    assert np.all(form(left + more, right) >= values - roundoff)
    assert np.all(form(left, right + more) <= values + roundoff)
    assert np.all(np.isfinite(jax.grad(lambda l: H.godunov(t, x, l, l))(jnp.zeros(2))))


def test_speed_bounds_and_godunov_forms_keep_float32():
    x, box = jnp.ones(2, jnp.float32), hjpde.Box(-np.ones(2, np.float32), np.ones(2, np.float32))
    for name, H in KNOWING.items():
        assert H(np.float32(0), x, x).dtype == jnp.float32, name
        assert H.speed_bound(np.float32(0), x, box).dtype == jnp.float32, name
        if name in SEPARATE:
            assert H.godunov(np.float32(0), x, x, -x).dtype == jnp.float32, name


def test_many_axes_go_the_other_way():
    d = 11
    matrix, rng = random_spd(np.random.default_rng(4), d), np.random.default_rng(5)
    p, x = jnp.asarray(rng.normal(size=d)), jnp.asarray(rng.normal(size=d))
    box = hjpde.Box(-np.ones(d), np.ones(d))
    np.testing.assert_allclose(hjpde.Quadratic(matrix)(0.0, x, p), p @ matrix @ p, rtol=1e-5)
    np.testing.assert_allclose(hjpde.Quadratic(matrix).speed_bound(0.0, x, box), 2 * np.abs(matrix).sum(1), rtol=1e-5)
    np.testing.assert_allclose(hjpde.Eikonal()(0.0, x, p), np.linalg.norm(p), rtol=1e-5)
    np.testing.assert_allclose(hjpde.Transport(np.arange(d) * 1.0)(0.0, x, p), np.arange(d) @ p, rtol=1e-5)


def test_a_terminal_value_problem_backwards():
    inner = hjpde.LinearQuadratic(A, lambda t: t * DRIFT)
    H, x = hjpde.TimeReversed(inner, 3.0), jnp.asarray([1.0, 2.0])
    assert H(0.5, x, P) == pytest.approx(-float(inner(2.5, x, P)))
    assert H.dim == 2
    with pytest.raises(ValueError, match="MomentumFunction has no `speed_bound`"):
        hjpde.TimeReversed(hjpde.MomentumFunction(jnp.sum), 1.0).speed_bound(0.0, x, hjpde.Box(-x, x))
    with pytest.raises(ValueError, match="has no Godunov form"):
        hjpde.TimeReversed(hjpde.MomentumFunction(jnp.sum), 1.0).godunov(0.0, x, x, x)
    with pytest.raises(ValueError, match="`horizon` must have 0 axes"):
        hjpde.TimeReversed(inner, np.ones(1))
    with pytest.raises(ValueError, match="`horizon` must be finite"):
        hjpde.TimeReversed(inner, np.inf)
