"""What several tests share: all derivatives of a solution in one compiled function, and random data."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np


@eqx.filter_jit
def jets(solution, ts, X):
    """The value, its time derivative, gradient and Hessian at the pairs `(ts[k], X[k])`."""

    def jet(t, x):
        return solution(t, x), solution.time_derivative(t, x), solution.gradient(t, x), solution.hessian(t, x)

    return jax.vmap(jet)(ts, X)


@eqx.filter_jit
def values(solution, ts, X):
    """The values at the pairs `(ts[k], X[k])`, through the call for one point."""
    return jax.vmap(lambda t, x: solution(t, x))(ts, X)


@eqx.filter_jit
def estimates(solution, ts, X):
    """The values and their standard errors at the pairs `(ts[k], X[k])`, one after the other."""
    return jax.lax.map(lambda tx: (solution(*tx), solution.standard_error(*tx)), (ts, X))


def residuals(problem, solution, ts, X):
    """`u_t + H - tr(N D^2 u)` at the pairs, and the sum of the three terms' sizes."""
    _, rates, slopes, bends = jets(solution, ts, X)
    energies = jax.vmap(problem.hamiltonian)(ts, X, slopes)
    matrices = jax.vmap(problem.viscosity.matrix)(ts, X)
    diffusion = jnp.einsum("kij,kji->k", matrices, bends)
    sizes = jnp.abs(rates) + jnp.abs(energies) + jnp.abs(diffusion)
    return np.asarray(rates + energies - diffusion), np.asarray(sizes)


def random_spd(rng, d, least=0.3):
    """A random symmetric matrix whose eigenvalues are at least `least`."""
    root = rng.normal(size=(d, d))
    return root @ root.T / d + least * np.eye(d)


def brute_force_minimum(f, centre, reach, n=801):
    """The least value of `f`, of rows of points, on a fine grid of one or two dimensions about `centre`."""
    axes = [np.linspace(c - reach, c + reach, n) for c in centre]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(centre))
    return f(points).min()
