"""Control-affine dynamics: values against brute force and by hand, optimal choices, speeds, and what is refused."""

import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hjpde
from hjpde.hamiltonians import HasSpeedBound

rng = np.random.default_rng(0)
X, P = rng.normal(size=(20, 3)), rng.normal(size=(20, 3))
SETS = {
    "box": hjpde.Box([-1.0, 0.5], [2.0, 1.5]),
    "ball": hjpde.Ball(1.5, 2),
}
G = rng.normal(size=(3, 2))


def drift(t, x):
    return jnp.stack([x[1] - t, jnp.sin(x[0]), x[0] * x[2]])


def turning(t, x):
    return jnp.asarray(G, x.dtype) * jnp.cos(x[2] + t)


def members(choices):
    """Many points of a set; among them, for every direction, one that is nearly the best."""
    angles = np.linspace(0, 2 * np.pi, 721)[:-1]
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    if isinstance(choices, hjpde.Ball):
        return float(choices.radius) * np.concatenate([circle, circle / 2])
    lower, upper = np.asarray(choices.lower), np.asarray(choices.upper)
    grid = np.stack(np.meshgrid([0.0, 0.3, 1.0], [0.0, 0.6, 1.0]), axis=-1).reshape(-1, 2)
    return lower + grid * (upper - lower)


def game(control, disturbance, kind, **kwargs):
    other = {"box": "ball", "ball": "box"}[kind]
    return hjpde.ControlAffine(
        drift,
        turning,
        -0.5 * G,
        controls=SETS[kind],
        disturbances=SETS[other],
        control=control,
        disturbance=disturbance,
        running_cost=lambda t, x: x[0] ** 2 + t,
        **kwargs,
    )


@pytest.mark.parametrize("kind", SETS)
@pytest.mark.parametrize("control, disturbance", [("min", "max"), ("max", "max")])
def test_the_hamiltonian_is_the_optimum_over_both_players(control, disturbance, kind):
    H = game(control, disturbance, kind)
    As, Bs = members(H.controls), members(H.disturbances)
    energies = jax.jit(jax.vmap(lambda x, p: H(0.3, x, p)))(X, P)
    a, b = jax.jit(jax.vmap(lambda x, p: (H.optimal_control(0.3, x, p), H.optimal_disturbance(0.3, x, p))))(X, P)
    velocities = jax.jit(jax.vmap(lambda x, a, b: H.velocity(0.3, x, a, b)))(X, a, b)
    best = {"min": np.min, "max": np.max}
    for x, p, energy, velocity in zip(X, P, energies, velocities, strict=True):
        rate = p @ np.asarray(drift(0.3, x)) + x[0] ** 2 + 0.3
        over_a = As @ (np.cos(x[2] + 0.3) * G).T @ p
        over_b = Bs @ (-0.5 * G).T @ p
        # In either order: the players' terms are separate.
        expected = -(rate + best[control](over_a) + best[disturbance](over_b))
        np.testing.assert_allclose(energy, expected, atol=5e-4)
        # The choices attain it exactly.
        np.testing.assert_allclose(energy, -(p @ velocity + x[0] ** 2 + 0.3), rtol=1e-5, atol=1e-6)


