"""Sums of Hamiltonians."""

from typing import final

import equinox as eqx
from jaxtyping import Array, Float

from hjpde._sums import flat_parts
from hjpde._types import Point, Scalar, ScalarLike

from ._abstract import AbstractMomentumHamiltonian, Curvature


@final
class SumOfHamiltonians(AbstractMomentumHamiltonian):
    r"""$H(p) = \sum_k H_k(p)$ of Hamiltonians that depend on the co-state alone.

    A sum whose parts are `Quadratic`, `Eikonal` and `Power` knows its proximal map, so that `hjpde.solvers.HopfLax`
    and `hjpde.solvers.Hopf` meet its kink at $p = 0$ exactly.
    """

    parts: tuple[AbstractMomentumHamiltonian, ...]
    _dim: int | None = eqx.field(static=True)

    def __init__(self, *parts: AbstractMomentumHamiltonian):
        """**Arguments:**

        - `parts`: the Hamiltonians $H_k$, at least one; sums among them are taken apart.

        **Raises:** `ValueError` if there is none, one depends on more than the co-state, or the dimensions disagree.
        """
        self.parts, self._dim = flat_parts(
            parts,
            AbstractMomentumHamiltonian,
            SumOfHamiltonians,
            lambda part: (
                f"Hamiltonians of the co-state alone, got {type(part).__name__}; wrap a function in `MomentumFunction`."
            ),
        )

    @property
    def dim(self) -> int | None:
        return self._dim

    @property
    def curvature(self) -> Curvature:
        bent: list[Curvature] = [part.curvature for part in self.parts if part.curvature != "linear"]
        if not bent:
            return "linear"
        return bent[0] if len(set(bent)) == 1 else "unknown"

    def __call__(self, t: ScalarLike, x: Point, p: Float[Array, " d"]) -> Scalar:
        first, *rest = (part(t, x, p) for part in self.parts)
        return sum(rest, start=first)
