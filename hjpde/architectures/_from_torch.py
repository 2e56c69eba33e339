"""Networks of torch as architectures, from a module, from its weights by name, or from a file of them."""

import os
import re
from collections.abc import Mapping
from typing import Any, Literal, get_args

import jax.numpy as jnp

from ._abstract import Activation, require_choice
from ._architecture import AbstractArchitecture
from ._recurrent_stack import RecurrentStack
from ._residual_stack import ResidualStack
from ._safetensors import read_safetensors
from ._torch_attention import attention_from_torch, encoder_from_torch, layer_prefixes
from ._torch_recurrent import recurrent_from_torch
from ._torch_weights import TorchWeights

Kind = Literal["rnn", "gru", "lstm", "attention", "encoder-layer", "encoder", "residual"]
_CLASSES: dict[str, Kind] = {
    "RNN": "rnn",
    "GRU": "gru",
    "LSTM": "lstm",
    "MultiheadAttention": "attention",
    "TransformerEncoderLayer": "encoder-layer",
    "TransformerEncoder": "encoder",
    "Sequential": "residual",
}
# By torch's names: its "gelu" is the exact one. Functions come by their names, modules by those of their classes.
_ACTIVATIONS: dict[str, Activation] = {
    "relu": "relu",
    "gelu": "exact-gelu",
    "gelu-tanh": "gelu",
    "silu": "silu",
    "tanh": "tanh",
}
_GATES: dict[int, Kind] = {1: "rnn", 3: "gru", 4: "lstm"}


def from_torch(
    source: Any,
    *,
    kind: str | None = None,
    heads: int | None = None,
    norm_first: bool | None = None,
    activation: str | None = None,
    nonlinearity: str | None = None,
    layer_norm_eps: float | None = None,
    causal: bool = False,
) -> AbstractArchitecture | RecurrentStack:
    r"""A network of torch as an architecture of ours, with the same output for one sequence or vector.

    | torch | here |
    |---|---|
    | `nn.RNN`, `nn.GRU`, `nn.LSTM` | see `recurrent_from_torch` |
    | `nn.MultiheadAttention` of a sequence with itself | an `Attention` with `residual=False` |
    | `nn.TransformerEncoderLayer`, `nn.TransformerEncoder` | a `TransformerEncoder` |
    | `nn.Sequential` of square `nn.Linear`, or entries such as `blocks.0.weight` | a `ResidualStack`, see below |

    torch itself is not needed, and no pickle is read. Dropout is left out, as at inference. A stack of linear layers
    is read as residual, $x \leftarrow x + \sigma(Wx + b)$ for each; activations and dropout among the members of the
    `nn.Sequential` are no further layers.

    **Arguments:**

    - `source`: a module, a `state_dict()` (names with tensors or arrays), or the path of a `.safetensors` file.

    The others are for what names of weights cannot tell. A module tells it itself, and a contradiction is an error:

    - `kind`: `"rnn"`, `"gru"`, `"lstm"`, `"attention"`, `"encoder-layer"`, `"encoder"` or `"residual"`; by default as
      the names tell.
    - `heads`: the number of heads; needed for attention and encoders.
    - `norm_first`: whether an encoder's norms stand before its parts; by default not, as in torch.
    - `activation`: `"relu"`, `"gelu"` (exact, as in torch), `"gelu-tanh"`, `"silu"` or `"tanh"`; of an encoder by
      default `"relu"`, as in torch; needed for residual layers.
    - `nonlinearity`: of an RNN, `"tanh"` (the default, as in torch) or `"relu"`.
    - `layer_norm_eps`: of an encoder's norms, by default 1e-5, as in torch.
    - `causal`: whether attention is called with the causal mask, which is no part of a module.

    **Raises:** `ValueError` that names the entry if one is missing, unknown, of another shape, not real or not finite;
    that names the file if it is truncated or malformed; or that names the argument that is needed or contradicted.
    """
    module, weights = _opened(source)
    told = None if module is None else _kind_of(module)
    chosen = _agreed("kind", told, kind, None) or _kind_named(weights)
    require_choice("kind", chosen, get_args(Kind))
    if chosen in _GATES.values():
        told = getattr(module, "nonlinearity", None)
        return recurrent_from_torch(weights.arrays, chosen, _agreed("nonlinearity", told, nonlinearity, "tanh"))
    if chosen == "residual":
        return _residual(weights, _activation(_agreed("activation", _of_members(module), activation, None)))
    layer = module if chosen != "encoder" else _layer_of(module)
    attention = module if chosen == "attention" else getattr(layer, "self_attn", None)
    heads = _agreed("heads", getattr(attention, "num_heads", None), heads, None)
    if heads is None:
        raise ValueError("`heads` must be given: weights do not tell the number of heads.")
    if chosen == "attention":
        if getattr(module, "add_zero_attn", False):
            raise ValueError("`source`: an attention with `add_zero_attn` is no map of its tokens alone.")
        return attention_from_torch(weights, heads, causal)
    told = None if layer is None else _name_of_activation(layer.activation)
    eps = _agreed("layer_norm_eps", None if layer is None else _eps(layer.norm1), layer_norm_eps, 1e-5)
    final = getattr(module, "norm", None)
    return encoder_from_torch(
        weights,
        [""] if chosen == "encoder-layer" else layer_prefixes(weights),
        heads=heads,
        norm_first=_agreed("norm_first", getattr(layer, "norm_first", None), norm_first, False),
        activation=_activation(_agreed("activation", told, activation, "relu" if layer is None else None)),
        eps=eps,
        final_eps=eps if final is None else _eps(final),
        causal=causal,
    )


