"""Deep networks with positive weights: softplus at a viscosity, a tropical polynomial without."""

import functools
from collections.abc import Sequence
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hjpde._types import ArrayInput, Point, Scalar, ScalarLike, as_float_array, known_number, require_finite

from ._tropical_polynomial import TropicalPolynomial


@final
class PositiveNetwork(eqx.Module):
    r"""A softplus network whose weights after the first layer are not negative,

    $$h_0 = x, \quad h_l = \mathrm{softplus}_\varepsilon(A_l h_{l-1} + c_l), \quad f(x) = A_L h_{L-1} + c_L, \qquad
    \mathrm{softplus}_\varepsilon(z) = \varepsilon \log(1 + e^{z/\varepsilon}).$$

    It is convex. At $\varepsilon = 0$ softplus is $z \oplus 0$, an affine map of positive weights is a tropical product
    of powers, and so `f` is a tropical polynomial (`polynomial`). Between the two,
    $0 \le f_\varepsilon - f_0 \le G_L$ with $G_l = A_l G_{l-1} + \varepsilon\log 2$ and no last term in the last layer,
    since softplus grows with slope at most 1 (`gap_bound`).

    ??? cite "References"

        L. Zhang, G. Naitzat and L.-H. Lim, *Tropical geometry of deep neural networks*, ICML 2018.
    """

    weights: tuple[Float[Array, "_ _"], ...]
    biases: tuple[Float[Array, " _"], ...]
    viscosity: float = eqx.field(static=True)

    def __init__(self, weights: Sequence[ArrayInput], biases: Sequence[ArrayInput], viscosity: ScalarLike):
        r"""**Arguments:**

        - `weights`: $A_1, \dots, A_L$, shapes `(n_l, n_{l-1})` with `n_L = 1`; entries from the second on $\ge 0$.
        - `biases`: $c_1, \dots, c_L$, shapes `(n_l,)`.
        - `viscosity`: $\varepsilon \ge 0$, in units of `f`; 0 is ReLU.

        **Raises:** `ValueError` if shapes do not chain, a number is not finite, a later weight is negative, or
        `viscosity` is negative.
        """
        matrices = tuple(as_float_array(A, f"weights[{k}]", 2) for k, A in enumerate(weights))
        shifts = tuple(as_float_array(c, f"biases[{k}]", 1) for k, c in enumerate(biases))
        if not matrices or len(matrices) != len(shifts):
            raise ValueError(
                f"`weights` and `biases` must be as many, at least one, got {len(weights)}, {len(biases)}."
            )
        for k, (A, c) in enumerate(zip(matrices, shifts, strict=True)):
            expected = (len(c), A.shape[1] if k == 0 else len(shifts[k - 1]))
            if A.shape != expected:
                raise ValueError(f"`weights[{k}]` must have shape {expected} by the biases, got {A.shape}.")
            require_finite(A, f"weights[{k}]")
            require_finite(c, f"biases[{k}]")
            if k and np.any(np.asarray(A) < 0):
                raise ValueError(f"`weights[{k}]` must not be negative, got {float(np.asarray(A).min()):g}.")
        if len(shifts[-1]) != 1:
            raise ValueError(f"`biases[-1]` must have shape (1,), a scalar output, got {shifts[-1].shape}.")
        self.weights, self.biases = matrices, shifts
        self.viscosity = known_number(viscosity, "viscosity")
        if not 0 <= self.viscosity < np.inf:
            raise ValueError(f"`viscosity` must be at least 0 and finite, got {self.viscosity:g}.")

    def __call__(self, x: Point) -> Scalar:
        h = x
        for A, c in zip(self.weights[:-1], self.biases[:-1], strict=True):
            h = self._softplus(A @ h + c)
        return (self.weights[-1] @ h + self.biases[-1])[0]

    def batch(self, X: ArrayInput) -> Float[Array, "*batch"]:
        """The values at points of shape `(..., d)`."""
        X = jnp.asarray(X, self.weights[0].dtype)
        return jax.vmap(self)(X.reshape(-1, X.shape[-1])).reshape(X.shape[:-1])

    def _softplus(self, z: Array) -> Array:
        if self.viscosity == 0:
            return jnp.maximum(z, 0)
        return self.viscosity * jnp.logaddexp(z / self.viscosity, 0)

    def with_viscosity(self, viscosity: ScalarLike) -> "PositiveNetwork":
        """The same weights at another viscosity; 0 is the tropical limit."""
        return PositiveNetwork(self.weights, self.biases, viscosity)

    def gap_bound(self) -> float:
        r"""The largest that $f_\varepsilon - f_0$ can be at any point, $\varepsilon$ times a number of the weights."""
        gap = np.zeros(self.weights[0].shape[1])
        for A in self.weights[:-1]:
            gap = np.abs(np.asarray(A)) @ gap + self.viscosity * np.log(2)
        return float((np.asarray(self.weights[-1]) @ gap)[0])

    def polynomial(self) -> TropicalPolynomial:
        """The tropical limit as one maximum of affine functions.

        The monomials multiply: a layer of `n` units after one with `N` monomials each has up to `(N + 1)^n`.
        """
        d = self.weights[0].shape[1]
        A, c = self.weights[0], self.biases[0]
        units = [TropicalPolynomial(A[k][None], c[k][None]) for k in range(len(c))]
        one = TropicalPolynomial(np.zeros((1, d), A.dtype), np.zeros(1, A.dtype))
        for A, c in zip(self.weights[1:], self.biases[1:], strict=True):
            rectified = [unit.plus(one) for unit in units]
            units = [_affine(rectified, np.asarray(row), shift, one) for row, shift in zip(A, c, strict=True)]
        return units[0]


def _affine(units: list[TropicalPolynomial], row: np.ndarray, shift: Array, one: TropicalPolynomial):
    r"""$\bigodot_k f_k^{\odot a_k} \odot c$, the affine map of positive weights $a$."""
    powers = [unit.power(float(a)) for unit, a in zip(units, row, strict=True) if a > 0]
    constant = TropicalPolynomial(one.exponents, one.coefficients + shift)
    return functools.reduce(TropicalPolynomial.times, powers, constant)
