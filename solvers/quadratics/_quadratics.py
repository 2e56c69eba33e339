r"""Soft minima of quadratic functions, carried along by a linear-quadratic Hamiltonian.

Each function keeps the form $V_j(t, x) = \tfrac12\bigl[(Y^\top x + w_j) \cdot X^{-1}(x - x_j) + p_j \cdot x
+ \sigma_j\bigr]$: the graph of its gradient is a plane of phase space, spanned by a frame $(X, Y)$ about the point
$(x_j, p_j)$, and the canonical flow moves both.
"""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._extremum import least
from hjpde._log_sum_exp import log_sum_exp, maximum
from hjpde._solution import RESULTS, AbstractEvaluator, Solution
from hjpde._types import Point, Scalar
from hjpde.hamiltonians import AbstractHamiltonian, LinearQuadratic, Quadratic
from hjpde.initial_data import Atoms, GaussianMixture, SoftMinPlanes

from ._canonical_flow import (
    Block,
    CanonicalFlow,
    apply,
    canonical_flow,
    is_resolved,
    log_det,
    plus,
    solve,
    solve_transposed,
    times,
)
from ._escape import escape_time

Quadratics = Atoms | SoftMinPlanes | GaussianMixture


class _Frames(eqx.Module):
    """Moved quadratics: one frame for all, or (leading axis) one for each."""

    X: Block | Float[Array, "N d d"]
    Y: Block | Float[Array, "N d d"]
    x: Float[Array, "N d"]
    p: Float[Array, "N d"]
    w: Float[Array, "N d"]
    sigma: Float[Array, " N"]


def _frames(datum: Quadratics, flow: CanonicalFlow) -> _Frames:
    if isinstance(datum, Atoms):
        y = datum.positions
        X, Y = flow.xp, flow.pp
        s, w = jnp.zeros_like(y), flow.action_p[None] - y
        sigma = 2 * datum.heights + y @ flow.action_x + flow.action
    elif isinstance(datum, SoftMinPlanes):
        y, s = jnp.zeros_like(datum.weights), -datum.weights
        X, Y = flow.xx, flow.px
        w = s + flow.action_x[None]
        sigma = -2 * datum.biases + s @ flow.action_p + flow.action
    else:
        y, s, P = datum.positions, datum.slopes, datum.precisions
        X = jax.vmap(lambda P: plus(flow.xx, times(flow.xp, P)))(P)
        Y = jax.vmap(lambda P: plus(flow.px, times(flow.pp, P)))(P)
        w = s - jnp.einsum("nij,nj->ni", P, y) + P @ flow.action_p + flow.action_x[None]
        sigma = 2 * datum.heights - jnp.sum(s * y, axis=1) + y @ flow.action_x + s @ flow.action_p + flow.action
    x = apply(flow.xx, y) + apply(flow.xp, s) + flow.x_shift[None]
    p = apply(flow.px, y) + apply(flow.pp, s) + flow.p_shift[None]
    return _Frames(X, Y, x, p, w, sigma)


