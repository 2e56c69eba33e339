"""Grid: the nodes of a box, with interpolation of what is known there."""

import operator
from collections.abc import Callable, Sequence
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from hjpde._domain import Domain, as_bounds, as_flags, count_axes
from hjpde._types import ArrayInput, Point, Scalar, as_float_array, is_concrete

from ._interpolation import WIDTHS, Order, apply, rounding, stencil

_MOST_POINTS = 1 << 20


@final
class Grid(eqx.Module):
    r"""Equidistant nodes in a box $\prod_i [l_i, u_i]$, $n_1 \times \dots \times n_d$ of them.

    An axis that is not periodic has nodes at both ends, $\Delta x_i = (u_i - l_i)/(n_i - 1)$; a periodic one leaves
    out its upper end, which is its lower end again, $\Delta x_i = (u_i - l_i)/n_i$. Sizes and periodicity are static;
    the ends are arrays and may be differentiated.
    """

    lower: Float[Array, " d"]
    upper: Float[Array, " d"]
    shape: tuple[int, ...] = eqx.field(static=True)
    periodic: tuple[bool, ...] = eqx.field(static=True)

    def __init__(
        self,
        lower: ArrayInput,
        upper: ArrayInput,
        shape: int | Sequence[Any] | np.ndarray,
        periodic: bool | Sequence[Any] = False,
    ):
        """**Arguments:**

        - `lower`, `upper`: the ends of the axes, shape `(d,)`, in units of `x`; their dtype is the grid's.
        - `shape`: the numbers of nodes, at least 2 an axis.
        - `periodic`: whether the axes are periodic.

        Each may be one value for every axis where another is a sequence and so fixes `d`.

        **Raises:** `ValueError` if the numbers of axes disagree, an end is not finite, a lower one is not below its
        upper one, or an axis has fewer than 2 nodes.
        """
        dim = count_axes(lower=lower, upper=upper, shape=shape, periodic=periodic)
        self.lower, self.upper = as_bounds(lower, upper, dim)
        self.shape = _as_shape(shape, dim)
        self.periodic = as_flags(periodic, dim)

    @staticmethod
    def over(domain: Domain, shape: int | Sequence[Any] | np.ndarray) -> "Grid":
        """The grid with the ends and the periodicity of a `hjpde.Domain`.

        **Raises:** `ValueError` as the constructor does, or if there is no domain.
        """
        if domain is None:
            raise ValueError("`domain` must be a `hjpde.Domain`, got None: the problem is posed on the whole space.")
        return Grid(domain.lower, domain.upper, shape, domain.periodic)

    @property
    def dim(self) -> int:
        """The dimension `d`."""
        return len(self.shape)

    @property
    def spacing(self) -> Float[Array, " d"]:
        r"""$\Delta x$, in units of `x`; known now if the ends are."""
        counts = np.asarray([n if wraps else n - 1 for n, wraps in zip(self.shape, self.periodic, strict=True)])
        if not is_concrete(self.lower, self.upper):
            return (self.upper - self.lower) / counts.astype(self.lower.dtype)
        with jax.ensure_compile_time_eval():
            return (self.upper - self.lower) / counts.astype(self.lower.dtype)

    @property
    def axes(self) -> tuple[Float[Array, " _"], ...]:
        """The coordinates of the nodes along each axis."""
        ends = zip(self.lower, self.upper, self.shape, self.periodic, strict=True)
        return tuple(jnp.linspace(low, high, n, endpoint=not wraps, dtype=low.dtype) for low, high, n, wraps in ends)

    @property
    def points(self) -> Float[Array, "*n d"]:
        """The nodes, shape `(n1, ..., nd, d)`."""
        return jnp.stack(jnp.meshgrid(*self.axes, indexing="ij"), axis=-1)

    def sample(self, function: Callable) -> Float[Array, "..."]:
        """The values of a function of one point at every node, shape `(n1, ..., nd)`.

        A function whose value has a shape of its own gives `(n1, ..., nd, ...)`. Large grids are streamed.
        """
        flat = self.points.reshape(-1, self.dim)
        if flat.shape[0] <= _MOST_POINTS:
            values = jax.vmap(function)(flat)
        else:
            values = jax.lax.map(function, flat, batch_size=_MOST_POINTS)
        return values.reshape(*self.shape, *values.shape[1:])

    def contains(self, x: Point) -> Bool[Array, ""]:
        """Whether one point lies in the box, to rounding; a periodic axis holds every coordinate."""
        room = rounding(x, self.lower) * jnp.maximum(jnp.abs(self.lower), jnp.abs(self.upper))
        inside = (x >= self.lower - room) & (x <= self.upper + room)
        return jnp.all(inside | np.asarray(self.periodic))

    def interpolate(self, values: ArrayInput, x: ArrayInput, order: Order = "cubic") -> Float[Array, "*batch"]:
        """The interpolated value at points, differentiable in `values` and `x`, forward and reverse.

        **Arguments:**

        - `values`: at the nodes, shape `(n1, ..., nd)`.
        - `x`: one point of shape `(d,)`, or many of shape `(..., d)`.
        - `order`: `"linear"` or `"cubic"`: exact, up to the border, for polynomials of degree 1 or 3 in each
          variable. An axis with fewer than 4 nodes that is not periodic is interpolated through all of them.

        A periodic axis wraps. Outside the box along any other axis the value is NaN, and so is the gradient.

        **Raises:** `ValueError` if the shapes disagree or the order is another.
        """
        values, x = self._checked(values, x, order)
        flat = x.reshape(-1, self.dim)
        return jax.vmap(lambda y: self._at(values, y, order))(flat).reshape(x.shape[:-1])

    def gradient(self, values: ArrayInput, x: ArrayInput, order: Order = "cubic") -> Float[Array, "*batch d"]:
        """The gradient of the interpolant at points, shape `(..., d)`, right up to the border.

        On a cell's face, where the interpolant has a kink, it is that of the cell above. Arguments and errors as in
        `Grid.interpolate`.
        """
        values, x = self._checked(values, x, order)
        flat = x.reshape(-1, self.dim)
        return jax.vmap(jax.grad(lambda y: self._at(values, y, order)))(flat).reshape(x.shape)

    def _at(self, values: Float[Array, "..."], x: Point, order: Order) -> Scalar:
        nodes = stencil(self.lower, self.spacing, self.shape, self.periodic, x, order)
        found = values.reshape(-1).at[nodes.positions].get(mode="promise_in_bounds")
        # A factor, so that the gradient is NaN outside as well.
        return apply(nodes, found) * jnp.where(self.contains(x), 1, jnp.nan).astype(found.dtype)

    def _checked(self, values: Any, x: Any, order: Order) -> tuple[Float[Array, "..."], Float[Array, "*batch d"]]:
        if order not in WIDTHS:
            raise ValueError(f'`order` must be "linear" or "cubic", got {order!r}.')
        values, x = as_float_array(values, "values"), as_float_array(x, "x")
        if values.shape != self.shape:
            raise ValueError(f"`values` must have the grid's shape {self.shape}, got {values.shape}.")
        if x.ndim < 1 or x.shape[-1] != self.dim:
            raise ValueError(f"`x` must have shape (..., {self.dim}), got {x.shape}.")
        return values, x


def _as_shape(shape: int | Sequence[Any] | np.ndarray, dim: int) -> tuple[int, ...]:
    given: list[Any] = [shape] * dim if np.ndim(shape) == 0 else list(shape)  # pyright: ignore
    try:
        sizes = tuple(operator.index(n) for n in given)
    except TypeError as error:
        raise ValueError(f"`shape` must hold whole numbers of nodes, got {shape!r}.") from error
    if min(sizes) < 2:
        raise ValueError(f"`shape` must be at least 2 for every axis, got {sizes}.")
    return sizes
