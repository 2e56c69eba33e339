"""Hopf's and Lax's formulas, evaluated point by point by optimisation."""

from collections.abc import Callable
from typing import Literal, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._solution import RESULTS, AbstractEvaluator
from hjpde._streaming import over_rows
from hjpde._types import Point, Scalar
from hjpde.hamiltonians import AbstractMomentumHamiltonian

from ._branches import branches_of_minimum
from ._convex_parts import datum_parts, momentum_parts
from ._saddle import closes, lagrangian
from ._saddle_search import Found, SaddleSearch

_BLOCK = 64
"""Points that are searched at once: each waits for the slowest."""


def duality_gap(
    evaluator: "SaddleEvaluator", ts: Float[Array, " T"], *, must_close: bool
) -> tuple[dict[str, Array], RESULTS]:
    """The gap at the origin at the last time, where the dimension is known, and what an open one means."""
    if evaluator.dim is None:
        return {}, RESULTS.successful
    value, gap = _at_origin(evaluator, ts[-1])
    closed = closes(value, gap) | (not must_close)
    return {"duality_gap": gap}, RESULTS.where(closed, RESULTS.successful, RESULTS.not_converged)


@eqx.filter_jit
def _at_origin(evaluator: "SaddleEvaluator", t: Scalar) -> tuple[Scalar, Scalar]:
    assert evaluator.dim is not None
    value, gap = evaluator.certify(t, jnp.zeros((1, evaluator.dim), t.dtype))
    return value[0], gap[0]


@final
class SaddleEvaluator(AbstractEvaluator):
    """Lax's minimum or Hopf's maximum; the other one's bound is the certificate."""

    datum: Callable
    hamiltonian: AbstractMomentumHamiltonian
    known_dim: int | None = eqx.field(static=True)
    formula: Literal["Hopf", "Lax"] = eqx.field(static=True)
    max_steps: int = eqx.field(static=True)

    @property
    def twice_differentiable(self) -> bool:
        return False

    @property
    def dim(self) -> int | None:
        return self.known_dim

    def invalid_time(self, t: float) -> str | None:
        return None if t > 0 else "take `t` > 0; at 0 the value is the datum's"

    def __call__(self, t: Scalar, x: Point) -> Scalar:
        return self.batch(t, x[None])[0]

    def batch(self, t: Scalar, X: Float[Array, "M d"]) -> Float[Array, " M"]:
        return self._values(t, X, self._search(t, X))

    def standard_error(self, t: Scalar, x: Point) -> Scalar:
        """The gap: an upper bound of the error where both the datum and `H` are convex."""
        return self._search(t, x[None]).gap[0]

    def certify(self, t: Scalar, X: Float[Array, "M d"]) -> tuple[Float[Array, " M"], Float[Array, " M"]]:
        """The values and their gaps, from one search."""
        found = self._search(t, X)
        return self._values(t, X, found), found.gap

    def _values(self, t: Scalar, X: Float[Array, "M d"], found: Found) -> Float[Array, " M"]:
        """Danskin: the derivatives are the Lagrangian's at the saddle, which may stand still."""
        ends = found.ends
        starts, costates = (ends.w, ends.q) if self.formula == "Lax" else (ends.y, ends.s)

        def value(row: tuple[Point, Point, Point]) -> Scalar:
            x, y, p = row
            return lagrangian(self.datum, lambda p: self.hamiltonian(t, x, p), t, x, y, p)

        return jnp.where(t > 0, jax.lax.map(value, (X, starts, costates), batch_size=_BLOCK), jnp.nan)

    def _search(self, t: Scalar, X: Float[Array, "M d"]) -> Found:
        d, dtype = X.shape[1], X.dtype
        point = jax.ShapeDtypeStruct((d,), dtype)
        g = eqx.filter_closure_convert(lambda y: jnp.asarray(self.datum(y), dtype), point)
        H = eqx.filter_closure_convert(lambda p: jnp.asarray(self.hamiltonian(0.0, p, p), dtype), point)
        arrays, functions = eqx.partition((self.datum, self.hamiltonian, g, H, t, X), eqx.is_array)
        datum, hamiltonian, g, H, t, X = eqx.combine(jax.lax.stop_gradient(arrays), functions)
        parts, branches = datum_parts(datum, g, dtype), None
        if parts.kind == "plain" and self.formula == "Lax":
            branches = branches_of_minimum(g, X[0])
        momentum = momentum_parts(hamiltonian, H, d, dtype)
        search = SaddleSearch(parts, H, momentum, t, self.max_steps, branches, many_starts=self.formula == "Lax")
        convex = self.hamiltonian.curvature in ("convex", "linear")
        one = search.convex if convex else search.ascents
        if X.shape[0] == 1:
            return jax.lax.stop_gradient(jax.tree.map(lambda leaf: leaf[None], one(X[0])))
        blocks = -(-X.shape[0] // _BLOCK)
        found = over_rows(jax.vmap(one), -(-X.shape[0] // blocks), X)
        return jax.lax.stop_gradient(found)
