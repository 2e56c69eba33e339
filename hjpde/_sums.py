"""What sums of Hamiltonians and sums of initial data share: their parts, taken apart, and their dimension."""

from collections.abc import Callable, Sequence
from typing import Any


def flat_parts(
    parts: Sequence[Any], member: type, sum_type: type, why_not: Callable[[Any], str]
) -> tuple[tuple[Any, ...], int | None]:
    """The parts with sums among them taken apart, and their common dimension, `None` where any will do.

    **Raises:** `ValueError` if there is no part, one is no `member` (with what `why_not` says of it), or the dimensions
    disagree.
    """
    flat: list[Any] = []
    for part in parts:
        if not isinstance(part, member):
            raise ValueError(f"`parts` must be {why_not(part)}")
        flat += part.parts if isinstance(part, sum_type) else (part,)
    if not flat:
        raise ValueError("`parts` must hold at least one member, got none.")
    dims = sorted({part.dim for part in flat if part.dim is not None})
    if len(dims) > 1:
        raise ValueError(f"`parts` must have one dimension, got {dims}.")
    return tuple(flat), dims[0] if dims else None
