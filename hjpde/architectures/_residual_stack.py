"""Residual layers of one matrix each, without maps in and out."""

from typing import Any, final, get_args

import equinox as eqx
import jax
from jaxtyping import Array, Float

from hjpde._types import ArrayInput, ScalarLike, as_float_array

from ._abstract import Activation, activate, require_choice
from ._architecture import AbstractArchitecture


@final
class ResidualStack(AbstractArchitecture):
    r"""$x_{k+1} = x_k + \sigma(W_k x_k + b_k)$ with one activation: explicit Euler steps of size 1.

    The horizon is the number of layers. `ResidualNetwork` has two matrices a layer, norms, and maps in and out.
    """

    weights: Float[Array, "L d d"]
    biases: Float[Array, "L d"]
    activation: Activation = eqx.field(static=True)

    def __init__(self, weights: ArrayInput, biases: ArrayInput, activation: str = "tanh"):
        """**Arguments:**

        - `weights`: shape `(L, d, d)`.
        - `biases`: shape `(L, d)`.
        - `activation`: `"gelu"` (the tanh form), `"exact-gelu"`, `"relu"`, `"silu"` or `"tanh"`.

        **Raises:** `ValueError` if the shapes disagree, there is no layer, or the name is not known.
        """
        require_choice("activation", activation, get_args(Activation))
        W, b = as_float_array(weights, "weights", 3), as_float_array(biases, "biases", 2)
        if W.size == 0 or W.shape[1] != W.shape[2] or b.shape != W.shape[:2]:
            raise ValueError(
                f"`weights` must have shape (L, d, d) and `biases` (L, d) with L, d >= 1, got {W.shape} and {b.shape}."
            )
        self.weights, self.biases = W, b.astype(W.dtype)
        self.activation = activation  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def layer_count(self) -> int:
        return self.weights.shape[0]

    @property
    def layer_time(self) -> float:
        return 1.0

    @property
    def input_ndim(self) -> int:
        return 1

    @property
    def scheme(self) -> str:
        return "explicit Euler"

    @property
    def expected_order(self) -> float:
        return 1.0

    def __call__(self, x: Float[Array, " d"]) -> Float[Array, " d"]:
        """The state after the last layer."""
        return jax.lax.scan(lambda z, layer: (self.step(0.0, z, 1.0, layer), None), x, self.layers(x))[0]

    def start(self, x: Float[Array, " d"]) -> Float[Array, " d"]:
        return x

    def layers(self, x: Float[Array, " d"] | None) -> Any:
        return self.weights, self.biases

    def velocity(self, s: ScalarLike, z: Float[Array, " d"], layer: Any) -> Float[Array, " d"]:
        W, b = layer
        return activate(W @ z + b, self.activation)

    def step(self, s: ScalarLike, z: Float[Array, " d"], h: ScalarLike, layer: Any) -> Float[Array, " d"]:
        return z + h * self.velocity(s, z, layer)

    def settle(self, z: Float[Array, " d"], layer: Any) -> Float[Array, " d"]:
        return z

    def finish(self, z: Float[Array, " d"]) -> Float[Array, " d"]:
        return z
