"""Where a problem is posed: a box, which of its axes are periodic, and what holds on its other sides."""

import numbers
from collections.abc import Callable, Sequence
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hjpde._types import ArrayInput, Point, Scalar, ScalarLike, as_float_array, is_concrete, require_finite

Bound = Float[Array, ""] | Callable


class AbstractBoundaryCondition(eqx.Module):
    """What holds on one side of a box; a grid's ghost cells are filled from it."""


@final
class Extrapolation(AbstractBoundaryCondition):
    """`u` goes on beyond the side with the slope that it has there: the box is a window on the whole space."""


@final
class ExtrapolationAwayFromZero(AbstractBoundaryCondition):
    r"""`u` goes on with the slope that it has at the side, turned so that $|u|$ grows outwards.

    No zero level set then enters through the side, which is what reachable sets ask for.

    ??? cite "References"

        I. M. Mitchell, *A Toolbox of Level Set Methods*, UBC CS TR-2007-11, Section 3.1, `addGhostExtrapolate`.
    """


@final
class Dirichlet(AbstractBoundaryCondition):
    """`u` is given on the side."""

    value: Bound

    def __init__(self, value: Any):
        """**Arguments:**

        - `value`: a number in units of `u`, or a function of `(t, x)` with a scalar value, `x` of shape `(d,)`.

        **Raises:** `ValueError` if it is neither, or a number that is not finite.
        """
        self.value = _as_bound(value, "value")

    def at(self, t: ScalarLike, x: Point) -> Scalar:
        """The value at one time and one point of the side."""
        return _at(self.value, t, x)


@final
class Neumann(AbstractBoundaryCondition):
    """The derivative of `u` along the outward normal is given on the side; 0 reflects."""

    slope: Bound

    def __init__(self, slope: Any = 0.0):
        """**Arguments:**

        - `slope`: a number in units of `u` per unit of `x`, or a function of `(t, x)` with a scalar value.

        **Raises:** `ValueError` if it is neither, or a number that is not finite.
        """
        self.slope = _as_bound(slope, "slope")

    def at(self, t: ScalarLike, x: Point) -> Scalar:
        """The outward derivative at one time and one point of the side."""
        return _at(self.slope, t, x)


Sides = tuple[AbstractBoundaryCondition, AbstractBoundaryCondition]
"""The conditions at the lower and at the upper end of one axis."""


@final
class Domain(eqx.Module):
    r"""A box $\prod_i [l_i, u_i]$, some of whose axes may be periodic, and the conditions on its other sides."""

    lower: Float[Array, " d"]
    upper: Float[Array, " d"]
    periodic: tuple[bool, ...] = eqx.field(static=True)
    boundary: tuple[Sides | None, ...]

    def __init__(
        self,
        lower: ArrayInput,
        upper: ArrayInput,
        periodic: bool | Sequence[Any] = False,
        boundary: AbstractBoundaryCondition | Sequence[Any] = Extrapolation(),
    ):
        """**Arguments:**

        - `lower`, `upper`: the ends of the axes, shape `(d,)`, in units of `x`. One number stands for every axis
          where another argument fixes `d`.
        - `periodic`: whether the axes are periodic, one for all or one an axis.
        - `boundary`: the condition on all sides of the axes that are not periodic; or a sequence with, for each
          axis, one condition, a pair (lower side, upper side), or `None` where the axis is periodic.

        **Raises:** `ValueError` if the counts disagree, the ends are not finite, a lower end is not below its upper
        one, or a periodic axis is given a condition.
        """
        dim = count_axes(lower=lower, upper=upper, periodic=periodic)
        self.lower, self.upper = as_bounds(lower, upper, dim)
        self.periodic = as_flags(periodic, dim)
        self.boundary = _as_sides(boundary, self.periodic)

    @property
    def dim(self) -> int:
        """The dimension `d`."""
        return len(self.periodic)


def count_axes(**arguments: Any) -> int:
    """The dimension that arguments agree on, each of them one value for every axis or a sequence of one an axis.

    **Raises:** `ValueError` that names them if they disagree, or if none is a sequence.
    """
    lengths = {name: _length(name, value) for name, value in arguments.items()}
    known = {name: length for name, length in lengths.items() if length is not None}
    listed = ", ".join(f"`{name}`" for name in arguments)
    if not known:
        raise ValueError(
            f"the number of axes is unknown: one of {listed} must be a sequence of one an axis, such as (0.0,)."
        )
    if len(set(known.values())) > 1:
        given = ", ".join(f"`{name}` has {length}" for name, length in known.items())
        raise ValueError(f"the numbers of axes disagree: {given}.")
    dim = next(iter(known.values()))
    if dim < 1:
        raise ValueError(f"there must be at least one axis, got none in `{next(iter(known))}`.")
    return dim


