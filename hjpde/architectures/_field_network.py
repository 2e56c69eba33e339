"""A residual network given by its velocity field alone."""

import math
from collections.abc import Callable
from typing import Literal, final, get_args

import equinox as eqx
from jaxtyping import Array, Float

from hjpde._types import ScalarLike

from ._abstract import require_positive
from ._architecture import AbstractArchitecture

Stepping = Literal["euler", "heun"]


@final
class FieldNetwork(AbstractArchitecture):
    r"""$x_{k+1} = x_k + h\,F(s_k, x_k)$ with `L` layers over the depth `T`, for any velocity $F(s, x)$.

    The weights may vary smoothly with `s`: a deeper network of the same field is then a finer discretisation of the
    same flow. Its input is the state, and so is its output.

    ??? cite "References"

        E. Haber and L. Ruthotto, *Stable architectures for deep neural networks*, Inverse Problems 34 (2018).
        R. T. Q. Chen et al., *Neural Ordinary Differential Equations*, NeurIPS 2018.
    """

    field: Callable
    depth: int = eqx.field(static=True)
    horizon: float = eqx.field(static=True)
    stepping: Stepping = eqx.field(static=True)

    def __init__(self, field: Callable, depth: int, horizon: float = 1.0, stepping: str = "euler"):
        """**Arguments:**

        - `field`: `F`, a function of the depth `s` and of one state of shape `(d,)` with a value of that shape; an
          Equinox module if gradients with respect to its weights are wanted.
        - `depth`: the number of layers `L`.
        - `horizon`: the depth `T` at the end.
        - `stepping`: `"euler"`, or `"heun"` for a layer that evaluates the field twice (order 2).

        **Raises:** `ValueError` if an argument is of another kind or range.
        """
        require_positive(depth=depth)
        if not callable(field):
            raise ValueError(f"`field` must be a function of s and x, got {type(field).__name__}.")
        if not (math.isfinite(horizon) and horizon > 0):
            raise ValueError(f"`horizon` must be positive and finite, got {horizon!r}.")
        if stepping not in get_args(Stepping):
            raise ValueError(f"`stepping` must be one of {', '.join(get_args(Stepping))}, got {stepping!r}.")
        self.field, self.depth, self.horizon = field, depth, float(horizon)
        self.stepping = stepping  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def layer_count(self) -> int:
        return self.depth

    @property
    def layer_time(self) -> float:
        return self.horizon / self.depth

    @property
    def input_ndim(self) -> int:
        return 1

    @property
    def scheme(self) -> str:
        return "explicit Euler" if self.stepping == "euler" else "Heun's method"

    @property
    def expected_order(self) -> float:
        return 1.0 if self.stepping == "euler" else 2.0

    def __call__(self, x: Float[Array, " d"]) -> Float[Array, " d"]:
        """The state after the last layer."""
        for k in range(self.depth):
            x = self.step(k * self.layer_time, x, self.layer_time, None)
        return x

    def start(self, x: Float[Array, " d"]) -> Float[Array, " d"]:
        return x

    def layers(self, x: Float[Array, " d"] | None) -> None:
        return None

    def velocity(self, s: ScalarLike, z: Float[Array, " d"], layer: None) -> Float[Array, " d"]:
        return self.field(s, z)

    def step(self, s: ScalarLike, z: Float[Array, " d"], h: ScalarLike, layer: None) -> Float[Array, " d"]:
        slope = self.field(s, z)
        if self.stepping == "euler":
            return z + h * slope
        return z + h / 2 * (slope + self.field(s + h, z + h * slope))

    def settle(self, z: Float[Array, " d"], layer: None) -> Float[Array, " d"]:
        return z

    def finish(self, z: Float[Array, " d"]) -> Float[Array, " d"]:
        return z
