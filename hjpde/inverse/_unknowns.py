"""What an inverse problem asks for: parts of an initial-value problem, in coordinates that are 0 at the start."""

from collections.abc import Callable
from typing import Any, Literal, final, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from hjpde._problem import InitialValueProblem
from hjpde._viscosity import MatrixViscosity, ScalarViscosity
from hjpde.initial_data import AbstractSoftMinimum
from hjpde.solvers import GridValues

from ._smooth_prior import SmoothPrior

Part = Literal["initial_data", "hamiltonian", "viscosity"]


@final
class Unknowns(eqx.Module):
    r"""The map from coordinates $z \in \mathbb{R}^P$ to a problem; $z = 0$ is the problem that one starts from.

    - `initial_data`: values on a grid move by a smooth field, `SmoothPrior`; the arrays of any other datum move by
      `z` itself.
    - `hamiltonian`: its arrays move by `z` times their root mean square (1 where that is 0).
    - `viscosity`: multiplied by $e^z$, so that it stays positive.
    """

    start: InitialValueProblem
    prior: SmoothPrior | None
    parts: tuple[Part, ...] = eqx.field(static=True)

    def __init__(self, start: InitialValueProblem, parts: tuple[str, ...]):
        """**Arguments:**

        - `start`: the problem that one starts from.
        - `parts`: what is unknown, of "initial_data", "hamiltonian", "viscosity".

        **Raises:** `ValueError` if a part is another word, comes twice, or holds no array of floats to move.
        """
        known = get_args(Part)
        if not parts or len(set(parts)) < len(parts) or not set(parts) <= set(known):
            raise ValueError(f"`unknown` must name some of {', '.join(map(repr, known))}, each once, got {parts!r}.")
        if "viscosity" in parts and not isinstance(start.viscosity, ScalarViscosity | MatrixViscosity):
            raise ValueError(
                "`unknown` names the viscosity, which must then be a positive number or a matrix to begin with."
            )
        self.start, self.parts = start, parts  # pyright: ignore
        datum = start.initial_data
        self.prior = SmoothPrior(datum.grid) if isinstance(datum, GridValues) else None
        for part, count in zip(parts, self._counts(), strict=True):
            if count == 0:
                raise ValueError(f"`unknown` names the {part}, but {getattr(start, part)!r} holds no array to recover.")

    @property
    def size(self) -> int:
        """The number `P` of coordinates."""
        return sum(self._counts())

    @property
    def dtype(self) -> Any:
        """The dtype of the coordinates: that of what is recovered."""
        return jnp.result_type(*(leaf for part in self.parts for leaf in jax.tree.leaves(self._moving(part)[0])))

    def problem(self, z: Float[Array, " P"]) -> InitialValueProblem:
        """The problem of the coordinates `z`, shape `(P,)`."""
        pieces = jnp.split(z, np.cumsum(self._counts())[:-1])
        found = {part: self._moved(part, piece) for part, piece in zip(self.parts, pieces, strict=True)}
        datum = found.get("initial_data", self.start.initial_data)
        if "viscosity" in found and isinstance(datum, AbstractSoftMinimum) and datum.viscosity is not None:
            # A soft minimum took the problem's temperature, and follows it.
            datum = datum.at_viscosity(datum.viscosity * jnp.exp(pieces[self.parts.index("viscosity")][0]))
        found["initial_data"] = datum
        names = tuple(found)
        return eqx.tree_at(
            lambda problem: tuple(getattr(problem, name) for name in names), self.start, tuple(found.values())
        )

    def datum_at(self, z: Float[Array, " P"], x: Float[Array, " d"]) -> Float[Array, ""]:
        """The initial datum of the coordinates `z` at one point."""
        return self.problem(z).initial_data(x)

    def _counts(self) -> list[int]:
        return [1 if part == "viscosity" else _size(self._moving(part)[0]) for part in self.parts]

    def _moving(self, part: Part) -> tuple[PyTree, PyTree]:
        """The arrays of a part that move, and all the rest of it."""
        whole = getattr(self.start, part)
        if isinstance(whole, GridValues):
            mask = eqx.tree_at(lambda datum: datum.values, jax.tree.map(lambda _: False, whole), True)
            return eqx.partition(whole, mask)
        moving = jax.tree.map(eqx.is_inexact_array, whole)
        if isinstance(whole, AbstractSoftMinimum) and whole.viscosity is not None:
            moving = eqx.tree_at(lambda datum: datum.viscosity, moving, False)
        return eqx.partition(whole, moving)

    def _moved(self, part: Part, z: Float[Array, " k"]) -> Any:
        moving, fixed = self._moving(part)
        if part == "viscosity":
            return jax.tree.map(lambda leaf: leaf * jnp.exp(z[0]).astype(leaf.dtype), getattr(self.start, part))
        step: Callable = lambda leaf, piece: leaf + piece  # noqa: E731
        if part == "initial_data" and self.prior is not None:
            prior = self.prior
            step = lambda leaf, piece: leaf + prior(piece)  # noqa: E731
        elif part == "hamiltonian":
            step = lambda leaf, piece: leaf + _magnitude(leaf) * piece  # noqa: E731
        leaves, structure = jax.tree.flatten(moving)
        pieces = jnp.split(z, np.cumsum([leaf.size for leaf in leaves])[:-1])
        shaped = [
            step(leaf, piece.reshape(leaf.shape).astype(leaf.dtype)) for leaf, piece in zip(leaves, pieces, strict=True)
        ]
        return eqx.combine(jax.tree.unflatten(structure, shaped), fixed)


def _size(tree: PyTree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def _magnitude(leaf: Array) -> Array:
    size = jnp.sqrt(jnp.mean(leaf**2))
    return jnp.where(size > 0, size, 1)
