"""Layers of softplus units, exactly as sums and differences of log-sum-exps."""

import math
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hjpde._types import ArrayInput, Scalar, ScalarLike, known_number

from ._difference_of_maxima import DifferenceOfMaxima, Planes
from ._piecewise_linear import MAX_PLANES, checked_units

_LARGEST_MULTIPLE = 64


@final
class UnitLogSumExps(eqx.Module):
    r"""$\sum_i \sigma_i\,\varepsilon_i \log \sum_k e^{(W_{ik} \cdot x + b_{ik})/\varepsilon_i} + c$ with signs.

    Every term is a layer of its own temperature: `hjpde.LogSumExp(weights[i], biases[i], temperatures[i])` is up to
    $|x|^2/4t$ a solution of its own equation, the sum is of none.
    """

    weights: Float[Array, "N K d"]
    biases: Float[Array, "N K"]
    temperatures: Float[Array, " N"]
    signs: Float[Array, " N"]
    constant: Float[Array, ""]

    def __call__(self, x: Float[Array, " d"]) -> Scalar:
        """The value at one point."""
        scores = self.weights @ x + self.biases
        scaled = scores / jnp.broadcast_to(self.temperatures[:, None], scores.shape)
        return (self.signs * self.temperatures) @ jax.nn.logsumexp(scaled, axis=1) + self.constant


@final
class SoftplusLayer(eqx.Module):
    r"""$f(x) = \sum_{i=1}^N a_i \log(1 + e^{w_i \cdot x + b_i}) + c$ for `d` inputs.

    A unit is a log-sum-exp of two atoms at the temperature of its amplitude,

    $$a \log(1 + e^z) = \mathrm{sign}(a)\,\varepsilon \log\bigl(1 + e^{|a| z/\varepsilon}\bigr), \qquad
    \varepsilon = |a|,$$

    so in general every unit has a viscosity of its own. One for all exists exactly if all $|a_i|$ are whole multiples
    of it.
    """

    weights: Float[Array, "N d"]
    biases: Float[Array, " N"]
    amplitudes: Float[Array, " N"]
    constant: Float[Array, ""]

    def __init__(self, weights: ArrayInput, biases: ArrayInput, amplitudes: ArrayInput, constant: ScalarLike = 0.0):
        """**Arguments:**

        - `weights`: $w$, shape `(N, d)`.
        - `biases`: $b$, shape `(N,)`.
        - `amplitudes`: $a$, shape `(N,)`.
        - `constant`: $c$.

        **Raises:** `ValueError` if the shapes disagree, or an array is empty or not finite.
        """
        self.weights, self.biases, self.amplitudes, self.constant = checked_units(weights, biases, amplitudes, constant)

    def __call__(self, x: Float[Array, " d"]) -> Scalar:
        """The value at one point."""
        return self.amplitudes @ jax.nn.softplus(self.weights @ x + self.biases) + self.constant

    def units(self) -> UnitLogSumExps:
        r"""The exact sum of log-sum-exps of two atoms each, at the temperatures $|a_i|$; units with $a_i = 0$ drop out.

        The weights have to be known, not traced.
        """
        kept = np.asarray(self.amplitudes) != 0
        size = jnp.abs(self.amplitudes[kept])
        slopes = self.weights[kept] * jnp.broadcast_to(size[:, None], self.weights[kept].shape)
        offsets = self.biases[kept] * size
        return UnitLogSumExps(
            weights=jnp.stack([slopes, jnp.zeros_like(slopes)], axis=1),
            biases=jnp.stack([offsets, jnp.zeros_like(offsets)], axis=1),
            temperatures=size,
            signs=jnp.sign(self.amplitudes[kept]),
            constant=self.constant,
        )

    def difference(self, temperature: ScalarLike | None = None, max_planes: int = MAX_PLANES) -> DifferenceOfMaxima:
        r"""The exact difference of two log-sum-exps of one temperature $\varepsilon$, where $|a_i| = m_i\,\varepsilon$:

        $$m\,\varepsilon \log(1 + e^z) = \varepsilon \log \sum_{k=0}^m
        \exp\bigl(k z + \log\tbinom mk\bigr),$$

        so that a unit of multiplicity `m` has `m + 1` atoms, and a half has the product of its units'.

        **Arguments:**

        - `temperature`: $\varepsilon$, by default the largest of which all amplitudes are whole multiples, the
          smallest up to 64 times.
        - `max_planes`: refuse more atoms in a half.

        **Raises:** `ValueError` if the amplitudes are no such multiples, or a half has too many atoms; the weights have
        to be known, not traced.
        """
        a = np.asarray(self.amplitudes, np.float64)
        size = np.abs(a)
        roundoff = 16 * float(jnp.finfo(self.amplitudes.dtype).eps)
        given = _common_measure(size, roundoff) if temperature is None else known_number(temperature, "temperature")
        if given is None:
            raise ValueError(
                "`amplitudes` have no common temperature: they are no whole multiples of one number, the smallest up "
                f"to {_LARGEST_MULTIPLE} times. `units()` gives each its own."
            )
        if not (math.isfinite(given) and given > 0):
            raise ValueError(f"`temperature` must be positive and finite, got {given!r}.")
        if not _are_multiples(size, given, roundoff):
            raise ValueError(
                f"`temperature` = {given:g} does not divide all amplitudes, so no difference at it is exact; `units()` "
                "gives each its own."
            )
        multiples = np.rint(size / given).astype(int)
        P, Q = (self._half(units, multiples[units], given, max_planes) for units in (a > 0, a < 0))
        return DifferenceOfMaxima(Planes(P.weights, P.biases + self.constant, P.temperature), Q)

    def _half(self, units: np.ndarray, multiples: np.ndarray, temperature: float, max_planes: int) -> Planes:
        count = math.prod(int(m) + 1 for m in multiples)
        if count > max_planes:
            raise ValueError(
                f"`max_planes` is {max_planes}, but the units of one sign, with multiplicities {multiples.tolist()}, "
                f"have {count} atoms: raise it, or take `units()`, which has two a unit."
            )
        grid = np.indices(tuple(multiples + 1)).reshape(len(multiples), count).T
        entropy = np.zeros(count)
        for m, k in zip(multiples, grid.T, strict=True):
            entropy += np.array([math.log(math.comb(int(m), int(j))) for j in range(int(m) + 1)])[k]
        dtype = self.weights.dtype
        W, b = (np.asarray(array, np.float64)[units] for array in (self.weights, self.biases))
        slopes = temperature * (grid @ W)
        offsets = temperature * (grid @ b + entropy)
        return Planes(jnp.asarray(slopes, dtype), jnp.asarray(offsets, dtype), jnp.asarray(temperature, dtype))


def _common_measure(sizes: np.ndarray, roundoff: float) -> float | None:
    """The largest number of which all sizes that are not 0 are whole multiples, if there is one."""
    present = sizes[sizes > 0]
    if len(present) == 0:
        return 1.0
    candidates = (float(present.min()) / q for q in range(1, _LARGEST_MULTIPLE + 1))
    return next((c for c in candidates if _are_multiples(present, c, roundoff)), None)


def _are_multiples(sizes: np.ndarray, of: float, roundoff: float) -> bool:
    ratios = sizes / of
    return bool(np.all(np.abs(ratios - np.rint(ratios)) <= roundoff * np.maximum(ratios, 1)))
