r"""Covariances of wide random networks: $\xi(q) = E\,H(x)H(y)/N$ at correlation $q = x\cdot y/N$, and derivatives.

While hidden widths are much larger than the input dimension, a random network is a Gaussian field on the sphere, and
$\xi$ is all that there is to know of it.
"""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, final

import numpy as np

from hjpde._plotting import BLUE, GREEN, ORANGE, given_or_new, tidy
from hjpde._types import ArrayInput, ScalarLike, known_number

from ._activation import ACTIVATIONS, Activation, as_activation
from ._random_network import RandomNetwork

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Not annotated further, as numpy's arithmetic takes arrays without axes to scalars.
Function = Callable[[Any], Any]

# A standard normal beyond 13 is below rounding; the step resolves Hermite functions up to degree 1000.
_CUT, _NODES = 13.0, 6001


@final
@dataclasses.dataclass(frozen=True)
class CovarianceMap:
    r"""A covariance $\xi(q)$ for correlations $q \in [-1, 1]$; all its Taylor coefficients are non-negative.

    Fields take and return numpy arrays in float64.

    - `value`, `slope`, `curvature`: $\xi$, $\xi'$, $\xi''$.
    - `name`: in figures.
    """

    value: Function
    slope: Function
    curvature: Function
    name: str = ""

    def __call__(self, q: ArrayInput) -> np.ndarray:
        r"""$\xi(q)$.

        **Raises:** `ValueError` if a correlation is not in $[-1, 1]$.
        """
        q = np.asarray(q, float)
        if not np.all(np.abs(q) <= 1):
            raise ValueError(f"`q` must be correlations between -1 and 1, got values up to {np.abs(q).max():g}.")
        return np.asarray(self.value(q))


def mixture(coefficients: ArrayInput) -> CovarianceMap:
    r"""The mixed spin glass $\xi(q) = \sum_k c_k q^k$; a single $c_p = 1$ is the pure `p`-spin model.

    **Arguments:** `coefficients`: $c_0, c_1, \dots$, not negative and not all 0.

    **Raises:** `ValueError` if one is negative or not finite, or none is positive.
    """
    c = np.asarray(coefficients, float)
    if c.ndim != 1 or not np.all(np.isfinite(c) & (c >= 0)) or not np.any(c > 0):
        raise ValueError("`coefficients` must be finite, not negative and not all 0.")
    value = np.polynomial.Polynomial(c)
    return CovarianceMap(value, value.deriv(), value.deriv(2), "mixture")


def pure(p: int) -> CovarianceMap:
    r"""The pure `p`-spin model $\xi(q) = q^p$, $p \ge 1$.

    **Raises:** `ValueError` if `p` is below 1.
    """
    if p < 1:
        raise ValueError(f"`p` must be at least 1, got {p}.")
    return dataclasses.replace(mixture(np.eye(p + 1)[p]), name=f"q^{p}")


def hermite_coefficients(
    activation: str | Activation | Callable[[Any], Any], sigma: ScalarLike, terms: int = 256
) -> np.ndarray:
    r"""$c_k = E[\phi(\sigma g)\,\mathrm{He}_k(g)]/\sqrt{k!}$ for $k < $ `terms`, $g \sim N(0, 1)$.

    **Arguments:** `activation`; `sigma`: the standard deviation of what it is applied to, positive; `terms`: at most
    1000.

    **Returns:** shape `(terms,)`; $\sum_k c_k^2$ falls short of $E\,\phi(\sigma g)^2$ by what is left out.
    """
    phi = as_activation(activation)
    sigma = _positive(sigma, "sigma")
    if not 1 <= terms <= 1000:
        raise ValueError(f"`terms` must be between 1 and 1000, got {terms}.")
    g, step = np.linspace(-_CUT, _CUT, _NODES, retstep=True)
    weighted = phi.values(sigma * g) * np.exp(-(g**2) / 4) / (2 * np.pi) ** 0.25 * step
    # Hermite functions: the polynomials with the root of the Gaussian, which do not overflow.
    before, now = np.zeros_like(g), np.exp(-(g**2) / 4) / (2 * np.pi) ** 0.25
    coefficients = np.empty(terms)
    for k in range(terms):
        coefficients[k] = weighted @ now
        before, now = now, (g * now - np.sqrt(k) * before) / np.sqrt(k + 1)
    return coefficients


