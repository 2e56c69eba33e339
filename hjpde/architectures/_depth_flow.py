"""An architecture with a readout: the depth flow, its Hamiltonian, and the two ways through it."""

from collections.abc import Callable
from typing import Any, final

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._types import Scalar, ScalarLike

from ._architecture import AbstractArchitecture, Layer, State, pairing


@final
class DepthFlow(eqx.Module):
    r"""The terminal-value problem that a network discretises, `V` being what the rest of the network returns,

    $$V_s + \tilde H(s, z, \nabla V) = 0, \quad V(T, \cdot) = g, \qquad \tilde H(s, z, p) = F(s, z) \cdot p.$$

    Its characteristics are $\dot z = F$ and $\dot p = -(DF)^\top p$: the forward pass, and backpropagation.
    $g$ is the readout of the network's output, and $u(t, z) = V(T - t, z)$ solves the initial-value problem with
    $H = -F(T - t, z) \cdot p$: see `hjpde.value_problem`.
    """

    architecture: AbstractArchitecture
    readout: Callable

    def __init__(self, architecture: AbstractArchitecture, readout: Callable | None = None):
        """**Arguments:**

        - `architecture`: the network.
        - `readout`: a function of the network's output with a scalar value, such as a loss or one logit; by
            default the sum of the output's entries.

        **Raises:** `ValueError` if an argument is of another kind.
        """
        if not isinstance(architecture, AbstractArchitecture):
            raise ValueError(
                "`architecture` must be a member of `hjpde.architectures`, got "
                f"{type(architecture).__name__}; `hjpde.as_hamiltonian` converts other modules."
            )
        if readout is not None and not callable(readout):
            raise ValueError(f"`readout` must be a function of the output, got {type(readout).__name__}.")
        self.architecture = architecture
        self.readout = jnp.sum if readout is None else readout

    def g(self, z: State) -> Scalar:
        """The terminal datum: the readout of the output at the final state."""
        value = self.readout(self.architecture.finish(z))
        if jnp.shape(value) != ():
            raise ValueError(f"`readout` must return a scalar, got shape {jnp.shape(value)}.")
        return value

    def F(self, s: ScalarLike, z: State, x: Float[Array, "..."] | None = None) -> State:
        """The velocity at depth `s`.

        **Arguments:**

        - `s`: in $[0, T]$; at the edge of two layers, the later.
        - `z`: the state.
        - `x`: the input that the layers read; needed where they read one.
        """
        return self.architecture.velocity(s, z, self.layer_at(s, x))

    def H(self, s: ScalarLike, z: State, p: State, x: Float[Array, "..."] | None = None) -> Scalar:
        r"""$\tilde H = F(s, z) \cdot p$, in the sign of the terminal-value problem."""
        return pairing(p, self.F(s, z, x))

    def step(self, s: ScalarLike, z: State, h: ScalarLike, x: Float[Array, "..."] | None = None) -> State:
        """The network's own step from `s` to `s + h`, within a layer."""
        return self.architecture.step(s, z, h, self.layer_at(s, x))

    def layer_at(self, s: ScalarLike, x: Float[Array, "..."] | None = None) -> Layer:
        """What the layer at depth `s` holds."""
        layers = self.architecture.layers(x)
        if layers is None:
            return None
        # An edge computed as k h may fall a rounding short of it.
        index = jnp.floor(jnp.asarray(s) / self.architecture.layer_time * (1 + 1e-6)).astype(int)
        return jax.tree.map(lambda leaf: leaf[jnp.clip(index, 0, leaf.shape[0] - 1)], layers)

    def L(self, x: Float[Array, "..."]) -> int:
        """The number of layers, for an input."""
        return x.shape[0] if self.architecture.layer_count is None else self.architecture.layer_count

    def T(self, x: Float[Array, "..."]) -> float:
        """The depth at the end, for an input."""
        return self.L(x) * self.architecture.layer_time

    def native(self, x: Float[Array, "..."], n: int = 1) -> State:
        """The final state of the network refined `n` times: `n` steps of its own a layer. 1 is the network."""
        h = self.architecture.layer_time / n

        def layer_step(z, indexed):
            index, layer = indexed
            s = index * self.architecture.layer_time

            def sub_step(z, i):
                return self.architecture.step(s + i * h, z, h, layer), None

            if n == 1:
                return self.architecture.step(s, z, h, layer), None
            return jax.lax.scan(sub_step, z, jnp.arange(n))

        return self._through(x, layer_step)

    def exact(self, x: Float[Array, "..."], rtol: float | None = None) -> State:
        """The final state of the flow, by an adaptive Runge-Kutta method, layer after layer.

        **Arguments:**

        - `x`: one input.
        - `rtol`: the relative tolerance of a step; by default 1e-10 in float64, and 1e-6 in float32.

        Order 8 (Dormand and Prince) in float64, and 5 in float32; differentiable.
        """
        architecture = self.architecture

        def layer_flow(z, indexed):
            index, layer = indexed
            s = index * architecture.layer_time
            z = integrate(architecture, architecture.settle(z, layer), s, s + architecture.layer_time, layer, rtol)
            return architecture.settle(z, layer), None

        return self._through(x, layer_flow)

    def _through(self, x: Float[Array, "..."], one_layer: Callable[[State, Any], tuple[State, None]]) -> State:
        """Scans over the layers, each with its index."""
        z, indexed = self.architecture.start(x), (jnp.arange(self.L(x)), self.architecture.layers(x))
        return jax.lax.scan(one_layer, z, indexed)[0]


