"""A module as JSON and a list of arrays, and back, naming only classes that are data."""

import dataclasses
import importlib
import inspect
import math
import re
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from equinox._enum import EnumerationItem

from hjpde._types import is_concrete

_PACKAGE = "hjpde"
_FUNCTIONS = {
    "jax.nn.relu": jax.nn.relu,
    "jax.nn.gelu": jax.nn.gelu,
    "jax.nn.silu": jax.nn.silu,
    "jax.nn.elu": jax.nn.elu,
    "jax.nn.softplus": jax.nn.softplus,
    "jax.nn.sigmoid": jax.nn.sigmoid,
    "jax.numpy.tanh": jnp.tanh,
    "jax.numpy.sin": jnp.sin,
    "jax.numpy.cos": jnp.cos,
    "identity": inspect.signature(eqx.nn.MLP).parameters["final_activation"].default,
}
"""The activations of common networks: functions that a file may name, fixed here."""


class Leaf(NamedTuple):
    """An array of the saved module, on the host."""

    array: np.ndarray


def encode(node: Any, leaves: list[Leaf], place: str) -> Any:
    """`node` as JSON; arrays are put at the end of `leaves` and named by their position.

    Words, integers, finite floats, booleans and `None` stand for themselves; everything else is a
    dictionary with one key that says what it is. `place` is where in the module this is, for errors.
    """
    if node is None or isinstance(node, (bool, str)) or type(node) is int:
        return node
    if type(node) is float:
        return node if math.isfinite(node) else {"float": repr(node)}
    if type(node) is complex:
        return {"complex": [repr(node.real), repr(node.imag)]}
    if isinstance(node, (jax.Array, np.ndarray, np.generic)):
        return _encode_array(node, leaves, place)
    if type(node) in (list, tuple):
        return {type(node).__name__: [encode(v, leaves, f"{place}[{i}]") for i, v in enumerate(node)]}
    if type(node) is dict:
        items = [
            [encode(k, leaves, f"a key of {place}"), encode(v, leaves, f"{place}[{k!r}]")] for k, v in node.items()
        ]
        return {"dict": items}
    if isinstance(node, EnumerationItem) and _resolve_enumeration(_name_of(node._enumeration)):
        names = list(node._enumeration._name_to_item)
        value = encode(node._value, leaves, place)
        return {"choice": _name_of(node._enumeration), "names": names, "value": value}
    cls = type(node)
    if _is_ours(cls):
        names = [field.name for field in dataclasses.fields(cls)]
        inner = {name: encode(getattr(node, name), leaves, f"{place}.{name}") for name in names}
        return {"module": _name_of(cls), "fields": inner}
    for name, function in _FUNCTIONS.items():
        if node is function:
            return {"function": name}
    raise ValueError(
        f"`{place}` cannot be saved: it is a {cls.__module__}.{cls.__qualname__}, and only arrays, numbers, "
        "words, lists, tuples, dictionaries, common activations and modules of hjpde and equinox.nn can."
    )


def _encode_array(node: Any, leaves: list[Leaf], place: str) -> dict[str, Any]:
    extra: dict[str, Any] = {}
    if not is_concrete(node):
        raise ValueError(f"`{place}` cannot be saved inside a transformed function: it has no value yet.")
    if isinstance(node, jax.Array) and jnp.issubdtype(node.dtype, jax.dtypes.prng_key):
        kind, extra = "key", {"implementation": str(jax.random.key_impl(node))}
        node = jax.random.key_data(node)
    else:
        kind = "jax" if isinstance(node, jax.Array) else "numpy" if isinstance(node, np.ndarray) else "scalar"
    array = np.asarray(node)
    if array.dtype.hasobject:
        raise ValueError(f"`{place}` cannot be saved: it is an array of Python objects.")
    leaves.append(Leaf(array))
    return {"array": len(leaves) - 1, "kind": kind} | extra


def decode(node: Any, leaves: list[np.ndarray]) -> tuple[Any, bool]:
    """What `encode` saw, and whether some array lost bits because jax's x64 switch is off."""
    narrowed = [False]
    return _decode(node, leaves, narrowed), narrowed[0]


