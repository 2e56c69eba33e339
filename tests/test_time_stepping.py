"""Time stepping: orders by diffrax, the controller, heat flows in one direction, stability of super-time-stepping."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hjpde.solvers.stepping._cfl import CFLController
from hjpde.solvers.stepping._strong_stability import IntegratingFactorRungeKutta, SSPRungeKutta
from hjpde.solvers.stepping._super_time_stepping import Strang, runge_kutta_legendre, stable_interval

DOUBLE = jnp.result_type(float) == jnp.float64
double_only = pytest.mark.skipif(not DOUBLE, reason="orders are measured in double precision")
ORDERS = (1, 2, 3)
COUNTS = (20, 40, 80)


def logistic(t, y, args):
    del args
    return y * (1 - y) * (1 + jnp.sin(3 * t))


def logistic_exact(t, y):
    growth = jnp.exp(t + (1 - jnp.cos(3 * t)) / 3)
    return y * growth / (1 - y + y * growth)


def observed(errors):
    return -np.polyfit(np.log(COUNTS), np.log(errors), 1)[0]


def solved(term, solver, controller, dt, y, end=1.0):
    solution = diffrax.diffeqsolve(
        term, solver, 0.0, end, dt, y, stepsize_controller=controller, saveat=diffrax.SaveAt(t1=True), max_steps=2000
    )
    assert solution.ys is not None
    return solution.ys[0]


def stepped(term, solver, n, y):
    """From 0 to 1 in `n` equal steps."""

    def step(k, y):
        return solver.step(term, k / n, (k + 1) / n, y, None, None, False)[0]

    return jax.lax.fori_loop(0, n, step, y)


@double_only
@pytest.mark.parametrize("order", ORDERS)
def test_orders_with_constant_steps_and_with_the_controller(order):
    y = jnp.asarray([0.1, 0.3])
    term, solver = diffrax.ODETerm(logistic), SSPRungeKutta(order)
    exact = logistic_exact(1.0, y)

    @jax.jit
    def errors(dt):
        fixed = solved(term, solver, diffrax.ConstantStepSize(), dt, y)
        controller = CFLController(lambda t, y: 1 + y[0] + t, jnp.asarray(2.0) * dt, jnp.asarray(1.0))
        return jnp.stack(
            [jnp.abs(fixed - exact).max(), jnp.abs(solved(term, solver, controller, None, y) - exact).max()]
        )

    measured = np.asarray([errors(jnp.asarray(1.0) / n) for n in COUNTS])
    for column in measured.T:
        assert order - 0.15 <= observed(column) <= order + 0.4, measured


def test_the_controller_takes_the_stable_step():
    controller = CFLController(lambda t, y: jnp.max(jnp.abs(y)), jnp.asarray(0.5), jnp.asarray(0.25))
    assert float(controller.step(jnp.asarray(0.0), jnp.asarray([4.0, -8.0]))) == 0.0625
    assert float(controller.step(jnp.asarray(0.0), jnp.asarray([0.0, 0.0]))) == 0.25
    slope = jax.grad(lambda y: controller.step(jnp.asarray(0.0), y))
    np.testing.assert_allclose(slope(jnp.asarray([4.0, -8.0])), [0, 0.5 / 64])
    assert not np.any(np.asarray(slope(jnp.asarray([1e-9, 0.0]))))


RATES = np.asarray([0.5, 50.0, 4000.0])


@double_only
@pytest.mark.parametrize("order", ORDERS)
def test_integrating_factors(order):
    """Against the exact solution of y' = -k y + k sin t + cos t: y = sin t + e^{-kt} y(0), whose k may be stiff."""
    spans = []
    k = jnp.asarray(RATES[:1])

    def propagate(s, v):
        spans.append(s)
        return jnp.exp(-k * s) * v

    term = diffrax.ODETerm(lambda t, y, args: k * jnp.sin(t) + jnp.cos(t))
    solver = IntegratingFactorRungeKutta(propagate, order)
    y = jnp.asarray([1.0])
    exact = jnp.sin(1.0) + jnp.exp(-k) * y
    run = jax.jit(lambda n: stepped(term, solver, n, y))
    measured = [float(jnp.abs(run(n) - exact).max()) for n in COUNTS]
    assert order - 0.15 <= observed(measured) <= order + 0.4, measured
    # Only forwards, and one whole step in all.
    spans.clear()
    solver.step(term, jnp.asarray(0.0), jnp.asarray(0.1), y, None, None, False)
    assert spans
    assert all(0 < float(s) <= 0.1 + 1e-15 for s in spans)


@pytest.mark.parametrize("order", ORDERS)
def test_without_a_source_the_linear_part_is_exact(order):
    k = jnp.asarray(RATES)
    solver = IntegratingFactorRungeKutta(lambda s, v: jnp.exp(-k * s) * v, order)
    term = diffrax.ODETerm(lambda t, y, args: jnp.zeros_like(y))
    y1 = solver.step(term, jnp.asarray(0.0), jnp.asarray(0.5), jnp.ones(3), None, None, False)[0]
    np.testing.assert_allclose(y1, np.exp(-RATES / 2), rtol=1e2 * float(jnp.finfo(y1.dtype).eps), atol=1e-30)


@double_only
def test_runge_kutta_legendre_has_order_2():
    k = jnp.asarray([0.3, 1.0, 2.0])

    @jax.jit
    def run(n):
        return jax.lax.fori_loop(0, n, lambda _, y: runge_kutta_legendre(lambda y: -k * y, y, 1.0 / n, 6), jnp.ones(3))

    measured = [float(jnp.abs(run(n) - jnp.exp(-k)).max()) for n in COUNTS]
    assert 1.9 <= observed(measured) <= 2.1, measured


@pytest.mark.parametrize("stages", [3, 5, 16])
def test_runge_kutta_legendre_damps_what_its_interval_holds(stages):
    """Forward Euler is stable up to step * k = 2."""
    k = jnp.linspace(0, 2 * stable_interval(stages), 400)
    grown = jnp.abs(runge_kutta_legendre(lambda y: -k * y, jnp.ones(400), jnp.asarray(1.0), stages))
    assert float(grown.max()) <= 1 + 1e3 * float(jnp.finfo(k.dtype).eps)
    beyond = runge_kutta_legendre(lambda y: -1.2 * k[-1] * y, jnp.ones(()), jnp.asarray(1.0), stages)
    assert abs(float(beyond)) > 1


@double_only
def test_strang_splitting_has_order_2():
    """y' = -y^2 - y from 1, halves that do not commute: y = 1/(2 e^t - 1)."""
    solver = Strang(SSPRungeKutta(3), lambda t, y: -y, 5)
    term = diffrax.ODETerm(lambda t, y, args: -(y**2))
    run = jax.jit(lambda n: stepped(term, solver, n, jnp.ones(1)))
    measured = [float(jnp.abs(run(n) - 1 / (2 * jnp.e - 1)).max()) for n in COUNTS]
    assert 1.85 <= observed(measured) <= 2.2, measured
