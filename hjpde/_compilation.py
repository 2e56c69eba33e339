"""Compilation that takes less time than the program saves: for code that runs once, or briefly."""

import functools
from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax


def quick_jit(function: Callable[..., Any], level: Literal[0, 1]) -> Callable[..., Any]:
    """`equinox.filter_jit` with less optimisation.

    Level 1 compiles the training of a small network in about 60 % of the time, and it runs as fast; level 0
    in about a third, and loops run several times slower: it is for what runs once, like drawing weights.
    """
    return eqx.filter_jit(function, compiler_options=_options(level))  # pyright: ignore[reportCallIssue]


class compiled_once:
    """`quick_jit` at level 1 of a function of a module; jax starts no device before it is called."""

    def __init__(self, function: Callable[..., Any]):
        functools.update_wrapper(self, function)
        self._function = function

    @functools.cached_property
    def _compiled(self) -> Any:
        return quick_jit(self._function, 1)

    def __call__(self, *arguments: Any) -> Any:
        return self._compiled(*arguments)

    def lower(self, *arguments: Any) -> Any:
        """As that of `equinox.filter_jit`."""
        return self._compiled.lower(*arguments)


@functools.cache
def _options(level: int) -> dict[str, Any]:
    """Those options that this jaxlib knows; they are XLA's own and may go in a later one."""
    wanted = {"xla_backend_optimization_level": level, "xla_cpu_use_fusion_emitters": False}
    known = {}
    for name, value in wanted.items():
        try:
            jax.jit(lambda x: x, compiler_options={name: value}).lower(0.0).compile()
        except (RuntimeError, ValueError):
            continue
        known[name] = value
    return known


def build_many(build: Callable[[Any], Any], keys: Any) -> Any:
    """`build(key)` for each of the keys, stacked on a leading axis: the models for `train_many`."""
    return quick_jit(eqx.filter_vmap(build), 0)(keys)
