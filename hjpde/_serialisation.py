"""Saved modules: one file, a line of JSON that explains it, then the arrays."""

import contextlib
import hashlib
import importlib.metadata
import io
import json
import os
import secrets
import warnings
from typing import Any, BinaryIO

import jax.numpy as jnp
import numpy as np

from hjpde._structure import Leaf, decode, encode

_FORMAT = "hjpde module"
_VERSION = 1
# Longer first lines than this are no header of ours; a foreign binary file may hold no newline at all.
_LONGEST_HEADER = 1 << 28


def save(path: str | os.PathLike[str], module: Any, **metadata: Any) -> None:
    """Writes a module (or a pytree of arrays, numbers, strings, lists, tuples and dictionaries) to a file.

    The file is one line of JSON (format, versions, the structure with every hyperparameter, dtypes and
    shapes, size and checksum), then the arrays as `.npy` blocks. No pickle. It appears at once: a write
    that fails leaves an older file as it was.

    **Arguments:**

    - `path`: the file; an older one is replaced.
    - `module`: any module of hjpde, those of `equinox.nn` inside it included.
    - `metadata`: words and numbers to be kept beside it; `read_header(path)["metadata"]` returns them.

    **Raises:** `ValueError` if the module holds something that is not data (a function, an object of
    another library), or `path` is a folder; `OSError` if the file cannot be written.
    """
    path = os.path.realpath(os.fspath(path))
    if os.path.isdir(path):
        raise ValueError(f"{path} is a folder, not a file to save to.")
    leaves: list[Leaf] = []
    structure = encode(module, leaves, "module")
    kept = len(leaves)
    notes = {name: encode(value, leaves, name) for name, value in metadata.items()}
    if len(leaves) > kept:
        raise ValueError("`metadata` must hold words and numbers only, got an array.")
    body = b"".join(_block(leaf.array) for leaf in leaves)
    header: dict[str, Any] = {
        "format": _FORMAT,
        "version": _VERSION,
        "hjpde": _hjpde_version(),
        "metadata": notes,
        "structure": structure,
        "leaves": [{"dtype": leaf.array.dtype.name, "shape": list(leaf.array.shape)} for leaf in leaves],
        "bytes": len(body),
    }
    header["sha256"] = _checksum(header, body)
    _write_atomically(path, json.dumps(header, allow_nan=False).encode() + b"\n", body)


def load(path: str | os.PathLike[str]) -> Any:
    """Reads what `save` wrote.

    Only classes of hjpde and of `equinox.nn` are rebuilt, and no constructor or other code of the file is
    run. Arrays keep their dtype; while jax's x64 switch is off, float64 arrays are loaded as float32 with
    a warning.

    **Raises:** `ValueError` that names the file if it is truncated, corrupted, foreign or a folder, or
    names a class that is not one of ours; `FileNotFoundError` or `PermissionError` from the system.
    """
    path = os.fspath(path)
    with _open(path) as file:
        header = _read_header(file, path)
        body = file.read()
    expected = header["bytes"]
    if len(body) != expected:
        what = "is truncated" if len(body) < expected else "has bytes behind its end"
        raise ValueError(f"{path} {what}: {len(body)} bytes of arrays where its header says {expected}.")
    if _checksum(header, body) != header["sha256"]:
        raise ValueError(f"{path} is corrupted: its checksum does not fit its content.")
    stream = io.BytesIO(body)
    try:
        leaves = [_read_block(stream, entry) for entry in header["leaves"]]
        module, narrowed = decode(header["structure"], leaves)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise ValueError(f"{path} cannot be loaded: {error}") from error
    if narrowed:
        warnings.warn(
            f"{path} holds 64-bit arrays, loaded in 32 bits because jax's x64 switch is off; "
            "`jax.config.update('jax_enable_x64', True)` keeps them.",
            stacklevel=2,
        )
    return module


def read_header(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The first line of a saved file, parsed; its `metadata` as given to `save`.

    **Raises:** as `load`; the arrays are not looked at.
    """
    path = os.fspath(path)
    with _open(path) as file:
        header = _read_header(file, path)
    try:
        notes = {name: decode(node, [])[0] for name, node in header["metadata"].items()}
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise ValueError(f"{path} has unreadable metadata: {error}") from error
    return header | {"metadata": notes}


def _open(path: str) -> BinaryIO:
    if os.path.isdir(path):
        raise ValueError(f"{path} is a folder, not a saved module.")
    return open(path, "rb")


def _read_header(file: BinaryIO, path: str) -> dict[str, Any]:
    line = file.readline(_LONGEST_HEADER)
    foreign = f"{path} is no module saved by hjpde: its first line is not our header"
    if not line.endswith(b"\n"):
        cut = " (the file is empty)." if not line else " (or the file is truncated)."
        raise ValueError(foreign + cut)
    try:
        header = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(foreign + ".") from error
    if not isinstance(header, dict) or header.get("format") != _FORMAT:
        raise ValueError(foreign + ".")
    if header.get("version") != _VERSION:
        raise ValueError(
            f"{path} has format version {header.get('version')} (written by hjpde {header.get('hjpde')}); "
            f"this hjpde {_hjpde_version()} reads version {_VERSION}."
        )
    kinds = {"bytes": int, "sha256": str, "leaves": list, "metadata": dict}
    wrong = [name for name, kind in kinds.items() if not isinstance(header.get(name), kind)]
    if wrong or "structure" not in header:
        raise ValueError(f"{path} is corrupted: its header lacks {', '.join(wrong or ['structure'])}.")
    return header


def _hjpde_version() -> str:
    try:
        return importlib.metadata.version("hjpde")
    except importlib.metadata.PackageNotFoundError:
        return "from source"


def _checksum(header: dict[str, Any], body: bytes) -> str:
    """Over the arrays and over the header, so that a changed hyperparameter is found too."""
    rest = {name: value for name, value in header.items() if name != "sha256"}
    digest = hashlib.sha256(json.dumps(rest, sort_keys=True).encode())
    digest.update(body)
    return digest.hexdigest()


def _block(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    if array.dtype.kind == "V":
        # bfloat16 and its like, which `.npy` does not know by name; the header does.
        array = array.view(f"u{array.dtype.itemsize}")
    np.lib.format.write_array(stream, np.asarray(array, order="C"), allow_pickle=False)
    return stream.getvalue()


def _read_block(stream: io.BytesIO, entry: dict[str, Any]) -> np.ndarray:
    array = np.lib.format.read_array(stream, allow_pickle=False)
    dtype = jnp.dtype(entry["dtype"])
    if dtype.kind == "V":
        array = array.view(dtype)
    if array.dtype.name != entry["dtype"] or list(array.shape) != entry["shape"]:
        raise ValueError(f"an array is {array.dtype} {array.shape} where the header says {entry}.")
    return array


def _write_atomically(path: str, *pieces: bytes) -> None:
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{secrets.token_hex(4)}.tmp")
    # The flags and the mode leave permissions to the user's umask, which `tempfile` does not.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    # The new name itself must reach the disk; some file systems do not sync folders.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
