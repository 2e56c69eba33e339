"""The viscosity at which a layer of given width comes closest to the inviscid solution."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, final

import numpy as np
import scipy.optimize
from jaxtyping import ArrayLike

from hjpde._plotting import CYCLE, MARKERS, given_or_new, tidy
from hjpde._types import ArrayInput

from ._quadrature_layer import heights_at, layer_values, quadrature_grid
from ._rates import RateFit, fit_rate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TRIALS = 40


@final
class OptimalViscosity(NamedTuple):
    r"""The best viscosity for each width.

    - `counts`: $N$, shape `(K,)`.
    - `viscosities`: $\varepsilon^*(N)$, shape `(K,)`; 0 where no viscosity of the range beats the maximum itself.
    - `errors`: $\sup|f - f_0|$ there, shape `(K,)`.
    - `viscosity_rate`, `error_rate`: their power laws in $N$; the first is `None` where some $\varepsilon^*$ is 0.
    """

    counts: np.ndarray
    viscosities: np.ndarray
    errors: np.ndarray
    viscosity_rate: RateFit | None
    error_rate: RateFit


def optimal_viscosity(
    datum: Callable[..., ArrayLike],
    points: ArrayInput,
    limit: ArrayInput,
    counts: Sequence[int],
    *,
    half_width: float = 2.0,
    t: float = 1.0,
    weighted: bool = False,
    lowest: float = 1e-6,
) -> OptimalViscosity:
    r"""The $\varepsilon$ that makes the constructed layer closest, in the largest error, to $f_0$.

    For plain sums on midpoints $\varepsilon^* \sim N^{-1/d}$ for kinked and $N^{-2/d}$ for smooth data: there the
    maximum lies below $f_0$ by what a grid of width $h$ misses, $O(h)$ or $O(h^2)$, and the sum adds that much back.
    With quadrature weights the best viscosity is often none.

    **Arguments:**

    - `datum`, `points`, `limit`, `half_width`, `t`, `weighted`: as for `commutative_square`.
    - `counts`: midpoints `n` in each direction, at least three different; $N = n^d$.
    - `lowest`: where the search for $\varepsilon^*$, up to 1, begins.

    **Raises:** `ValueError` if shapes disagree.
    """
    X, exact = np.asarray(points, float), np.asarray(limit, float)
    if X.ndim != 2 or exact.shape != X.shape[:1]:
        raise ValueError(f"`points` must have shape (M, d) and `limit` (M,), got {X.shape} and {exact.shape}.")
    if not 0 < lowest < 1:
        raise ValueError(f"`lowest` must lie between 0 and 1, got {lowest:g}.")
    d = X.shape[1]
    best = []
    for n in counts:
        nodes, weights = quadrature_grid(np.full(d, -half_width), np.full(d, half_width), n)
        heights, w = heights_at(datum, nodes), weights if weighted else None

        def error(log_viscosity: float, nodes=nodes, heights=heights, w=w) -> float:
            return float(np.abs(layer_values(X, nodes, heights, w, t, np.exp(log_viscosity)) - exact).max())

        cold = float(np.abs(layer_values(X, nodes, heights, w, t, 0.0) - exact).max())
        best.append(min((_search(error, np.log(lowest)), (0.0, cold)), key=lambda pair: pair[1]))
    viscosities, errors = np.array(best).T
    sizes = np.asarray(counts, float) ** d
    rate = fit_rate(sizes, viscosities) if np.all(viscosities > 0) else None
    return OptimalViscosity(sizes, viscosities, errors, rate, fit_rate(sizes, errors))


def _search(error: Callable[[float], float], lowest: float) -> tuple[float, float]:
    """The best viscosity on a logarithmic grid up to 1, refined between its neighbours."""
    trials = np.linspace(lowest, 0.0, _TRIALS)
    k = int(np.argmin([error(trial) for trial in trials]))
    ends = trials[max(k - 1, 0)], trials[min(k + 1, _TRIALS - 1)]
    found = scipy.optimize.minimize_scalar(error, bounds=ends, method="bounded", options={"xatol": 1e-3})
    return float(np.exp(found.x)), float(found.fun)


def plot_optimal_viscosity(results: Mapping[str, OptimalViscosity], ax: "Axes | None" = None) -> "Axes":
    r"""$\varepsilon^*$ against `N`, with the exponents and their intervals.

    **Arguments:** `results`, of `optimal_viscosity`, by name; `ax`: axes of matplotlib, or `None` for new ones.
    """
    ax = given_or_new(ax)
    for k, (name, result) in enumerate(results.items()):
        colour, marker = CYCLE[k % len(CYCLE)], MARKERS[k % len(MARKERS)]
        label = name if result.viscosity_rate is None else f"{name}: {result.viscosity_rate}"
        positive = result.viscosities > 0
        ax.plot(result.counts[positive], result.viscosities[positive], marker + "-", color=colour, label=label)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("number of neurons N")
    ax.set_ylabel("best viscosity ε*")
    ax.legend(frameon=False, fontsize=8, title="exponent [95 % interval]", title_fontsize=8)
    tidy(ax, "both")
    return ax
