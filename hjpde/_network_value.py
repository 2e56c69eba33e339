"""The value of a noisy network without sampling: the transfer operator of a layer, applied once for each."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from hjpde._types import ScalarLike, known_number
from hjpde.architectures import DepthFlow, GaussianNoise, NoisyNetwork, StochasticDepth
from hjpde.solvers import Grid


def network_value(flow: DepthFlow, grid: Grid, *, temperature: ScalarLike | None = None) -> Float[Array, "*shape"]:
    r"""$u_0(x) = E[g(X_L) \mid X_0 = x]$ at the nodes of a periodic grid, by the transfer operators of the layers,

    $$u_k(x) = E\,u_{k+1}(\Phi_k(x) + \text{noise}),$$

    with trigonometric interpolation between the nodes. Gaussian noise is the heat semigroup, exact in Fourier modes,
    and stochastic depth a mixture of two points, so there is no sampling error, and the error of a smooth value falls
    exponentially with the grid: differences to a PDE are those of the network. Without noise it is the network.

    **Arguments:**

    - `flow`: a network on vectors of the grid's dimension, its velocity periodic on the grid; deterministic, or with
        `GaussianNoise` or `StochasticDepth`.
    - `grid`: a `solvers.Grid` in 1 or 2 dimensions, periodic along every axis.
    - `temperature`: $\theta$, to pool the outcomes as $\theta \log E \exp(g(X_L)/\theta)$ instead of their mean.

    **Raises:** `ValueError` if the grid or the noise is of another kind.
    """
    if grid.dim > 2 or not all(grid.periodic):
        raise ValueError(f"`grid` must be periodic in 1 or 2 dimensions, got {grid.dim} with {grid.periodic}.")
    noise = flow.architecture.noise if isinstance(flow.architecture, NoisyNetwork) else None
    if not isinstance(noise, GaussianNoise | StochasticDepth | None):
        raise ValueError(f"`flow`: no transfer operator is known for {type(noise).__name__}; take samples.")
    if flow.architecture.layer_count is None:
        raise ValueError("`flow` must be a network on vectors, of fixed depth.")
    theta = None if temperature is None else known_number(temperature, "temperature")
    if theta is not None and not (np.isfinite(theta) and theta != 0):
        raise ValueError(f"`temperature` must be finite and not zero, got {theta:g}.")
    return _through_the_layers(flow, grid, theta)


@eqx.filter_jit
def _through_the_layers(flow: DepthFlow, grid: Grid, theta: float | None) -> Float[Array, "*shape"]:
    architecture = flow.architecture
    noise = architecture.noise if isinstance(architecture, NoisyNetwork) else None
    nodes = grid.points.reshape(-1, grid.dim)
    depth = architecture.layer_count
    assert depth is not None
    h = architecture.layer_time
    values = jax.vmap(flow.g)(nodes)
    # Of exponentials only the differences matter; the largest is 1.
    shift = jnp.zeros_like(values[0]) if theta is None else jnp.max(values / theta)
    start = values if theta is None else jnp.exp(values / theta - shift)

    def layer(u: Float[Array, " K"], held: Any) -> tuple[Float[Array, " K"], None]:
        index, weights = held
        stepped = jax.vmap(lambda z: architecture.step(index * h, z, h, weights))(nodes)
        modes = jnp.fft.fftn(u.reshape(grid.shape)) / u.size
        if isinstance(noise, GaussianNoise):
            modes = modes * jnp.exp(-noise.nu * h * _square_of_wave_numbers(grid))
        if isinstance(noise, StochasticDepth):
            kept = nodes + (stepped - nodes) / noise.keep
            return (1 - noise.keep) * u + noise.keep * _interpolated(grid, modes, kept), None
        return _interpolated(grid, modes, stepped), None

    held = (jnp.arange(depth), architecture.layers(None))
    u = jax.lax.scan(layer, start, held, reverse=True)[0]
    u = u if theta is None else theta * (jnp.log(u) + shift)
    return u.reshape(grid.shape)


def _wave_numbers(grid: Grid, axis: int) -> Float[Array, " n"]:
    return jnp.asarray(2 * np.pi * np.fft.fftfreq(grid.shape[axis]), grid.points.dtype) / grid.spacing[axis]


def _square_of_wave_numbers(grid: Grid) -> Float[Array, "*shape"]:
    squares = [_wave_numbers(grid, axis) ** 2 for axis in range(grid.dim)]
    return squares[0] if grid.dim == 1 else squares[0][:, None] + squares[1][None, :]


def _interpolated(grid: Grid, modes: Complex[Array, "*shape"], points: Float[Array, "P d"]) -> Float[Array, " P"]:
    """The trigonometric polynomial at each point."""
    waves = [
        jnp.exp(1j * (points[:, axis] - grid.lower[axis])[:, None] * _wave_numbers(grid, axis)[None])
        for axis in range(grid.dim)
    ]
    if grid.dim == 1:
        return (waves[0] @ modes).real
    return jnp.sum((waves[0] @ modes) * waves[1], axis=1).real
