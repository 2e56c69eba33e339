"""Independent samples of the disorder side by side on the cores of a processor."""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import equinox as eqx
import jax
import numpy as np


def over_cores(function: Any, shared: tuple[Any, ...], *trees: Any) -> Any:
    """`function(*shared, *trees)`, where all arrays of `trees` and of the result have a leading axis of samples.

    Steps of chains are too small to be shared among cores by the compiler. So each core gets a part of the samples,
    in a thread of its own, as compiled programs let other threads run; parts are equal, so that one program fits all,
    the last filled up with its last sample. An accelerator gets all at once.

    **Arguments:** `function`: of `equinox.filter_jit` or `compiled_once`, and of each sample alone.

    **Returns:** numpy arrays.
    """
    count = next(len(leaf) for leaf in jax.tree.leaves(trees) if eqx.is_array(leaf))
    size = -(-count // _cores())
    rows = np.minimum(np.arange(-(-count // size) * size), count - 1).reshape(-1, size)
    parts = [jax.tree.map(lambda leaf, part=part: leaf[part] if eqx.is_array(leaf) else leaf, trees) for part in rows]
    # Before there are threads, each of which would compile it.
    program = function.lower(*shared, *parts[0]).compile()

    def run(part: tuple[Any, ...]) -> Any:
        return jax.tree.map(np.asarray, program(*shared, *part))

    with ThreadPoolExecutor(len(parts)) as threads:
        results = list(threads.map(run, parts))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:count], *results)


def _cores() -> int:
    """How many threads of compiled programs the default device runs side by side."""
    if jax.default_backend() != "cpu":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
