r"""The linear canonical flow of a linear-quadratic Hamiltonian, $(x, p)(0) \mapsto (x, p)(t)$.

Curvatures obey a Riccati equation, which point masses enter at infinity. As $P = YX^{-1}$ they are carried by the
linear flow $\dot X = BX + 2AY$, $\dot Y = QX - B^\top Y$, and infinity is the frame $(X, Y) = (0, I)$.
"""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.linalg import expm
from jaxtyping import Array, Bool, Float

from hjpde._types import Scalar
from hjpde.hamiltonians import AbstractHamiltonian, LinearQuadratic, Quadratic

Block = Float[Array, "d d"] | Float[Array, ""]
"""A matrix, or a number that stands for its multiple of the identity."""

Vectors = Float[Array, " d"] | Float[Array, "N d"]
"""One vector, or one a row."""


class CanonicalFlow(eqx.Module):
    r"""$x(t) = xx\,x_0 + xp\,p_0 + x_{c}$, $p(t) = px\,x_0 + pp\,p_0 + p_{c}$, and the action's affine part.

    The action gains $\tfrac12(\ell \cdot p_0 + m \cdot x_0 + \kappa)$; `drift_trace` is $\int_0^t \mathrm{tr}\,B$.
    """

    xx: Block
    xp: Block
    px: Block
    pp: Block
    x_shift: Float[Array, " d"]
    p_shift: Float[Array, " d"]
    action_p: Float[Array, " d"]
    action_x: Float[Array, " d"]
    action: Scalar
    drift_trace: Scalar


def canonical_flow(hamiltonian: AbstractHamiltonian, t: Scalar, d: int) -> CanonicalFlow:
    """The flow of a `Quadratic` or `LinearQuadratic` Hamiltonian from time 0 to `t`, in dimension `d`."""
    if isinstance(hamiltonian, Quadratic):
        one, zero, origin = jnp.ones_like(t), jnp.zeros_like(t), jnp.zeros(d, t.dtype)
        xp = 2 * t if hamiltonian.A is None else 2 * t * hamiltonian.A.astype(t.dtype)
        return CanonicalFlow(one, xp, zero, one, origin, origin, origin, origin, zero, zero)
    assert isinstance(hamiltonian, LinearQuadratic)
    flows, drift_traces = flow_matrices(hamiltonian, t[None])
    flow, drift_trace = flows[0], drift_traces[0]
    x, s, p, ps = slice(0, d), d, slice(d + 1, 2 * d + 1), 2 * d + 1
    return CanonicalFlow(
        xx=flow[x, x],
        xp=flow[x, p],
        px=flow[p, x],
        pp=flow[p, p],
        x_shift=flow[x, s],
        p_shift=flow[p, s],
        action_p=flow[ps, p],
        action_x=flow[ps, x],
        action=flow[ps, s],
        drift_trace=drift_trace,
    )


def flow_matrices(
    hamiltonian: LinearQuadratic, ts: Float[Array, " T"]
) -> tuple[Float[Array, "T D D"], Float[Array, " T"]]:
    r"""The flow in the coordinates `(x, 1, p, p_s)`, `D = 2d + 2`, and $\int_0^t \mathrm{tr}\,B$, at rising times."""
    if hamiltonian.time_dependent:
        return _integrated(hamiltonian, ts)
    matrix, trace = _hamiltonian_matrix(hamiltonian, ts[0])
    return jax.vmap(lambda t: expm(t * matrix))(ts), ts * trace


def _hamiltonian_matrix(hamiltonian: LinearQuadratic, t: Scalar) -> tuple[Float[Array, "D D"], Scalar]:
    """The generator in the coordinates `(x, 1, p, p_s)`: the constant 1 and its momentum carry the affine part."""
    d, dtype = hamiltonian.dim, t.dtype
    B, c, Q = (coefficient.astype(dtype) for coefficient in hamiltonian.coefficients(t))
    drift = jnp.zeros((d + 1, d + 1), dtype).at[:d, :d].set(B).at[:d, d].set(c)
    noise = jnp.zeros((d + 1, d + 1), dtype).at[:d, :d].set(2 * hamiltonian.A.astype(dtype))
    cost = jnp.zeros((d + 1, d + 1), dtype).at[:d, :d].set(Q)
    return jnp.block([[drift, noise], [cost, -drift.T]]), jnp.trace(B)


def _integrated(
    hamiltonian: LinearQuadratic, ts: Float[Array, " T"]
) -> tuple[Float[Array, "T D D"], Float[Array, " T"]]:
    dtype = ts.dtype

    def velocity(t, state, args):
        del args
        matrix, trace = _hamiltonian_matrix(hamiltonian, jnp.asarray(t, dtype))
        return matrix @ state[0], trace

    tolerance = 1e-12 if dtype == jnp.float64 else 1e-6
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(velocity),
        diffrax.Dopri8(),
        t0=0.0,
        t1=ts[-1],
        dt0=None,
        y0=(jnp.eye(2 * hamiltonian.dim + 2, dtype=dtype), jnp.zeros((), dtype)),
        saveat=diffrax.SaveAt(ts=ts),
        stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance),
        adjoint=diffrax.DirectAdjoint(),
    )
    flows, traces = solution.ys  # pyright: ignore
    return flows, traces


def is_resolved(flow: CanonicalFlow) -> Bool[Array, ""]:
    """Whether the flow's growth has left digits: `X` and `Y` grow alike, and what is read off is in their difference.

    The product of the blocks off the diagonal has no unit; it is 0 without a running cost, and at most 1 in an
    oscillation.
    """
    growth = jnp.sqrt(jnp.max(jnp.abs(flow.px)) * jnp.max(jnp.abs(flow.xp)))
    roundoff = jnp.finfo(flow.action.dtype).eps
    return growth * roundoff < roundoff**0.4


def apply(block: Block, vectors: Vectors) -> Vectors:
    """The block times each vector."""
    return block * vectors if block.ndim == 0 else vectors @ block.T


def times(block: Block, matrix: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """The block times a matrix."""
    return block * matrix if block.ndim == 0 else block @ matrix


def plus(block: Block, matrix: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """The block plus a matrix."""
    return block * jnp.eye(matrix.shape[0], dtype=matrix.dtype) + matrix if block.ndim == 0 else block + matrix


def solve(block: Block, vectors: Vectors) -> Vectors:
    """The block's inverse times each vector."""
    return vectors / block if block.ndim == 0 else jnp.linalg.solve(block, vectors.T).T


def solve_transposed(block: Block, vectors: Vectors) -> Vectors:
    """The inverse of the block's transpose times each vector."""
    return solve(block.T, vectors)


def log_det(block: Block, d: int) -> Scalar:
    """The logarithm of the determinant; NaN where it is not positive."""
    if block.ndim == 0:
        return d * jnp.log(block)
    sign, value = jnp.linalg.slogdet(block)
    return jnp.where(sign > 0, value, jnp.nan)
