"""Independent samples of the disorder side by side on the cores of a processor."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import equinox as eqx
import jax
import numpy as np


def over_cores(function: Callable[..., Any], *trees: Any) -> Any:
    """`function(*trees)`, where all arrays of `trees` and of the result have a leading axis of samples.

    Steps of chains are too small to be shared among cores by the compiler. So each core gets a part of the samples,
    in a thread of its own, as compiled programs let other threads run; parts are equal, so that one program fits all,
    the last filled up with its last sample. An accelerator gets all at once.

    **Arguments:** `function`: compiled, and of each sample alone.

    **Returns:** numpy arrays.
    """
    count = next(len(leaf) for leaf in jax.tree.leaves(trees) if eqx.is_array(leaf))
    size = -(-count // _cores())
    parts = np.minimum(np.arange(-(-count // size) * size), count - 1).reshape(-1, size)
    # A thread does not know the settings of the `with` blocks around its caller.
    x64, device, precision = (
        getattr(jax.config, name) for name in ("jax_enable_x64", "jax_default_device", "jax_default_matmul_precision")
    )

    def run(rows: np.ndarray) -> Any:
        with jax.enable_x64(x64), jax.default_device(device), jax.default_matmul_precision(precision):
            chosen = jax.tree.map(lambda leaf: leaf[rows] if eqx.is_array(leaf) else leaf, trees)
            return jax.tree.map(np.asarray, function(*chosen))

    with ThreadPoolExecutor(len(parts)) as threads:
        results = list(threads.map(run, parts))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:count], *results)


def _cores() -> int:
    """How many threads of compiled programs the default device runs side by side."""
    if jax.default_backend() != "cpu":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
