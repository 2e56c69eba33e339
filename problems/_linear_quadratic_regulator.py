"""The linear-quadratic regulator, by its Riccati equation in closed form."""

from typing import final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hjpde._domain import Dirichlet, Domain
from hjpde._problem import InitialValueProblem
from hjpde._types import Point, Scalar, ScalarLike, positive_viscosity
from hjpde.hamiltonians import LinearQuadratic
from hjpde.initial_data import QuadraticForm

from ._abstract import AbstractExactProblem


@final
class LinearQuadraticRegulator(AbstractExactProblem):
    r"""An oscillator $\dot x = Fx + a$ with the cost $\tfrac12\int (x^\top Qx + a^\top Ra)\,ds + \tfrac12 x^\top P_0x$.

    The best control is $a = -R^{-1}\nabla u$, so $H = p^\top A p - (Fx) \cdot p - \tfrac12 x^\top Q x$ with
    $A = \tfrac12 R^{-1}$. With the flow of the linear system

    $$\frac{d}{dt}\begin{pmatrix} X \\ Y \end{pmatrix} =
      \begin{pmatrix} -F & 2A \\ Q & F^\top \end{pmatrix} \begin{pmatrix} X \\ Y \end{pmatrix},
      \qquad X(0) = I,\quad Y(0) = P_0,$$

    $P = Y X^{-1}$ solves the Riccati equation $\dot P = Q + F^\top P + PF - 2PAP$, and
    $u = \tfrac12 x^\top P x + \tfrac\varepsilon2\,(\log\det X + t\,\mathrm{tr} F)$ with noise $N = \varepsilon A$.

    ??? cite "References"

        B. D. O. Anderson and J. B. Moore, *Optimal Control: Linear Quadratic Methods*, 1990, Section 2.3 and
        Appendix B.
    """

    F: Float[Array, "2 2"]
    A: Float[Array, "2 2"]
    Q: Float[Array, "2 2"]
    P0: Float[Array, "2 2"]
    rates: Float[Array, "2 4"]
    modes: Float[Array, "2 4 4"]
    start: Float[Array, "2 4 2"]
    viscosity: Scalar | None

    def __init__(self, viscosity: ScalarLike | None = None):
        r"""**Arguments:**

        - `viscosity`: $\varepsilon > 0$ with $N = \varepsilon A$, or `None` for no noise.

        **Raises:** `ValueError` if it is not positive and finite.
        """
        dtype = jnp.result_type(float)
        F, A = np.array([[0.0, 1.0], [-1.0, -0.2]]), np.array([[0.4, 0.1], [0.1, 0.5]])
        Q, P0 = np.array([[1.0, 0.2], [0.2, 0.5]]), np.array([[0.5, 0.0], [0.0, 1.0]])
        self.F, self.A, self.Q, self.P0 = (jnp.asarray(matrix, dtype) for matrix in (F, A, Q, P0))
        # The linear system by its eigenvectors, which are four and well apart; real and imaginary parts.
        rates, modes = np.linalg.eig(np.block([[-F, 2 * A], [Q, F.T]]))
        start = np.linalg.solve(modes, np.concatenate([np.eye(2), P0]))
        self.rates, self.modes, self.start = (
            jnp.asarray(np.stack([np.real(values), np.imag(values)]), dtype) for values in (rates, modes, start)
        )
        self.viscosity = None if viscosity is None else positive_viscosity(viscosity, dtype)

    @property
    def problem(self) -> InitialValueProblem:
        N = 0.0 if self.viscosity is None else self.viscosity * self.A
        H = LinearQuadratic(self.A, B=-self.F, Q=self.Q)
        # The oscillator carries values in through the sides as well as out.
        domain = Domain([-2.0, -2.0], [2.0, 2.0], boundary=Dirichlet(self))
        return InitialValueProblem(QuadraticForm(self.P0), H, N, domain=domain)

    def riccati(self, t: Scalar) -> tuple[Float[Array, "2 2"], Float[Array, "2 2"]]:
        """$P(t)$ and $X(t)$."""
        rates = jax.lax.complex(*self.rates.astype(t.dtype))
        modes, start = (jax.lax.complex(*parts.astype(t.dtype)) for parts in (self.modes, self.start))
        stacked = jnp.real(modes @ (jnp.exp(rates * t)[:, None] * start))
        X, Y = stacked[:2], stacked[2:]
        return Y @ _inverse(X), X

    def __call__(self, t: ScalarLike, x: Point) -> Scalar:
        P, X = self.riccati(jnp.asarray(t, x.dtype))
        u = jnp.sum(x[:, None] * P * x[None, :]) / 2
        if self.viscosity is None:
            return u
        spread = jnp.log(X[0, 0] * X[1, 1] - X[0, 1] * X[1, 0]) + jnp.asarray(t, x.dtype) * jnp.trace(self.F).astype(
            x.dtype
        )
        return u + self.viscosity.astype(x.dtype) / 2 * spread


def _determinant(X: Float[Array, "2 2"]) -> Scalar:
    return X[0, 0] * X[1, 1] - X[0, 1] * X[1, 0]


def _inverse(X: Float[Array, "2 2"]) -> Float[Array, "2 2"]:
    return jnp.stack([jnp.stack([X[1, 1], -X[0, 1]]), jnp.stack([-X[1, 0], X[0, 0]])]) / _determinant(X)
