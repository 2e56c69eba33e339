"""How far a layer lies above its tropical limit, and what bounds that at a point."""

from typing import TYPE_CHECKING, NamedTuple, final

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from hjpde._log_sum_exp import maximum
from hjpde._plotting import BLACK, BLUE, ORANGE, given_or_new, tidy
from hjpde._types import ArrayInput, ScalarLike, as_float_array, known_number
from hjpde.initial_data import LogSumExp

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@final
class DequantisationGap(NamedTuple):
    r"""A layer against its tropical limit at points.

    - `gap`: $f_\varepsilon(x) - \max_j z_j(x)$, shape `(M,)`, exact to rounding of the gap itself.
    - `margin`: $\Delta(x)$, how far the largest score lies above the second; $\infty$ for one neuron.
    - `local_bound`: $\varepsilon\log(1 + (N - 1) e^{-\Delta/\varepsilon})$, below which the gap stays.
    - `uniform_bound`: $\varepsilon \log N$, which the gap attains where all scores tie.
    - `viscosity`: $\varepsilon$.
    """

    gap: Float[Array, " M"]
    margin: Float[Array, " M"]
    local_bound: Float[Array, " M"]
    uniform_bound: Float[Array, ""]
    viscosity: Float[Array, ""]


@jax.jit
def _gaps(X, weights, biases, winners, viscosity):
    def one(point):
        x, winner = point
        below = weights @ x + biases
        below = (below - below[winner]).at[winner].set(-jnp.inf)
        # Summed as differences: the gap keeps its digits where it is far below the scores' rounding.
        return viscosity * jnp.log1p(jnp.sum(jnp.exp(below / viscosity))), -jnp.max(below, initial=-jnp.inf)

    return jax.lax.map(one, (X, winners), batch_size=256)


def dequantisation_gap(layer: LogSumExp, X: ArrayInput) -> DequantisationGap:
    r"""The distance $0 \le f_\varepsilon - f_0 \le \varepsilon\log N$ of a layer from its tropical limit.

    At a point where exactly `m` scores tie at the top and the others are far below it is $\varepsilon\log m$. Where
    $\Delta \gg \varepsilon\log N$ one neuron decides and the layer extrapolates affinely, within `local_bound`.

    **Arguments:**

    - `layer`: a log-sum-exp layer of `N` neurons.
    - `X`: points, shape `(M, d)`.

    **Raises:** `ValueError` if `X` has another shape.

    ??? cite "References"

        G. C. Calafiore, S. Gaubert and C. Possieri, *Log-sum-exp neural networks and posynomial models for convex and
        log-log-convex data*, IEEE Trans. Neural Netw. Learn. Syst. 31 (2020), Section II.
    """
    X = as_float_array(X, "X", 2).astype(layer.weights.dtype)
    _, winners = maximum(X, layer.weights, layer.biases)
    gap, margin = _gaps(X, layer.weights, layer.biases, winners, layer.viscosity)
    count, eps = layer.weights.shape[0], layer.viscosity
    return DequantisationGap(
        gap, margin, eps * jnp.log1p((count - 1) * jnp.exp(-margin / eps)), eps * jnp.log(count * jnp.ones(())), eps
    )


def tie_multiplicity(layer: LogSumExp, X: ArrayInput, tolerance: ScalarLike) -> Int[Array, " M"]:
    r"""How many scores lie within `tolerance` of the largest at each point: `m` in the gap $\varepsilon\log m$.

    **Arguments:**

    - `layer`: a log-sum-exp layer.
    - `X`: points, shape `(M, d)`.
    - `tolerance`: in units of the layer, at least 0; a few roundings of the scores where ties are exact.

    **Raises:** `ValueError` if `X` has another shape or `tolerance` is negative or NaN.
    """
    X = as_float_array(X, "X", 2).astype(layer.weights.dtype)
    if not known_number(tolerance, "tolerance") >= 0:
        raise ValueError(f"`tolerance` must be at least 0, got {tolerance}.")
    top, _ = maximum(X, layer.weights, layer.biases)

    def one(point):
        x, largest = point
        return jnp.sum(layer.weights @ x + layer.biases >= largest - tolerance)

    return jax.lax.map(one, (X, top), batch_size=256)


def plot_dequantisation_gap(result: DequantisationGap, ax: "Axes | None" = None) -> "Axes":
    r"""The gap against the margin, both in units of $\varepsilon$, below its two bounds.

    **Arguments:** `result`, of `dequantisation_gap`; `ax`: axes of matplotlib, or `None` for new ones.
    """
    ax = given_or_new(ax)
    order = jnp.argsort(result.margin)
    margin = result.margin[order] / result.viscosity
    ax.plot(margin, result.gap[order] / result.viscosity, ".", color=BLUE, markersize=4, label="gap")
    ax.plot(margin, result.local_bound[order] / result.viscosity, color=ORANGE, label="bound by the margin")
    ceiling = float(result.uniform_bound / result.viscosity)
    ax.axhline(ceiling, color=BLACK, linestyle="--", linewidth=1, label="log N")
    ax.set_xlabel("margin Δ/ε of the largest score")
    ax.set_ylabel("gap (f_ε − max z)/ε")
    ax.legend(frameon=False, fontsize=8, loc="upper right")
    tidy(ax, "both")
    return ax
