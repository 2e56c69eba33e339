"""Array types and the one place where what a user gives becomes a jax array."""

import functools
import warnings
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

# What users hand in is checked by hand, with errors that name the argument, so these two stay loose.
ScalarLike = ArrayLike
"""A number, or an array of shape `()`, possibly traced."""

ArrayInput = ArrayLike | Sequence[Any]
"""Anything that numpy takes for an array of numbers; the docstring states its shape."""

Point = Float[Array, " d"]
Scalar = Float[Array, ""]


def as_float_array(value: ArrayInput, name: str, ndim: int | None = None) -> Array:
    """`value` as a floating jax array: floats keep their dtype, integers take jax's default float.

    **Arguments:**

    - `value`: anything array-like; numpy float64 follows jax (float32 while x64 is off).
    - `name`: the argument's name, for the error.
    - `ndim`: the number of axes that it must have, or `None`.

    **Raises:** `ValueError` if the value is not numeric or has another number of axes.
    """
    try:
        array = jnp.asarray(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"`{name}` must be an array of numbers, got {type(value).__name__}.") from error
    if not jnp.issubdtype(array.dtype, jnp.floating):
        if not (jnp.issubdtype(array.dtype, jnp.integer) or array.dtype == bool):
            raise ValueError(f"`{name}` must be real, got dtype {array.dtype}.")
        array = array.astype(jnp.result_type(float))
    if ndim is not None and array.ndim != ndim:
        raise ValueError(f"`{name}` must have {ndim} axes, got shape {array.shape}.")
    return array


def is_concrete(*values: object) -> bool:
    """Whether all values are known now, so that a mistake in them can be reported eagerly."""
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(values))


def require_finite(array: Array, name: str) -> None:
    """Raises a `ValueError` that names the argument if it is known now and holds NaN or infinity."""
    if is_concrete(array) and not np.all(np.isfinite(np.asarray(array))):
        count = int(np.sum(~np.isfinite(np.asarray(array))))
        raise ValueError(f"`{name}` must be finite, got {count} entries that are NaN or infinite.")


def known_number(value: ScalarLike, name: str) -> float:
    """The number behind a scalar that is known now, also where a compiled function is being traced.

    **Raises:** `ValueError` that names the argument if it is no real number.
    """
    try:
        return float(np.asarray(value))
    except (TypeError, ValueError) as error:
        raise ValueError(f"`{name}` must be a number, got {type(value).__name__}.") from error


def positive_scalar(value: ScalarLike, name: str, dtype: jnp.dtype) -> Scalar:
    """`value` as a positive scalar of the given dtype.

    **Raises:** `ValueError` if the value is known now and is not positive and finite, or not a scalar;
    a traced value that is not positive is a runtime error of equinox.
    """
    if np.ndim(value) != 0:
        raise ValueError(f"`{name}` must be a scalar, got shape {np.shape(value)}.")
    if is_concrete(value):
        number = known_number(value, name)
        if not (np.isfinite(number) and np.asarray(number, dtype) > 0):
            raise ValueError(f"`{name}` must be positive and finite, got {number:g}.")
        return jnp.asarray(value, dtype)
    scalar = jnp.asarray(value, dtype)
    return eqx.error_if(scalar, ~(scalar > 0), f"`{name}` must be positive.")


@functools.cache
def _warn_of_roundoff(number: float, roundoff: float, dtype: str) -> None:
    """Cached, so that it warns once."""
    warnings.warn(
        f"`viscosity` = {number:g} is below the roundoff {roundoff:.1e} of {dtype}: scores of order one are told "
        "apart no better than at 0. Use float64 "
        '(`jax.config.update("jax_enable_x64", True)`).',
        stacklevel=5,
    )


def positive_viscosity(value: ScalarLike, dtype: jnp.dtype) -> Scalar:
    """`value` as a positive temperature; one that the dtype cannot resolve gives a warning, once.

    **Raises:** as `positive_scalar`.
    """
    viscosity = positive_scalar(value, "viscosity", dtype)
    if is_concrete(value):
        number, roundoff = float(np.asarray(value)), float(jnp.finfo(dtype).eps)
        if number < roundoff:
            _warn_of_roundoff(number, roundoff, str(jnp.dtype(dtype)))
    return viscosity


def require_symmetric(matrices: Array, name: str) -> None:
    """Raises a `ValueError` that names the argument if matrices known now are not symmetric."""
    if not is_concrete(matrices):
        return
    values = np.asarray(matrices)
    asymmetry = np.abs(values - np.swapaxes(values, -1, -2)).max(initial=0)
    if asymmetry > 1e3 * np.finfo(values.dtype).eps * np.abs(values).max(initial=0):
        raise ValueError(f"`{name}` must be symmetric, got an asymmetry of {asymmetry:.2g}.")


def require_positive_definite(matrix: Array, name: str) -> None:
    """Raises a `ValueError` that names the argument if a matrix known now is not symmetric positive definite."""
    require_symmetric(matrix, name)
    if is_concrete(matrix):
        least = float(np.linalg.eigvalsh(np.asarray(matrix)).min())
        if not least > 0:
            raise ValueError(f"`{name}` must be positive definite, got the eigenvalue {least:.3g}.")


UNROLLED_LENGTH = 8
"""Up to here products of small vectors are written out: under `jax.vmap` over a grid XLA then fuses them."""


def components(v: Float[Array, " d"]) -> tuple[Scalar, ...]:
    """The entries of a short vector, as static slices that XLA fuses."""
    return tuple(jax.lax.index_in_dim(v, i, keepdims=False) for i in range(v.shape[0]))


def dot(a: Float[Array, " d"], b: Float[Array, " d"]) -> Scalar:
    r"""$a \cdot b$, written out for lengths from 1 to 8."""
    if a.shape != b.shape:
        raise ValueError(f"`a` and `b` must have the same shape, got {a.shape} and {b.shape}.")
    if not 1 <= a.shape[0] <= UNROLLED_LENGTH:
        return a @ b
    first, *rest = (left * right for left, right in zip(components(a), components(b), strict=True))
    return sum(rest, start=first)


def matvec(A: Float[Array, "n d"], v: Float[Array, " d"]) -> Float[Array, " n"]:
    """`A @ v`, written out where both sides have lengths from 1 to 8."""
    if not (1 <= A.shape[0] <= UNROLLED_LENGTH and 1 <= A.shape[1] <= UNROLLED_LENGTH):
        return A @ v
    return jnp.stack([dot(jax.lax.index_in_dim(A, i, keepdims=False), v) for i in range(A.shape[0])])
