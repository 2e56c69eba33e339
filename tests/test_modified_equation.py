"""What the steps of a network follow to second order, and what Hamiltonian they nearly conserve."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _fields import SmoothField, bent, slope

import hjpde
from hjpde import architectures
from hjpde._compilation import quick_jit

DOUBLE = jnp.result_type(float) == jnp.float64
needs_float64 = pytest.mark.skipif(not DOUBLE, reason="orders of convergence")
FIELDS = {"moving": {}, "constant": {"moving": False}, "pre-norm": {"norm": True}}
NAMES = ["moving", *(pytest.param(name, marks=pytest.mark.slow) for name in ("constant", "pre-norm"))]


def point(d=4, seed=1):
    return jnp.asarray(np.random.default_rng(seed).normal(size=d))


def field_flow(depth=8, **options):
    return hjpde.as_hamiltonian(architectures.FieldNetwork(SmoothField(**options), depth), bent)


@needs_float64
@pytest.mark.parametrize("name", NAMES)
def test_steps_follow_the_modified_flow_to_second_order(name):
    flow, x = field_flow(**FIELDS[name]), point()

    @at_once
    def modified_end(x, h):
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda s, z, h: architectures.modified_velocity(flow.architecture, s, z, h, None)),
            diffrax.Dopri8(),
            0.0,
            1.0,
            None,
            x,
            args=h,
            stepsize_controller=diffrax.PIDController(rtol=1e-11, atol=1e-12),
        )
        assert solution.ys is not None
        return solution.ys[-1]

    refined = at_once(lambda x, n: architectures.refined_costate(flow, x, n, 16).states[-1])
    gaps, plain = [], []
    exact = at_once(lambda x: flow.exact(x, 1e-12))(x)
    for n in (1, 2, 4, 8, 16):
        end = refined(x, jnp.asarray(n))
        gaps.append(float(jnp.linalg.norm(end - modified_end(x, jnp.asarray(1 / (8 * n))))))
        plain.append(float(jnp.linalg.norm(end - exact)))
    assert slope(gaps) >= 1.8
    assert slope(plain) == pytest.approx(1, abs=0.15)
    assert gaps[-1] < plain[-1] / 10


def at_once(function):
    return quick_jit(function, 0)


def test_the_modified_velocity_of_euler_steps_written_out():
    r"""$F - \frac h2 (F_s + DF\,F)$, with the derivatives by hand."""
    flow = field_flow()
    field = SmoothField()
    A, b, C = (np.asarray(leaf) for leaf in (field.A, field.b, field.C))
    s, z, h = 0.3, np.asarray(point()), 0.05
    A_s, C_s = A[0] + np.sin(2 * s) * A[1], C[0] + s * C[1]
    hidden = np.tanh(A_s @ z + b)
    F = C_s @ hidden
    J = C_s @ ((1 - hidden**2)[:, None] * A_s)
    F_s = C[1] @ hidden + C_s @ ((1 - hidden**2) * (2 * np.cos(2 * s) * A[1] @ z))
    found = architectures.modified_velocity(flow.architecture, s, jnp.asarray(z), h, None)
    tolerance = 1e-12 if DOUBLE else 2e-5
    np.testing.assert_allclose(found, F - h / 2 * (F_s + J @ F), rtol=tolerance, atol=tolerance)


@needs_float64
def test_the_drift_that_a_step_adds_is_measured_against_the_flow():
    r"""$-\frac h2 (F_s + DF\,F)$ to the next order."""
    flow, z, gaps, sizes = field_flow(), point(), [], []
    network = flow.architecture

    @at_once
    def both(z, h):
        modified = architectures.modified_velocity(network, 0.3, z, h, None) - network.velocity(0.3, z, None)
        return architectures.drift_correction(network, 0.3, z, h, None), modified

    for h in (0.04, 0.02, 0.01):
        drift, leading = both(z, jnp.asarray(h))
        gaps.append(float(jnp.linalg.norm(drift - leading)))
        sizes.append(float(jnp.linalg.norm(drift)))
    assert slope(sizes) == pytest.approx(1, abs=0.1)
    assert slope(gaps) == pytest.approx(2, abs=0.1)


@needs_float64
def test_the_hamiltonian_drifts_less_with_every_term():
    """Orders 1, 2 and 3 along the network, from depth 8 to 128; the flow itself conserves it."""
    flow, x = field_flow(moving=False), point()
    spreads = {terms: [] for terms in (0, 1, 2)}

    def along(x, n):
        path = architectures.discrete_costate(flow, x, n)
        return [architectures.hamiltonian_along(flow, path, x, terms) for terms in (0, 1, 2)]

    for n in (1, 2, 4, 8, 16):
        for terms, values in enumerate(quick_jit(along, 0)(x, n)):
            assert values.shape == (8 * n + 1,)
            spreads[terms].append(float(jnp.max(values) - jnp.min(values)))
    for terms, found in spreads.items():
        assert slope(found) == pytest.approx(1 + terms, abs=0.15)
    path = at_once(lambda x: architectures.continuous_costate(flow, x, 1e-12))(x)
    kept = at_once(jax.vmap(lambda z, p: flow.H(0.0, z, p)))(path.states, path.costates)
    np.testing.assert_allclose(kept, kept[0], rtol=1e-9, atol=1e-10)


def test_the_hamiltonian_of_a_linear_network_to_all_three_terms():
    r"""For $F = Mz$ it is $p \cdot \log(I + hM) z / h = p \cdot (M - \frac h2 M^2 + \frac{h^2}3 M^3 - \ldots) z$."""
    M = np.random.default_rng(3).normal(size=(4, 4))
    flow = hjpde.as_hamiltonian(architectures.FieldNetwork(Linear(M), 4), bent)
    z, p, h = point(), point(seed=2), 0.1
    series = [M, -h / 2 * M @ M, h**2 / 3 * M @ M @ M]
    for terms in (0, 1, 2):
        expected = np.asarray(p) @ sum(series[: terms + 1]) @ np.asarray(z)
        found = architectures.euler_hamiltonian(flow, z, p, h, terms)
        np.testing.assert_allclose(found, expected, rtol=1e-12 if DOUBLE else 1e-4)
    with pytest.raises(ValueError, match="`terms` must be 0, 1 or 2, got 3"):
        architectures.euler_hamiltonian(flow, z, p, h, 3)


class Linear:
    """A velocity that is a matrix."""

    def __init__(self, M):
        self.M = jnp.asarray(M)

    def __call__(self, s, z):
        return self.M @ z
