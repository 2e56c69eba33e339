"""Finite differences under jax's transformations: compiled, batched, and differentiated in both modes."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hjpde
from hjpde import solvers

EPS = float(jnp.finfo(jnp.result_type(float)).eps)
double_only = pytest.mark.skipif(EPS > 1e-10, reason="derivatives are compared in double precision")

RING = hjpde.Domain([0.0], [2 * np.pi], periodic=True)
NODES = solvers.Grid.over(RING, 24)
WEIGHTS = np.random.default_rng(0).normal(size=24)
SMOOTH, KINKED = 0.2, 0.8


def final(parameters, t=SMOOTH, flux="godunov", order=5):
    """The values at the end: of the amplitude, the Hamiltonian's coefficient and a viscosity, which may be none."""
    amplitude, coefficient, *viscosity = parameters
    problem = hjpde.InitialValueProblem(
        lambda x: amplitude * jnp.cos(x[0]) + 0.3 * jnp.sin(2 * x[0]),
        hjpde.Quadratic(jnp.reshape(coefficient, (1, 1))),
        viscosity[0] if viscosity else 0.0,
        domain=RING,
    )
    solver = solvers.FiniteDifference(NODES, order, flux=flux, max_steps=64)
    return hjpde.solve(problem, t, solver=solver).evaluator.us[-1]


def weighted(parameters, **options):
    return jnp.asarray(WEIGHTS, float) @ final(parameters, **options)


@pytest.mark.slow
def test_compiled_and_batched():
    parameters = jnp.asarray([[1.0, 0.5], [0.6, 0.7], [1.2, 0.3]])
    one = np.stack([final(tuple(row)) for row in parameters])
    size = 100 * EPS
    np.testing.assert_allclose(jax.jit(final)(parameters[1]), one[1], atol=size)
    np.testing.assert_allclose(jax.jit(jax.vmap(final))(parameters), one, atol=size)


@double_only
@pytest.mark.slow
def test_a_batch_of_gradients():
    parameters = jnp.asarray([[1.0, 0.5], [0.6, 0.9]])
    batch = jax.jit(jax.vmap(jax.grad(weighted)))(parameters)
    for row, gradient in zip(parameters, batch, strict=True):
        np.testing.assert_allclose(gradient, jax.jit(jax.grad(weighted))(row), rtol=1e-11)


@double_only
@pytest.mark.parametrize(
    "options, point, bound",
    [
        pytest.param({"t": SMOOTH}, [1.0, 0.5], 1e-6, marks=pytest.mark.slow, id="godunov"),
        pytest.param({"t": SMOOTH, "flux": "local"}, [1.0, 0.5, 0.1], 1e-6, marks=pytest.mark.slow, id="local-viscous"),
        pytest.param({"t": SMOOTH, "flux": "global"}, [1.0, 0.5], 1e-5, marks=pytest.mark.slow, id="global"),
        pytest.param({"t": KINKED, "flux": "local"}, [1.0, 0.5], None, marks=pytest.mark.slow, id="kinked"),
    ],
)
def test_gradients(options, point, bound):
    """To datum, Hamiltonian and viscosity: reverse against forward mode, and central differences where it is smooth."""
    point = jnp.asarray(point)
    direction = jnp.asarray([0.6, -0.5, 0.3][: point.size])
    loss = jax.jit(functools.partial(weighted, **options))
    gradient = jax.jit(jax.grad(functools.partial(weighted, **options)))(point)
    _, forward = jax.jit(lambda p, d: jax.jvp(functools.partial(weighted, **options), (p,), (d,)))(point, direction)
    np.testing.assert_allclose(gradient @ direction, forward, rtol=1e-12)
    if bound is not None:
        steps = [1e-3, 1e-4, 1e-5, 1e-6]
        differences = [(loss(point + h * direction) - loss(point - h * direction)) / (2 * h) for h in steps]
        assert min(abs(difference / forward - 1) for difference in differences) <= bound


@double_only
@pytest.mark.slow
@pytest.mark.parametrize("viscosity", [0.1, lambda t, x: jnp.full((1, 1), 0.1, x.dtype)], ids=["exact", "stages"])
def test_the_gradient_to_a_boundary_value(viscosity):
    @jax.jit
    def middle(value):
        domain = hjpde.Domain([0.0], [1.0], boundary=[(hjpde.Dirichlet(lambda t, x: value * t), hjpde.Neumann())])
        problem = hjpde.InitialValueProblem(
            lambda x: jnp.zeros_like(x[0]), hjpde.MomentumFunction(lambda p: p @ p / 2), viscosity, domain=domain
        )
        solver = solvers.FiniteDifference(solvers.Grid.over(domain, 9), 3, max_steps=36)
        return hjpde.solve(problem, 1.0, solver=solver).evaluator.us[-1, 4]

    slope, h = jax.grad(middle)(1.0), 1e-5
    np.testing.assert_allclose(slope, (middle(1.0 + h) - middle(1.0 - h)) / (2 * h), rtol=1e-5)
    assert 0 < float(slope) < 1


@double_only
def test_the_gradient_is_that_of_plain_steps():
    """50 steps on random data with kinks, without checkpoints."""
    grid = solvers.Grid([0.0], [1.0], (24,), True)
    problem = hjpde.InitialValueProblem(lambda x: jnp.sum(x), hjpde.Quadratic())
    system = solvers.FiniteDifference(grid)._system(problem, grid.sample(problem.initial_data))
    random = np.random.default_rng(1)
    v, weights = (jnp.asarray(random.normal(size=grid.shape)) for _ in range(2))
    zero, end = jnp.asarray(0.0), jnp.asarray(100.0)

    def after(v, plain):
        loop = system.tabulated().loop(end)
        state = loop.start(zero, v, end)
        if plain:
            state = jax.lax.scan(lambda state, _: (loop._step(state, end), None), state, None, length=50)[0]
        else:
            state = loop.advance(state, end, 50)
        return jnp.sum(weights * state.y), state.steps

    gradients = []
    for plain in (False, True):
        (_, steps), gradient = eqx.filter_jit(jax.value_and_grad(functools.partial(after, plain=plain), has_aux=True))(
            v
        )
        assert int(steps) == 50
        gradients.append(gradient)
    assert float(jnp.abs(gradients[1]).max()) > 0.1
    np.testing.assert_allclose(gradients[0], gradients[1], atol=1e-12 * float(jnp.abs(gradients[1]).max()))
