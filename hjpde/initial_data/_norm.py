"""Norms as initial data."""

from typing import Literal, final

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._types import Point, Scalar, ScalarLike, positive_scalar

from ._abstract import AbstractInitialDatum


@final
class Norm(AbstractInitialDatum):
    r"""$g(x) = s\,|x|_q$ with $q \in \{1, 2, \infty\}$, in any dimension.

    Its Hopf-Lax envelope under $H = |p|^2$ is Moreau's, by projection onto the dual ball of radius $s$.

    ??? cite "References"

        N. Parikh and S. Boyd, *Proximal Algorithms*, Found. Trends Optim. 1(3), 2014, Section 6.5.
    """

    order: Literal["1", "2", "inf"] = eqx.field(static=True)
    scale: Scalar

    def __init__(self, order: int | float | str = 2, scale: ScalarLike = 1.0):
        r"""**Arguments:**

        - `order`: $q$, one of 1, 2 and infinity.
        - `scale`: $s > 0$, in units of `u` per unit of `x`.

        **Raises:** `ValueError` if `order` is another one, or `scale` is known now and not positive.
        """
        names: dict[str, Literal["1", "2", "inf"]] = {
            "1": "1",
            "1.0": "1",
            "2": "2",
            "2.0": "2",
            "inf": "inf",
        }
        if str(order) not in names:
            raise ValueError(f"`order` must be 1, 2 or infinity, got {order}.")
        self.order = names[str(order)]
        self.scale = positive_scalar(scale, "scale", jnp.result_type(float))

    @property
    def dim(self) -> None:
        return None

    def __call__(self, x: Point) -> Scalar:
        return self.scale.astype(x.dtype) * _norm(x, self.order)


def _norm(x: Float[Array, " d"], order: str) -> Scalar:
    if order == "1":
        return jnp.sum(jnp.abs(x))
    if order == "inf":
        return jnp.max(jnp.abs(x))
    return safe_length(x)


def safe_length(x: Float[Array, "*batch d"]) -> Float[Array, "*batch"]:
    """The Euclidean length of the last axis; its derivative at 0 is the subgradient 0, not NaN."""
    squared = jnp.sum(x * x, axis=-1)
    zero = squared == 0
    return jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, squared)))
