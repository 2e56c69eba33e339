"""The log-sum-exp layer, and the dictionary between it and point masses."""

from typing import final

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._log_sum_exp import gibbs_entropy, log_sum_exp
from hjpde._types import ArrayInput, Point, Scalar, ScalarLike, positive_scalar, positive_viscosity

from ._abstract import AbstractInitialDatum
from ._affine import as_affine_functions
from ._atoms import Atoms
from ._soft_min_planes import SoftMinPlanes


@final
class LogSumExp(AbstractInitialDatum):
    r"""The log-sum-exp layer, a smooth maximum of `N` affine functions,

    $$f(x) = \varepsilon \log \sum_{j=1}^{N} \exp\bigl((W_j \cdot x + b_j) / \varepsilon\bigr).$$

    `f` is convex, and $\max_j(W_j \cdot x + b_j) \le f(x) \le \max_j(W_j \cdot x + b_j) + \varepsilon \log N$.
    It is read as a solution in two ways: as $|x|^2/4t$ minus the solution grown from point masses
    (`LogSumExp.atoms`), and as minus an initial datum itself (`LogSumExp.planes`).

    ??? cite "References"

        S. Boyd and L. Vandenberghe, *Convex Optimization*, Cambridge University Press, 2004, Section 3.1.5.

        J. M. A. Minoza, E. F. Legara and C. Monterola, *The Hamilton-Jacobi Theory of Deep Learning*,
        arXiv 2605.28983, 2026, Theorem 4.1.
    """

    weights: Float[Array, "N d"]
    biases: Float[Array, " N"]
    viscosity: Scalar

    def __init__(
        self,
        weights: ArrayInput,
        biases: ArrayInput,
        viscosity: ScalarLike,
    ):
        r"""**Arguments:**

        - `weights`: slopes $W$, shape `(N, d)`, in units of `f` per unit of `x`.
        - `biases`: offsets $b$, shape `(N,)`, in units of `f`; `-inf` masks a neuron.
        - `viscosity`: $\varepsilon > 0$, in units of `f`.

        **Raises:**

        `ValueError` if the shapes disagree, there is no neuron, a weight is not finite, a bias is NaN or
        $+\infty$, or `viscosity` is not positive. A traced `viscosity` that is not positive is a runtime error.
        """
        self.weights, self.biases = as_affine_functions(weights, biases)
        self.viscosity = positive_viscosity(viscosity, self.weights.dtype)

    @property
    def dim(self) -> int:
        return self.weights.shape[1]

    def __call__(self, x: Point) -> Scalar:
        return self.batch(x[None])[0]

    def batch(self, X: ArrayInput) -> Float[Array, "*batch"]:
        """The values at many points, streamed: memory grows with `M + N`, not with `M N`.

        **Arguments:**

        - `X`: the points, shape `(..., d)`.
        """
        X = jnp.asarray(X, self.weights.dtype)
        values = log_sum_exp(X.reshape(-1, X.shape[-1]), self.weights, self.biases, self.viscosity)
        return values.reshape(X.shape[:-1])

    def scores(self, x: Point) -> Float[Array, " N"]:
        r"""The affine functions $z_j = W_j \cdot x + b_j$ at one point."""
        return self.weights @ x + self.biases

    def gibbs(self, x: Point) -> Float[Array, " N"]:
        r"""The attribution weights $\pi_j(x) = \partial f/\partial b_j$, a probability over the neurons.

        $\pi_j \propto e^{z_j/\varepsilon}$, and $\nabla f = \sum_j \pi_j W_j$.
        """
        return jax.nn.softmax(self.scores(x) / self.viscosity)

    def entropy(self, x: Point) -> Scalar:
        r"""Shannon's entropy $-\sum_j \pi_j \log \pi_j = \partial f/\partial\varepsilon$ in nats, in $[0, \log N]$."""
        return gibbs_entropy(x[None], self.weights, self.biases, self.viscosity)[0]

    def atoms(self, t: ScalarLike, A: ArrayInput | None = None) -> Atoms:
        r"""The point masses whose solution at time `t` is $x^\top A^{-1}x/(4t)$ minus this layer.

        $y_j = 2tAW_j$ and $g_j = -b_j - t\,W_j^\top A W_j$: `t` and `A` are a gauge, every choice is exact.

        **Arguments:**

        - `t`: the time $t > 0$ at which the solution is read.
        - `A`: the matrix of $H(p) = p^\top A p$, shape `(d, d)`, symmetric positive definite; `None`: identity.
        """
        t = positive_scalar(t, "t", self.weights.dtype)
        velocities = self.weights if A is None else self.weights @ jnp.asarray(A, self.weights.dtype)
        energies = jnp.sum(self.weights * velocities, axis=1)
        return Atoms(2 * t * velocities, -self.biases - t * energies)

    @classmethod
    def from_atoms(
        cls,
        atoms: Atoms,
        t: ScalarLike,
        viscosity: ScalarLike,
        A: ArrayInput | None = None,
    ) -> "LogSumExp":
        r"""The layer $f$ with $f(x) + u(t, x) = x^\top A^{-1}x/(4t)$, the inverse of `LogSumExp.atoms`.

        $W_j = A^{-1}y_j/(2t)$ and $b_j = -g_j - y_j^\top A^{-1}y_j/(4t)$; `u` is the solution grown from `atoms`
        without its constant $\tfrac{\varepsilon}{2}\log\det(4\pi\varepsilon tA)$.

        **Arguments:**

        - `atoms`: the point masses.
        - `t`: the time $t > 0$.
        - `viscosity`: the temperature $\varepsilon > 0$.
        - `A`: the Hamiltonian's matrix, shape `(d, d)`; `None` is the identity.
        """
        y = atoms.positions
        t = positive_scalar(t, "t", y.dtype)
        covectors = y if A is None else jnp.linalg.solve(jnp.asarray(A, y.dtype), y.T).T
        return cls(covectors / (2 * t), -atoms.heights - jnp.sum(y * covectors, axis=1) / (4 * t), viscosity)

    def planes(self) -> SoftMinPlanes:
        r"""The initial datum $-f$: under $H = p^\top A p$, time adds $t\,W_j^\top A W_j$ to the biases."""
        return SoftMinPlanes(self.weights, self.biases, self.viscosity)
