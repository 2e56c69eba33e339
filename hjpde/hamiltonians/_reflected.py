"""A convex Hamiltonian of the reversed co-state."""

from typing import final

import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._types import Point, Scalar, ScalarLike

from ._abstract import AbstractConvexHamiltonian, Curvature, HasSeparableLagrangian


@final
class Reflected(AbstractConvexHamiltonian):
    r"""$H(-p)$, with $L(-v)$: if `u` solves the equation of $-H(-p)$, then $-u$ solves that of `H`."""

    hamiltonian: AbstractConvexHamiltonian

    def __init__(self, hamiltonian: AbstractConvexHamiltonian):
        """**Arguments:**

        - `hamiltonian`: a convex Hamiltonian that knows its conjugate.

        **Raises:** `ValueError` if it is none.
        """
        if not isinstance(hamiltonian, AbstractConvexHamiltonian):
            raise ValueError(f"`hamiltonian` must be convex and know its conjugate, got {type(hamiltonian).__name__}.")
        self.hamiltonian = hamiltonian

    @property
    def dim(self) -> int | None:
        return self.hamiltonian.dim

    @property
    def curvature(self) -> Curvature:
        return self.hamiltonian.curvature

    def __call__(self, t: ScalarLike, x: Point, p: Float[Array, " d"]) -> Scalar:
        return self.hamiltonian(t, x, -p)

    def lagrangian(self, v: Float[Array, " d"]) -> Scalar:
        return self.hamiltonian.lagrangian(-v)

    def why_not_separable(self, dim: int) -> str | None:
        if not isinstance(self.hamiltonian, HasSeparableLagrangian):
            return f"the {type(self.hamiltonian).__name__} that is reflected is not known to be a sum over the axes."
        return self.hamiltonian.why_not_separable(dim)

    def hamiltonian_along(self, axis: int, p: Float[Array, "..."]) -> Float[Array, "..."]:
        """That of the Hamiltonian inside: see `HasSeparableLagrangian`."""
        return self._separable.hamiltonian_along(axis, -p)

    def lagrangian_along(self, axis: int, v: Float[Array, "..."]) -> Float[Array, "..."]:
        """That of the Hamiltonian inside: see `HasSeparableLagrangian`."""
        return self._separable.lagrangian_along(axis, -v)

    def velocities_along(self, axis: int) -> tuple[ScalarLike, ScalarLike]:
        """Those of the Hamiltonian inside, reversed: see `HasSeparableLagrangian`."""
        lower, upper = self._separable.velocities_along(axis)
        return -jnp.asarray(upper), -jnp.asarray(lower)

    @property
    def _separable(self) -> HasSeparableLagrangian:
        assert isinstance(self.hamiltonian, HasSeparableLagrangian)
        return self.hamiltonian
