"""A periodic solution known on a grid at saved times, as a trigonometric polynomial of the place."""

import math
from typing import final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from hjpde._solution import AbstractEvaluator
from hjpde._types import Point, Scalar
from hjpde.solvers.grids._grid import Grid
from hjpde.solvers.grids._grid_evaluator import GridEvaluator

_MOST_NUMBERS = 1 << 22


@final
class SpectralEvaluator(AbstractEvaluator):
    r"""`u` by its Fourier sum $\sum_k \hat u_k(t) e^{ik \cdot x}$, in any place, and as `GridEvaluator` in time.

    The sum is exact for what the grid resolves, and costs as many operations as the grid has nodes.
    """

    saved: GridEvaluator

    @property
    def grid(self) -> Grid:
        """The grid."""
        return self.saved.grid

    @property
    def ts(self) -> Float[Array, " T"]:
        """The saved times."""
        return self.saved.ts

    @property
    def us(self) -> Float[Array, "T *n"]:
        """The values at the nodes at the saved times."""
        return self.saved.us

    @property
    def twice_differentiable(self) -> bool:
        return True

    @property
    def dim(self) -> int:
        return self.saved.dim

    def invalid_time(self, t: float) -> str | None:
        return self.saved.invalid_time(t)

    def __call__(self, t: Scalar, x: Point) -> Scalar:
        return self._sum(self._modes(t), x)

    def batch(self, t: Scalar, X: Float[Array, "M d"]) -> Float[Array, " M"]:
        modes = self._modes(t)
        block = max(1, _MOST_NUMBERS // math.prod(modes.shape[1:]))
        if X.shape[0] <= block:
            return jax.vmap(lambda x: self._sum(modes, x))(X)
        # Recomputed in reverse mode: the partial sums of all points together are large.
        at = jax.checkpoint(lambda x: self._sum(modes, x))
        return jax.lax.map(at, X, batch_size=block)

    def standard_error(self, t: Scalar, x: Point) -> Scalar:
        return self.saved.standard_error(t, x)

    def _modes(self, t: Scalar) -> Complex[Array, "*modes"]:
        u = self.saved._blend(t, lambda fields, k: fields[k])
        modes = jnp.fft.rfft(u, axis=-1)
        for axis in range(self.dim - 1):
            modes = jnp.fft.fft(modes, axis=axis)
        n = self.grid.shape[-1]
        pairs = np.full(modes.shape[-1], 2.0)
        # One of each pair of conjugate modes is kept; the mean and the Nyquist mode have no partner.
        pairs[0] = 1
        if n % 2 == 0:
            pairs[-1] = 1
        weights = jnp.asarray(pairs / u.size, u.dtype)
        return modes * jnp.broadcast_to(weights, modes.shape)

    def _sum(self, modes: Complex[Array, "*modes"], x: Point) -> Scalar:
        grid = self.grid
        turns = ((x - grid.lower) / (grid.upper - grid.lower)).astype(jnp.finfo(modes.dtype).dtype)
        turns = turns - jax.lax.stop_gradient(jnp.floor(turns))
        for axis, n in enumerate(grid.shape):
            number = np.fft.rfftfreq(n, 1 / n) if axis == grid.dim - 1 else np.fft.fftfreq(n, 1 / n)
            angles = 2 * np.pi * jnp.asarray(number, turns.dtype) * turns[axis]
            # The Nyquist mode stands for both of its signs.
            sines = jnp.where(2 * np.abs(number) == n, 0, jnp.sin(angles))
            modes = jnp.tensordot(jax.lax.complex(jnp.cos(angles), sines), modes, axes=1)
        return modes.real
