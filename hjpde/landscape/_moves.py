r"""Moves on the sphere that leave the Gibbs measure $\propto e^{-\beta H(x)}$ as it is.

Libraries of samplers, such as blackjax, know neither the sphere nor an axis of temperatures beside one of chains, so
the moves are written here.
"""

import abc
import math
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._types import Scalar

from ._energy import AbstractEnergy
from ._sphere import along_circle, tangent

_RATE = 0.05


@final
class Place(NamedTuple):
    r"""Where a chain is.

    - `x`: the point, shape `(N,)`. - `energy`: $H(x)$.
    - `force`: $-\nabla H$ along the sphere, shape `(N,)`, or `(0,)` for moves that need none.
    """

    x: Float[Array, "..."]
    energy: Float[Array, "..."]
    force: Float[Array, "..."]


class AbstractMove(eqx.Module):
    """A reversible proposal with a step that is adapted to an acceptance."""

    target: eqx.AbstractVar[float]
    largest_step: eqx.AbstractVar[float]

    @abc.abstractmethod
    def look(self, energy: AbstractEnergy, x: Float[Array, " N"]) -> Place:
        """What the move needs to know at `x`."""

    @abc.abstractmethod
    def propose(
        self, energy: AbstractEnergy, beta: Scalar, step: Scalar, place: Place, noise: Float[Array, " N"]
    ) -> tuple[Place, Scalar]:
        """Another place, from standard normal `noise`, and the logarithm of the probability to accept it."""


def advance(
    move: AbstractMove,
    energy: AbstractEnergy,
    adapts: Scalar,
    beta: Scalar,
    step: Scalar,
    place: Place,
    noise: Float[Array, " N"],
    log_uniform: Scalar,
) -> tuple[Place, Scalar, Scalar]:
    """One move of one chain: the place, the step, adapted as far as `adapts` says, and 1 if it was accepted.

    Random numbers come in drawn, as many at once are drawn in half the time.
    """
    other, log_probability = move.propose(energy, beta, step, place, noise)
    accepted = log_uniform < log_probability
    place = jax.tree.map(lambda new, old: jnp.where(accepted, new, old), other, place)
    hit = accepted.astype(step.dtype)
    return place, jnp.minimum(step * jnp.exp(adapts * _RATE * (hit - move.target)), move.largest_step), hit


@final
class Metropolis(AbstractMove):
    r"""A rotation by the angle `t` in a random direction, $x' = x\cos t + g_\perp\sin t$, $|g_\perp| = |x|$.

    Accepted with probability $\min(1, e^{-\beta(H(x') - H(x))})$; the angle is adapted to an acceptance of 35 %.
    """

    target: float = eqx.field(static=True, default=0.35)
    largest_step: float = eqx.field(static=True, default=math.pi / 2)

    def look(self, energy: AbstractEnergy, x: Float[Array, " N"]) -> Place:
        return Place(x, energy(x), jnp.zeros((0,), x.dtype))

    def propose(
        self, energy: AbstractEnergy, beta: Scalar, step: Scalar, place: Place, noise: Float[Array, " N"]
    ) -> tuple[Place, Scalar]:
        x, g = place.x, noise
        # The two sums of the tangent part, so that the point is one pass over x and g.
        N, along, square = x.shape[0], (g * x).sum(), (g * g).sum()
        sine = jnp.sin(step) * jnp.sqrt(N / (square - along**2 / N))
        other = self.look(energy, (jnp.cos(step) - sine * along / N) * x + sine * g)
        return other, beta * (place.energy - other.energy)


@final
class HamiltonianMonteCarlo(AbstractMove):
    r"""Hamiltonian dynamics on the sphere from a random tangent velocity, kicks and great circles in turn:

    $$v \leftarrow v - \tfrac h2\beta\nabla_{\!S} H, \qquad (x, v) \leftarrow \text{great circle for a time } h, \qquad
    v \leftarrow v - \tfrac h2\beta\nabla_{\!S} H,$$

    and accepted by the energy that the steps of size `h` lost or gained. The step is adapted to an acceptance of 70 %;
    all steps together turn by a right angle at most, so that none returns to where it came from.

    - `leapfrogs`: steps for one proposal; 1 is Langevin's.

    ??? cite "References"

        S. Byrne, M. Girolami, *Geodesic Monte Carlo on embedded manifolds*, Scand. J. Stat. 40, 2013.
    """

    leapfrogs: int = eqx.field(static=True)
    target: float = eqx.field(static=True)
    largest_step: float = eqx.field(static=True)

    def __init__(self, leapfrogs: int = 4, target: float = 0.7):
        """**Arguments:** `leapfrogs`: at least 1; `target`: the acceptance to adapt to, between 0 and 1.

        **Raises:** `ValueError` if either is out of range.
        """
        if leapfrogs < 1 or not 0 < target < 1:
            raise ValueError(
                f"`leapfrogs` must be at least 1 and `target` between 0 and 1, got {leapfrogs} and {target:g}."
            )
        self.leapfrogs, self.target, self.largest_step = leapfrogs, target, math.pi / 2 / leapfrogs

    def look(self, energy: AbstractEnergy, x: Float[Array, " N"]) -> Place:
        value, gradient = jax.value_and_grad(energy)(x)
        return Place(x, value, -tangent(x, gradient))

    def propose(
        self, energy: AbstractEnergy, beta: Scalar, step: Scalar, place: Place, noise: Float[Array, " N"]
    ) -> tuple[Place, Scalar]:
        start = tangent(place.x, noise)

        def leap(_: Array, state: tuple[Place, Array]) -> tuple[Place, Array]:
            here, v = state
            v = v + step / 2 * beta * here.force
            x, v = along_circle(here.x, v, step)
            there = self.look(energy, x)
            return there, v + step / 2 * beta * there.force

        other, end = jax.lax.fori_loop(0, self.leapfrogs, leap, (place, start))
        return other, beta * (place.energy - other.energy) + (start @ start - end @ end) / 2


def langevin(target: float = 0.57) -> HamiltonianMonteCarlo:
    r"""Riemannian Langevin dynamics with Metropolis' correction: one leapfrog step a proposal, so that a small step
    moves along $-\tfrac{h^2}{2}\beta\nabla_{\!S} H$ and by noise of variance $h^2$.

    **Arguments:** `target`: the acceptance to adapt to.

    **Raises:** as `HamiltonianMonteCarlo`.

    ??? cite "References"

        G. Roberts, J. Rosenthal, *Optimal scaling of discrete approximations to Langevin diffusions*, J. R. Stat. Soc.
        B 60, 1998, for 57 %.
    """
    return HamiltonianMonteCarlo(1, target)
