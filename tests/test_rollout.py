"""Trajectories under a feedback: known optimal paths, conventions of time, leaving the domain, gradients."""

from collections.abc import Callable
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hjpde
from hjpde._solution import AbstractEvaluator, Solution

AIM = np.asarray([1.0, -0.5])
N = 40


@final
class Known(AbstractEvaluator):
    """A value that is given by a formula, up to a time."""

    formula: Callable
    until: float = eqx.field(static=True, default=10.0)

    @property
    def twice_differentiable(self):
        return True

    @property
    def dim(self):
        return 2

    def __call__(self, t, x):
        return self.formula(t, x)

    def batch(self, t, X):
        return jax.vmap(lambda x: self.formula(t, x))(X)

    def standard_error(self, t, x):
        return jnp.zeros(())

    def invalid_time(self, t):
        return None if t <= self.until else f"it was solved up to {self.until:g}"


def solved(formula):
    return Solution(Known(formula), jnp.ones(1), solver="formula")


def distance(x):
    return jnp.sqrt(jnp.sum((x - jnp.asarray(AIM, x.dtype)) ** 2))


# Both steer freely, at speeds 1 and 0.4: the value of the distance at the end is the distance less 0.6 t.
CHASE = hjpde.ControlAffine(
    np.zeros(2), np.eye(2), np.eye(2), controls=hjpde.Ball(1.0, 2), disturbances=hjpde.Ball(0.4, 2)
)
CHASED = solved(lambda t, x: distance(x) - 0.6 * t)
STARTS = np.asarray([[[4.0, 1.0], [-3.0, 2.0], [1.0, 5.0]]])


