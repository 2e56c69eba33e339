"""One layer of a transformer: attention `A` and a perceptron `B` on the tokens, and the ways to step their flow."""

import math
from collections.abc import Callable
from typing import Literal, final, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from hjpde._types import ScalarLike

from ._abstract import Activation, activate, affine, layer_norm, require_choice
from ._self_attention import SelfAttention

Order = Literal["sequential", "parallel", "strang"]
Norm = Literal["pre", "post", "sphere"]
_SCHEMES = {
    "sequential": "Lie-Trotter splitting, attention then perceptron, each by explicit Euler",
    "parallel": "explicit Euler of the sum of attention and perceptron",
    "strang": "Strang splitting, each part by Heun's method",
    "post": "explicit Euler of the relaxation towards the block's value",
    "sphere": "Lie-Trotter splitting by explicit Euler, each part retracted to the sphere",
}

Tokens = Float[Array, "n w"]


@final
class TransformerBlock(eqx.Module):
    """Attention, then a perceptron with one hidden layer, each added to its input, with a layer norm before or after.

    `Transformer` and `TransformerEncoder` hold such blocks stacked on a leading axis. The norms are `None` where
    `norm` is `"sphere"`.
    """

    attention_norm: eqx.nn.LayerNorm | None
    attention: SelfAttention
    perceptron_norm: eqx.nn.LayerNorm | None
    inner: eqx.nn.Linear
    outer: eqx.nn.Linear
    activation: Activation = eqx.field(static=True, default="gelu")
    order: Order = eqx.field(static=True, default="sequential")
    norm: Norm = eqx.field(static=True, default="pre")

    @property
    def scheme(self) -> str:
        """The integrator that the block is, in words."""
        return _SCHEMES[self.order if self.norm == "pre" else self.norm]

    @property
    def expected_order(self) -> float:
        """The order of `step` against the flow of `velocity`."""
        return 2.0 if self.order == "strang" else 1.0

    def attend(self, x: Tokens) -> Tokens:
        """`A`, the part of the velocity that lets tokens interact."""
        return self.attention(self.attention_input(x))

    def attention_input(self, x: Tokens) -> Tokens:
        """What the attention reads of the tokens: their norm where it comes first."""
        return x if self.norm != "pre" or self.attention_norm is None else layer_norm(self.attention_norm, x)

    def perceive(self, x: Tokens) -> Tokens:
        """`B`, the part of the velocity that moves each token by itself."""
        x = x if self.norm != "pre" or self.perceptron_norm is None else layer_norm(self.perceptron_norm, x)
        return affine(self.outer, activate(affine(self.inner, x), self.activation))

    def velocity(self, x: Tokens, layer_time: float) -> Tokens:
        """What `step` follows as its size goes to zero."""
        if self.norm == "post":
            return (self.whole(x, layer_time) - x) / layer_time
        velocity = self.attend(x) + self.perceive(x)
        return _tangential(x, velocity) if self.norm == "sphere" else velocity

    def step(self, x: Tokens, h: ScalarLike, layer_time: float) -> Tokens:
        """A step of size `h`; of `layer_time`, it is the block."""
        if self.norm == "post":
            return x + h * self.velocity(x, layer_time)
        return self._split_step(x, h)

    def whole(self, x: Tokens, layer_time: float) -> Tokens:
        """The block itself, `step` of size `layer_time`."""
        if self.norm != "post":
            return self._split_step(x, layer_time)
        assert self.attention_norm is not None
        assert self.perceptron_norm is not None
        x = layer_norm(self.attention_norm, x + layer_time * self.attend(x))
        return layer_norm(self.perceptron_norm, x + layer_time * self.perceive(x))

    def _split_step(self, x: Tokens, h: ScalarLike) -> Tokens:
        if self.norm == "sphere":
            x = to_sphere(x + h * self.attend(x))
            return to_sphere(x + h * self.perceive(x))
        match self.order:
            case "sequential":
                x = x + h * self.attend(x)
                return x + h * self.perceive(x)
            case "parallel":
                return x + h * (self.attend(x) + self.perceive(x))
            case "strang":
                x = _heun(self.perceive, x, h / 2)
                x = _heun(self.attend, x, h)
                return _heun(self.perceive, x, h / 2)

    def settle(self, x: Tokens) -> Tokens:
        """The tokens on the sphere that the norms keep them on, if they do."""
        return to_sphere(x) if self.norm == "sphere" else x


def draw_blocks(
    width: int,
    heads: int,
    hidden: int,
    depth: int,
    *,
    activation: str = "gelu",
    order: str = "sequential",
    norm: str = "pre",
    causal: bool = False,
    key: PRNGKeyArray,
) -> TransformerBlock:
    """`depth` random blocks, stacked on a leading axis.

    **Raises:** `ValueError` for a name that is not known, or an `order` that needs the norm first.
    """
    require_choice("activation", activation, get_args(Activation))
    require_choice("order", order, get_args(Order))
    require_choice("norm", norm, get_args(Norm))
    if norm != "pre" and order != "sequential":
        raise ValueError(f'`order` must be sequential unless `norm` is "pre", got {order!r} with {norm!r}.')

    def draw(key: PRNGKeyArray) -> TransformerBlock:
        keys = jax.random.split(key, 3)
        bound = 1 / math.sqrt(width)
        weights = jax.random.uniform(keys[0], (4, width, width), minval=-bound, maxval=bound)
        return TransformerBlock(
            attention_norm=None if norm == "sphere" else eqx.nn.LayerNorm(width),
            attention=SelfAttention(*weights, heads=heads, causal=causal),
            perceptron_norm=None if norm == "sphere" else eqx.nn.LayerNorm(width),
            inner=eqx.nn.Linear(width, hidden, key=keys[1]),
            outer=eqx.nn.Linear(hidden, width, key=keys[2]),
            activation=activation,  # pyright: ignore[reportArgumentType]
            order=order,  # pyright: ignore[reportArgumentType]
            norm=norm,  # pyright: ignore[reportArgumentType]
        )

    return eqx.filter_vmap(draw)(jax.random.split(key, depth))


def to_sphere(x: Tokens) -> Tokens:
    """Each token with mean 0 and variance 1."""
    centred = x - jnp.mean(x, axis=-1, keepdims=True)
    variance = jnp.mean(centred**2, axis=-1, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.maximum(variance, jnp.finfo(x.dtype).tiny))


def _tangential(x: Tokens, velocity: Tokens) -> Tokens:
    """The derivative of `to_sphere` at tokens on the sphere, along the velocity."""
    velocity = velocity - jnp.mean(velocity, axis=-1, keepdims=True)
    return velocity - x * jnp.mean(x * velocity, axis=-1, keepdims=True)


def _heun(field: Callable[[Tokens], Tokens], x: Tokens, h: ScalarLike) -> Tokens:
    slope = field(x)
    return x + h / 2 * (slope + field(x + h * slope))
