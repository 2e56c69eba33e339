"""The value at a point under pure transport, from where its path starts."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._solution import AbstractEvaluator
from hjpde._types import Point, Scalar
from hjpde.hamiltonians import Transport

from ._canonical_equations import Strips


@final
class TransportEvaluator(AbstractEvaluator):
    r"""$u(t, x) = g(y)$ with $y = x(0)$ on the path $\dot x = v$ that is at `x` at time `t`.

    A Hamiltonian that is linear in the co-state moves all slopes alike: the path is found by integrating backwards,
    where others need a search for its start. Differentiable in `t`, `x`, the datum's parameters and the velocity's.
    """

    strips: Strips
    known_dim: int | None = eqx.field(static=True)

    @property
    def twice_differentiable(self) -> bool:
        return True

    @property
    def dim(self) -> int | None:
        return self.known_dim

    def invalid_time(self, t: float) -> str | None:
        return "take `t` >= 0" if t < 0 else None

    def __call__(self, t: Scalar, x: Point) -> Scalar:
        transport = self.strips.hamiltonian
        assert isinstance(transport, Transport)
        y = self.strips.foot(t, x, lambda t, x: transport.at(t, x).astype(x.dtype))
        return jnp.asarray(self.strips.datum(y), x.dtype)

    def batch(self, t: Scalar, X: Float[Array, "M d"]) -> Float[Array, " M"]:
        return jax.lax.map(lambda x: self(t, x), X, batch_size=64)

    def standard_error(self, t: Scalar, x: Point) -> Scalar:
        """What the tolerance of the integration may change."""
        value, slope = jax.value_and_grad(self, 1)(t, x)
        if not callable(self._velocity):
            return jnp.zeros_like(value)
        return (self.strips.atol + self.strips.rtol * jnp.linalg.norm(x)) * jnp.linalg.norm(slope)

    @property
    def _velocity(self):
        transport = self.strips.hamiltonian
        assert isinstance(transport, Transport)
        return transport.velocity
