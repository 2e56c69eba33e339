"""Tropical polynomials: what log-sum-exp layers become at zero viscosity, with their semiring."""

from typing import final

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from hjpde._log_sum_exp import maximum
from hjpde._types import ArrayInput, Point, Scalar, ScalarLike, as_float_array, is_concrete, known_number
from hjpde.initial_data import LogSumExp


@final
class TropicalPolynomial(eqx.Module):
    r"""The tropical polynomial $f(x) = \bigoplus_j b_j \odot x^{\odot W_j} = \max_j\, W_j \cdot x + b_j$.

    The sum of the max-plus semiring is $\max$ and its product is $+$, so a monomial is an affine function; exponents
    may be any real numbers. `plus`, `times` and `power` stay within the class. Maslov's dequantisation
    $a \oplus_\varepsilon b = \varepsilon \log(e^{a/\varepsilon} + e^{b/\varepsilon})$, $a \odot b = a + b$ carries the
    same three to `LogSumExp` layers of one viscosity.

    ??? cite "References"

        G. L. Litvinov, *The Maslov dequantization, idempotent and tropical mathematics*, J. Math. Sci. 140 (2007).

        L. Zhang, G. Naitzat and L.-H. Lim, *Tropical geometry of deep neural networks*, ICML 2018.
    """

    exponents: Float[Array, "N d"]
    coefficients: Float[Array, " N"]

    def __init__(self, exponents: ArrayInput, coefficients: ArrayInput):
        r"""**Arguments:**

        - `exponents`: $W$, shape `(N, d)`, in units of `f` per unit of `x`.
        - `coefficients`: $b$, shape `(N,)`, in units of `f`; $-\infty$, the tropical zero, drops a monomial.

        **Raises:** `ValueError` if the shapes disagree, there is no monomial, an exponent is not finite, or a
        coefficient is NaN or $+\infty$.
        """
        exponents = as_float_array(exponents, "exponents", 2)
        coefficients = as_float_array(coefficients, "coefficients", 1).astype(exponents.dtype)
        if 0 in exponents.shape or exponents.shape[:1] != coefficients.shape:
            raise ValueError(
                "`exponents` must have shape (N, d) and `coefficients` (N,) with N, d >= 1, got "
                f"{exponents.shape} and {coefficients.shape}."
            )
        if is_concrete(exponents) and not bool(jnp.all(jnp.isfinite(exponents))):
            raise ValueError("`exponents` must be finite, got NaN or infinite entries.")
        if is_concrete(coefficients) and not bool(jnp.all(coefficients < jnp.inf)):
            raise ValueError("`coefficients` must be below +inf, got NaN or infinite entries.")
        self.exponents, self.coefficients = exponents, coefficients

    @property
    def dim(self) -> int:
        return self.exponents.shape[1]

    def __call__(self, x: Point) -> Scalar:
        return self.batch(x[None])[0]

    def batch(self, X: ArrayInput) -> Float[Array, "*batch"]:
        """The values at points of shape `(..., d)`, streamed."""
        X = jnp.asarray(X, self.exponents.dtype)
        return maximum(X.reshape(-1, X.shape[-1]), self.exponents, self.coefficients)[0].reshape(X.shape[:-1])

    def winners(self, X: ArrayInput) -> Int[Array, "*batch"]:
        """The first monomial that attains the maximum at each point of shape `(..., d)`."""
        X = jnp.asarray(X, self.exponents.dtype)
        return maximum(X.reshape(-1, X.shape[-1]), self.exponents, self.coefficients)[1].reshape(X.shape[:-1])

    def plus(self, other: "TropicalPolynomial") -> "TropicalPolynomial":
        r"""The tropical sum $f \oplus g = \max(f, g)$: the monomials of both."""
        _require_same_dim(self, other)
        return TropicalPolynomial(
            jnp.concatenate([self.exponents, other.exponents]),
            jnp.concatenate([self.coefficients, other.coefficients]),
        )

    def times(self, other: "TropicalPolynomial") -> "TropicalPolynomial":
        r"""The tropical product $f \odot g = f + g$; the Newton polytopes add as sets, and the counts multiply."""
        _require_same_dim(self, other)
        exponents = self.exponents[:, None, :] + other.exponents[None, :, :]
        coefficients = self.coefficients[:, None] + other.coefficients[None, :]
        return TropicalPolynomial(exponents.reshape(-1, self.dim), coefficients.reshape(-1))

    def power(self, exponent: ScalarLike) -> "TropicalPolynomial":
        r"""The tropical power $f^{\odot a} = a f$ for a real $a > 0$.

        **Raises:** `ValueError` if `exponent` is not positive and finite: $a f$ is not convex for $a < 0$.
        """
        number = known_number(exponent, "exponent")
        if not 0 < number < jnp.inf:
            raise ValueError(f"`exponent` must be positive and finite, got {number:g}.")
        return TropicalPolynomial(number * self.exponents, number * self.coefficients)

    def layer(self, viscosity: ScalarLike) -> LogSumExp:
        r"""The layer whose limit this is, $\varepsilon \log\sum_j e^{(W_j \cdot x + b_j)/\varepsilon}$."""
        return LogSumExp(self.exponents, self.coefficients, viscosity)


def tropical_limit(layer: LogSumExp) -> TropicalPolynomial:
    r"""The limit $\varepsilon \to 0$ of a layer at fixed weights, $\max_j W_j \cdot x + b_j$.

    It lies below the layer, by at most $\varepsilon \log N$ (`dequantisation_gap`).
    """
    return TropicalPolynomial(layer.weights, layer.biases)


def _require_same_dim(one: TropicalPolynomial, other: TropicalPolynomial) -> None:
    if one.dim != other.dim:
        raise ValueError(f"`other` must take points of dimension {one.dim}, got a polynomial of dimension {other.dim}.")