def as_bounds(lower: ArrayInput, upper: ArrayInput, dim: int) -> tuple[Float[Array, " d"], Float[Array, " d"]]:
    """Both ends as arrays of shape `(d,)` and of one dtype, known now if what is given is.

    **Raises:** `ValueError` if they are not finite or not in order; traced ends are checked at run time.
    """
    if not is_concrete(lower, upper):
        return _as_bounds(lower, upper, dim)
    with jax.ensure_compile_time_eval():  # numbers inside a compiled function are known too
        return _as_bounds(lower, upper, dim)


def as_flags(periodic: bool | Sequence[Any], dim: int) -> tuple[bool, ...]:
    """Whether each axis is periodic.

    **Raises:** `ValueError` if one is neither true nor false.
    """
    flags = [periodic] * dim if _length("periodic", periodic) is None else list(periodic)  # pyright: ignore
    wrong = [flag for flag in flags if not isinstance(flag, bool | np.bool_)]
    if wrong:
        raise ValueError(f"`periodic` must be true or false for every axis, got {wrong[0]!r}.")
    return tuple(bool(flag) for flag in flags)


def _length(name: str, value: Any) -> int | None:
    """The length of a sequence, `None` of a scalar; tracers inside a sequence are left alone."""
    ndim = getattr(value, "ndim", None)
    if ndim == 0 or isinstance(value, numbers.Number):
        return None
    if ndim == 1 or (ndim is None and isinstance(value, Sequence) and not isinstance(value, str)):
        return len(value)
    what = type(value).__name__ if ndim is None else f"an array of {ndim} axes"
    raise ValueError(f"`{name}` must be one value, or a sequence of one an axis, got {what}.")


def _as_bounds(lower: ArrayInput, upper: ArrayInput, dim: int) -> tuple[Float[Array, " d"], Float[Array, " d"]]:
    low, high = as_float_array(lower, "lower"), as_float_array(upper, "upper")
    dtype = jnp.result_type(low, high)
    low, high = (jnp.broadcast_to(jnp.atleast_1d(end), (dim,)).astype(dtype) for end in (low, high))
    require_finite(low, "lower")
    require_finite(high, "upper")
    if is_concrete(low, high):
        if not np.all(np.asarray(low) < np.asarray(high)):
            axis = int(np.argmin(np.asarray(low) < np.asarray(high)))
            raise ValueError(
                f"`lower` must be below `upper`, got {float(low[axis]):g} and {float(high[axis]):g} for axis {axis}."
            )
        return low, high
    return low, eqx.error_if(high, ~(low < high), "`lower` must be below `upper`.")


def _as_sides(boundary: Any, periodic: tuple[bool, ...]) -> tuple[Sides | None, ...]:
    if isinstance(boundary, AbstractBoundaryCondition):
        return tuple(None if wraps else (boundary, boundary) for wraps in periodic)
    if not isinstance(boundary, Sequence) or len(boundary) != len(periodic):
        what = f"{len(boundary)} entries" if isinstance(boundary, Sequence) else type(boundary).__name__
        raise ValueError(
            f"`boundary` must be a boundary condition, or a sequence of one an axis ({len(periodic)}), got {what}."
        )
    return tuple(
        _sides_of(axis, entry, wraps) for axis, (entry, wraps) in enumerate(zip(boundary, periodic, strict=True))
    )


def _sides_of(axis: int, entry: Any, wraps: bool) -> Sides | None:
    if wraps:
        if entry is not None:
            raise ValueError(f"`boundary` must be None for axis {axis}, which is periodic, got {entry!r}.")
        return None
    pair = (entry, entry) if isinstance(entry, AbstractBoundaryCondition) else entry
    if (
        isinstance(pair, Sequence)
        and len(pair) == 2
        and isinstance(pair[0], AbstractBoundaryCondition)
        and isinstance(pair[1], AbstractBoundaryCondition)
    ):
        return pair[0], pair[1]
    raise ValueError(
        f"`boundary` must hold for axis {axis} a condition such as `Extrapolation()` or a pair (lower side, upper "
        f"side) of them, got {entry!r}."
    )


def _as_bound(value: Any, name: str) -> Bound:
    if callable(value):
        return value
    array = as_float_array(value, name)
    if array.ndim != 0:
        raise ValueError(f"`{name}` must be a number or a function of (t, x), got shape {array.shape}.")
    require_finite(array, name)
    return array


def _at(bound: Bound, t: ScalarLike, x: Point) -> Scalar:
    value = bound(jnp.asarray(t, x.dtype), x) if callable(bound) else bound
    return jnp.asarray(value, x.dtype)