def _opened(source: Any) -> tuple[Any, TorchWeights]:
    """The module, if `source` is one, and its weights."""
    if isinstance(source, str | os.PathLike):
        return None, TorchWeights(read_safetensors(source))
    if isinstance(source, Mapping):
        return None, TorchWeights(source)
    if hasattr(source, "state_dict"):
        return source, TorchWeights(source.state_dict())
    raise ValueError(
        "`source` must be a module of torch, a mapping of names to arrays or the path of a `.safetensors` file, "
        f"got {type(source).__name__}."
    )


def _agreed(name: str, told: Any, given: Any, default: Any) -> Any:
    """What the module tells, or else what is given.

    **Raises:** `ValueError` if they contradict each other.
    """
    if told is not None and given is not None and told != given:
        raise ValueError(f"`{name}` = {given!r} contradicts the module, which has {told!r}.")
    return next((value for value in (told, given) if value is not None), default)


def _kind_of(module: Any) -> Kind:
    names = [cls.__name__ for cls in type(module).__mro__]
    for name in names:
        if name in _CLASSES:
            return _CLASSES[name]
    raise ValueError(f"`source` must be one of nn.{', nn.'.join(_CLASSES)}, got {names[0]}.")


def _kind_named(weights: TorchWeights) -> Kind:
    """The kind, as the names and shapes of the weights tell."""
    names = set(weights.arrays)
    if any(name.startswith(("weight_hh", "weight_ih")) for name in names):
        rows, columns = weights.take("weight_hh_l0", None, None).shape
        if rows % columns == 0 and rows // columns in _GATES:
            return _GATES[rows // columns]
        raise ValueError(f"`weight_hh_l0` must have 1, 3 or 4 times as many rows as columns, got {rows} and {columns}.")
    if names & {"in_proj_weight", "out_proj.weight"}:
        return "attention"
    if any(name.startswith("self_attn.") for name in names):
        return "encoder-layer"
    if any(re.match(r"layers\.\d+\.self_attn\.", name) for name in names):
        return "encoder"
    if any(re.search(r"(^|\.)\d+\.weight$", name) for name in names):
        return "residual"
    raise ValueError(
        f"`kind` must be given: the names {', '.join(sorted(names)) or '(none)'} tell of no known network."
    )


def _activation(name: str | None) -> Activation:
    if name is None:
        raise ValueError(f"`activation` must be given: one of {', '.join(_ACTIVATIONS)}.")
    require_choice("activation", name, tuple(_ACTIVATIONS))
    return _ACTIVATIONS[name]


def _name_of_activation(function: Any) -> str | None:
    """The name in `_ACTIVATIONS` of a function or module of torch, if it is one of them."""
    name = getattr(function, "__name__", type(function).__name__).lower()
    if name == "gelu" and getattr(function, "approximate", "none") == "tanh":
        return "gelu-tanh"
    return name if name in _ACTIVATIONS else None


def _of_members(module: Any) -> str | None:
    """The one activation that stands in an `nn.Sequential`, if there is one.

    **Raises:** `ValueError` if its members are of other kinds.
    """
    found: set[str] = set()
    members: list[Any] = [] if module is None else list(module)
    for k, member in enumerate(members):
        names = {cls.__name__ for cls in type(member).__mro__}
        activation = _name_of_activation(member)
        if activation is not None:
            found.add(activation)
        elif not names & {"Linear", "Dropout", "Identity"}:
            raise ValueError(
                f"`source` must hold linear layers and activations only, got {type(member).__name__} at {k}."
            )
    if len(found) > 1:
        raise ValueError(f"`source` must have one activation, got {', '.join(sorted(found))}.")
    return next(iter(found), None)


def _layer_of(encoder: Any) -> Any:
    """The layer of an encoder that tells the options of all, which must be alike."""
    if encoder is None:
        return None
    layers = list(encoder.layers)
    options = {
        (x.norm_first, _eps(x.norm1), _eps(x.norm2), x.self_attn.num_heads, _name_of_activation(x.activation))
        for x in layers
    }
    if len(options) != 1:
        raise ValueError("`source` must be a stack of one layer or more with the same options, got different ones.")
    return layers[0]


def _eps(norm: Any) -> float:
    """What a layer norm adds to the variance."""
    if "LayerNorm" not in {cls.__name__ for cls in type(norm).__mro__}:
        raise ValueError(f"`source` must have layer norms, got {type(norm).__name__}.")
    return norm.eps


def _residual(weights: TorchWeights, activation: Activation) -> ResidualStack:
    matched = {name: re.fullmatch(r"(.*\.)?(\d+)\.(weight|bias)", name) for name in weights.arrays}
    for name, match in matched.items():
        if match is None:
            raise ValueError(f"`{name}` is no entry of residual layers; they are named like `blocks.0.weight`.")
    stems = sorted({(match[1] or "", int(match[2])) for match in matched.values() if match})
    if not stems or len({stem for stem, _ in stems}) > 1:
        raise ValueError(f"`source` must be one stack of layers, got {', '.join(sorted(matched)) or 'no weights'}.")
    biased = any(name.endswith("bias") for name in matched)
    rows, offsets = [], []
    for stem, k in stems:
        W = weights.take(f"{stem}{k}.weight", None, None)
        if W.shape[0] != W.shape[1]:
            raise ValueError(f"`{stem}{k}.weight` must be square for a residual layer, got shape {W.shape}.")
        if rows and W.shape != rows[0].shape:
            raise ValueError(f"`{stem}{k}.weight` must have shape {rows[0].shape} as the first layer, got {W.shape}.")
        rows.append(W)
        b = weights.take(f"{stem}{k}.bias", W.shape[0]) if biased else jnp.zeros(W.shape[0], W.dtype)
        offsets.append(b)
    weights.done()
    return ResidualStack(jnp.stack(rows), jnp.stack(offsets), activation)
