"""Two weighted point clouds, what it costs to move mass between them, and the flows that carry their potentials."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hjpde._problem import InitialValueProblem
from hjpde._types import (
    ArrayInput,
    Scalar,
    ScalarLike,
    as_float_array,
    is_concrete,
    positive_scalar,
    require_finite,
)
from hjpde.hamiltonians import AbstractHamiltonian, Quadratic
from hjpde.initial_data import Atoms


class Clouds(eqx.Module):
    r"""Masses $a_i$ at $x_i$ and $b_j$ at $y_j$, with the cost $c(x, y) = (x - y)^\top A^{-1} (x - y) / 4t$.

    The cost is $t\,L((x - y)/t)$ for the Lagrangian of $H = p^\top A p$, so that potentials are carried between the
    clouds by the flow of that Hamiltonian over the time `t`.
    """

    x: Float[Array, "N d"]
    y: Float[Array, "M d"]
    x_weights: Float[Array, " N"]
    y_weights: Float[Array, " M"]
    time: Scalar
    hamiltonian: Quadratic

    @property
    def costs(self) -> Float[Array, "N M"]:
        """$c(x_i, y_j)$, from the offsets themselves, so that near points keep their digits."""
        x, y = self._whitened()
        return jax.vmap(lambda x: jnp.sum((x[None] - y) ** 2, axis=1))(x) / (4 * self.time)

    @property
    def largest_cost(self) -> Scalar:
        """$\\max_{ij} c(x_i, y_j)$, without an array of all; above 0 also where all points are one."""
        x, y = self._whitened()
        squares = jax.lax.map(lambda x: jnp.max(jnp.sum((x[None] - y) ** 2, axis=1)), x, batch_size=64)
        return jnp.maximum(jnp.max(squares) / (4 * self.time), float(jnp.finfo(x.dtype).tiny) ** 0.5)

    def _whitened(self) -> tuple[Float[Array, "N d"], Float[Array, "M d"]]:
        """The points in coordinates in which `A` is the identity."""
        if self.hamiltonian.A is None:
            return self.x, self.y
        root = jnp.linalg.cholesky(self.hamiltonian.A.astype(self.x.dtype))
        x, y = (jax.scipy.linalg.solve_triangular(root, points.T, lower=True).T for points in (self.x, self.y))
        return x, y

    def flow_to_x(self, g: Float[Array, " M"], viscosity: Scalar | None) -> InitialValueProblem:
        r"""Point masses at $y_j$ of heights $-g_j - \varepsilon \log b_j$: at `time` the solution is `f` at $x_i$."""
        return self._flow(self.y, g, self.y_weights, viscosity)

    def flow_to_y(self, f: Float[Array, " N"], viscosity: Scalar | None) -> InitialValueProblem:
        r"""Point masses at $x_i$ of heights $-f_i - \varepsilon \log a_i$: at `time` the solution is `g` at $y_j$."""
        return self._flow(self.x, f, self.x_weights, viscosity)

    def _flow(
        self,
        positions: Float[Array, "K d"],
        potential: Float[Array, " K"],
        weights: Float[Array, " K"],
        viscosity: Scalar | None,
    ) -> InitialValueProblem:
        if viscosity is None:
            return InitialValueProblem(Atoms(positions, -potential), self.hamiltonian)
        A = self.hamiltonian.A
        N = viscosity if A is None else viscosity * A.astype(viscosity.dtype)
        return InitialValueProblem(Atoms(positions, -potential - viscosity * jnp.log(weights)), self.hamiltonian, N)

    def stopped(self) -> "Clouds":
        """The same clouds, as constants of differentiation."""
        return jax.lax.stop_gradient(self)


def as_clouds(
    x: ArrayInput,
    y: ArrayInput,
    x_weights: ArrayInput | None,
    y_weights: ArrayInput | None,
    time: ScalarLike,
    hamiltonian: AbstractHamiltonian,
) -> Clouds:
    """The clouds that a user means; weights are uniform by default, and are scaled to the sum 1.

    **Raises:** `ValueError` if the shapes disagree, a point is not finite, a weight is not positive, `time` is not, or
    `hamiltonian` is no `Quadratic` of the same dimension.
    """
    x, y = as_float_array(x, "x", 2), as_float_array(y, "y", 2)
    if not isinstance(hamiltonian, Quadratic):
        raise ValueError(f"`hamiltonian` must be a `hjpde.Quadratic`, got {type(hamiltonian).__name__}.")
    d = x.shape[1]
    if x.shape[0] < 1 or y.shape[0] < 1 or d < 1 or y.shape[1] != d or hamiltonian.dim not in (None, d):
        raise ValueError(
            "`x` must have shape (N, d) and `y` (M, d) with N, M, d >= 1 and d the Hamiltonian's, got "
            f"{x.shape}, {y.shape} and {hamiltonian.dim}."
        )
    dtype = jnp.result_type(x, y)
    require_finite(x, "x")
    require_finite(y, "y")
    a, b = _weights(x_weights, x.shape[0], "x_weights", dtype), _weights(y_weights, y.shape[0], "y_weights", dtype)
    return Clouds(x.astype(dtype), y.astype(dtype), a, b, positive_scalar(time, "time", dtype), hamiltonian)


def _weights(given: ArrayInput | None, count: int, name: str, dtype: jnp.dtype) -> Float[Array, " K"]:
    if given is None:
        return jnp.full(count, 1 / count, dtype)
    weights = as_float_array(given, name, 1).astype(dtype)
    if weights.shape != (count,):
        raise ValueError(f"`{name}` must have shape ({count},), one for each point, got {weights.shape}.")
    require_finite(weights, name)
    if is_concrete(weights) and not np.all(np.asarray(weights) > 0):
        raise ValueError(f"`{name}` must be positive; leave out points without mass.")
    return weights / jnp.sum(weights)
