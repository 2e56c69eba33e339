"""Arrays from a `.safetensors` file, read by hand."""

import json
import math
import os
from typing import Any

import numpy as np

_DTYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": np.uint16}


def read_safetensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays of a `.safetensors` file: a length, a header in JSON, and the numbers; no code of it is run.

    **Raises:** `ValueError` that names the file if it has another ending, or is truncated or malformed;
    `FileNotFoundError` from the system.
    """
    path = os.fspath(path)
    if not path.endswith(".safetensors"):
        raise ValueError(
            f"{path} must be a `.safetensors` file; other files of torch are pickles, which can run code: give the "
            "`state_dict()` itself."
        )
    with open(path, "rb") as file:
        content = file.read()
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > len(content) - 8:
        raise ValueError(f"{path} is truncated: {len(content)} bytes, less than its header.")
    try:
        header = json.loads(content[8 : 8 + length].decode())
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
    except (ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is malformed: its header is no JSON object.") from error
    body = content[8 + length :]
    return {name: _decoded(path, name, entry, body) for name, entry in entries.items()}


def _decoded(path: str, name: str, entry: Any, body: bytes) -> np.ndarray:
    try:
        kind, shape, (start, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        numbers = [*shape, start, end]
        sound = all(type(n) is int and n >= 0 for n in numbers)
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(f"{path} is malformed: `{name}` lacks a dtype, a shape or offsets.") from error
    if not sound or start > end:
        raise ValueError(f"{path} is malformed: `{name}` has the shape {shape} and the offsets {[start, end]}.")
    if kind not in _DTYPES:
        raise ValueError(f"{path}: `{name}` must be one of {', '.join(_DTYPES)}, got {kind!r}.")
    dtype = np.dtype(_DTYPES[kind]).newbyteorder("<")
    if end - start != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{path} is malformed: `{name}` of shape {shape} and {kind} has {end - start} bytes.")
    if end > len(body):
        raise ValueError(f"{path} is truncated: `{name}` ends at byte {end} of {len(body)}.")
    array = np.frombuffer(body[start:end], dtype).reshape(shape)
    if kind == "BF16":
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(array.dtype.newbyteorder("="))
