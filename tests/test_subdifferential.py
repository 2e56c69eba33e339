"""What the search for characteristics stands on: subdifferentials, branches of minima, and trials of convexity."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _helpers import random_spd

import hjpde
from hjpde.solvers.saddle._branches import branches_of_minimum
from hjpde.solvers.saddle._convex_parts import datum_parts, momentum_parts
from hjpde.solvers.saddle._starting_points import seems_convex, seems_convex_by_coordinates, seems_separable
from hjpde.solvers.saddle._subdifferential import SeparableGraph

RNG = np.random.default_rng(0)
A, P = random_spd(RNG, 3), random_spd(RNG, 3)
X = jnp.asarray(np.concatenate([RNG.normal(size=(40, 3)), 0.05 * RNG.normal(size=(20, 3))]))
STEP = jnp.asarray(0.4)


def plain(y):
    return jnp.sum(jnp.abs(y - 0.3)) + jnp.sum(y**4) / 4


def graph_of_datum(datum):
    return datum, datum_parts(datum, datum, X.dtype).graph(STEP)


def graph_of_hamiltonian(H):
    function = lambda p: H(0.0, p, p)  # noqa: E731
    return function, momentum_parts(H, function, 3, X.dtype).graph(STEP)


GRAPHS = {
    "separable": (plain, SeparableGraph(function=plain, step=STEP)),
    "1": graph_of_datum(hjpde.SumOfData(hjpde.Norm(1, 0.5), hjpde.QuadraticForm(P))),
    "2": graph_of_datum(hjpde.SumOfData(hjpde.Norm(2, 0.5), hjpde.QuadraticForm(P))),
    "inf": graph_of_datum(hjpde.Norm(np.inf)),
    "eikonal": graph_of_hamiltonian(hjpde.Eikonal(0.7)),
    "power": graph_of_hamiltonian(hjpde.Power(1.5)),
    "radial": graph_of_hamiltonian(
        hjpde.SumOfHamiltonians(hjpde.Quadratic(A), hjpde.Eikonal(0.5), hjpde.Quadratic(), hjpde.Power(3.0))
    ),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_elements_are_points_and_their_subgradients(name):
    f, graph = GRAPHS[name]
    ways, h = jnp.asarray(np.random.default_rng(1).normal(size=X.shape)), 1e-6

    @jax.jit
    def probe(X):
        elements = jax.vmap(graph.element)
        (Y, S), slopes = jax.jvp(elements, (X,), (ways,))
        ahead = jax.lax.map(elements, jnp.stack([X + h * ways, X - h * ways]))
        return Y, S, jax.vmap(f)(Y), jax.vmap(graph.lift)(Y, S), slopes, ahead

    Y, S, values, lifted, slopes, ahead = probe(X)
    # f(z) >= f(y) + s.(z - y) for all pairs.
    excess = values[None, :] - values[:, None] - S @ Y.T + jnp.sum(S * Y, axis=1)[:, None]
    assert np.min(excess) >= -1e-13
    np.testing.assert_allclose(lifted, X, atol=1e-13)
    for slope, (up, down) in zip(slopes, ahead, strict=True):
        np.testing.assert_allclose(slope, (up - down) / (2 * h), rtol=1e-5, atol=1e-6)


def test_branches_of_minima():
    x, rows = jnp.asarray([0.3, -0.2]), jnp.asarray([[1.0, 2.0], [0.5, -1.0], [0.0, 0.3]])
    cases = [
        (lambda y: jnp.min(rows @ y), lambda y: rows @ y),
        (lambda y: jnp.minimum(y @ y, y[0]) + y[1], lambda y: jnp.stack([y @ y + y[1], y[0] + y[1]])),
        (lambda y: 1.0 + jnp.min(rows @ y), lambda y: 1.0 + rows @ y),
    ]
    for f, expected in cases:
        branches = branches_of_minimum(f, x)
        assert branches is not None
        np.testing.assert_allclose(branches(x), expected(x), rtol=1e-15)
        np.testing.assert_allclose(jax.jit(branches)(x).min(), f(x), rtol=1e-15)
    assert branches_of_minimum(lambda y: y @ y, x) is None
    assert branches_of_minimum(lambda y: -jnp.min(rows @ y), x) is None
    assert branches_of_minimum(lambda y: 2.0 * jnp.max(rows @ y), x) is None


def test_sums_over_the_coordinates_are_told_apart():
    x, reach = jnp.zeros(5), jnp.asarray(2.0)
    assert seems_separable(lambda y: jnp.sum(jnp.abs(y)) + jnp.sum(jnp.cos(y)), x, reach)
    assert seems_separable(lambda y: y @ jnp.diag(jnp.arange(5.0)) @ y, x, reach)
    for i in range(5):
        for k in range(i):
            # No second derivative tells of the kink of |y_i - y_k|.
            assert not seems_separable(lambda y, i=i, k=k: y @ y + 1e-3 * jnp.abs(y[i] - y[k]), x, reach)


def test_what_is_not_convex_shows_itself():
    x, reach = jnp.zeros(3), jnp.asarray(1.0)
    assert seems_convex(lambda y: jnp.linalg.norm(y - 1) + y @ y, x, reach)
    assert not seems_convex(lambda y: jnp.minimum(y @ y, (y - 1) @ (y - 1)), x, reach)
    assert seems_convex_by_coordinates(lambda y: jnp.sum(jnp.abs(y)), x, reach)
    assert not seems_convex_by_coordinates(lambda y: y @ y - 3 * jnp.cos(y[2]), x, reach)


def test_sums_of_data_and_of_hamiltonians():
    datum = hjpde.SumOfData(hjpde.SumOfData(hjpde.Norm(1), hjpde.Norm(2)), hjpde.QuadraticForm(P))
    assert len(datum.parts) == 3
    assert datum.dim == 3
    np.testing.assert_allclose(datum(X[0]), sum(part(X[0]) for part in datum.parts))
    H = hjpde.SumOfHamiltonians(hjpde.SumOfHamiltonians(hjpde.Quadratic(A)), hjpde.Eikonal())
    assert (H.dim, H.curvature) == (3, "convex")
    np.testing.assert_allclose(H(0.0, X[0], X[0]), X[0] @ A @ X[0] + jnp.linalg.norm(X[0]))
    linear, concave = hjpde.MomentumFunction(jnp.sum, "linear"), hjpde.MomentumFunction(lambda p: -p @ p, "concave")
    for parts, curvature in [
        ((linear, linear), "linear"),
        ((linear, concave), "concave"),
        ((linear, hjpde.Quadratic()), "convex"),
        ((concave, hjpde.Quadratic()), "unknown"),
        ((linear, hjpde.MomentumFunction(jnp.sum)), "unknown"),
    ]:
        assert hjpde.SumOfHamiltonians(*parts).curvature == curvature
    for make in (hjpde.SumOfData, hjpde.SumOfHamiltonians):
        with pytest.raises(ValueError, match="`parts` must hold at least one"):
            make()
    with pytest.raises(ValueError, match="`parts` must have one dimension, got"):
        hjpde.SumOfData(hjpde.QuadraticForm(P), hjpde.QuadraticForm(np.eye(2)))
    with pytest.raises(ValueError, match="`parts` must have one dimension, got"):
        hjpde.SumOfHamiltonians(hjpde.Quadratic(A), hjpde.Quadratic(np.eye(2)))
