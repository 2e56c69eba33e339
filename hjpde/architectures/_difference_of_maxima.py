"""Piecewise linear functions as differences of maxima of planes, and their smooth forms."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._types import Scalar, is_concrete


@final
class Planes(eqx.Module):
    r"""$\max_j(W_j \cdot x + b_j)$, or at a temperature $\varepsilon$ its log-sum-exp.

    - `weights`, `biases`: $W$ and $b$.
    - `temperature`: $\varepsilon \ge 0$.

    `hjpde.LogSumExp(weights, biases, temperature)` or `hjpde.MaxPlanes(weights, biases)` is the same function, and
    with atoms at $2tW_j$ a solution of $u_t + |\nabla u|^2 = \varepsilon\,\Delta u$.
    """

    weights: Float[Array, "N d"]
    biases: Float[Array, " N"]
    temperature: Float[Array, ""]

    def __call__(self, x: Float[Array, " d"]) -> Scalar:
        """The value at one point."""
        scores = self.weights @ x + self.biases
        cold = self.temperature == 0
        scale = jnp.where(cold, 1, self.temperature)
        return jnp.where(cold, jnp.max(scores), scale * jax.nn.logsumexp(scores / scale))


@final
class DifferenceOfMaxima(eqx.Module):
    r"""$f = P - Q$ with two convex functions of the kind of `Planes`, of one temperature.

    Each of `P` and `Q` is $|x|^2/4t$ minus a solution of a Hamilton-Jacobi equation. Their difference is **not**: the
    equation is not linear.
    """

    P: Planes
    Q: Planes

    def __call__(self, x: Float[Array, " d"]) -> Scalar:
        """The value at one point."""
        return self.P(x) - self.Q(x)

    def relu(self) -> "DifferenceOfMaxima":
        r"""$\max(f, 0) = \max(P, Q) - Q$; at a temperature, $\varepsilon \log(1 + e^{f/\varepsilon})$ likewise.

        With `plus` and `scaled` it turns a deep network into one difference of maxima, layer by layer. The planes
        multiply: a sum has as many as the product of its terms'.
        """
        weights = jnp.concatenate([self.P.weights, self.Q.weights])
        biases = jnp.concatenate([self.P.biases, self.Q.biases])
        return DifferenceOfMaxima(Planes(weights, biases, self.P.temperature), self.Q)

    def scaled(self, factor: float) -> "DifferenceOfMaxima":
        """`factor` times the function; a negative one exchanges the two. The temperature is scaled by its size."""
        size = abs(factor)
        P, Q = (Planes(size * part.weights, size * part.biases, size * part.temperature) for part in (self.P, self.Q))
        return DifferenceOfMaxima(P, Q) if factor >= 0 else DifferenceOfMaxima(Q, P)

    def plus(self, other: "DifferenceOfMaxima") -> "DifferenceOfMaxima":
        """The sum with another function: all sums of two planes.

        **Raises:** `ValueError` if the temperatures are known and differ.
        """
        one, two = self.P.temperature, other.P.temperature
        if is_concrete(one, two) and one != two:
            raise ValueError(f"`other` must have the same temperature {one:g}, got {two:g}.")
        return DifferenceOfMaxima(_summed(self.P, other.P), _summed(self.Q, other.Q))


def _summed(one: Planes, other: Planes) -> Planes:
    def pairs(a: Array, b: Array) -> Array:
        shape = (len(a), len(b), *a.shape[1:])
        both = jnp.broadcast_to(a[:, None], shape) + jnp.broadcast_to(b[None], shape)
        return both.reshape(-1, *a.shape[1:])

    return Planes(pairs(one.weights, other.weights), pairs(one.biases, other.biases), one.temperature)
