"""The bound on the speeds |dH/dp| that sets the time step and the dissipation, and where it comes from."""

import itertools
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hjpde._sets import Box
from hjpde._types import ArrayInput, Point, ScalarLike, as_float_array, is_concrete
from hjpde.hamiltonians import AbstractHamiltonian, HasSpeedBound, TimeReversed

from ._interval import NotAvailable, interval_gradient

Source = Literal["hamiltonian", "user", "interval", "sampled"]
"""Where a bound comes from, from the surest to the least sure."""

SpeedBound = Callable[[ScalarLike, Point, Box], Float[Array, " d"]]

SAFETY = 1.5
"""By how much a sampled maximum is enlarged."""

_MOST_CORNERS = 64
_INSIDE = 32


def speed_bound_of(
    hamiltonian: AbstractHamiltonian,
    user: ArrayInput | Callable | None = None,
    *,
    dim: int | None = None,
) -> tuple[SpeedBound, Source]:
    r"""A function of `(t, x, box)` that bounds $|\partial H/\partial p_i|$ over the co-states of a box, and its source.

    The first of these that there is: the Hamiltonian's own closed form; the user's; interval arithmetic on the
    derivative; the largest of sampled derivatives, times 1.5. The user's and the sampled one have to be checked
    against the slopes that are met, see `speed_met`.

    **Arguments:**

    - `hamiltonian`: `H`.
    - `user`: a number or a vector of shape `(d,)`, at least 0, in units of `x` per unit of time, or a function of
      `(t, x, box)` that returns a vector of shape `(d,)`; `None` for none.
    - `dim`: `d` where the Hamiltonian takes any dimension. Where it is not known either, there is no interval
      arithmetic.

    **Raises:** `ValueError` if `user` is no such thing.
    """
    own = _own(hamiltonian)
    given = None if user is None else _given(user)
    if own is not None:
        return own, "hamiltonian"
    if given is not None:
        return given, "user"
    dim = hamiltonian.dim if hamiltonian.dim is not None else dim
    if dim is not None:
        try:
            return _enclosed(hamiltonian, dim), "interval"
        except NotAvailable:
            pass
    return lambda t, x, box: sampled_bound(hamiltonian, t, x, box), "sampled"


def is_rigorous(source: Source) -> bool:
    """Whether a bound from this source holds for certain, up to rounding; others are checked at every step."""
    return source in ("hamiltonian", "interval")


def speed_met(
    hamiltonian: AbstractHamiltonian, t: ScalarLike, x: Point, left: Float[Array, " d"], right: Float[Array, " d"]
) -> Float[Array, " d"]:
    r"""The largest $|\partial H/\partial p_i|$ at the one-sided gradients and at their mean, shape `(d,)`.

    A bound that is smaller than this is none. A derivative that is NaN, as of a length at 0, does not count.
    """
    met = jnp.stack([left, right, (left + right) / 2])
    return _largest(jax.vmap(lambda p: _speed(hamiltonian, t, x, p))(met))


def sampled_bound(hamiltonian: AbstractHamiltonian, t: ScalarLike, x: Point, box: Box) -> Float[Array, " d"]:
    r"""1.5 times the largest $|\partial H/\partial p_i|$ at a fixed set of co-states in a box, shape `(d,)`.

    The set has the corners, the middles of the faces, the point of the box and of each face that is nearest to 0,
    the centre, and 32 points spread evenly inside: corners alone miss the largest slope of $|p|$.
    """
    lower, upper = box.lower, box.upper
    fractions = jnp.asarray(_fractions(box.dim), lower.dtype)
    spread = jax.vmap(lambda fraction: lower + fraction * (upper - lower))(fractions)
    nearest = jnp.clip(jnp.zeros_like(lower), lower, upper)
    onto_faces = [nearest, *(nearest.at[i].set(end[i]) for end in (lower, upper) for i in range(box.dim))]
    points = jnp.concatenate([spread, jnp.stack(onto_faces)])
    return SAFETY * _largest(jax.vmap(lambda p: _speed(hamiltonian, t, x, p))(points))


def _speed(hamiltonian: AbstractHamiltonian, t: ScalarLike, x: Point, p: Float[Array, " d"]) -> Float[Array, " d"]:
    return jnp.abs(jax.grad(hamiltonian, argnums=2)(t, x, p))


def _largest(speeds: Float[Array, "n d"]) -> Float[Array, " d"]:
    """The largest of each column without NaN, or NaN where there is nothing else."""
    undefined = jnp.isnan(speeds)
    return jnp.where(undefined.all(axis=0), jnp.nan, jnp.max(jnp.where(undefined, 0, speeds), axis=0))


def _own(hamiltonian: AbstractHamiltonian) -> SpeedBound | None:
    # Seen backwards in time a Hamiltonian knows its speeds if it knew them before.
    innermost = hamiltonian
    while isinstance(innermost, TimeReversed):
        innermost = innermost.hamiltonian
    if isinstance(innermost, HasSpeedBound) and isinstance(hamiltonian, HasSpeedBound):
        return hamiltonian.speed_bound
    return None


def _given(user: ArrayInput | Callable) -> SpeedBound:
    if callable(user):
        return lambda t, x, box: _as_vector(user(t, x, box), x)
    constant = as_float_array(user, "speed_bound")
    if constant.ndim > 1:
        raise ValueError(f"`speed_bound` must be a number or have shape (d,), got shape {constant.shape}.")
    if is_concrete(constant):
        values = np.asarray(constant)
        if not np.all(np.isfinite(values) & (values >= 0)):
            raise ValueError(f"`speed_bound` must be finite and not negative, got {values.tolist()}.")
    return lambda t, x, box: _as_vector(constant, x)


def _as_vector(bound: ArrayInput, x: Point) -> Float[Array, " d"]:
    bound = jnp.asarray(bound, x.dtype)
    if bound.shape not in ((), x.shape):
        raise ValueError(f"`speed_bound` must be a number or have shape {x.shape}, got {bound.shape}.")
    return jnp.broadcast_to(bound, x.shape)


def _enclosed(hamiltonian: AbstractHamiltonian, dim: int) -> SpeedBound:
    interval_gradient(hamiltonian, dim, jnp.result_type(float))

    def bound(t: ScalarLike, x: Point, box: Box) -> Float[Array, " d"]:
        return interval_gradient(hamiltonian, dim, x.dtype)(t, x, box).largest

    return bound


def _fractions(dim: int) -> np.ndarray:
    """Points of the unit cube: corners, middles of faces, centre, and an additive recurrence."""
    corners = np.asarray(list(itertools.islice(itertools.product((0.0, 1.0), repeat=dim), _MOST_CORNERS)))
    faces = np.full((2 * dim, dim), 0.5)
    faces[np.arange(2 * dim), np.arange(2 * dim) % dim] = np.repeat([0.0, 1.0], dim)
    # The root of z**(d + 1) = z + 1 gives the generalised golden ratio, whose powers are far from all fractions.
    root = 2.0
    for _ in range(64):
        root = (1 + root) ** (1 / (dim + 1))
    steps = np.arange(1, _INSIDE + 1)[:, None]
    inside = np.mod(0.5 + steps * root ** -np.arange(1.0, dim + 1)[None, :], 1.0)
    return np.concatenate([corners, faces, np.full((1, dim), 0.5), inside])
