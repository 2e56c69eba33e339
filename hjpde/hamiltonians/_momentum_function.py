"""Any function of the co-state as a Hamiltonian."""

from collections.abc import Callable
from typing import final, get_args

import equinox as eqx
from jaxtyping import Array, Float

from hjpde._types import Point, Scalar, ScalarLike

from ._abstract import AbstractMomentumHamiltonian, Curvature


@final
class MomentumFunction(AbstractMomentumHamiltonian):
    """A Hamiltonian $H(p)$ from a function of the co-state, of a curvature that the user vouches for."""

    function: Callable
    _curvature: Curvature = eqx.field(static=True)

    def __init__(self, function: Callable, curvature: Curvature = "unknown"):
        """**Arguments:**

        - `function`: maps a co-state of shape `(d,)` to a scalar.
        - `curvature`: "linear", "convex", "concave" or "unknown"; solvers rely on it.

        **Raises:** `ValueError` if `function` cannot be called or `curvature` is another word.
        """
        if not callable(function):
            raise ValueError(f"`function` must be callable, got {type(function).__name__}.")
        if curvature not in get_args(Curvature):
            raise ValueError(f"`curvature` must be one of {', '.join(get_args(Curvature))}, got {curvature!r}.")
        self.function, self._curvature = function, curvature

    @property
    def dim(self) -> None:
        return None

    @property
    def curvature(self) -> Curvature:
        return self._curvature

    def __call__(self, t: ScalarLike, x: Point, p: Float[Array, " d"]) -> Scalar:
        del t, x
        return self.function(p)
