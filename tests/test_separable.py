"""Sums of one convex function: the conjugate that is found, its derivatives, and what solvers ask for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hjpde
from hjpde import solvers
from hjpde.hamiltonians import HasGodunov, HasSeparableLagrangian, HasSpeedBound

EPS = float(jnp.finfo(jnp.result_type(float)).eps)
V = np.array([-7.0, -0.4, 0.0, 0.3, 2.0])
CONJUGATES = {
    "square": (lambda p: p**2, lambda v: v**2 / 4, None),
    "cosh": (jnp.cosh, lambda v: v * jnp.arcsinh(v) - jnp.sqrt(1 + v**2), None),
    "fourth": (lambda p: p**4 / 4, lambda v: 0.75 * jnp.abs(v) ** (4 / 3), None),
    "drift": (lambda p: p**2 / 2 - 3 * p, lambda v: (v + 3) ** 2 / 2, None),
    "relativistic": (
        lambda p: jnp.sqrt(1 + p**2),
        lambda v: jnp.where(jnp.abs(v) <= 1, -jnp.sqrt(jnp.maximum(1 - v**2, 0)), jnp.inf),
        (-1, 1),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CONJUGATES)
def test_the_conjugate_is_found(name):
    function, conjugate, velocities = CONJUGATES[name]
    H, exact = hjpde.Separable(function, velocities=velocities), np.asarray(conjugate(V))
    found = jax.jit(lambda v: H.lagrangian_along(0, v))(jnp.asarray(V))
    np.testing.assert_allclose(found, exact, rtol=50 * EPS, atol=50 * EPS)
    known = hjpde.Separable(function, conjugate, velocities)
    np.testing.assert_allclose(known.lagrangian_along(1, jnp.asarray(V)), exact, rtol=10 * EPS, atol=EPS)
    np.testing.assert_allclose(H.lagrangian(jnp.asarray(V[2:4])), exact[2:4].sum(), rtol=100 * EPS)


def test_the_conjugate_is_differentiable_in_the_velocity_and_in_parameters():
    @jax.jit
    def derivatives(v, a):
        conjugate = lambda v, a: hjpde.Separable(lambda p: a * jnp.cosh(p)).lagrangian_along(0, v)  # noqa: E731
        first = jax.grad(conjugate, (0, 1))(v, a)
        return *first, jax.grad(jax.grad(conjugate))(v, a), jax.grad(jax.grad(conjugate, 1), 1)(v, a)

    v, a = 0.7, 1.3
    # v asinh(v/a) - sqrt(a^2 + v^2)
    root = np.sqrt(a**2 + v**2)
    expected = np.arcsinh(v / a), -root / a, 1 / root, v**2 / (a**2 * root)
    np.testing.assert_allclose(derivatives(v, a), expected, rtol=1e3 * EPS)


def test_it_knows_what_solvers_ask_for():
    H, X = hjpde.Separable(lambda p: p**2 + 2 * p), jnp.zeros(2)
    for protocol in (HasGodunov, HasSpeedBound, HasSeparableLagrangian):
        assert isinstance(H, protocol)
    assert H.why_not_godunov() is H.why_not_separable(3) is H.dim is None
    assert H.curvature == "convex"
    assert H(0.0, X, jnp.array([1.0, -2.0])) == pytest.approx(3.0)
    np.testing.assert_allclose(H.speed_bound(0.0, X, hjpde.Box([-3.0, 0.0], [1.0, 0.5])), [4.0, 3.0])
    # The least of p^2 + 2p is -1, at -1: a fan across it, a fan beside it, and a shock.
    godunov = jax.jit(lambda left, right: H.godunov(0.0, X, left, right))
    assert godunov(jnp.array([-2.0, 0.0]), jnp.array([0.0, 1.0])) == pytest.approx(-1 + 0, abs=100 * EPS)
    assert godunov(jnp.array([1.0, -1.0]), jnp.array([-4.0, -1.0])) == pytest.approx(8 - 1, rel=100 * EPS)


@pytest.mark.parametrize(
    "H",
    [hjpde.Quadratic(np.diag([2.0, 0.5])), hjpde.Quadratic(), hjpde.Power(2.0), hjpde.Separable(jnp.cosh)],
)
def test_the_sum_over_the_axes_is_the_whole(H):
    assert H.why_not_separable(2) is None
    p, X = jnp.array([0.7, -1.2]), jnp.zeros(2)
    parts = [H.hamiltonian_along(i, p[i]) for i in range(2)]
    np.testing.assert_allclose(sum(parts), H(0.0, X, p), rtol=20 * EPS)
    np.testing.assert_allclose(sum(H.lagrangian_along(i, p[i]) for i in range(2)), H.lagrangian(p), rtol=20 * EPS)


def test_point_masses_by_hopf_lax():
    atoms = hjpde.Atoms([[0.0, 0.0], [1.0, 0.5]], [0.0, 0.1])
    solution = hjpde.solve(hjpde.InitialValueProblem(atoms, hjpde.Separable(lambda p: p**2)), 1.0, solvers.HopfLax())
    exact = hjpde.solve(hjpde.InitialValueProblem(atoms, hjpde.Quadratic()), 1.0, solvers.HopfLax())
    x = jnp.array([0.3, -0.2])
    np.testing.assert_allclose(solution(0.7, x), exact(0.7, x), rtol=20 * EPS)
    np.testing.assert_allclose(solution.gradient(0.7, x), exact.gradient(0.7, x), rtol=100 * EPS)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((jnp.cosh, None, [1.0]), r"`velocities` must have shape \(2,\), got \(1,\)"),
        ((jnp.cosh, None, [1.0, -1.0]), r"`velocities` must be increasing, got \[1.0, -1.0\]"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        hjpde.Separable(*arguments)
