"""Reachable sets and tubes: obstacles, games, and a peer's values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hjpde
from hjpde import problems, solvers

EPS = float(jnp.finfo(jnp.result_type(float)).eps)
double_only = pytest.mark.skipif(EPS > 1e-10, reason="values are compared in double precision")

RING = hjpde.Domain([0.0], [2 * np.pi], periodic=True)


def waves(x):
    return jnp.cos(x[0]) + 0.5 * jnp.sin(3 * x[0])


def solve(constraint, t: float | jax.Array = 0.8, n=48, hamiltonian=None, order=5, **options):
    problem = hjpde.InitialValueProblem(waves, hamiltonian or hjpde.Eikonal(), domain=RING, constraint=constraint)
    solver = solvers.FiniteDifference(solvers.Grid.over(RING, n), order, **options)
    return hjpde.solve(problem, t, solver=solver)


@pytest.mark.slow
@pytest.mark.parametrize("order", [1, 5])
def test_obstacles_are_respected(order):
    def floor(t, x):
        return -0.5 + 0.3 * jnp.sin(x[0]) + 0.5 * t

    solution = solve(hjpde.Constraint(lower=floor, upper=0.9), jnp.asarray([0.2, 0.5, 0.8]), order=order)
    grid, touched = solution.evaluator.grid, 0
    for t, u in zip(solution.evaluator.ts, solution.evaluator.us, strict=True):
        below = grid.sample(lambda x, t=t: floor(t, x))
        assert float((u - below).min()) >= -8 * EPS
        assert float(u.max()) <= 0.9
        touched += int(jnp.sum(u == below))
    # The datum is projected too, and the obstacle is met: without it the solution would be lower.
    assert touched > 5
    assert float(solve(None, order=order).evaluator.us[-1].min()) < float(solution.evaluator.us[-1].min()) - 0.1


@pytest.mark.parametrize("monotone", ["decreasing", "increasing"])
def test_tubes_are_nested_in_time(monotone):
    """Also where the set itself moves on: transport of a hump."""
    move = hjpde.Transport([1.0])
    ts = jnp.asarray([0.2, 0.5, 0.8])
    us = solve(hjpde.Constraint(monotone=monotone), ts, hamiltonian=move, order=1).evaluator.us
    sign = 1 if monotone == "decreasing" else -1
    assert np.all(sign * np.diff(us, axis=0) <= 8 * EPS)
    # The scheme is monotone and takes the same steps: on the same side of the free solution, to rounding.
    free = solve(None, ts, hamiltonian=move, order=1).evaluator.us
    assert np.all(sign * (us - free) <= 100 * EPS)
    assert float(jnp.abs(us[-1] - free[-1]).max()) > 0.5


@pytest.mark.slow
@double_only
def test_a_tube_is_the_running_minimum():
    """The sign of the rate against an obstacle at the target: the same set, with an error of the scheme's order."""
    move = hjpde.Transport([1.0])

    def difference(n):
        tube = solve(hjpde.Constraint(monotone="decreasing"), n=n, hamiltonian=move)
        minimum = solve(hjpde.Constraint(upper=lambda t, x: waves(x)), n=n, hamiltonian=move)
        grid = tube.evaluator.grid
        # Exactly: the least value that passes by within the time.
        s = jnp.linspace(0, 0.8, 801)
        exact = jax.jit(lambda: grid.sample(lambda x: jnp.min(jax.vmap(lambda s: waves(x - s))(s))))()
        return [float(jnp.mean(jnp.abs(other.evaluator.us[-1] - exact))) for other in (tube, minimum)]

    coarse, fine = np.asarray(difference(32)), np.asarray(difference(64))
    assert np.all(fine <= 2e-2)
    assert np.all(np.log2(coarse / fine) >= 0.8)


