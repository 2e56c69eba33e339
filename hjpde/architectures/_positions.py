"""Where a token stands, as an attention sees it: tilts of the heights of its atoms, or rotations of the atoms."""

import abc
import math
from typing import Any, final

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._types import ArrayInput, as_float_array


class AbstractPositions(eqx.Module):
    """What an attention knows of the places $i, j$ of two tokens."""

    @abc.abstractmethod
    def rotate(self, rows: Float[Array, "n heads k"]) -> Float[Array, "n heads k"]:
        """The queries or the keys, each rotated by what its place asks for."""

    @abc.abstractmethod
    def bias(self, n: int, dtype: Any) -> Float[Array, "heads n n"] | None:
        r"""What is added to the scores $q_i \cdot k_j / \sqrt{k}$ of `n` tokens; `None` for 0."""

    @abc.abstractmethod
    def check(self, heads: int, head_size: int) -> None:
        """**Raises:** `ValueError` if these positions do not suit an attention of that size."""


@final
class RelativeBias(AbstractPositions):
    r"""A learnt table: the score of head `h` is raised by $B_{h, j - i}$, the offset cut off at its ends.

    For the potential of a read it tilts the heights of the atoms.

    ??? cite "References"

        C. Raffel et al., *Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer*, JMLR 21
        (2020).
    """

    table: Float[Array, "heads offsets"]

    def __init__(self, table: ArrayInput):
        """**Arguments:**

        - `table`: shape `(heads, 2 m + 1)`, for the offsets $j - i$ from $-m$ to $m$; beyond, the last one holds.

        **Raises:** `ValueError` for another shape.
        """
        table = as_float_array(table, "table", 2)
        if table.shape[1] % 2 == 0:
            raise ValueError(f"`table` must have shape (heads, 2 m + 1), got {table.shape}.")
        self.table = table

    def rotate(self, rows: Float[Array, "n heads k"]) -> Float[Array, "n heads k"]:
        return rows

    def bias(self, n: int, dtype: Any) -> Float[Array, "heads n n"]:
        reach = self.table.shape[1] // 2
        offsets = _offsets(n)
        return self.table[:, jnp.clip(offsets, -reach, reach) + reach].astype(dtype)

    def check(self, heads: int, head_size: int) -> None:
        _check_heads("table", self.table.shape[0], heads)


@final
class DistanceBias(AbstractPositions):
    r"""A fixed tilt: the score of head `h` is lowered by $m_h |i - j|$ (ALiBi).

    ??? cite "References"

        O. Press, N. A. Smith and M. Lewis, *Train Short, Test Long: Attention with Linear Biases Enables Input Length
        Extrapolation*, ICLR 2022.
    """

    slopes: tuple[float, ...] = eqx.field(static=True)

    def __init__(self, slopes: ArrayInput):
        """**Arguments:**

        - `slopes`: $m_h \\ge 0$, one a head; or the number of heads, for the geometric slopes $2^{-8h/H}$,
          $h = 1, \\ldots, H$. They are not trained.

        **Raises:** `ValueError` if a slope is negative or not finite, or there is no head.
        """
        if isinstance(slopes, int):
            slopes = [2 ** (-8 * h / slopes) for h in range(1, slopes + 1)]
        values = tuple(float(m) for m in as_float_array(slopes, "slopes", 1))
        if not values or not all(math.isfinite(m) and m >= 0 for m in values):
            raise ValueError(f"`slopes` must be one or more numbers that are not negative, got {values}.")
        self.slopes = values

    def rotate(self, rows: Float[Array, "n heads k"]) -> Float[Array, "n heads k"]:
        return rows

    def bias(self, n: int, dtype: Any) -> Float[Array, "heads n n"]:
        distances = jnp.abs(_offsets(n)).astype(dtype)
        return jnp.stack([-m * distances for m in self.slopes])

    def check(self, heads: int, head_size: int) -> None:
        _check_heads("slopes", len(self.slopes), heads)


@final
class Rotary(AbstractPositions):
    r"""Query and key of token `i` are rotated by $i\,\omega_m$ in the plane of the entries $m$ and $m + k/2$.

    With $\omega_m = \mathrm{base}^{-2m/k}$. Their product then depends on the offset alone, and lengths are kept: the
    atoms are rotated.

    ??? cite "References"

        J. Su et al., *RoFormer: Enhanced Transformer with Rotary Position Embedding*, Neurocomputing 568 (2024).
    """

    base: float = eqx.field(static=True)

    def __init__(self, base: float = 10_000.0):
        """**Arguments:**

        - `base`: positive; the slowest plane turns by nearly `1/base` a token.

        **Raises:** `ValueError` if it is not positive and finite.
        """
        if not (math.isfinite(base) and base > 0):
            raise ValueError(f"`base` must be positive and finite, got {base!r}.")
        self.base = float(base)

    def rotate(self, rows: Float[Array, "n heads k"]) -> Float[Array, "n heads k"]:
        n, _, size = rows.shape
        frequencies = self.base ** (-jnp.arange(0, size, 2, dtype=rows.dtype) / size)
        angles = jnp.outer(jnp.arange(n, dtype=rows.dtype), frequencies)
        first, second = jnp.split(rows, 2, axis=-1)
        cosines = jnp.broadcast_to(jnp.cos(angles)[:, None], first.shape)
        sines = jnp.broadcast_to(jnp.sin(angles)[:, None], first.shape)
        return jnp.concatenate([first * cosines - second * sines, first * sines + second * cosines], axis=-1)

    def bias(self, n: int, dtype: Any) -> None:
        return None

    def check(self, heads: int, head_size: int) -> None:
        if head_size % 2:
            raise ValueError(f"`positions`: rotations need heads of an even size, got {head_size}.")


def _offsets(n: int) -> Array:
    """$j - i$."""
    return jnp.arange(n)[None] - jnp.arange(n)[:, None]


def _check_heads(name: str, given: int, heads: int) -> None:
    if given != heads:
        raise ValueError(f"`positions`: the `{name}` must be for {heads} heads, got {given}.")
