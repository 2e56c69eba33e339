"""Numerical Hamiltonians: one value of `H` from the left and the right derivatives at a point."""

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import jax
import jax.extend
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from hjpde._extremum import largest, least
from hjpde._sets import Box
from hjpde._types import Point, Scalar, ScalarLike
from hjpde.hamiltonians import AbstractHamiltonian, HasGodunov
from hjpde.solvers.grids._over_grid import over_grid

Flux = Literal["godunov", "global", "local", "local-local"]
Field = Float[Array, "..."]
Sides = tuple[Sequence[Field], Sequence[Field]]
SpeedBound = Callable[[ScalarLike, Point, Box], Float[Array, " d"]]


def choose_flux(flux: str, hamiltonian: AbstractHamiltonian) -> Flux:
    """The numerical Hamiltonian that a user means; "auto" is Godunov's where `H` has one, else "local".

    **Raises:** `ValueError` if `flux` is another word, or Godunov's is asked for where it does not apply.
    """
    if flux == "auto":
        return "godunov" if _why_not_godunov(hamiltonian) is None else "local"
    for known in get_args(Flux):
        if flux == known:
            reason = _why_not_godunov(hamiltonian) if known == "godunov" else None
            if reason is not None:
                raise ValueError(f"`flux` 'godunov' does not apply: {reason} Use 'local', or 'auto'.")
            return known
    raise ValueError(f"`flux` must be 'auto' or one of {', '.join(map(repr, get_args(Flux)))}, got {flux!r}.")


def _why_not_godunov(hamiltonian: AbstractHamiltonian) -> str | None:
    if isinstance(hamiltonian, HasGodunov):
        return hamiltonian.why_not_godunov()
    return f"{type(hamiltonian).__name__} is not known to be a sum of convex functions of one component each."


def numerical_hamiltonian(
    flux: Flux,
    hamiltonian: AbstractHamiltonian,
    speed_bound: SpeedBound,
    t: ScalarLike,
    axes: Sequence[Float[Array, " _"]],
    left: Sequence[Field],
    right: Sequence[Field],
    alphas: Sequence[Field] | None = None,
) -> Field:
    r"""$\hat H(t, x, D^- u, D^+ u)$ on the grid: consistent, $\hat H(p, p) = H(p)$, and monotone.

    Godunov's is the least diffusive monotone one. Lax and Friedrichs' are

    $$\hat H = H\bigl(\tfrac{1}{2}(D^- u + D^+ u)\bigr) - \tfrac{1}{2} \sum_i \alpha_i (D^+_i u - D^-_i u),$$

    with $\alpha_i \ge |\partial H / \partial p_i|$ over a box of co-states: that of the whole grid ("global"), the
    point's own along axis `i` and the grid's along the others ("local"), or the point's own ("local-local"). In all
    three $\alpha$ follows the point where `H` depends on it; `alphas` gives it where it is known already.

    ??? cite "References"

        S. Osher and C.-W. Shu, *High-order essentially nonoscillatory schemes for Hamilton-Jacobi equations*, SIAM J.
        Numer. Anal. 28, 1991, Section 2.
    """
    if flux == "godunov":
        assert isinstance(hamiltonian, HasGodunov)
        godunov = hamiltonian.godunov
        return over_grid(lambda x, left, right: godunov(t, x, left, right), axes, left, right)
    everywhere = None
    if alphas is None:
        pairs = _evaluated_once(left, right)
        left, right = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        everywhere = [least(pair) for pair in pairs], [largest(pair) for pair in pairs]
    centre = [(minus + plus) / 2 for minus, plus in zip(left, right, strict=True)]
    value = over_grid(lambda x, p: hamiltonian(t, x, p), axes, centre)
    if alphas is None:
        alphas = dissipation(flux, speed_bound, t, axes, left, right, everywhere)
    for alpha, minus, plus in zip(alphas, left, right, strict=True):
        value = value - alpha * (plus - minus) / 2
    return value


def dissipation(
    flux: Flux,
    speed_bound: SpeedBound,
    t: ScalarLike,
    axes: Sequence[Float[Array, " _"]],
    left: Sequence[Field],
    right: Sequence[Field],
    everywhere: Sides | None = None,
) -> list[Field]:
    r"""$\alpha_i$ for each axis, over the box of co-states that the flux looks at; for "godunov" the point's own.

    `everywhere` has the least and the largest slopes over the grid, where they are known already.
    """
    own = _box(left, right)
    if flux in ("local-local", "godunov"):
        return _bounds(speed_bound, t, axes, *own)
    if everywhere is None:
        everywhere = [least(bound) for bound in own[0]], [largest(bound) for bound in own[1]]
    if flux == "global":
        return _bounds(speed_bound, t, axes, *everywhere)
    alphas = []
    for i in range(len(axes)):
        lower, upper = (
            [mine if j == i else all_[j] for j, mine in enumerate(bounds)]
            for bounds, all_ in zip(own, everywhere, strict=True)
        )
        alphas.append(_bounds(speed_bound, t, axes, lower, upper)[i])
    return alphas


def steady_dissipation(speed_bound: SpeedBound, axes: Sequence[Float[Array, " _"]]) -> list[Field] | None:
    """$\\alpha_i$ for each axis where the bound depends on the place alone, as for affine controls; else `None`."""
    zero = jnp.zeros_like(axes[0][0])
    point = jnp.zeros((len(axes),), zero.dtype)
    traced = jax.make_jaxpr(lambda t, lower, upper, x: speed_bound(t, x, Box(lower, upper)))(zero, point, point, point)
    dependent = set(traced.jaxpr.invars[:3])
    for equation in traced.jaxpr.eqns:
        if any(isinstance(variable, jax.extend.core.Var) and variable in dependent for variable in equation.invars):
            dependent.update(equation.outvars)
    if any(variable in dependent for variable in traced.jaxpr.outvars if isinstance(variable, jax.extend.core.Var)):
        return None
    nowhere = [zero] * len(axes)
    return _bounds(speed_bound, zero, axes, nowhere, nowhere)


def _evaluated_once(left: Sequence[Field], right: Sequence[Field]) -> list[Float[Array, "2 ..."]]:
    """For each axis both slopes, written to memory before anything reads them.

    XLA would evaluate the stencils again for each of the least and largest slopes over the grid, which doubles the
    time of a solve; a concatenated array it evaluates once.
    """
    return [lax.optimization_barrier(jnp.stack(pair)) for pair in zip(left, right, strict=True)]


def _box(left: Sequence[Field], right: Sequence[Field]) -> tuple[list[Field], list[Field]]:
    pairs = list(zip(left, right, strict=True))
    return [jnp.minimum(*pair) for pair in pairs], [jnp.maximum(*pair) for pair in pairs]


def _bounds(
    speed_bound: SpeedBound,
    t: ScalarLike,
    axes: Sequence[Float[Array, " _"]],
    lower: Sequence[Field],
    upper: Sequence[Field],
) -> list[Field]:
    def at_point(x: Point, lower: Point, upper: Point) -> tuple[Scalar, ...]:
        bound = speed_bound(t, x, Box(lower, upper))
        return tuple(bound[i] for i in range(len(axes)))

    return list(over_grid(at_point, axes, lower, upper))
