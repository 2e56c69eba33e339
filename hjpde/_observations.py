"""What can be observed of a solution: samples in time and space, a regression set, or labelled points."""

from typing import final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hjpde._types import ArrayInput, as_float_array, require_finite


@final
class Samples(eqx.Module):
    """Values $u(t_i, x_i)$ of one solution, at known times and points."""

    t: Float[Array, " n"]
    x: Float[Array, "n d"]
    u: Float[Array, " n"]

    def __init__(self, t: ArrayInput, x: ArrayInput, u: ArrayInput):
        """**Arguments:**

        - `t`: times, all above 0, shape `(n,)`, or one for all, shape `()`.
        - `x`: points, shape `(n, d)`.
        - `u`: values, shape `(n,)`.

        **Raises:** `ValueError` if the shapes disagree, there is no sample, a number is NaN or infinite, or a
        time is not positive.
        """
        self.x = _points(x, "x")
        self.u = _column(u, "u", self.x)
        t = as_float_array(t, "t")
        self.t = _column(jnp.broadcast_to(t, self.u.shape) if t.ndim == 0 else t, "t", self.x)
        if not np.all(np.asarray(self.t) > 0):
            raise ValueError(f"`t` must be positive, got {float(jnp.min(self.t)):g}.")


@final
class Regression(eqx.Module):
    """A regression set: targets `y` at points `X`. The time at which the solution is read is a gauge."""

    X: Float[Array, "n d"]
    y: Float[Array, " n"]

    def __init__(self, X: ArrayInput, y: ArrayInput):
        """**Arguments:**

        - `X`: points, shape `(n, d)`.
        - `y`: targets, shape `(n,)`.

        **Raises:** `ValueError` if the shapes disagree, there is no point, or a number is NaN or infinite.
        """
        self.X = _points(X, "X")
        self.y = _column(y, "y", self.X)


@final
class Classification(eqx.Module):
    """Labelled points; a class is a group of atoms, its probability the Gibbs mass of that group.

    `labels` holds indices into `classes`, the sorted distinct labels.
    """

    X: Float[Array, "n d"]
    labels: Int[Array, " n"]
    classes: tuple = eqx.field(static=True)

    def __init__(self, X: ArrayInput, labels: ArrayInput):
        """**Arguments:**

        - `X`: points, shape `(n, d)`.
        - `labels`: integers, strings or booleans, shape `(n,)`, of at least two classes.

        **Raises:** `ValueError` if the shapes disagree, there is no point, a number is NaN or infinite, or there
        is one class only.
        """
        self.X = _points(X, "X")
        given = np.asarray(labels)
        if given.shape != (self.X.shape[0],):
            raise ValueError(f"`labels` must have shape ({self.X.shape[0]},) like the rows of `X`, got {given.shape}.")
        if given.dtype.kind == "f" and not np.all(np.isfinite(given)):
            raise ValueError("`labels` must be finite, got NaN or infinity.")
        classes, indices = np.unique(given, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(f"`labels` must hold at least two classes, got {len(classes)}: {classes.tolist()}.")
        self.labels = jnp.asarray(indices, int)
        self.classes = tuple(classes.tolist())


def _points(value: ArrayInput, name: str) -> Float[Array, "n d"]:
    points = as_float_array(value, name)
    if points.ndim != 2 or points.shape[0] < 1 or points.shape[1] < 1:
        raise ValueError(f"`{name}` must have shape (n, d) with n, d >= 1, got {points.shape}.")
    require_finite(points, name)
    return points


def _column(value: ArrayInput, name: str, points: Float[Array, "n d"]) -> Float[Array, " n"]:
    column = as_float_array(value, name)
    if column.shape != points.shape[:1]:
        raise ValueError(f"`{name}` must have shape ({points.shape[0]},), one a row of the points, got {column.shape}.")
    require_finite(column, name)
    return column.astype(points.dtype)
