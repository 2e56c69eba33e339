"""The IDX format of MNIST: a magic number, big-endian sizes, then the values."""

import gzip
import math
import os
import struct
import zlib

import numpy as np

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """The array of an IDX file, plain or gzipped (told apart by content), in the machine's byte order.

    The first four bytes are 0, 0, a code for the type and the number of axes (2051 for images, 2049 for
    labels); then each axis's length as a big-endian 32-bit integer; then the values.

    **Raises:** `ValueError` that names the file if it is truncated, too long, or no IDX file;
    `FileNotFoundError` or `PermissionError` from the system.
    """
    path = os.fspath(path)
    if os.path.isdir(path):
        raise ValueError(f"{path} is a folder, not an IDX file.")
    with open(path, "rb") as file:
        content = file.read()
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"{path} is a truncated or corrupted gzip file ({error}).") from error
    if len(content) < 4:
        raise ValueError(f"{path} is truncated: {len(content)} bytes, an IDX file has 4 before its sizes.")
    zeros, code, ndim = struct.unpack(">HBB", content[:4])
    if zeros != 0:
        raise ValueError(f"{path} is no IDX file: it starts with {content[:2].hex()}, not with two zero bytes.")
    if code not in _DTYPES:
        known = ", ".join(f"0x{c:02X}" for c in _DTYPES)
        raise ValueError(f"{path} has the unknown IDX type code 0x{code:02X}; known are {known}.")
    start = 4 + 4 * ndim
    if len(content) < start:
        raise ValueError(f"{path} is truncated: {len(content)} bytes, but {ndim} sizes end at byte {start}.")
    shape = struct.unpack(f">{ndim}I", content[4:start])
    dtype = np.dtype(_DTYPES[code])
    expected = start + math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        what = "is truncated" if len(content) < expected else "is too long"
        raise ValueError(f"{path} {what}: {len(content)} bytes, but shape {shape} of {dtype} needs {expected}.")
    return np.frombuffer(content, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def load_mnist_arrays(
    folder: str | os.PathLike[str],
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """The images and labels of the training and the test part, as they are in the four files."""
    folder = os.fspath(folder)
    if not os.path.isdir(folder):
        raise ValueError(f"{folder} is no folder; it must hold MNIST's four IDX files.")
    stems = [f"{part}-{what}" for part in ("train", "t10k") for what in ("images-idx3", "labels-idx1")]
    paths = {stem: _find(folder, stem) for stem in stems}
    missing = [f"{stem}-ubyte[.gz]" for stem, path in paths.items() if path is None]
    if missing:
        raise ValueError(f"{folder} lacks {', '.join(missing)}.")
    arrays = []
    for stem, path in paths.items():
        assert path is not None
        array, ndim = read_idx(path), 3 if "images" in stem else 1
        if array.ndim != ndim or array.dtype != np.uint8:
            wanted = "images, (n, rows, columns)" if ndim == 3 else "labels, (n,)"
            raise ValueError(f"{path} must hold {wanted} of bytes, it holds {array.dtype} {array.shape}.")
        if array.size == 0:
            raise ValueError(f"{path} is empty: its shape is {array.shape}.")
        arrays.append(array)
    for images, labels, stem in ((arrays[0], arrays[1], stems[1]), (arrays[2], arrays[3], stems[3])):
        if len(images) != len(labels):
            raise ValueError(f"{paths[stem]} holds {len(labels)} labels for {len(images)} images.")
    if arrays[0].shape[1:] != arrays[2].shape[1:]:
        raise ValueError(
            f"{paths[stems[2]]} has images of shape {arrays[2].shape[1:]}, training {arrays[0].shape[1:]}."
        )
    return (arrays[0], arrays[1]), (arrays[2], arrays[3])


def _find(folder: str, stem: str) -> str | None:
    """Mirrors write the names with a dot or a dash before `idx`, zipped or not."""
    for name in (stem, stem.replace("-idx", ".idx")):
        for ending in ("-ubyte", "-ubyte.gz"):
            path = os.path.join(folder, name + ending)
            if os.path.isfile(path):
                return path
    return None
