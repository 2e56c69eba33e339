"""The networks that the command line knows, in sizes for small data."""

import ast
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from hjpde.architectures import (
    GRU,
    LSTM,
    RNN,
    AbstractNoise,
    Attention,
    DiagonalStateSpace,
    Dropout,
    GaussianNoise,
    NoisyNetwork,
    ResidualNetwork,
    SelectiveStateSpace,
    StochasticDepth,
    Transformer,
)
from hjpde.initial_data import LogSumExp

SEQUENCE_NETWORKS = ("rnn", "gru", "lstm", "ssm", "selective_ssm", "attention", "transformer")
NETWORK_NAMES = ("residual", *SEQUENCE_NETWORKS, "log_sum_exp")

_CLASSES: dict[str, Callable[..., Any]] = {
    "residual": ResidualNetwork,
    "rnn": RNN,
    "gru": GRU,
    "lstm": LSTM,
    "ssm": DiagonalStateSpace,
    "selective_ssm": SelectiveStateSpace,
    "attention": Attention,
    "transformer": Transformer,
    "log_sum_exp": LogSumExp,
}

_NOISES: dict[str, Callable[[float], AbstractNoise]] = {
    "gaussian": GaussianNoise,
    "stochastic-depth": StochasticDepth,
    "dropout": Dropout,
}


def input_shape(name: str, features: int, image_shape: Sequence[int] | None) -> tuple[int, ...]:
    """How a network reads a row of a table: as a vector, or as a sequence of image rows or of single numbers."""
    if name not in SEQUENCE_NETWORKS:
        return (features,)
    return (features, 1) if image_shape is None else tuple(image_shape)


def default_sizes(name: str, shape: Sequence[int], out_size: int) -> dict[str, Any]:
    """The sizes of a network for inputs of a shape: the constructor's arguments."""
    features = shape[-1]
    match name:
        case "residual":
            return {"in_size": features, "out_size": out_size, "width": 24, "depth": 8}
        case "rnn" | "gru" | "lstm":
            return {"in_size": features, "hidden_size": 32, "out_size": out_size}
        case "ssm":
            return {"in_size": features, "state_size": 32, "out_size": out_size, "width": 24}
        case "selective_ssm":
            return {"in_size": features, "state_size": 8, "out_size": out_size, "width": 16}
        case "attention":
            heads = 2 if features % 2 == 0 else 1
            return {"width": features, "heads": heads, "depth": 8, "norm": True, "out_size": out_size}
        case "transformer":
            sizes = {"width": 24, "heads": 4, "hidden": 48, "depth": 4}
            return {"in_size": features, "n_tokens": shape[0], **sizes, "out_size": out_size}
        case _:
            return {"neurons": 64, "viscosity": 0.3}


def parse_options(name: str, words: Sequence[str]) -> dict[str, Any]:
    """Options of a constructor given as `name=value`.

    **Raises:** `ValueError` for a word without `=`, and for a name that the network does not know.
    """
    known = ["neurons", "viscosity"]
    if name != "log_sum_exp":
        known = [option for option in inspect.signature(_CLASSES[name]).parameters if option not in ("key", "args")]
    found = {}
    for word in words:
        option, separator, value = word.partition("=")
        if not separator or option not in known:
            raise ValueError(f"`option` must be NAME=VALUE with one of {', '.join(known)} for {name}, got {word!r}.")
        try:
            found[option] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            found[option] = value
    return found


def parse_noise(word: str | None) -> AbstractNoise | None:
    """`gaussian=0.05`, `stochastic-depth=0.8` or `dropout=0.8`.

    **Raises:** `ValueError` for another word.
    """
    if word is None:
        return None
    name, _, value = word.partition("=")
    try:
        level = float(value)
    except ValueError:
        level = None
    if name not in _NOISES or level is None:
        raise ValueError(f"`noise` must be NAME=VALUE with one of {', '.join(_NOISES)}, got {word!r}.")
    return _NOISES[name](level)


def builder(name: str, options: dict[str, Any], noise: AbstractNoise | None) -> Callable[[PRNGKeyArray], Any]:
    """A function that draws the network from a key.

    **Arguments:**

    - `name`: of `NETWORK_NAMES`.
    - `options`: the constructor's arguments; of a `log_sum_exp` its `neurons`, `viscosity` and `features`.
    - `noise`: in its layers, or `None`.

    **Raises:** `ValueError` if noise is asked for where there are no layers.
    """
    if name == "log_sum_exp":
        if noise is not None:
            raise ValueError("`noise`: a log-sum-exp layer has its viscosity of itself.")
        return lambda key: _layer(key, **options)

    def build(key: PRNGKeyArray) -> Any:
        try:
            network = _CLASSES[name](**options, key=key)
        except TypeError as error:
            raise ValueError(f"`option`: {name} does not take these: {error}.") from error
        return network if noise is None else NoisyNetwork(network, noise)

    return build


def _layer(key: PRNGKeyArray, features: int, neurons: int, viscosity: float) -> LogSumExp:
    weights, biases = jax.random.split(key)
    return LogSumExp(
        jax.random.normal(weights, (neurons, features)) / jnp.sqrt(features),
        jax.random.normal(biases, (neurons,)),
        viscosity,
    )
