"""Sums of initial data."""

from typing import final

import equinox as eqx

from hjpde._sums import flat_parts
from hjpde._types import Point, Scalar

from ._abstract import AbstractInitialDatum


@final
class SumOfData(AbstractInitialDatum):
    r"""$g(x) = \sum_k g_k(x)$.

    A sum whose parts are `QuadraticForm` and `Norm` of one order knows the graph of its subdifferential, so that
    `hjpde.solvers.HopfLax` and `hjpde.solvers.Hopf` meet its kinks exactly.
    """

    parts: tuple[AbstractInitialDatum, ...]
    _dim: int | None = eqx.field(static=True)

    def __init__(self, *parts: AbstractInitialDatum):
        """**Arguments:**

        - `parts`: the data $g_k$, at least one; sums among them are taken apart.

        **Raises:** `ValueError` if there is none, one is no member of `hjpde.initial_data`, or the dimensions disagree.
        """
        self.parts, self._dim = flat_parts(
            parts,
            AbstractInitialDatum,
            SumOfData,
            lambda part: (
                f"members of `hjpde.initial_data`, got {type(part).__name__}; a plain function may add what it "
                "likes by itself."
            ),
        )

    @property
    def dim(self) -> int | None:
        return self._dim

    def __call__(self, x: Point) -> Scalar:
        first, *rest = (part(x) for part in self.parts)
        return sum(rest, start=first)
