"""Smooth fields on a grid from white coordinates: what regularises the recovery of values at nodes."""

from typing import final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hjpde._types import Scalar
from hjpde.solvers import Grid
from hjpde.solvers.stepping._heat import HeatFlow


@final
class SmoothPrior(eqx.Module):
    r"""The map $S = c\,(\kappa^2 - \Delta)^{-1}$ from coordinates `z`, one a node, to values at the nodes.

    A penalty $|z|^2$ is then one on the second differences of $Sz$: Whittle's field, with $2\pi/\kappa$ the longest
    side of the box, so that beyond the mean it is curvature that is penalised. `c` makes a standard normal `z` a field
    of unit variance in the middle of the box. Axes that are not periodic continue evenly beyond their ends.

    ??? cite "References"

        H. W. Engl, M. Hanke and A. Neubauer, *Regularization of Inverse Problems*, Kluwer, 1996, Section 8.4 (Hilbert
        scales).

        F. Lindgren, H. Rue and J. Lindstroem, *An explicit link between Gaussian fields and Gaussian Markov random
        fields*, J. R. Stat. Soc. B 73, 2011.
    """

    flow: HeatFlow
    squared_wave_number: Scalar
    scale: Scalar

    def __init__(self, grid: Grid):
        kinds = ["periodic" if wraps else "neumann" for wraps in grid.periodic]
        self.flow = HeatFlow(grid.shape, grid.spacing, kinds, jnp.ones((), grid.lower.dtype))
        self.squared_wave_number = (2 * jnp.pi / jnp.max(grid.upper - grid.lower)) ** 2
        self.scale = jnp.ones_like(self.squared_wave_number)
        middle = np.zeros(grid.shape)
        middle[tuple(n // 2 for n in grid.shape)] = 1
        self.scale = 1 / jnp.linalg.norm(self(jnp.asarray(middle, grid.lower.dtype)).reshape(-1))

    def __call__(self, z: Float[Array, "*n"]) -> Float[Array, "*n"]:
        """The field of unit coordinates, both of the grid's shape."""
        damping = (self.squared_wave_number + self.flow.symbol).astype(z.dtype)
        return self.scale.astype(z.dtype) * self.flow.inverse(self.flow.forward(z) / damping)
