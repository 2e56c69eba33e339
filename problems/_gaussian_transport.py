"""Optimal transport between two Gaussians, whose potential is a quadratic form."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hjpde._domain import Dirichlet, Domain
from hjpde._problem import InitialValueProblem
from hjpde._types import (
    ArrayInput,
    Point,
    Scalar,
    ScalarLike,
    as_float_array,
    known_number,
    require_finite,
    require_positive_definite,
)
from hjpde.hamiltonians import Quadratic
from hjpde.initial_data import QuadraticForm

from ._abstract import AbstractExactProblem


@final
class GaussianTransport(AbstractExactProblem):
    r"""The potential that moves one Gaussian to another in the time 1 with the least action,

    $$\rho_t + \nabla \cdot (\rho \nabla u) = 0, \qquad u_t + \tfrac12 |\nabla u|^2 = 0, \qquad
      \rho(0) = \mathcal N(m_0, \Sigma_0),\quad \rho(1) = \mathcal N(m_1, \Sigma_1).$$

    Brenier's map is affine, $x \mapsto m_1 + T(x - m_0)$, with the symmetric matrix
    $T = \Sigma_0^{-1/2} (\Sigma_0^{1/2} \Sigma_1 \Sigma_0^{1/2})^{1/2} \Sigma_0^{-1/2}$, so that the initial
    potential is $g(x) = \tfrac12 (x - m_0)^\top (T - I)(x - m_0) + (m_1 - m_0) \cdot x$. Mass moves along straight
    lines, $y \mapsto m_t + T_t(y - m_0)$ with $m_t = (1 - t)m_0 + t m_1$ and $T_t = (1 - t)I + tT$, and along them

    $$u(t, x) = g(y) + \tfrac t2 |\nabla g(y)|^2, \qquad y = m_0 + T_t^{-1}(x - m_t),$$

    for $0 \le t \le 1$. In the package's words the Hamiltonian is $p^\top A p$ with $A = I/2$.

    ??? cite "References"

        J.-D. Benamou and Y. Brenier, *A computational fluid mechanics solution to the Monge-Kantorovich mass transfer
        problem*, Numer. Math. 84, 2000.

        D. C. Dowson and B. V. Landau, *The Frechet distance between multivariate normal distributions*, J.
        Multivariate Anal. 12, 1982.
    """

    start_mean: Float[Array, " d"]
    start_covariance: Float[Array, "d d"]
    end_mean: Float[Array, " d"]
    end_covariance: Float[Array, "d d"]
    slope: Float[Array, "d d"]
    half_width: float | None = eqx.field(static=True)

    def __init__(
        self,
        start_mean: ArrayInput,
        start_covariance: ArrayInput,
        end_mean: ArrayInput,
        end_covariance: ArrayInput,
        half_width: float | None = None,
    ):
        r"""**Arguments:**

        - `start_mean`, `end_mean`: $m_0$ and $m_1$, shape `(d,)`, in units of `x`.
        - `start_covariance`, `end_covariance`: $\Sigma_0$ and $\Sigma_1$, shape `(d, d)`, symmetric positive definite.
        - `half_width`: $w > 0$ for the box $[-w, w]^d$ with the exact values on its sides; `None` for the whole space.

        **Raises:** `ValueError` if the shapes disagree, a number is not finite, a covariance known now is not
        symmetric positive definite, or `half_width` is not positive.
        """
        m0, m1 = as_float_array(start_mean, "start_mean", 1), as_float_array(end_mean, "end_mean", 1)
        dtype, d = m0.dtype, m0.shape[0]
        S0, S1 = (
            as_float_array(start_covariance, "start_covariance", 2),
            as_float_array(end_covariance, "end_covariance"),
        )
        if d < 1 or m1.shape != (d,) or S0.shape != (d, d) or S1.shape != (d, d):
            raise ValueError(
                "`start_mean` and `end_mean` must have shape (d,) and `start_covariance` and `end_covariance` (d, d) "
                f"with d >= 1, got {m0.shape}, {m1.shape}, {S0.shape} and {S1.shape}."
            )
        for array, name in ((m0, "start_mean"), (m1, "end_mean"), (S0, "start_covariance"), (S1, "end_covariance")):
            require_finite(array, name)
        require_positive_definite(S0, "start_covariance")
        require_positive_definite(S1, "end_covariance")
        if half_width is not None and not known_number(half_width, "half_width") > 0:
            raise ValueError(f"`half_width` must be positive, got {half_width}.")
        self.start_mean, self.start_covariance = m0, S0.astype(dtype)
        self.end_mean, self.end_covariance = m1.astype(dtype), S1.astype(dtype)
        self.slope = _brenier_matrix(self.start_covariance, self.end_covariance)
        self.half_width = half_width

    @property
    def problem(self) -> InitialValueProblem:
        d, H = self.start_mean.shape[0], Quadratic(jnp.eye(self.start_mean.shape[0], dtype=self.slope.dtype) / 2)
        if self.half_width is not None:
            ends = np.full(d, self.half_width)
            return InitialValueProblem(eqx.Partial(self, 0.0), H, domain=Domain(-ends, ends, boundary=Dirichlet(self)))
        P = self.slope - jnp.eye(d, dtype=self.slope.dtype)
        s = self.end_mean - self.start_mean - P @ self.start_mean
        return InitialValueProblem(QuadraticForm(P, s, self.start_mean @ P @ self.start_mean / 2), H)

    @property
    def cost(self) -> Scalar:
        r"""The least action, $\int_0^1 \tfrac12 E|\nabla u|^2\,dt = \tfrac12 W_2^2$, in squared units of `x`."""
        m = self.end_mean - self.start_mean
        # Of E|Tx - x|^2/2, so that nothing cancels where both covariances are nearly the same.
        P = self.slope - jnp.eye(m.shape[0], dtype=m.dtype)
        return (m @ m + jnp.sum(P * (self.start_covariance @ P))) / 2

    def map(self, x: Point) -> Float[Array, " d"]:
        r"""Brenier's map: where the mass at `x` goes, shape `(d,)`."""
        dtype = x.dtype
        return self.end_mean.astype(dtype) + self.slope.astype(dtype) @ (x - self.start_mean.astype(dtype))

    def mean(self, t: ScalarLike) -> Float[Array, " d"]:
        """$m_t$, the mean of the mass at time `t`."""
        t = jnp.asarray(t, self.slope.dtype)
        return (1 - t) * self.start_mean + t * self.end_mean

    def covariance(self, t: ScalarLike) -> Float[Array, "d d"]:
        r"""$T_t \Sigma_0 T_t$, the covariance of the mass at time `t`."""
        T = self._spread(jnp.asarray(t, self.slope.dtype))
        return T @ self.start_covariance @ T

    def __call__(self, t: ScalarLike, x: Point) -> Scalar:
        t, m0 = jnp.asarray(t, x.dtype), self.start_mean.astype(x.dtype)
        m = self.end_mean.astype(x.dtype) - m0
        # Matrix-vector products as sums: under a map over a grid XLA fuses them.
        y = jnp.linalg.solve(self._spread(t), x - m0 - t * m)
        Py = jnp.sum((self.slope.astype(x.dtype) - jnp.eye(x.shape[0], dtype=x.dtype)) * y[None, :], axis=1)
        g = jnp.sum(y * Py) / 2 + jnp.sum(m * (y + m0))
        return g + t / 2 * jnp.sum((Py + m) ** 2)

    def _spread(self, t: Scalar) -> Float[Array, "d d"]:
        return (1 - t) * jnp.eye(self.slope.shape[0], dtype=t.dtype) + t * self.slope.astype(t.dtype)


def _brenier_matrix(S0: Float[Array, "d d"], S1: Float[Array, "d d"]) -> Float[Array, "d d"]:
    root = _square_root(S0)
    half = jnp.linalg.solve(root, _square_root(root @ S1 @ root))
    T = jnp.linalg.solve(root, half.T)
    return (T + T.T) / 2


@jax.custom_jvp
def _square_root(S: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """The symmetric positive definite root."""
    eigenvalues, vectors = jnp.linalg.eigh((S + S.T) / 2)
    return (vectors * jnp.sqrt(eigenvalues)[None, :]) @ vectors.T


@_square_root.defjvp
def _square_root_rule(primals, tangents):
    r"""$R\,dR + dR\,R = dS$ has one solution, also where eigenvalues meet and `eigh` has no derivative."""
    (S,), (dS,) = primals, tangents
    R = _square_root(S)
    roots, vectors = jnp.linalg.eigh(R)
    rotated = vectors.T @ dS @ vectors / (roots[:, None] + roots[None, :])
    return R, vectors @ rotated @ vectors.T
