"""A Hamiltonian seen backwards in time."""

from typing import final

import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._sets import Box
from hjpde._types import Point, Scalar, ScalarLike, as_float_array, require_finite

from ._abstract import AbstractHamiltonian, HasGodunov, HasSpeedBound


@final
class TimeReversed(AbstractHamiltonian):
    r"""$-H(T - t, x, p)$, which turns a terminal-value problem into an initial-value problem.

    If $V_s + H(s, x, \nabla V) = 0$ for $s < T$ with $V(T, \cdot) = g$, then $u(t, x) = V(T - t, x)$ solves
    $u_t - H(T - t, x, \nabla u) = 0$ with $u(0, \cdot) = g$.
    """

    hamiltonian: AbstractHamiltonian
    horizon: Scalar

    def __init__(self, hamiltonian: AbstractHamiltonian, horizon: ScalarLike):
        """**Arguments:**

        - `hamiltonian`: the terminal-value problem's.
        - `horizon`: $T$, the time at which the terminal value is given.

        **Raises:** `ValueError` if `hamiltonian` is none, or `horizon` is not a finite scalar.
        """
        if not isinstance(hamiltonian, AbstractHamiltonian):
            raise ValueError(
                f"`hamiltonian` must be a member of `hjpde.hamiltonians`, got {type(hamiltonian).__name__}."
            )
        self.hamiltonian, self.horizon = hamiltonian, as_float_array(horizon, "horizon", 0)
        require_finite(self.horizon, "horizon")

    @property
    def dim(self) -> int | None:
        return self.hamiltonian.dim

    def __call__(self, t: ScalarLike, x: Point, p: Float[Array, " d"]) -> Scalar:
        return -self.hamiltonian(self.real_time(t, x), x, p)

    def real_time(self, t: ScalarLike, x: Point) -> Scalar:
        """$T - t$, in the dtype of `x`."""
        return self.horizon.astype(x.dtype) - jnp.asarray(t, x.dtype)

    def speed_bound(self, t: ScalarLike, x: Point, box: Box) -> Float[Array, " d"]:
        """The bound of the Hamiltonian inside: see `HasSpeedBound`.

        **Raises:** `ValueError` if that has none.
        """
        if not isinstance(self.hamiltonian, HasSpeedBound):
            raise ValueError(f"`hamiltonian` {type(self.hamiltonian).__name__} has no `speed_bound`.")
        return self.hamiltonian.speed_bound(self.real_time(t, x), x, box)

    def why_not_godunov(self) -> str | None:
        if not isinstance(self.hamiltonian, HasGodunov):
            return f"`hamiltonian` {type(self.hamiltonian).__name__} has no Godunov form."
        return self.hamiltonian.why_not_godunov()

    def godunov(self, t: ScalarLike, x: Point, left: Float[Array, " d"], right: Float[Array, " d"]) -> Scalar:
        """The Hamiltonian's own form with the sides exchanged: see `HasGodunov`.

        **Raises:** `ValueError` if that has none.
        """
        if not isinstance(self.hamiltonian, HasGodunov):
            raise ValueError(self.why_not_godunov())
        return -self.hamiltonian.godunov(self.real_time(t, x), x, right, left)
