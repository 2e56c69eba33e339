"""Convex duality of layers: the variational formula, the conjugate, and the linear program at zero viscosity."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import scipy.optimize
from jaxtyping import Array, Float

from hjpde._plotting import CYCLE, given_or_new, tidy
from hjpde._types import ArrayInput, as_float_array
from hjpde.initial_data import LogSumExp

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Temperatures on the way from one at which the gradient is far from a step down to the layer's own.
_COOLINGS = 24
_LINE_STYLES = ("-", "--", "-.", ":")


@final
class Conjugate(NamedTuple):
    r"""The convex conjugate $f^*(p)$ at slopes, with what attains it.

    - `values`: $f^*(p) = \sup_x\, p \cdot x - f(x)$, shape `(M,)`; $+\infty$ where `p` is outside
      $\mathrm{conv}\{W_j\}$.
    - `points`: $x$ with $\nabla f(x) = p$, the multipliers of the constraint, shape `(M, d)`; NaN where the value is
      infinite.
    - `shares`: the optimal $\pi$ of the program on the simplex, shape `(M, N)`; NaN where the value is infinite.
    """

    values: Float[Array, " M"]
    points: Float[Array, "M d"]
    shares: Float[Array, "M N"]


def variational_value(layer: LogSumExp, X: ArrayInput, shares: ArrayInput) -> Float[Array, " M"]:
    r"""The Gibbs functional $\langle\pi, z(x)\rangle + \varepsilon S(\pi)$, $S(\pi) = -\sum_j \pi_j\log\pi_j$.

    Over the simplex its largest value is $f(x)$, which only the Gibbs weights attain (Gibbs' variational principle):
    the difference is $\varepsilon\,\mathrm{KL}(\pi \,\|\, \pi(x))$.

    **Arguments:**

    - `layer`: a log-sum-exp layer of `N` neurons.
    - `X`: points, shape `(M, d)`.
    - `shares`: $\pi$, a probability over the neurons for each point, shape `(M, N)`.

    **Raises:** `ValueError` if a shape is wrong or a row is no probability.
    """
    X = as_float_array(X, "X", 2).astype(layer.weights.dtype)
    shares = as_float_array(shares, "shares", 2).astype(X.dtype)
    if shares.shape != (X.shape[0], layer.weights.shape[0]):
        raise ValueError(f"`shares` must have shape {(X.shape[0], layer.weights.shape[0])}, got {shares.shape}.")
    rows = np.asarray(shares)
    if not (np.all(rows >= 0) and np.allclose(rows.sum(axis=1), 1, atol=1e3 * np.finfo(rows.dtype).eps)):
        raise ValueError("`shares` must be non-negative with rows that sum to 1.")
    scores = X @ layer.weights.T + layer.biases[None]
    energy = jnp.sum(jnp.where(shares > 0, shares * scores, 0.0), axis=1)
    return energy + layer.viscosity * jnp.sum(jax.scipy.special.entr(shares), axis=1)


def conjugate(layer: LogSumExp, slopes: ArrayInput) -> Conjugate:
    r"""The conjugate of a layer, an entropy-regularised linear program over the simplex,

    $$f^*_\varepsilon(p) = \min_{\pi \ge 0,\ \sum\pi_j = 1}\ \Bigl\{ -\sum_j \pi_j b_j +
    \varepsilon\sum_j \pi_j\log\pi_j \ :\ \sum_j \pi_j W_j = p \Bigr\}.$$

    Its dual is smooth and without constraints, $\sup_x\, p \cdot x - f(x)$: solved for the stationary point
    $\nabla f(x) = p$ by Levenberg-Marquardt, along falling temperatures. As $\varepsilon \to 0$ it rises to
    `linear_program`, from at most $\varepsilon\log N$ below.

    **Arguments:**

    - `layer`: a log-sum-exp layer with at least as many neurons as dimensions plus one, slopes that span them.
    - `slopes`: $p$, shape `(M, d)`, inside $\mathrm{conv}\{W_j\}$; on its border the maximiser runs to infinity.

    **Raises:** `ValueError` if `slopes` has another shape; a slope whose point was not found, as on the border of the
    hull, gives an infinite value.

    ??? cite "References"

        S. Boyd and L. Vandenberghe, *Convex Optimization*, Cambridge University Press, 2004, Sections 3.3 and 5.7.
    """
    slopes = as_float_array(slopes, "slopes", 2).astype(layer.weights.dtype)
    if slopes.shape[1] != layer.dim:
        raise ValueError(f"`slopes` must have shape (M, {layer.dim}) as the layer's points, got {slopes.shape}.")
    return _conjugate(layer, slopes)


@jax.jit
def _conjugate(layer: LogSumExp, slopes: Array) -> Conjugate:
    accuracy = 100 * float(jnp.finfo(slopes.dtype).eps)
    solver = optx.LevenbergMarquardt(rtol=accuracy, atol=accuracy)
    size = jnp.max(jnp.abs(layer.weights - layer.weights.mean(axis=0)[None]))

    eps = layer.viscosity
    warm = jnp.maximum(eps, jnp.ptp(jnp.where(jnp.isfinite(layer.biases), layer.biases, layer.biases.max())))
    coolings = eps * (warm / eps) ** jnp.linspace(1, 0, _COOLINGS, dtype=slopes.dtype)

    def excess(x: Array, arguments: tuple[Array, Array]) -> Array:
        p, temperature = arguments
        return (jax.nn.softmax(layer.scores(x) / temperature) @ layer.weights - p) / size

    def one(p: Array) -> Conjugate:
        def cool(x: Array, temperature: Array) -> tuple[Array, None]:
            found = optx.least_squares(excess, solver, x, (p, temperature), max_steps=256, throw=False)
            return found.value, None

        x, _ = jax.lax.scan(cool, jnp.zeros_like(p), coolings)
        found = jnp.max(jnp.abs(excess(x, (p, eps)))) <= jnp.sqrt(jnp.finfo(p.dtype).eps)
        value = p @ x - layer.viscosity * jax.nn.logsumexp(layer.scores(x) / layer.viscosity)
        return Conjugate(
            jnp.where(found, value, jnp.inf), jnp.where(found, x, jnp.nan), jnp.where(found, layer.gibbs(x), jnp.nan)
        )

    return jax.lax.map(one, slopes)


def linear_program(layer: LogSumExp, slopes: ArrayInput) -> np.ndarray:
    r"""The program without entropy,

    $$f_0^*(p) = \min\Bigl\{-\sum_j \pi_j b_j : \pi \ge 0,\ \sum_j \pi_j = 1,\ \sum_j \pi_j W_j = p\Bigr\}.$$

    Minus it is the upper hull of the lifted points $(W_j, b_j)$ at `p`. Solved in float64 by HiGHS.

    **Arguments:** `layer`, a log-sum-exp layer; `slopes`: $p$, shape `(M, d)`.

    **Returns:** shape `(M,)`; $+\infty$ where `p` lies outside $\mathrm{conv}\{W_j\}$.

    **Raises:** `ValueError` if `slopes` has another shape.
    """
    P, W, b = np.asarray(slopes, float), np.asarray(layer.weights, float), np.asarray(layer.biases, float)
    if P.ndim != 2 or P.shape[1] != W.shape[1]:
        raise ValueError(f"`slopes` must have shape (M, {W.shape[1]}) as the layer's points, got {P.shape}.")
    present = np.isfinite(b)
    constraint = np.vstack([W[present].T, np.ones(present.sum())])
    solutions = [scipy.optimize.linprog(-b[present], A_eq=constraint, b_eq=np.append(p, 1.0)) for p in P]
    return np.array([solution.fun if solution.success else np.inf for solution in solutions])


def plot_conjugate(
    layer: LogSumExp, viscosities: Sequence[float] = (1.0, 0.3, 0.1), ax: "Axes | None" = None
) -> "Axes":
    r"""The conjugate of a one-dimensional layer over its slopes, at several viscosities and without.

    **Arguments:** `layer`, in one dimension; `viscosities`, each drawn as a curve; `ax`: axes of matplotlib, or `None`
    for new ones.

    **Raises:** `ValueError` if the layer has another dimension.
    """
    if layer.dim != 1:
        raise ValueError(f"`layer` must take points of dimension 1 to be drawn, got {layer.dim}.")
    ax = given_or_new(ax)
    W = np.asarray(layer.weights)[:, 0]
    slopes = np.linspace(W.min(), W.max(), 83)[1:-1, None]
    for k, eps in enumerate(viscosities):
        curve = conjugate(LogSumExp(layer.weights, layer.biases, eps), slopes).values
        style = _LINE_STYLES[(k + 1) % len(_LINE_STYLES)]
        ax.plot(slopes[:, 0], curve, style, color=CYCLE[(k + 1) % len(CYCLE)], label=f"ε = {eps:g}")
    ax.plot(slopes[:, 0], linear_program(layer, slopes), color=CYCLE[0], linewidth=2, label="ε = 0 (linear program)")
    ax.set_xlabel("slope p")
    ax.set_ylabel("conjugate f*(p)")
    ax.legend(frameon=False, fontsize=8)
    tidy(ax, "both")
    return ax
