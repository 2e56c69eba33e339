"""Point masses as initial data: the reading of a layer as a solution."""

from typing import final

import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._types import ArrayInput, Point, Scalar, as_float_array, require_finite

from ._abstract import AbstractInitialDatum


@final
class Atoms(AbstractInitialDatum):
    r"""Point masses: $e^{-g/\varepsilon} = \sum_j e^{-g_j/\varepsilon}\, \delta_{y_j}$.

    As a function, `g` is $g_j$ at $y_j$ and $+\infty$ elsewhere, so that at $\varepsilon = 0$ the Hopf-Lax
    formula reads $u(t, x) = \min_j\, g_j + t\,L((x - y_j)/t)$. Under $H = p^\top A p$ and $N = \varepsilon A$
    the solution is, for every $t > 0$,

    $$u(t, x) = -\varepsilon \log \sum_j \exp\Bigl(-\bigl(g_j + \tfrac{(x-y_j)^\top A^{-1} (x-y_j)}{4t}\bigr)
    / \varepsilon\Bigr) + \tfrac{\varepsilon}{2} \log\det(4\pi\varepsilon t A).$$

    ??? cite "References"

        J. M. A. Minoza, E. F. Legara and C. Monterola, *The Hamilton-Jacobi Theory of Deep Learning*,
        arXiv 2605.28983, 2026, Theorem 4.1 (there without the last term).
    """

    positions: Float[Array, "N d"]
    heights: Float[Array, " N"]

    def __init__(self, positions: ArrayInput, heights: ArrayInput):
        r"""**Arguments:**

        - `positions`: the points $y_j$, shape `(N, d)`, in units of `x`.
        - `heights`: the values $g_j$, shape `(N,)`, in units of `u`; `+inf` drops an atom.

        **Raises:**

        `ValueError` if the shapes disagree, there is no atom, a position is not finite, or a height is NaN or
        $-\infty$.
        """
        positions = as_float_array(positions, "positions", 2)
        heights = as_float_array(heights, "heights", 1).astype(positions.dtype)
        if positions.shape[0] < 1 or positions.shape[1] < 1 or positions.shape[:1] != heights.shape:
            raise ValueError(
                "`positions` must have shape (N, d) and `heights` (N,) with N, d >= 1, got "
                f"{positions.shape} and {heights.shape}."
            )
        require_finite(positions, "positions")
        require_finite(jnp.where(heights == jnp.inf, 0, heights), "heights")
        self.positions, self.heights = positions, heights

    @property
    def dim(self) -> int:
        return self.positions.shape[1]

    def __call__(self, x: Point) -> Scalar:
        here = jnp.all(self.positions == x[None], axis=1)
        return jnp.min(jnp.where(here, self.heights, jnp.inf))
