"""The python batches of CIFAR-10, read by an unpickler that can make arrays, bytes and plain values only."""

import os
import pickle
from typing import Any, final

import numpy as np

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SHAPE = (32, 32, 3)

_TRAIN = tuple(f"data_batch_{i}" for i in range(1, 6))
_TEST = "test_batch"
_MALFORMED = (
    *(pickle.UnpicklingError, EOFError, ImportError, AttributeError, IndexError, KeyError, TypeError, ValueError),
    *(UnicodeError, OverflowError, MemoryError),
)
"""What reading a file that is no such pickle may raise."""

Part = tuple[np.ndarray, np.ndarray]


def load_cifar10_arrays(folder: str | os.PathLike[str]) -> tuple[Part, Part]:
    """The images, shape `(n, 32, 32, 3)` of bytes, and the labels, of the training and the test part.

    **Arguments:**

    - `folder`: holds the files `data_batch_1` to `data_batch_5` and `test_batch`, or the folder
      `cifar-10-batches-py` with them.

    **Raises:** `ValueError` that lists what is missing, or names the file that is not as it should be.
    """
    folder = os.fspath(folder)
    inner = os.path.join(folder, "cifar-10-batches-py")
    folder = inner if os.path.isdir(inner) else folder
    if not os.path.isdir(folder):
        raise ValueError(f"{folder} is no folder; it must hold the python batches of CIFAR-10.")
    missing = [name for name in (*_TRAIN, _TEST) if not os.path.isfile(os.path.join(folder, name))]
    if missing:
        raise ValueError(f"{folder} lacks {', '.join(missing)}.")
    parts = [read_cifar10_batch(os.path.join(folder, name)) for name in (*_TRAIN, _TEST)]
    train = np.concatenate([part[0] for part in parts[:-1]]), np.concatenate([part[1] for part in parts[:-1]])
    return train, parts[-1]


def read_cifar10_batch(path: str | os.PathLike[str]) -> Part:
    """The images, shape `(n, 32, 32, 3)` of bytes, and the labels from 0 to 9 of one batch.

    **Raises:** `ValueError` that names the file if it is truncated, asks for any object but those of a batch, or does
    not hold images and labels; `FileNotFoundError` or `PermissionError` from the system.
    """
    path = os.fspath(path)
    with open(path, "rb") as file:
        try:
            content = _BatchUnpickler(file, encoding="bytes").load()
        except _MALFORMED as error:
            raise ValueError(f"{path} is truncated or no batch of CIFAR-10 ({error}).") from error
    if not isinstance(content, dict) or not {b"data", b"labels"} <= set(content):
        raise ValueError(f"{path} is no batch of CIFAR-10: it must hold a dictionary with b'data' and b'labels'.")
    data, labels = content[b"data"], content[b"labels"]
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != np.prod(SHAPE):
        shape = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise ValueError(f"{path} must hold images as bytes of shape (n, 3072), it holds {shape}.")
    if not isinstance(labels, list) or not all(type(label) is int and 0 <= label <= 9 for label in labels):
        raise ValueError(f"{path} must hold a list of labels from 0 to 9.")
    if len(labels) != len(data) or not labels:
        raise ValueError(f"{path} holds {len(labels)} labels for {len(data)} images.")
    # A row is the three colours one after the other.
    return np.ascontiguousarray(data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)), np.asarray(labels)


@final
class _BatchUnpickler(pickle.Unpickler):
    """A pickle may name any function of any module to be called; this one knows those of an array, and no other."""

    def find_class(self, module: str, name: str) -> Any:
        known = {
            ("numpy.core.multiarray", "_reconstruct"): _empty_array,
            ("numpy._core.multiarray", "_reconstruct"): _empty_array,
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): _plain_dtype,
            ("_codecs", "encode"): _encode,
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return known[module, name]


def _empty_array(kind: object, shape: object, code: object) -> np.ndarray:
    """What numpy begins an array with, before its shape and bytes are set."""
    if kind is not np.ndarray or shape != (0,) or code not in (b"b", "b"):
        raise pickle.UnpicklingError("it asks for an array that is none")
    return np.ndarray((0,), np.int8)


def _plain_dtype(code: object, *flags: object) -> np.dtype:
    """The type of a byte, the only one that images have."""
    del flags
    if code not in (b"u1", "u1"):
        raise pickle.UnpicklingError(f"it asks for an array of {code!r}")
    return np.dtype(np.uint8)


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """How Python 3 writes bytes for Python 2."""
    if encoding not in ("latin1", b"latin1"):
        raise pickle.UnpicklingError(f"it asks for the encoding {encoding!r}")
    return text.encode("latin1")
