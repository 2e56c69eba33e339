"""Hamiltonians: values, conjugates by maximisation, curvature, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _helpers import random_spd

import hjpde

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
