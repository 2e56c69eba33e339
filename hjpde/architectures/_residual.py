"""A residual network on vectors."""

import math
from typing import Any, Literal, final, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from hjpde._types import ScalarLike

from ._abstract import Activation, activate, affine, layer_norm, require_choice, require_positive
from ._architecture import AbstractArchitecture, State

Stepping = Literal["euler", "reflected", "symplectic-euler", "leapfrog"]
_SCHEMES = {
    "euler": "explicit Euler",
    "reflected": "explicit Euler, then the projection onto x >= 0 (catching-up scheme)",
    "symplectic-euler": "symplectic Euler",
    "leapfrog": "leapfrog",
}


class _Block(eqx.Module):
    r"""$F(x) = W_2\,\sigma(W_1 \mathrm{LN}(x) + b_1) + b_2$, the velocity of one layer, with or without the norm."""

    norm: eqx.nn.LayerNorm | None
    inner: eqx.nn.Linear
    outer: eqx.nn.Linear
    activation: Activation = eqx.field(static=True)

    def __init__(self, width: int, hidden: int, norm: bool, activation: Activation, key: PRNGKeyArray):
        inner_key, outer_key = jax.random.split(key)
        self.norm = eqx.nn.LayerNorm(width) if norm else None
        self.inner = eqx.nn.Linear(width, hidden, key=inner_key)
        self.outer = eqx.nn.Linear(hidden, width, key=outer_key)
        self.activation = activation

    def __call__(self, x: Float[Array, " w"], mask: Float[Array, " m"] | None = None) -> Float[Array, " w"]:
        hidden = affine(self.inner, x if self.norm is None else layer_norm(self.norm, x))
        hidden = activate(hidden, self.activation)
        return affine(self.outer, hidden if mask is None else hidden * mask)


