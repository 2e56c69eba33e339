r"""The canonical equations $\dot x = H_p$, $\dot p = -H_x$, $\dot u = p \cdot H_p - H$ from a start `y`."""

from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._types import Point, Scalar
from hjpde.hamiltonians import AbstractHamiltonian, AbstractMomentumHamiltonian

_FORWARD = diffrax.ForwardMode()


class Strip(eqx.Module):
    """A characteristic with what it carries: the place, the co-state and the value."""

    x: Float[Array, "*T d"]
    p: Float[Array, "*T d"]
    u: Float[Array, "*T"]


class Spread(eqx.Module):
    r"""How a strip moves with its start: $\partial x/\partial y$ and $\partial p/\partial y$."""

    x: Float[Array, "*T d d"]
    p: Float[Array, "*T d d"]


class Strips(eqx.Module):
    """The characteristic strip of every start `y`, as a function of time.

    Under a Hamiltonian $H(p)$ it is the straight line $x = y + t H_p$, along which `p` does not change; under any
    other it is integrated with an adaptive step.
    """

    datum: Callable
    hamiltonian: AbstractHamiltonian
    jumps: Float[Array, " J"] | None
    rtol: float = eqx.field(static=True)
    atol: float = eqx.field(static=True)
    max_steps: int = eqx.field(static=True)

    @property
    def straight(self) -> bool:
        """Whether characteristics are straight lines."""
        return isinstance(self.hamiltonian, AbstractMomentumHamiltonian)

    def __call__(self, t: Scalar, y: Point) -> Strip:
        """The strip at one time, differentiable in the datum's and the Hamiltonian's parameters, in both modes."""
        return self._at(t, y, diffrax.DirectAdjoint())

    def with_spread(self, t: Scalar, y: Point) -> tuple[Strip, Spread]:
        """The strip at one time, and how it moves with its start."""

        def strip_and_itself(y: Point) -> tuple[Strip, Strip]:
            strip = self._at(t, y, _FORWARD)
            return strip, strip

        derivative, strip = jax.jacfwd(strip_and_itself, has_aux=True)(y)
        return strip, Spread(derivative.x, derivative.p)

    def path(self, ts: Float[Array, " T"], y: Point) -> Strip:
        """The strip at many increasing times; differentiable forward."""
        if self.straight:
            return jax.vmap(lambda t: self._line(t, y))(ts)
        return self._integrated(jnp.zeros_like(ts[0]), ts[-1], self.start(y), diffrax.SaveAt(ts=ts), _FORWARD)

    def start(self, y: Point) -> Strip:
        """The strip at time 0."""
        value, slope = jax.value_and_grad(lambda y: jnp.asarray(self.datum(y), y.dtype))(y)
        return Strip(y, slope, value)

    def velocity(self, t: Scalar, strip: Strip) -> Strip:
        """The canonical equations' right-hand side."""
        value_and_slopes = jax.value_and_grad(self.hamiltonian, argnums=(1, 2))
        energy, (H_x, H_p) = value_and_slopes(jnp.asarray(t, strip.x.dtype), strip.x, strip.p)
        return Strip(H_p, -H_x, strip.p @ H_p - energy)

    def traced_back(self, t: Scalar, x: Point) -> Point:
        """Where the characteristic starts that is at `x` with the datum's own slope there; exact under `Transport`."""
        there = self.start(x)
        if self.straight:
            return x - t * self.velocity(t, there).x
        return self._integrated(t, jnp.zeros_like(t), there, diffrax.SaveAt(t1=True), _FORWARD).x[0]

    def foot(self, t: Scalar, x: Point, velocity: Callable) -> Point:
        """Where the path of a velocity `(t, x)` that is at `x` at time `t` starts; differentiable in both modes."""
        return self._solved(
            lambda t, x, args: velocity(t, x), t, jnp.zeros_like(t), x, diffrax.SaveAt(t1=True), diffrax.DirectAdjoint()
        )[0]

    def continued(self, strip: Strip, t0: Scalar, t1: Scalar) -> Strip:
        """The strip one step later; a step of length 0 gives derivatives in time."""
        term, method = diffrax.ODETerm(self._field), diffrax.Tsit5(scan_kind="bounded")
        state = method.init(term, t0, t1, strip, None)
        moved, *_ = method.step(term, t0, t1, strip, None, state, made_jump=False)
        return moved

    def _field(self, t: Any, strip: Any, args: None) -> Any:
        del args
        return self.velocity(t, strip)

    def _at(self, t: Scalar, y: Point, adjoint: diffrax.AbstractAdjoint) -> Strip:
        if self.straight:
            return self._line(t, y)
        saved = self._integrated(jnp.zeros_like(t), t, self.start(y), diffrax.SaveAt(t1=True), adjoint)
        return jax.tree.map(lambda leaf: leaf[0], saved)

    def _line(self, t: Scalar, y: Point) -> Strip:
        start = self.start(y)
        velocity = self.velocity(t, start)
        return Strip(y + t * velocity.x, start.p, start.u + t * velocity.u)

    def _integrated(
        self, t0: Scalar, t1: Scalar, start: Strip, saveat: diffrax.SaveAt, adjoint: diffrax.AbstractAdjoint
    ) -> Strip:
        saved = self._solved(self._field, t0, t1, start, saveat, adjoint)
        assert isinstance(saved, Strip)
        return saved

    def _solved(
        self,
        field: Callable,
        t0: Scalar,
        t1: Scalar,
        start: Any,
        saveat: diffrax.SaveAt,
        adjoint: diffrax.AbstractAdjoint,
    ) -> Any:
        """The saved states; what lies beyond the last step that `max_steps` allows is infinite."""
        controller = diffrax.PIDController(rtol=self.rtol, atol=self.atol)
        if self.jumps is not None:
            controller = diffrax.ClipStepSizeController(controller, jump_ts=self.jumps.astype(t0.dtype))
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(field),
            diffrax.Tsit5(),
            t0=t0,
            t1=t1,
            dt0=None,
            y0=start,
            saveat=saveat,
            stepsize_controller=controller,
            max_steps=self.max_steps,
            adjoint=adjoint,
            throw=False,
        )
        return solution.ys


def constant(tree: Any) -> Any:
    """The same arrays and functions, whose own arrays are not differentiated."""
    arrays, rest = eqx.partition(tree, eqx.is_array)
    return eqx.combine(jax.lax.stop_gradient(arrays), rest)
