"""From depth to time: the value of a network as an initial-value problem, the one place where the sign turns."""

import math
from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._domain import Domain
from hjpde._problem import InitialValueProblem
from hjpde._types import Point, Scalar, ScalarLike, known_number
from hjpde.architectures import DepthFlow, GaussianNoise, NoisyNetwork, modified_velocity
from hjpde.hamiltonians import AbstractHamiltonian, RiskSensitive, Transport


def value_problem(
    flow: DepthFlow,
    *,
    x: Any = None,
    horizon: float | None = None,
    corrected: bool = False,
    temperature: ScalarLike | None = None,
    domain: Domain | None = None,
) -> InitialValueProblem:
    r"""The initial-value problem that a network with a readout discretises,

    $$u_t - F(T - t, z) \cdot \nabla u = \mathrm{tr}(N(t, z) D^2 u), \qquad u(0, z) = g(z).$$

    With `T` the network's depth, $u(T, z)$ is the value of a network that starts from the state `z`: the layers act in
    reverse order, as the last one is next to the datum. A deterministic network has $N = 0$.

    **Arguments:**

    - `flow`: of `hjpde.as_hamiltonian`.
    - `x`: an input, needed where the layers read one, or the state is not a single vector.
    - `horizon`: `T`; by default the network's depth.
    - `corrected`: whether the velocity is that of the modified equation, so that the network's own steps agree with
      the problem to second order: see `hjpde.architectures.modified_velocity`. With stochastic depth or dropout the
      effective viscosity, of order `h`, belongs to the same correction, and stands in the problem either way.
    - `temperature`: $\theta$, to pool the outcomes of Gaussian noise $\nu$ as $\theta \log E \exp(g/\theta)$; then
      $H = -F \cdot p - (\nu/\theta)|p|^2$.
    - `domain`: the problem's `hjpde.Domain`.

    **Returns:** an `InitialValueProblem` on vectors; a state of another shape is laid out in a row.

    **Raises:** `ValueError` if `x` is missing, or `temperature` is given without Gaussian noise.
    """
    architecture = flow.architecture
    if horizon is None and architecture.layer_count is None and x is None:
        raise ValueError("`x` or `horizon` must be given: the network is as deep as the sequence that it reads.")
    if horizon is None:
        layers = architecture.layer_count if x is None else flow.L(x)
        assert layers is not None
        horizon = layers * architecture.layer_time
    row = _Row(flow, x)
    transport = Transport(_Velocity(row, float(horizon), corrected))
    noise = architecture.noise if isinstance(architecture, NoisyNetwork) else None
    viscosity: Any = 0.0
    if isinstance(noise, GaussianNoise):
        viscosity = noise.nu
    elif noise is not None:
        viscosity = _EffectiveViscosity(row, float(horizon))
    hamiltonian: AbstractHamiltonian = transport
    if temperature is not None:
        if not isinstance(noise, GaussianNoise):
            raise ValueError("`temperature` needs a network with `GaussianNoise`, whose outcomes it pools.")
        hamiltonian = RiskSensitive(transport, noise.nu / known_number(temperature, "temperature"))
    return InitialValueProblem(_Datum(row), hamiltonian, viscosity, domain=domain)


class _Row(eqx.Module):
    """A flow whose states are laid out in a row, and what its layers read."""

    flow: DepthFlow
    x: Any
    restore: Callable = eqx.field(static=True)

    def __init__(self, flow: DepthFlow, x: Any):
        self.flow, self.x = flow, x
        if x is None:
            self.restore = _as_it_is
            return
        state = eqx.filter_eval_shape(flow.architecture.start, x)
        self.restore = _Restore(jax.tree.structure(state), tuple(leaf.shape for leaf in jax.tree.leaves(state)))


@final
class _Restore:
    """Cuts a row into the leaves of a state. Compares by value, so that compiled functions are shared."""

    def __init__(self, structure: Any, shapes: tuple[tuple[int, ...], ...]):
        self.structure, self.shapes = structure, shapes

    def __call__(self, row: Point) -> Any:
        leaves, start = [], 0
        for shape in self.shapes:
            leaves.append(row[start : start + math.prod(shape)].reshape(shape))
            start += math.prod(shape)
        return jax.tree.unflatten(self.structure, leaves)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Restore) and (self.structure, self.shapes) == (other.structure, other.shapes)

    def __hash__(self) -> int:
        return hash((self.structure, self.shapes))


def _as_it_is(row: Point) -> Point:
    return row


def _in_a_row(state: Any) -> Float[Array, " d"]:
    return jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(state)])


class _Datum(eqx.Module):
    """The readout of the final state."""

    row: _Row

    def __call__(self, z: Point) -> Scalar:
        return self.row.flow.g(self.row.restore(z))


class _Velocity(eqx.Module):
    r"""$-F(T - t, z)$, or that of the modified equation."""

    row: _Row
    horizon: float = eqx.field(static=True)
    corrected: bool = eqx.field(static=True)

    def __call__(self, t: ScalarLike, z: Point) -> Float[Array, " d"]:
        flow, state = self.row.flow, self.row.restore(z)
        s, layer = _depth(flow, self.horizon, t, self.row.x)
        if self.corrected:
            velocity = modified_velocity(flow.architecture, s, state, flow.architecture.layer_time, layer)
        else:
            velocity = flow.architecture.velocity(s, state, layer)
        return -_in_a_row(velocity)


class _EffectiveViscosity(eqx.Module):
    """The closed form of the noise in a layer, at its own size of step."""

    row: _Row
    horizon: float = eqx.field(static=True)

    def __call__(self, t: ScalarLike, z: Point) -> Float[Array, "d d"]:
        flow, state = self.row.flow, self.row.restore(z)
        s, layer = _depth(flow, self.horizon, t, self.row.x)
        assert isinstance(flow.architecture, NoisyNetwork)
        return flow.architecture.viscosity(s, state, flow.architecture.layer_time, layer)


def _depth(flow: DepthFlow, horizon: float, t: ScalarLike, x: Any) -> tuple[Scalar, Any]:
    """The depth $T - t$ and what the layer there holds; at an edge the earlier layer, which is the later in time."""
    s = horizon - jnp.asarray(t)
    h = flow.architecture.layer_time
    # Edges are known to rounding, of the size of the whole depth's.
    index = jnp.ceil((s - 8 * jnp.finfo(s.dtype).eps * horizon) / h) - 1
    return s, flow.layer_at((jnp.maximum(index, 0) + 0.5) * h, x)