def layer_covariance(
    activation: str | Activation | Callable[[Any], Any], sigma: ScalarLike, terms: int = 256
) -> CovarianceMap:
    r"""$K(q) = E\,\phi(u)\phi(v)$ for normal `u`, `v` of variance $\sigma^2$ and correlation `q`.

    Closed forms for piecewise linear functions (arc cosine kernel), erf, sin and cos; else
    $K(q) = \sum_k c_k^2 q^k$ by `hermite_coefficients`.

    **Arguments:**

    - `activation`: $\phi$; `sigma`: $\sigma > 0$.
    - `terms`: of the expansion, where one is needed.

    **Raises:** `ValueError` for an unknown activation, a `sigma` that is not positive, or an expansion that misses more
    than a thousandth of $E\,\phi^2$.

    ??? cite "References"

        Y. Cho, L. Saul, *Kernel methods for deep learning*, NeurIPS 2009; C. Williams, *Computing with infinite
        networks*, NeurIPS 1996.
    """
    phi = as_activation(activation)
    sigma = _positive(sigma, "sigma")
    s2 = sigma**2
    if phi.slopes is not None:
        return _piecewise_linear(phi.slopes, s2)
    if phi == ACTIVATIONS["erf"]:
        c, a = 2 * s2 / (1 + 2 * s2), 2 / np.pi
        return CovarianceMap(
            lambda q: a * np.arcsin(c * q),
            lambda q: a * c / np.sqrt(1 - (c * q) ** 2),
            lambda q: a * c**3 * q / (1 - (c * q) ** 2) ** 1.5,
            phi.name,
        )
    if phi in (ACTIVATIONS["sin"], ACTIVATIONS["cos"]):
        # e^{-s2} sinh(s2 q) and cosh, without overflow.
        def odd(q: Any) -> Any:
            return (np.exp(s2 * (q - 1)) - np.exp(-s2 * (q + 1))) / 2

        def even(q: Any) -> Any:
            return (np.exp(s2 * (q - 1)) + np.exp(-s2 * (q + 1))) / 2

        f, df = (odd, even) if phi == ACTIVATIONS["sin"] else (even, odd)
        return CovarianceMap(f, lambda q: s2 * df(q), lambda q: s2**2 * f(q), phi.name)
    squares = hermite_coefficients(phi, sigma, terms) ** 2
    g = np.linspace(-_CUT, _CUT, _NODES)
    density = np.exp(-(g**2) / 2)
    second_moment = density @ phi.values(sigma * g) ** 2 / density.sum()
    missing = 1 - squares.sum() / second_moment
    if not abs(missing) < 1e-3:
        raise ValueError(f"`terms` = {terms} misses {missing:.1e} of the second moment of {phi.name}; take more.")
    return dataclasses.replace(mixture(squares), name=phi.name)


def _piecewise_linear(slopes: tuple[float, float], s2: float) -> CovarianceMap:
    r"""$\phi(z) = a z + b|z|$: the kernel of $|z|$ is $\frac2\pi(\sqrt{1 - q^2} + q\arcsin q)$."""
    a, b = (slopes[1] + slopes[0]) / 2, (slopes[1] - slopes[0]) / 2
    c = 2 / np.pi * b**2

    def curvature(q: Any) -> Any:
        if b == 0:
            return np.zeros_like(q)
        with np.errstate(divide="ignore"):
            return s2 * c / np.sqrt((1 - q) * (1 + q))

    return CovarianceMap(
        lambda q: s2 * (a**2 * q + c * (np.sqrt((1 - q) * (1 + q)) + q * np.arcsin(q))),
        lambda q: s2 * (a**2 + c * np.arcsin(q)),
        curvature,
        "linear" if b == 0 else "piecewise linear",
    )


def compose(outer: CovarianceMap, inner: CovarianceMap) -> CovarianceMap:
    r"""$\xi_2 \circ \xi_1$ with its derivatives, for an inner map with $\xi_1(1) = 1$."""
    f, g = outer, inner

    def inside(q: Any) -> Any:
        # At q = 1 rounding may lead outside.
        return np.clip(g.value(q), -1.0, 1.0)

    def curvature(q: Any) -> Any:
        return f.curvature(inside(q)) * g.slope(q) ** 2 + f.slope(inside(q)) * g.curvature(q)

    return CovarianceMap(lambda q: f.value(inside(q)), lambda q: f.slope(inside(q)) * g.slope(q), curvature, f.name)


def scaled(covariance: CovarianceMap, factor: float) -> CovarianceMap:
    """`factor` times a covariance."""
    value, slope, curvature = covariance.value, covariance.slope, covariance.curvature
    return CovarianceMap(
        lambda q: factor * value(q), lambda q: factor * slope(q), lambda q: factor * curvature(q), covariance.name
    )


def network_covariance(network: RandomNetwork, terms: int = 256) -> CovarianceMap:
    r"""$\xi$ of a network in the limit of widths much larger than the input dimension, for $\alpha_L = 1$.

    With $v_0 = 1$, $c_0 = q$: $\sigma_l^2 = \sigma_w^2 v_{l-1}$, $v_l = K(1;\sigma_l)$,
    $c_l = K(c_{l-1};\sigma_l)/v_l$ and $\xi = v_L c_L$. Widths do not enter: a network of top width $\alpha_L$ at
    `beta` is the field at inverse temperature $\beta\sqrt{\alpha_L}$.

    **Arguments:** `network`; `terms`: of the Hermite expansions, where they are needed.
    """
    variance, correlation = 1.0, None
    for _ in network.widths:
        layer = layer_covariance(network.activation, network.sigma_w * np.sqrt(variance), terms)
        variance = float(layer(1.0))
        normalised = scaled(layer, 1 / variance)
        correlation = normalised if correlation is None else compose(normalised, correlation)
    assert correlation is not None
    return dataclasses.replace(scaled(correlation, variance), name=network.activation.name)


def plot_covariance(covariance: CovarianceMap, ax: "Axes | None" = None) -> "Axes":
    r"""A covariance and its derivatives over the correlation.

    **Arguments:** `covariance`; `ax`: axes of matplotlib, or `None` for new ones.
    """
    ax = given_or_new(ax)
    q = np.linspace(-0.995, 0.995, 399)
    ax.plot(q, covariance.value(q), "-", color=BLUE, label="ξ")
    ax.plot(q, covariance.slope(q), "--", color=ORANGE, label="ξ'")
    ax.plot(q, covariance.curvature(q), "-.", color=GREEN, label="ξ''")
    ax.set(xlabel="correlation q of two inputs", ylabel="covariance of energies, per input", title=covariance.name)
    ax.legend(frameon=False)
    tidy(ax, "both")
    return ax


def _positive(value: ScalarLike, name: str) -> float:
    number = known_number(value, name)
    if not (np.isfinite(number) and number > 0):
        raise ValueError(f"`{name}` must be a positive number, got {number:g}.")
    return number