@final
class MovedQuadratics(AbstractEvaluator):
    r"""$u(t, x) = -\varepsilon \log \sum_j e^{-V_j(t, x)/\varepsilon}$, or $\min_j V_j$ without a temperature."""

    datum: Quadratics
    hamiltonian: AbstractHamiltonian
    viscosity: Scalar | None
    escape_time: Scalar
    normalised: bool = eqx.field(static=True)

    @property
    def twice_differentiable(self) -> bool:
        return True

    @property
    def dim(self) -> int:
        return self.datum.dim

    def invalid_time(self, t: float) -> str | None:
        if isinstance(self.datum, Atoms) and t <= 0:
            return "point masses are singular at `t` = 0, take `t` > 0"
        return "take `t` >= 0" if t < 0 else None

    def __call__(self, t: Scalar, x: Point) -> Scalar:
        flow = canonical_flow(self.hamiltonian, t, self.dim)
        frames = _frames(self.datum, flow)
        heights = _heights(frames, x)
        return self._valid(t, flow, self._soft_minimum(heights + self._log_volumes(frames, flow)))

    def batch(self, t: Scalar, X: Float[Array, "M d"]) -> Float[Array, " M"]:
        if isinstance(self.datum, GaussianMixture):
            # One frame a component: no shared quadratic to factor out, so points go in blocks.
            return jax.lax.map(lambda x: self(t, x), X, batch_size=256)
        flow = canonical_flow(self.hamiltonian, t, self.dim)
        frames = _frames(self.datum, flow)
        # The origin at the middle of the data keeps the logits small, and so their rounding.
        # (With drift or cost the frames' points may have been carried far away: there it would do the opposite.)
        free = isinstance(self.hamiltonian, Quadratic)
        centre = jax.lax.stop_gradient(jnp.mean(frames.x, axis=0)) if free else jnp.zeros(self.dim, t.dtype)
        frames = _Frames(
            frames.X,
            frames.Y,
            frames.x - centre[None],
            frames.p,
            frames.w + apply(frames.Y.T, centre)[None],
            frames.sigma + frames.p @ centre,
        )
        feet = solve(frames.X, frames.x)
        slopes = (frames.p - apply(frames.Y, feet) + solve_transposed(frames.X, frames.w)) / 2
        constants = (frames.sigma - jnp.sum(frames.w * feet, axis=1)) / 2 + self._log_volumes(frames, flow)
        X = X - centre[None]
        bends = jnp.sum(X * apply(frames.Y, solve(frames.X, X)), axis=1) / 2
        if self.viscosity is None:
            planes = maximum(X, -slopes, -constants)[0]
        else:
            planes = log_sum_exp(X, -slopes, -constants, self.viscosity.astype(X.dtype))
        return self._valid(t, flow, bends - planes)

    def standard_error(self, t: Scalar, x: Point) -> Scalar:
        del t
        return jnp.zeros((), x.dtype)

    def _soft_minimum(self, heights: Float[Array, " N"]) -> Scalar:
        if self.viscosity is None:
            return least(heights)
        viscosity = self.viscosity.astype(heights.dtype)
        return -viscosity * jax.nn.logsumexp(-heights / viscosity)

    def _log_volumes(self, frames: _Frames, flow: CanonicalFlow) -> Float[Array, "..."]:
        """What the Gaussians' normalisation adds, one number or one for each function."""
        if self.viscosity is None:
            return jnp.zeros_like(flow.action)
        X, d, viscosity = frames.X, self.dim, self.viscosity.astype(flow.action.dtype)
        if isinstance(self.datum, Atoms):
            if not self.normalised:
                return jnp.zeros_like(flow.action)
            volume = log_det(X, d) + d * jnp.log(2 * jnp.pi * viscosity)
        elif isinstance(self.datum, GaussianMixture):
            volume = jax.vmap(lambda X: log_det(X, d))(X)
        else:
            volume = log_det(X, d)
        return viscosity * (volume - flow.drift_trace) / 2

    def _valid(self, t: Scalar, flow: CanonicalFlow, value: Float[Array, "..."]) -> Float[Array, "..."]:
        return jnp.where((t < self.escape_time.astype(t.dtype)) & is_resolved(flow), value, jnp.nan)


def solve_quadratics(
    datum: Quadratics,
    hamiltonian: Quadratic | LinearQuadratic,
    viscosity: Scalar | None,
    ts: Float[Array, " T"],
    *,
    normalised: bool,
    solver: str,
) -> Solution:
    """The solution of a datum of quadratics, with what may have ended it before the last time."""
    escape = escape_time(datum, hamiltonian, ts[-1])
    flow = canonical_flow(hamiltonian, ts[-1].astype(jax.tree.leaves(datum)[0].dtype), datum.dim)
    result = RESULTS.where(is_resolved(flow), RESULTS.successful, RESULTS.unresolved)
    return Solution(
        MovedQuadratics(datum, hamiltonian, viscosity, escape, normalised),
        ts,
        solver=solver,
        result=RESULTS.where(escape > ts[-1], result, RESULTS.escaped),
        counts={"escape_time": escape},
    )


def _heights(frames: _Frames, x: Point) -> Float[Array, " N"]:
    """$V_j(t, x)$: for point masses this is the squared distance itself, so nothing cancels."""
    offsets = x[None] - frames.x
    if frames.X.ndim == 3:
        feet = jnp.linalg.solve(frames.X, offsets[:, :, None])[:, :, 0]
        covectors = jnp.einsum("nij,i->nj", frames.Y, x)
    else:
        feet = solve(frames.X, offsets)
        covectors = apply(frames.Y.T, x)[None]
    return (jnp.sum((covectors + frames.w) * feet, axis=1) + frames.p @ x + frames.sigma) / 2