def test_both_players_move_straight_and_the_value_does_not_change():
    paths = hjpde.rollout(CHASE, CHASED, STARTS, 2.0, n_steps=N)
    assert paths.states.shape == (1, 3, N + 1, 2)
    assert paths.controls.shape == paths.disturbances.shape == (1, 3, N, 2)
    assert paths.values.shape == (1, 3, N)
    assert not np.any(paths.left_domain)
    assert np.all(np.isnan(paths.exit_time))
    assert np.all(np.isnan(paths.exit_point))
    np.testing.assert_allclose(paths.times, np.linspace(0, 2, N + 1), rtol=1e-6)
    away = STARTS - AIM
    length = np.linalg.norm(away, axis=-1, keepdims=True)
    moved = 0.6 * np.asarray(paths.times)[:, None] * (away / length)[..., None, :]
    np.testing.assert_allclose(paths.states, STARTS[..., None, :] - moved, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(paths.values, np.broadcast_to(length - 1.2, (1, 3, N)), rtol=1e-4)
    one = hjpde.rollout(CHASE, CHASED, STARTS[0, 1], 2.0, n_steps=N)
    np.testing.assert_allclose(one.states, paths.states[0, 1], rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_a_worse_opponent_is_beaten_by_more():
    still = hjpde.rollout(CHASE, CHASED, STARTS, 2.0, n_steps=N, disturbance="none")
    np.testing.assert_array_equal(still.disturbances, 0)
    np.testing.assert_allclose(jax.vmap(distance)(still.states[0, :, -1]), jax.vmap(distance)(STARTS[0]) - 2, rtol=1e-4)

    def aside(s, x):
        return 0.4 * jnp.stack([jnp.cos(s), jnp.sin(s)]).astype(x.dtype)

    swayed = hjpde.rollout(CHASE, CHASED, STARTS, 2.0, n_steps=N, disturbance=aside)
    np.testing.assert_allclose(swayed.disturbances[0, 0], jax.vmap(lambda s: aside(s, s))(swayed.times[:-1]), rtol=1e-5)
    # What the worst opponent guarantees is not exceeded, up to the step.
    assert np.all(jax.vmap(distance)(swayed.states[0, :, -1]) <= jax.vmap(distance)(STARTS[0]) - 1.2 + 2.0 / N)


def test_time_to_go_runs_backwards():
    # x' = time to go, so x(T) = x0 + T^2/2 and half-way 3/4 of it.
    H = hjpde.ControlAffine(lambda t, x: t * jnp.ones_like(x))
    paths = hjpde.rollout(H, solved(lambda t, x: t + jnp.sum(x)), np.zeros(2), 2.0, n_steps=N)
    np.testing.assert_allclose(paths.states[N // 2 :: N // 2], [[1.5, 1.5], [2.0, 2.0]], rtol=1e-5)
    np.testing.assert_allclose(paths.values[0], 2.0, rtol=1e-6)
    assert paths.controls.shape == paths.disturbances.shape == (N, 0)


def test_chattering_stays_within_the_step():
    # At the aim the feedback of |x - aim| switches at every step; an adaptive step would shrink to nothing.
    H = hjpde.ControlAffine(np.zeros(2), np.eye(2), controls=hjpde.Box(-np.ones(2), np.ones(2)))
    paths = hjpde.rollout(H, solved(lambda t, x: jnp.sum(jnp.abs(x - AIM))), AIM + 0.513, 2.0, n_steps=N)
    assert np.all(np.abs(np.asarray(paths.states)[N // 2 :] - AIM) <= 2.0 / N + 1e-6)
    assert np.all(np.abs(paths.controls) == 1)


def test_leaving_the_domain_is_reported():
    def inside_only(t, x):
        return jnp.where(jnp.all(jnp.abs(x) <= 1.5), distance(x) - 0.6 * t, jnp.nan)

    fleeing = hjpde.ControlAffine(np.zeros(2), np.eye(2), controls=hjpde.Ball(1.0, 2), control="max")
    starts = np.asarray([[0.0, -0.5], [1.2, -0.5]])
    paths = hjpde.rollout(fleeing, solved(inside_only), starts, 1.0, n_steps=N)
    np.testing.assert_array_equal(paths.left_domain, [False, True])
    assert np.isnan(paths.exit_time[0])
    # From 1.2 at speed 1 the border at 1.5 is crossed at s = 0.3, and noticed at the next step at the latest.
    assert 0.3 <= paths.exit_time[1] <= 0.3 + 2.0 / N
    assert 1.5 <= paths.exit_point[1, 0] <= 1.5 + 2.0 / N
    before = np.asarray(paths.times) <= paths.exit_time[1]
    assert np.all(np.isfinite(paths.states[1, before]))
    assert np.all(np.isnan(paths.states[1, ~before]))
    assert np.all(np.isfinite(paths.states[0]))


@pytest.mark.slow
def test_differentiable_in_the_start_and_the_dynamics():
    @jax.jit
    def missed(x0, speed):
        H = hjpde.ControlAffine(lambda t, x: 0.3 * jnp.sin(x), np.eye(2), controls=hjpde.Ball(speed, 2))
        end = hjpde.rollout(H, CHASED, x0, 1.0, n_steps=10).states[-1]
        return jnp.sum((end - AIM) ** 2)

    x0 = jnp.asarray([4.0, 1.0])
    by_start, by_speed = jax.jit(jax.grad(missed, argnums=(0, 1)))(x0, 1.0)
    h = float(np.finfo(x0.dtype).eps) ** (1 / 3)
    differences = [(missed(x0 + h * e, 1.0) - missed(x0 - h * e, 1.0)) / (2 * h) for e in jnp.eye(2)]
    tolerance = 1e-2 if x0.dtype == jnp.float32 else 1e-7
    np.testing.assert_allclose(by_start, differences, rtol=tolerance)
    np.testing.assert_allclose(by_speed, (missed(x0, 1 + h) - missed(x0, 1 - h)) / (2 * h), rtol=tolerance)


WRONG = [
    (lambda: hjpde.rollout(CHASE, CHASED, np.zeros(3), 1.0), r"`x0` must have shape \(..., 2\), got \(3,\)"),
    (lambda: hjpde.rollout(CHASE, CHASED, 1.0, 1.0), "`x0` must have shape"),
    (lambda: hjpde.rollout(CHASE, CHASED, AIM, -1.0), "`horizon` must be positive and finite, got -1"),
    (lambda: hjpde.rollout(CHASE, CHASED, AIM, np.ones(2)), r"`horizon` must be a scalar, got shape \(2,\)"),
    (lambda: hjpde.rollout(CHASE, CHASED, AIM, 11.0), "`horizon` = 11: the solution .* it was solved up to 10"),
    (lambda: hjpde.rollout(CHASE, CHASED, AIM, 1.0, n_steps=0), "`n_steps` must be a positive integer, got 0"),
    (
        lambda: hjpde.rollout(CHASE, CHASED, AIM, 1.0, n_steps=2, disturbance=lambda s, x: x[:1]),
        r"`disturbance` must return shape \(2,\), got \(1,\)",
    ),
]


@pytest.mark.parametrize("build, message", WRONG)
def test_refuses(build, message):
    with pytest.raises(ValueError, match=message):
        build()
