"""The readout of a network, recovered as the initial datum of the network's own Hamiltonian."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hjpde
from hjpde import architectures, solvers

DOUBLE = jnp.result_type(float) == jnp.float64


class Affine(eqx.Module):
    weights: jax.Array
    offset: jax.Array

    def __call__(self, z):
        return z @ self.weights + self.offset


@pytest.mark.slow
@pytest.mark.skipif(not DOUBLE, reason="the readout is recovered to the tolerance of the flow")
def test_the_readout_comes_back_from_values_of_the_flow():
    network = architectures.ResidualNetwork(3, 1, width=4, depth=2, key=jax.random.key(0))
    flow = hjpde.as_hamiltonian(network)
    X = jax.random.normal(jax.random.key(1), (40, 3))
    starts = jax.vmap(network.start)(X)
    values = eqx.filter_jit(jax.vmap(lambda x: flow.g(flow.exact(x))))(X)
    found = hjpde.fit(
        hjpde.Samples(jnp.full(40, flow.T(X[0])), starts, values),
        initial_data=Affine(jnp.zeros(4), jnp.zeros(())),
        hamiltonian=flow,
        solver=solvers.Characteristics(jumps=[0.5]),
        regularisation=1e-10,
    )
    readout = found.problem.initial_data
    assert isinstance(readout, Affine)
    assert network.readout.bias is not None
    np.testing.assert_allclose(readout.weights, network.readout.weight[0], atol=1e-5)
    np.testing.assert_allclose(readout.offset, network.readout.bias[0], atol=1e-5)


def test_transport_is_traced_back():
    """Rotation at a rate that changes in time, by angle: the value is the datum's where the path began."""

    def velocity(t, x):
        return (1 + t) * jnp.stack([-x[1], x[0]])

    def datum(x):
        return jnp.sin(x[0]) + x[1] ** 2

    solution = hjpde.solve(hjpde.InitialValueProblem(datum, hjpde.Transport(velocity)), 0.8, solvers.Characteristics())
    x, angle = jnp.asarray([0.4, -0.7]), 0.8 + 0.8**2 / 2
    back = jnp.asarray([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    size = 1e-8 if DOUBLE else 1e-4
    np.testing.assert_allclose(solution(0.8, x), datum(back @ x), atol=size)
    np.testing.assert_allclose(solution.gradient(0.8, x), back.T @ jax.grad(datum)(back @ x), atol=10 * size)
