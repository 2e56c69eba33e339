"""Balls that grow and merge: the eikonal equation from a distance."""

from typing import final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hjpde._domain import Domain
from hjpde._problem import InitialValueProblem
from hjpde._types import Point, Scalar, ScalarLike
from hjpde.hamiltonians import Eikonal
from hjpde.initial_data._norm import safe_length

from ._abstract import AbstractExactProblem


@final
class MergingBalls(AbstractExactProblem):
    r"""$H = |p|$ and $g = \min_k (|x - c_k| - r_k)$, the signed distance to balls outside of them.

    $u(t, x)$ is the least value of `g` within the distance $t$, so
    $u = \min_k \bigl(\max(|x - c_k| - t, 0) - r_k\bigr)$: the zero level is the boundary of the balls grown by $t$,
    and merges with a concave kink where they meet. About each centre a flat disc spreads from the cone's tip.

    ??? cite "References"

        S. Osher and J. A. Sethian, *Fronts propagating with curvature-dependent speed*, J. Comput. Phys. 79, 1988.
    """

    centres: Float[Array, "K d"]
    radii: Float[Array, " K"]

    def __init__(self, dim: int = 2):
        """**Arguments:**

        - `dim`: $d \\ge 1$; three balls about the origin, those of the plane with further coordinates 0.

        **Raises:** `ValueError` if it is smaller.
        """
        if dim < 1:
            raise ValueError(f"`dim` must be at least 1, got {dim}.")
        plane = np.array([[-0.7, -0.3], [0.6, -0.45], [0.15, 0.75]])
        centres = np.zeros((3, dim))
        centres[:, : min(dim, 2)] = plane[:, : min(dim, 2)]
        self.centres = jnp.asarray(centres, jnp.result_type(float))
        self.radii = jnp.asarray([0.4, 0.3, 0.2], jnp.result_type(float))

    @property
    def problem(self) -> InitialValueProblem:
        ends = np.full(self.centres.shape[1], 2.0)
        return InitialValueProblem(eqx.Partial(self, 0.0), Eikonal(), domain=Domain(-ends, ends))

    def __call__(self, t: ScalarLike, x: Point) -> Scalar:
        distances = safe_length(x[None, :] - self.centres.astype(x.dtype))
        grown = jnp.maximum(distances - jnp.asarray(t, x.dtype), 0)
        return jnp.min(grown - self.radii.astype(x.dtype))
