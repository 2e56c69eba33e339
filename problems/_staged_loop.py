"""A loop that is compiled as one, or shows a bar between its rounds."""

from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
from jaxtyping import Array, Bool

from hjpde._progress import progress as progress_bar
from hjpde._types import is_concrete

Carry = TypeVar("Carry")


def staged_loop(
    unfinished: Callable[[Any, Carry], Bool[Array, ""]],
    body: Callable[[Any, Carry], Carry],
    arguments: Any,
    state: Carry,
    *,
    progress: bool,
    description: str,
    rounds: Callable[[], int],
) -> Carry:
    """`jax.lax.while_loop`, with a bar if it is asked for and all numbers are known.

    **Arguments:**

    - `unfinished`, `body`: functions of the arguments and of the state; from the top of a module, so that they are
      compiled once.
    - `arguments`: what does not change; what is no array is static.
    - `state`: where to begin.
    - `rounds`: says how many there will be at most; asked only for the bar.
    """
    if not (progress and is_concrete(arguments, state)):
        return _whole(unfinished, body, arguments, state)
    with progress_bar(rounds(), description) as bar:
        done = 0
        while bool(unfinished(arguments, state)):
            state = _round(body, arguments, state)
            done += 1
            bar.update(done)
    return state


@eqx.filter_jit
def _whole(unfinished, body, arguments, state):
    return jax.lax.while_loop(lambda state: unfinished(arguments, state), lambda state: body(arguments, state), state)


@eqx.filter_jit
def _round(body, arguments, state):
    return body(arguments, state)