def test_air3d_by_hand():
    # Pursuer and evader at speeds v, relative frame; the evader turns by a, the pursuer by b.
    speed, turn = 5.0, 1.0
    H = hjpde.ControlAffine(
        lambda t, x: jnp.stack([-speed + speed * jnp.cos(x[2]), speed * jnp.sin(x[2]), jnp.zeros_like(x[2])]),
        lambda t, x: jnp.stack([x[1], -x[0], -jnp.ones_like(x[2])])[:, None],
        [[0.0], [0.0], [1.0]],
        controls=hjpde.Box([-turn], [turn]),
        disturbances=hjpde.Box([-turn], [turn]),
        control="max",
    )
    assert (H.disturbance, H.dim) == ("min", 3)
    x, p = X.T, P.T
    by_hand = -(
        p[0] * (-speed + speed * np.cos(x[2]))
        + p[1] * speed * np.sin(x[2])
        + turn * np.abs(p[0] * x[1] - p[1] * x[0] - p[2])
        - turn * np.abs(p[2])
    )
    energies = jax.jit(jax.vmap(lambda x, p: H(0.0, x, p)))(X, P)
    np.testing.assert_allclose(energies, by_hand, rtol=1e-5, atol=1e-5)
    box = hjpde.Box(-np.ones(3), np.ones(3))
    speeds = jax.jit(jax.vmap(lambda x: H.speed_bound(0.0, x, box)))(X)
    expected = np.stack([np.abs(-speed + speed * np.cos(x[2])) + np.abs(x[1]), np.abs(speed * np.sin(x[2]))], axis=1)
    expected[:, 1] += np.abs(x[0])
    np.testing.assert_allclose(speeds[:, :2], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(speeds[:, 2], 2 * turn, rtol=1e-6)


@pytest.mark.parametrize("kind", SETS)
def test_the_speed_bound_is_the_largest_speed(kind):
    H = game("min", "max", kind)
    assert isinstance(H, HasSpeedBound)
    As, Bs = members(H.controls), members(H.disturbances)
    bounds = jax.jit(jax.vmap(lambda x: H.speed_bound(0.3, x, hjpde.Box(-np.ones(3), np.ones(3)))))(X)
    for x, bound in zip(X, bounds, strict=True):
        over_a, over_b = As @ (np.cos(x[2] + 0.3) * G).T, Bs @ (-0.5 * G).T
        f = np.asarray(drift(0.3, x))
        highest = f + over_a.max(axis=0) + over_b.max(axis=0)
        lowest = f + over_a.min(axis=0) + over_b.min(axis=0)
        np.testing.assert_allclose(bound, np.maximum(highest, -lowest), rtol=1e-3)


def test_choices_at_a_tie_are_the_middle_and_nothing_is_nan():
    x, zero = jnp.ones(3), jnp.zeros(3)
    H = game("min", "max", "box")

    @jax.jit
    def choices(p):
        a, b = H.optimal_control(0.0, x, p), H.optimal_disturbance(0.0, x, p)
        bends = jax.jacobian(lambda p: H.optimal_disturbance(0.0, x, p))(p)
        return a, b, bends, H.velocity(0.0, x, a, b), jax.grad(H, argnums=2)(0.0, x, p)

    a, b, bends, velocity, slope = choices(zero)
    np.testing.assert_allclose(a, [0.5, 1.0])
    np.testing.assert_array_equal(b, [0.0, 0.0])
    assert np.all(np.isfinite(bends))
    # The derivative in p is minus the velocity under the choices, ties included.
    np.testing.assert_allclose(slope, -velocity, rtol=1e-5)
    vertices, _, _, velocity, slope = choices(jnp.asarray(P[0]))
    np.testing.assert_allclose(slope, -velocity, rtol=1e-5)
    assert all(v in (low, high) for v, low, high in zip(vertices, SETS["box"].lower, SETS["box"].upper, strict=True))


def test_one_player_or_none():
    x, p = jnp.asarray(X[0]), jnp.asarray(P[0])
    alone = hjpde.ControlAffine(drift, turning, controls=SETS["box"])
    assert alone.optimal_disturbance(0.0, x, p).shape == (0,)
    none = hjpde.ControlAffine([1.0, 0.0, -2.0])
    assert none.dim == 3
    assert none(0.0, x, p) == pytest.approx(float(-(p[0] - 2 * p[2])), rel=1e-5)
    assert none.optimal_control(0.0, x, p).shape == (0,)
    np.testing.assert_allclose(none.velocity(0.0, x), [1.0, 0.0, -2.0])
    assert hjpde.ControlAffine(drift).dim is None
    assert hjpde.ControlAffine(drift, dim=3).dim == 3


def test_float32_stays():
    H, x = game("min", "max", "ball"), jnp.ones(3, jnp.float32)
    t, box = np.float32(0.1), hjpde.Box(-np.ones(3, np.float32), np.ones(3, np.float32))
    calls = (
        lambda: H(t, x, x),
        lambda: H.optimal_control(t, x, x),
        lambda: H.optimal_disturbance(t, x, x),
        lambda: H.speed_bound(t, x, box),
    )
    assert all(jax.eval_shape(call).dtype == jnp.float32 for call in calls)


def test_differentiable_in_its_parameters():
    x, p = jnp.asarray(X[0]), jnp.asarray(P[0])

    @jax.jit
    @jax.grad
    def slope(bound):
        return hjpde.ControlAffine(drift, G, controls=hjpde.Box(-bound * jnp.ones(2), bound * jnp.ones(2)))(0.0, x, p)

    assert slope(2.0) == pytest.approx(float(np.abs(G.T @ p).sum()), rel=1e-5)


BOX = SETS["box"]
WRONG = [
    (lambda: hjpde.Box([0.0], [0.0, 1.0]), r"`lower` and `upper` must have the same shape \(k,\), got \(1,\)"),
    (lambda: hjpde.Box([], []), "must have the same shape"),
    (lambda: hjpde.Box([1.0], [0.0]), r"`lower` must not exceed `upper`, got \[1.0\] and \[0.0\]"),
    (lambda: hjpde.Box([0.0], [np.inf]), "`upper` must be finite"),
    (lambda: hjpde.Box(0.0, 1.0), "`lower` must have 1 axes"),
    (lambda: hjpde.Ball(0.0, 2), "`radius` must be positive and finite, got 0"),
    (lambda: hjpde.Ball(-1.0, 2), "`radius` must be positive"),
    (lambda: hjpde.Ball(np.ones(1), 2), "`radius` must be a scalar"),
    (lambda: hjpde.Ball(1.0, 0), "`dim` must be a positive integer, got 0"),
    (lambda: hjpde.ControlAffine(drift, G), "`control_matrix` needs `controls`"),
    (lambda: hjpde.ControlAffine(drift, controls=BOX), "`controls` needs `control_matrix`"),
    (lambda: hjpde.ControlAffine(drift, disturbance_matrix=G), "`disturbance_matrix` needs `disturbances`"),
    (lambda: hjpde.ControlAffine(drift, np.ones((3, 4)), controls=BOX), "`control_matrix` must have 2 columns"),
    (lambda: hjpde.ControlAffine(drift, np.ones(3), controls=BOX), "`control_matrix` must have 2 axes"),
    (lambda: hjpde.ControlAffine(np.ones(2), G, controls=BOX), "`drift` has d = 2, `control_matrix` has d = 3"),
    (lambda: hjpde.ControlAffine(np.ones(2), dim=3), "`dim` has d = 3, `drift` has d = 2"),
    (lambda: hjpde.ControlAffine([]), "`drift` must not be empty"),
    (lambda: hjpde.ControlAffine([np.nan]), "`drift` must be finite"),
    (lambda: hjpde.ControlAffine(drift, dim=0), "`dim` must be a positive integer"),
    (lambda: hjpde.ControlAffine(drift)(0.0, jnp.ones(2), jnp.ones(2)), r"`drift` must have shape \(2,\)"),
    (
        lambda: hjpde.ControlAffine(drift, lambda t, x: x, controls=BOX)(0.0, jnp.ones(3), jnp.ones(3)),
        r"`control_matrix` must have shape \(3, 2\) at a point of shape \(3,\), got \(3,\)",
    ),
]


@pytest.mark.parametrize("build, message", WRONG)
def test_refuses(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_errors_where_no_annotation_is_checked():
    program = """
        import hjpde, jax.numpy as jnp, numpy as np

        box, f = hjpde.Box([-1.0], [1.0]), np.ones(2)
        wrong = [
            (lambda: hjpde.ControlAffine(f, control="least"), '`control` must be "min" or "max", got '),
            (lambda: hjpde.ControlAffine(f, disturbance="worst"), '`disturbance` must be "min" or "max"'),
            (lambda: hjpde.ControlAffine(f, running_cost=1.0), "`running_cost` must be a function"),
            (lambda: hjpde.ControlAffine(f, np.ones((2, 1)), controls=(-1, 1)), "`controls` must be a `hjpde.Box`"),
            (lambda: hjpde.ControlAffine(f, dim=2.0), "`dim` must be a positive integer"),
            (lambda: hjpde.TimeReversed(1, 1.0), "`hamiltonian` must be a member of `hjpde.hamiltonians`, got int"),
            (lambda: hjpde.Ball(1.0, True), "`dim` must be a positive integer, got True"),
            (lambda: hjpde.rollout(hjpde.Eikonal(), None, f, 1.0), "`hamiltonian` must be a `hjpde.ControlAffine`"),
            (lambda: hjpde.rollout(hjpde.ControlAffine(f), None, f, 1.0, disturbance="all"), "`disturbance` must be"),
            (lambda: hjpde.rollout(hjpde.ControlAffine(f), None, f, 1.0, n_steps=1.5), "`n_steps` must be a positive"),
        ]
        for build, message in wrong:
            try:
                build()
            except ValueError as error:
                assert message in str(error), (message, str(error))
            else:
                raise AssertionError(message)
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
