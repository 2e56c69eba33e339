"""What the benchmarks share: paired timing, resident memory, the machine's own rates."""

import argparse
import ctypes
import gc
import os
import pathlib
import platform
import statistics
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp

_STATUS, _CLEAR = pathlib.Path("/proc/self/status"), pathlib.Path("/proc/self/clear_refs")


def arguments_of(description: str | None, settings: Collection[str]) -> tuple[list[str], int]:
    """The settings and the number of rounds that the user asks for: all and 5 by default."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", nargs="*", help=f"of {', '.join(settings)}; all by default")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    chosen = arguments.settings or list(settings)
    unknown = [name for name in chosen if name not in settings]
    if unknown:
        parser.error(f"there is no setting {unknown[0]!r}; known are {', '.join(settings)}.")
    return chosen, arguments.repeats


def machine() -> dict[str, Any]:
    """What a measurement depends on beside the code."""
    return {
        "device": str(jax.devices()[0]),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "load": os.getloadavg()[0],
    }


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """What `call` returns, computed, and the seconds that it took."""
    start = time.perf_counter()
    out = jax.block_until_ready(call())
    return out, time.perf_counter() - start


def paired_medians(calls: Mapping[str, Callable[[], Any]], repeats: int = 7) -> dict[str, float]:
    """The median seconds of each call, in rounds that run each once, so that all see the same machine."""
    seconds = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            seconds[name].append(timed(call)[1])
    return {name: statistics.median(values) for name, values in seconds.items()}


def resident_growth(call: Callable[[], Any]) -> float | None:
    """MB by which resident memory peaks over its start during `call`, less its outputs; `None` outside Linux."""

    def peak() -> float:
        lines = _STATUS.read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024

    if not _CLEAR.exists():
        return None
    gc.collect()
    # Memory that an earlier call freed and the allocator kept would hide the growth.
    getattr(ctypes.CDLL(None), "malloc_trim", lambda _: None)(0)
    _CLEAR.write_text("5")
    before = peak()
    out = jax.block_until_ready(call())
    return peak() - before - sum(getattr(a, "nbytes", 0) for a in jax.tree.leaves(out)) / 2**20


def rate(step: Callable[[jax.Array], jax.Array], start: jax.Array, work: float, repeats: int = 50) -> float:
    """Units of work a second of `step`, iterated in one compiled loop on data that stay in cache; best of 5."""
    loop = jax.jit(lambda x: jax.lax.fori_loop(0, repeats, lambda _, x: step(x), x))
    timed(lambda: loop(start))
    return repeats * work / min(timed(lambda: loop(start))[1] for _ in range(5))


def matmul_rate(dtype: str, size: int = 1536) -> float:
    """Floating-point operations a second of a square matrix product."""
    matrix = jnp.eye(size, dtype=dtype)
    return rate(lambda x: jnp.matmul(x, matrix, precision="highest"), matrix, 2.0 * size**3, repeats=5)
