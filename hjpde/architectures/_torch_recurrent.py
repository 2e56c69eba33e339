"""Recurrent networks from the weights of torch's, by their names there; torch itself is not needed."""

import re
from collections.abc import Mapping
from typing import Any, Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ._abstract import require_choice
from ._gru import GRU
from ._lstm import LSTM
from ._recurrent_stack import RecurrentStack
from ._rnn import RNN, Nonlinearity

Kind = Literal["rnn", "gru", "lstm"]
_GATES = {"rnn": 1, "gru": 3, "lstm": 4}
_NAME = re.compile(r"(?:weight|bias)_(?:ih|hh)_l(\d+)(_reverse)?")


def recurrent_from_torch(
    weights: Mapping[str, Any], kind: str, nonlinearity: str = "tanh"
) -> RNN | GRU | LSTM | RecurrentStack:
    r"""The network of `torch.nn.RNN`, `GRU` or `LSTM` with these weights.

    **Arguments:**

    - `weights`: the entries of the module's `state_dict()`: `weight_ih_l0`, `weight_hh_l0`, `bias_ih_l0` and
        `bias_hh_l0`, the same with `_l1`, ... for further layers, and with `_reverse` for the backward direction;
        without biases for `bias=False`. Tensors of torch, or any arrays; their dtype is kept.
    - `kind`: `"rnn"`, `"gru"` or `"lstm"`.
    - `nonlinearity`: that of an RNN, `"tanh"` or `"relu"`.

    **Returns:** for one layer in one direction an `RNN`, `GRU` or `LSTM` whose output is the last hidden state and
    whose `states` are torch's output; else a `RecurrentStack`. They take one sequence of shape `(n, in)`.

    **Raises:** `ValueError` that names the entry if one is missing, unknown, of another shape, not real or not finite,
    or if the kind has projections (`proj_size`).
    """
    require_choice("kind", kind, get_args(Kind))
    require_choice("nonlinearity", nonlinearity, get_args(Nonlinearity))
    layers, directions, biased = _layout(weights)
    suffixes = [f"_l{k}{side}" for k in range(layers) for side in ("", "_reverse")[:directions]]
    expected = [f"{name}{suffix}" for suffix in suffixes for name in _names(biased)]
    missing = [name for name in expected if name not in weights]
    if missing:
        raise ValueError(f"`weights` must have {', '.join(f'`{name}`' for name in missing)}, got {sorted(weights)}.")
    arrays = {name: _array(weights[name], name) for name in expected}
    dtypes = {str(array.dtype) for array in arrays.values()}
    if len(dtypes) > 1:
        raise ValueError(f"`weights` must all have one dtype, got {', '.join(sorted(dtypes))}.")
    hidden, in_size = _sizes(arrays, kind)
    members = []
    for suffix in suffixes:
        read = in_size if len(members) < directions else directions * hidden
        members.append(_member(_checked(arrays, suffix, kind, hidden, read, biased), kind, nonlinearity))
    return members[0] if len(members) == 1 else RecurrentStack(tuple(members), directions)


def _names(biased: bool) -> tuple[str, ...]:
    return ("weight_ih", "weight_hh", *(("bias_ih", "bias_hh") if biased else ()))


def _layout(weights: Mapping[str, Any]) -> tuple[int, int, bool]:
    """The numbers of layers and directions, and whether there are biases, as the names tell."""
    layers, directions = 1, 1
    for name in weights:
        if name.startswith("weight_hr"):
            raise ValueError(f"`{name}` is a projection of the hidden state (`proj_size`), for which no flow is known.")
        match = _NAME.fullmatch(name)
        if match is None:
            raise ValueError(f"`{name}` is no entry of a recurrent network; they are named like `weight_ih_l0`.")
        layers = max(layers, int(match[1]) + 1)
        directions = 2 if match[2] else directions
    if layers > max(1, len(weights) // 2):
        raise ValueError(f"`weights` must have entries for each of its {layers} layers, got {sorted(weights)}.")
    return layers, directions, any(name.startswith("bias") for name in weights)


def _array(value: Any, name: str) -> Array:
    """A tensor of torch, or anything array-like, as a real array of its dtype."""
    try:
        if hasattr(value, "detach"):
            value = value.detach().cpu().numpy()
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"`{name}` must be an array of numbers, got {type(value).__name__}: {error}") from error
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"`{name}` must be of a floating dtype, got {array.dtype}.")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"`{name}` must be finite, got NaN or infinity.")
    return jnp.asarray(array)


def _sizes(arrays: Mapping[str, Array], kind: str) -> tuple[int, int]:
    """The length of the hidden state and that of an element, as the first layer tells."""
    shape = arrays["weight_hh_l0"].shape
    if len(shape) != 2 or not shape[1] or shape[0] != _GATES[kind] * shape[1]:
        raise ValueError(
            f"`weight_hh_l0` must have shape ({_GATES[kind]} hidden, hidden) for the kind {kind!r}, got {shape}."
        )
    first = arrays["weight_ih_l0"].shape
    if len(first) != 2:
        raise ValueError(f"`weight_ih_l0` must have shape ({shape[0]}, in), got {first}.")
    return shape[1], first[1]


def _checked(
    arrays: Mapping[str, Array], suffix: str, kind: str, hidden: int, in_size: int, biased: bool
) -> dict[str, Array]:
    """The entries of one part by their names without the suffix, of the right shapes."""
    rows = _GATES[kind] * hidden
    shapes = {"weight_ih": (rows, in_size), "weight_hh": (rows, hidden), "bias_ih": (rows,), "bias_hh": (rows,)}
    for name in _names(biased):
        shape = arrays[name + suffix].shape
        if shape != shapes[name]:
            raise ValueError(f"`{name}{suffix}` must have shape {shapes[name]}, got {shape}.")
    return {name: arrays[name + suffix] for name in _names(biased)}


def _member(entries: Mapping[str, Array], kind: str, nonlinearity: str) -> RNN | GRU | LSTM:
    """One network; the order of the gates in torch and in equinox is the same."""
    weight_ih, weight_hh = entries["weight_ih"], entries["weight_hh"]
    bias = entries["bias_ih"] + entries["bias_hh"] if "bias_ih" in entries else None
    if kind == "rnn":
        return RNN.from_weights(weight_ih, weight_hh, bias, nonlinearity=nonlinearity)
    if kind == "lstm":
        return LSTM.from_cell(_filled(eqx.nn.LSTMCell, weight_ih, weight_hh, bias))
    if bias is None:
        return GRU.from_cell(_filled(eqx.nn.GRUCell, weight_ih, weight_hh, None))
    # The reset gate multiplies the recurrent bias of the candidate, which therefore stays apart.
    shared = 2 * weight_hh.shape[1]
    bias = jnp.concatenate([bias[:shared], entries["bias_ih"][shared:]])
    cell = _filled(eqx.nn.GRUCell, weight_ih, weight_hh, bias)
    return GRU.from_cell(eqx.tree_at(lambda c: c.bias_n, cell, entries["bias_hh"][shared:]))


def _filled(kind: Any, weight_ih: Array, weight_hh: Array, bias: Array | None) -> Any:
    """The cell of that kind with these weights."""
    sizes, biased = (weight_ih.shape[1], weight_hh.shape[1]), bias is not None
    cell = eqx.filter_eval_shape(lambda: kind(*sizes, use_bias=biased, key=jax.random.key(0)))
    cell = eqx.tree_at(lambda c: (c.weight_ih, c.weight_hh), cell, (weight_ih, weight_hh))
    return eqx.tree_at(lambda c: c.bias, cell, bias) if biased else cell