def default_tolerance(dtype: Any) -> float:
    """The relative tolerance of a step of the flow."""
    return 1e-10 if dtype == jnp.float64 else 1e-6


def integrate(
    architecture: AbstractArchitecture,
    z: State,
    start: ScalarLike,
    end: ScalarLike,
    layer: Layer,
    rtol: float | None = None,
    *,
    varied: bool = False,
) -> State:
    r"""The flow of one layer's velocity from depth `start` to `end`.

    With `varied` the steps are short enough for the derivative too: they also control the error of a variation
    $\dot v = DF(s, z)\,v$ in a random direction. A state that rests, as of a channel whose input is 0, shows nothing of
    the rates around it, and steps beyond the limit of stability leave it where it is, but not its derivative.
    """
    dtype = jnp.result_type(*jax.tree.leaves(z))
    double = dtype == jnp.float64
    rtol = default_tolerance(dtype) if rtol is None else rtol
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(_varied_velocity if varied else _velocity),  # pyright: ignore[reportArgumentType]
        diffrax.Dopri8() if double else diffrax.Tsit5(),
        jnp.asarray(start, dtype),
        jnp.asarray(end, dtype),
        None,
        (z, _direction(z)) if varied else z,
        args=(architecture, layer),
        stepsize_controller=diffrax.PIDController(rtol=rtol, atol=rtol / 100 if double else rtol / 10),
    )
    assert solution.ys is not None
    z = solution.ys[0] if varied else solution.ys
    return jax.tree.map(lambda leaf: leaf[-1], z)


def _velocity(s: Scalar, z: State, args: tuple[AbstractArchitecture, Layer]) -> State:
    architecture, layer = args
    return architecture.velocity(s, z, layer)


def _varied_velocity(s: Scalar, zv: tuple[State, State], args: tuple[AbstractArchitecture, Layer]) -> State:
    z, v = zv
    # The variation sets the steps and nothing else.
    differentiable, rest = eqx.partition((z, args), eqx.is_inexact_array)
    z_held, args_held = eqx.combine(jax.lax.stop_gradient(differentiable), rest)
    return _velocity(s, z, args), jax.jvp(lambda z: _velocity(s, z, args_held), (z_held,), (v,))[1]


def _direction(z: State) -> State:
    """A fixed random direction, of entries of order 1."""
    leaves, structure = jax.tree.flatten(z)
    keys = jax.random.split(jax.random.key(0), len(leaves))
    return structure.unflatten(
        [jax.random.normal(k, leaf.shape, leaf.dtype) for k, leaf in zip(keys, leaves, strict=True)]
    )
