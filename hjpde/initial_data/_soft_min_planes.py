"""Soft minima of planes: minus a log-sum-exp layer, itself the initial datum."""

from typing import final

import equinox as eqx
from jaxtyping import Array, Float

from hjpde._types import ArrayInput, Point, Scalar, ScalarLike

from ._abstract import AbstractSoftMinimum
from ._affine import as_affine_functions
from ._soft_minimum import as_temperature, require_temperature, soft_minimum


@final
class SoftMinPlanes(AbstractSoftMinimum):
    r"""Minus a log-sum-exp layer: $g(x) = -\varepsilon \log \sum_j \exp((W_j \cdot x + b_j)/\varepsilon)$.

    At $\varepsilon = 0$ it is the minimum of the planes $-W_j \cdot x - b_j$. Under $H = p^\top A p$ and
    $N = \varepsilon A$ it stays of this form, with $b_j + t\,W_j^\top A W_j$ in place of $b_j$; at
    $\varepsilon = 0$ under every convex `H`, with $b_j + t\,H(-W_j)$.

    ??? cite "References"

        J. Darbon, G. P. Langlois and T. Meng, *Overcoming the curse of dimensionality for some Hamilton-Jacobi
        partial differential equations via neural network architectures*, Res. Math. Sci. 7:20, 2020.
    """

    weights: Float[Array, "N d"]
    biases: Float[Array, " N"]
    viscosity: Scalar | None
    hard: bool = eqx.field(static=True)

    def __init__(
        self,
        weights: ArrayInput,
        biases: ArrayInput,
        viscosity: ScalarLike | None = None,
    ):
        r"""**Arguments:**

        - `weights`: the layer's slopes $W$, shape `(N, d)`, in units of `u` per unit of `x`.
        - `biases`: the layer's offsets $b$, shape `(N,)`, in units of `u`; `-inf` masks a plane.
        - `viscosity`: the temperature $\varepsilon \ge 0$; `None` takes that of the problem.

        **Raises:**

        `ValueError` if the shapes disagree, there is no plane, a weight is not finite, a bias is NaN or
        $+\infty$, or `viscosity` is negative.
        """
        self.weights, self.biases = as_affine_functions(weights, biases)
        self.viscosity, self.hard = as_temperature(viscosity, "viscosity", self.weights.dtype)

    @property
    def dim(self) -> int:
        return self.weights.shape[1]

    def __call__(self, x: Point) -> Scalar:
        viscosity = require_temperature(self.viscosity, "SoftMinPlanes")
        return soft_minimum(-self.weights @ x - self.biases, viscosity)

    def at_viscosity(self, viscosity: ScalarLike) -> "SoftMinPlanes":
        return SoftMinPlanes(self.weights, self.biases, viscosity)