def _decode(node: Any, leaves: list[np.ndarray], narrowed: list[bool]) -> Any:
    if node is None or isinstance(node, (bool, str, int, float)):
        return node
    if not isinstance(node, dict):
        raise ValueError("its structure is malformed.")
    match node:
        case {"float": text}:
            return float(text)
        case {"complex": [real, imaginary]}:
            return complex(float(real), float(imaginary))
        case {"array": index, "kind": kind, **extra}:
            return _decode_array(leaves[index], kind, extra, narrowed)
        case {"list": items}:
            return [_decode(item, leaves, narrowed) for item in items]
        case {"tuple": items}:
            return tuple(_decode(item, leaves, narrowed) for item in items)
        case {"dict": items}:
            return {_decode(k, leaves, narrowed): _decode(v, leaves, narrowed) for k, v in items}
        case {"function": name}:
            if name not in _FUNCTIONS:
                raise ValueError(f"it names the function {name}, which is none of ours.")
            return _FUNCTIONS[name]
        case {"choice": name, "names": [*names], "value": value}:
            return _decode_choice(name, names, _decode(value, leaves, narrowed))
        case {"module": name, "fields": fields}:
            cls = _class_named(name)
            values = {key: _decode(value, leaves, narrowed) for key, value in fields.items()}
            return _build(cls, name, values)
    raise ValueError(f"its structure holds something unknown: {', '.join(map(str, node))}.")


def _decode_array(array: np.ndarray, kind: str, extra: dict[str, Any], narrowed: list[bool]) -> Any:
    if kind == "numpy":
        return array
    if kind == "scalar":
        return array[()]
    value = jnp.asarray(array)
    if kind == "key":
        return jax.random.wrap_key_data(value, impl=extra["implementation"])
    narrowed[0] |= value.dtype != array.dtype
    return value


def _decode_choice(name: str, names: list[str], value: Any) -> EnumerationItem:
    """The item that the file names: where it stands among the others may have changed since."""
    enumeration = _resolve_enumeration(name)
    if enumeration is None:
        raise ValueError(f"it names the enumeration {name}, which is none of this hjpde.")
    items = enumeration._name_to_item
    unknown = [item for item in names if item not in items]
    if unknown:
        raise ValueError(f"it was written by another version of hjpde: {name} has no {', '.join(map(str, unknown))}.")
    chosen = np.asarray(np.asarray([items[item]._value for item in names], np.int32)[np.asarray(value)])
    return EnumerationItem(jnp.asarray(chosen) if isinstance(value, jax.Array) else chosen, enumeration)  # pyright: ignore


def _resolve_enumeration(name: str) -> Any:
    module, _, qualname = str(name).partition(":")
    found = _resolve(module, qualname)
    return found if found is not None and issubclass(found, eqx.Enumeration) else None


def _name_of(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def _is_ours(cls: type) -> bool:
    return (
        dataclasses.is_dataclass(cls)
        and (issubclass(cls, eqx.Module) or cls.__dataclass_params__.frozen)  # pyright: ignore
        and _resolve(cls.__module__, cls.__qualname__) is cls
    )


def _resolve(module: str, name: str) -> type | None:
    """The class of that name, if hjpde defines it or equinox.nn exports it; nothing else is imported."""
    if re.fullmatch(r"equinox\.nn\._\w+", module):
        found = getattr(eqx.nn, name, None)
    elif re.fullmatch(rf"{_PACKAGE}(\.(?!__)\w+)*", module):
        try:
            found: Any = importlib.import_module(module)
        except ImportError:
            return None
        for part in name.split("."):
            found = getattr(found, part, None)
    else:
        return None
    if isinstance(found, type) and (found.__module__, found.__qualname__) == (module, name):
        return found
    return None


def _class_named(name: str) -> type:
    module, _, qualname = str(name).partition(":")
    cls = _resolve(module, qualname)
    if cls is None or not _is_ours(cls):
        raise ValueError(f"it names the class {name}, which is no module of this hjpde.")
    return cls


def _build(cls: type, name: str, values: dict[str, Any]) -> Any:
    """An instance with these fields, put together as jax does when it unflattens: no constructor runs."""
    known = {field.name for field in dataclasses.fields(cls)}
    if known != set(values):
        raise ValueError(
            f"it was written by another version of hjpde: {name} has fields {', '.join(sorted(known))} here, "
            f"and {', '.join(sorted(values))} there."
        )
    instance = object.__new__(cls)
    for key, value in values.items():
        object.__setattr__(instance, key, value)
    return instance