@final
class ResidualNetwork(AbstractArchitecture):
    r"""A residual network, read in and out by affine maps:

    $$x_0 = E\,z + e, \qquad x_{k+1} = x_k + \tfrac TL F_k(x_k), \qquad
    F_k(x) = V_k\,\sigma(W_k\,\mathrm{LN}(x) + b_k) + c_k, \qquad \text{logits} = R\,x_L + r,$$

    with $L$ = `depth` layers. As `stepping` says, a layer is

    - `"euler"`: as above, an Euler step of $\dot x = F(s, x)$ with $F = F_k$ on the layer's interval;
    - `"reflected"`: $\max(x + \frac TL F_k(x), 0)$, the catching-up scheme of $\dot x \in F - N(x)$, reflected at
      $x \ge 0$ (the ReLU after the addition of the first residual networks);
    - `"symplectic-euler"` and `"leapfrog"`: of $\ddot x = F(s, x)$, with the velocity 0 at the start (momentum).

    ??? cite "References"

        K. He, X. Zhang, S. Ren and J. Sun, *Identity Mappings in Deep Residual Networks*, ECCV 2016. M. E. Sander,
        P. Ablin, M. Blondel and G. Peyré, *Momentum Residual Neural Networks*, ICML 2021. J. J. Moreau, *Evolution
        problem associated with a moving convex set in a Hilbert space*, Journal of Differential Equations 26 (1977).
    """

    embed: eqx.nn.Linear
    blocks: _Block
    readout: eqx.nn.Linear
    depth: int = eqx.field(static=True)
    horizon: float = eqx.field(static=True)
    stepping: Stepping = eqx.field(static=True)

    def __init__(
        self,
        in_size: int,
        out_size: int,
        width: int,
        depth: int,
        *,
        hidden: int | None = None,
        norm: bool = True,
        activation: str = "gelu",
        stepping: str = "euler",
        horizon: float = 1.0,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `in_size`, `out_size`: the lengths of the input and of the logits.
        - `width`: the length of the state $x_k$.
        - `depth`: the number of layers; their weights are stacked on a leading axis of `blocks`.
        - `hidden`: the hidden units of a layer, by default `width`.
        - `norm`: whether a layer norm stands before each layer.
        - `activation`: `"gelu"` (the tanh form), `"exact-gelu"`, `"relu"`, `"silu"` or `"tanh"`.
        - `stepping`: `"euler"`, `"reflected"`, `"symplectic-euler"` or `"leapfrog"`.
        - `horizon`: $T$, the depth at the end. Only $T F$ counts, so it is a gauge.
        - `key`: draws the weights.

        **Raises:** `ValueError` if a size is not positive, or a name is not known.
        """
        hidden = width if hidden is None else hidden
        require_positive(in_size=in_size, out_size=out_size, width=width, depth=depth, hidden=hidden)
        require_choice("stepping", stepping, get_args(Stepping))
        require_choice("activation", activation, get_args(Activation))
        if not (math.isfinite(horizon) and horizon > 0):
            raise ValueError(f"`horizon` must be positive and finite, got {horizon!r}.")
        embed_key, blocks_key, readout_key = jax.random.split(key, 3)
        self.embed = eqx.nn.Linear(in_size, width, key=embed_key)
        self.blocks = eqx.filter_vmap(lambda k: _Block(width, hidden, norm, activation, k))(  # pyright: ignore
            jax.random.split(blocks_key, depth)
        )
        self.readout = eqx.nn.Linear(width, out_size, key=readout_key)
        self.depth, self.horizon = depth, float(horizon)
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
        return _SCHEMES[self.stepping]

    @property
    def expected_order(self) -> float:
        return 2.0 if self.stepping == "leapfrog" else 1.0

    @property
    def has_momentum(self) -> bool:
        """Whether the state is a pair of a position and a velocity."""
        return self.stepping in ("symplectic-euler", "leapfrog")

    def __call__(self, x: Float[Array, " in_size"]) -> Float[Array, " out_size"]:
        """The logits of one vector."""

        def layer(z, weights):
            return self.step(0.0, z, self.layer_time, weights), None

        return self.finish(jax.lax.scan(layer, self.start(x), self.layers(x))[0])

    def start(self, x: Float[Array, " in_size"]) -> State:
        x = affine(self.embed, x)
        x = jnp.maximum(x, 0) if self.stepping == "reflected" else x
        return (x, jnp.zeros_like(x)) if self.has_momentum else x

    def layers(self, x: Float[Array, " in_size"] | None) -> Any:
        return eqx.filter(self.blocks, eqx.is_array)

    def block(self, layer: Any) -> _Block:
        """The layer's velocity as a function of the position."""
        return eqx.combine(layer, eqx.filter(self.blocks, eqx.is_array, inverse=True))

    def velocity(self, s: ScalarLike, z: State, layer: Any) -> State:
        del s
        block = self.block(layer)
        if self.has_momentum:
            return z[1], block(z[0])
        if self.stepping == "reflected":
            # On the boundary only what leads inside remains.
            velocity = block(jnp.maximum(z, 0))
            return jnp.where(z > 0, velocity, jnp.maximum(velocity, 0))
        return block(z)

    def step(self, s: ScalarLike, z: State, h: ScalarLike, layer: Any) -> State:
        return self.masked_step(s, z, h, layer, None)

    def masked_step(
        self, s: ScalarLike, z: State, h: ScalarLike, layer: Any, mask: Float[Array, " hidden"] | None
    ) -> State:
        """`step` with the layer's hidden units multiplied by `mask`."""
        del s
        block = self.block(layer)
        if self.stepping == "symplectic-euler":
            v = z[1] + h * block(z[0], mask)
            return z[0] + h * v, v
        if self.stepping == "leapfrog":
            middle = z[0] + h / 2 * z[1]
            v = z[1] + h * block(middle, mask)
            return middle + h / 2 * v, v
        z = z + h * block(z, mask)
        return jnp.maximum(z, 0) if self.stepping == "reflected" else z

    @property
    def hidden_size(self) -> int:
        """The number of hidden units of a layer."""
        return self.blocks.inner.weight.shape[1]

    def settle(self, z: State, layer: Any) -> State:
        return jnp.maximum(z, 0) if self.stepping == "reflected" else z

    def finish(self, z: State) -> Float[Array, " out_size"]:
        return affine(self.readout, z[0] if self.has_momentum else z)