@pytest.mark.slow
@double_only
def test_the_double_integrator_reaches_the_origin_in_the_least_time():
    case = problems.DoubleIntegrator()
    domain = case.problem.domain
    grid = solvers.Grid.over(domain, (41, 41))  # pyright: ignore
    solution = hjpde.solve(case.problem, 1.0, solver=solvers.FiniteDifference(grid, 5))
    points = grid.points.reshape(-1, 2)
    # Away from the sides, whose values are extrapolated.
    inner = np.all(np.abs(points) <= [2.0, 1.5], axis=1)
    exact = jax.jit(jax.vmap(lambda x: case(1.0, x)))(points[inner])
    error = np.abs(solution.evaluator.us[-1].reshape(-1)[inner] - exact)
    # The kinks lie within a cell, of size 0.2 by 0.15.
    assert error.mean() <= 0.02
    assert error.max() <= 0.2
    # Even under x to -x.
    u = solution.evaluator.us[-1]
    np.testing.assert_allclose(u, u[::-1, ::-1], atol=1e-11)


@pytest.mark.slow
@double_only
def test_avoiding_an_obstacle_costs_time():
    """Reach-avoid: where the car must not go, the value stays high."""
    case = problems.DoubleIntegrator()
    grid = solvers.Grid.over(case.problem.domain, (21, 21))  # pyright: ignore

    def wall(t, x):
        return 2.5 - 4 * jnp.abs(x[0] - 1.5)

    free = hjpde.Constraint(monotone="decreasing")
    fenced = hjpde.Constraint(lower=wall, monotone="decreasing")
    values = []
    for constraint in (free, fenced):
        problem = hjpde.InitialValueProblem(
            case.problem.initial_data, case.problem.hamiltonian, domain=case.problem.domain, constraint=constraint
        )
        values.append(hjpde.solve(problem, 1.0, solver=solvers.FiniteDifference(grid, 1)).evaluator.us[-1])
    assert float((values[1] - values[0]).min()) >= -1e-12
    assert float((values[1] - grid.sample(lambda x: wall(0.0, x))).min()) >= -1e-12
    assert float((values[1] - values[0]).max()) > 0.05


def air3d(shape, order, t):
    problem = problems.Air3d().problem
    grid = solvers.Grid.over(problem.domain, shape)  # pyright: ignore
    return hjpde.solve(problem, t, solvers.FiniteDifference(grid, order, flux="global"))


@double_only
@pytest.mark.parametrize(
    "order, accuracy, room", [(1, "low", 1e-12), pytest.param(5, "very_high", 1e-9, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("shape, t", [((15, 12, 14), 0.5), pytest.param((51, 40, 50), 2.8, marks=pytest.mark.slow)])
def test_the_tube_of_a_game_is_the_peers(order, accuracy, room, shape, t):
    hj = pytest.importorskip("hj_reachability")
    u = air3d(shape, order, t).evaluator.us[-1]
    box = hj.sets.Box(np.array([-6.0, -10.0, 0.0]), np.array([20.0, 10.0, 2 * np.pi]))
    grid = hj.Grid.from_lattice_parameters_and_boundary_conditions(box, shape, periodic_dims=2)
    target = jnp.linalg.norm(grid.states[..., :2], axis=-1) - 5
    settings = hj.SolverSettings.with_accuracy(accuracy, hamiltonian_postprocessor=hj.solver.backwards_reachable_tube)
    with jax.numpy_rank_promotion("allow"):
        theirs = hj.step(settings, hj.systems.Air3d(), grid, 0.0, target, -t, progress_bar=False)
    np.testing.assert_allclose(u, theirs, rtol=0, atol=room)


def test_the_tube_lies_below_its_target_and_is_symmetric():
    solution = air3d((15, 13, 14), 1, 0.5)
    target, tube = solution.evaluator.us
    assert np.all(np.asarray(tube) <= np.asarray(target))
    # Mirrored in y, with the relative heading reversed, the game is the same.
    mirrored = jnp.roll(jnp.flip(tube, (1, 2)), 1, axis=2)
    np.testing.assert_allclose(tube, mirrored, atol=1e3 * float(jnp.finfo(tube.dtype).eps))


@pytest.mark.parametrize(
    "options, name", [({}, "Constraint"), ({"monotone": "falling"}, "monotone"), ({"lower": np.nan}, "lower")]
)
def test_constraints_out_of_range_are_refused(options, name):
    with pytest.raises(ValueError, match=name):
        hjpde.Constraint(**options)
