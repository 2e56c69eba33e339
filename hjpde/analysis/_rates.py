"""Power laws fitted to errors, never without an interval, and the rate at which layers converge as quadratures."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, final

import numpy as np
import scipy.stats
from jaxtyping import ArrayLike

from hjpde._plotting import CYCLE, MARKERS, given_or_new, tidy
from hjpde._types import ArrayInput

from ._quadrature_layer import heights_at, layer_values, quadrature_grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@final
class RateFit(NamedTuple):
    r"""A power law $e = C n^{p}$ fitted to errors by least squares of the logarithms.

    - `exponent`: $p$; negative where errors fall.
    - `low`, `high`: its confidence interval.
    - `constant`: $C$.
    - `confidence`: the level of the interval.
    - `sizes`, `errors`: what was fitted, shapes `(n,)` and `(repeats, n)`.
    """

    exponent: float
    low: float
    high: float
    constant: float
    confidence: float
    sizes: np.ndarray
    errors: np.ndarray

    def __call__(self, sizes: ArrayInput) -> np.ndarray:
        """The fitted law at some sizes."""
        return self.constant * np.asarray(sizes, float) ** self.exponent

    def __str__(self) -> str:
        return f"{self.exponent:.2f} [{self.low:.2f}, {self.high:.2f}]"


def fit_rate(sizes: ArrayInput, errors: ArrayInput, confidence: float = 0.95) -> RateFit:
    r"""The exponent of a power law, with Student's interval.

    The interval covers scatter about a straight line in the log-log plane. A law that is bent, since it has not reached
    its limit or has met a floor, widens it, but its centre is then no exponent of a limit.

    **Arguments:**

    - `sizes`: at least three distinct positive numbers, shape `(n,)`.
    - `errors`: positive, shape `(n,)` or, for repeated measurements, `(repeats, n)`; these count as independent.
    - `confidence`: the level, between 0 and 1.

    **Raises:** `ValueError` if a shape or a number is wrong.
    """
    sizes, errors = np.asarray(sizes, float), np.atleast_2d(np.asarray(errors, float))
    if sizes.ndim != 1 or errors.ndim != 2 or errors.shape[1] != sizes.size:
        raise ValueError(f"`errors` must have shape (n,) or (repeats, n), n = {sizes.size}, got {errors.shape}.")
    if not np.all(np.isfinite(sizes) & (sizes > 0)) or np.unique(sizes).size < 3:
        raise ValueError(f"`sizes` must hold at least three distinct positive numbers, got {sizes}.")
    if errors.size == 0 or not np.all(np.isfinite(errors) & (errors > 0)):
        raise ValueError("`errors` must be positive and finite, got others; leave out what fell below rounding.")
    if not 0 < confidence < 1:
        raise ValueError(f"`confidence` must lie between 0 and 1, got {confidence:g}.")
    x, y = np.log(np.broadcast_to(sizes, errors.shape)).ravel(), np.log(errors).ravel()
    line: Any = scipy.stats.linregress(x, y)
    reach = line.stderr * scipy.stats.t.ppf(0.5 + confidence / 2, x.size - 2)
    return RateFit(
        float(line.slope),
        float(line.slope - reach),
        float(line.slope + reach),
        float(np.exp(line.intercept)),
        float(confidence),
        sizes,
        errors,
    )


def quadrature_rate(
    datum: Callable[..., ArrayLike],
    dim: int,
    counts: Sequence[int],
    *,
    points: ArrayInput,
    reference_count: int,
    t: float = 1.0,
    viscosity: float = 1.0,
    half_width: float = 2.0,
    rule: str = "midpoint",
) -> RateFit:
    r"""How the layer that is a quadrature of the Hopf-Cole integral converges with the number $N = n^d$ of its neurons.

    The error is the largest difference over some points from the same layer on a finer grid. For a Lipschitz datum it
    is $O(N^{-1/d})$, which kinked data attain as $\varepsilon \to 0$; midpoints reach $N^{-2/d}$ where the integrand is
    smooth at the scale of the grid. Equal weights on grids that contain the ends of the box (`rule="endpoints"`, as the
    source has it) make an error of the boundary of order $N^{-1/d}$ of their own.

    **Arguments:**

    - `datum`: the initial datum $g(y)$ at one point, a scalar.
    - `dim`: $d \ge 1$.
    - `counts`: nodes `n` in each direction, at least three different.
    - `points`: where errors are measured, shape `(M, d)`.
    - `reference_count`: nodes in each direction of the reference; above all `counts`.
    - `t`, `viscosity`: the time and $\varepsilon$, positive.
    - `half_width`: the box is $[-L, L]^d$.
    - `rule`: `"midpoint"` or `"endpoints"`.

    **Returns:** the fit, whose `sizes` are $N$.

    **Raises:** `ValueError` as `fit_rate` and `quadrature_grid`, or if `reference_count` is not above all `counts`.
    """
    if reference_count <= max(counts):
        raise ValueError(f"`reference_count` must be above all `counts`, up to {max(counts)}, got {reference_count}.")
    X = np.asarray(points, float)
    lower, upper = np.full(dim, -half_width), np.full(dim, half_width)

    def values(count: int) -> np.ndarray:
        nodes, weights = quadrature_grid(lower, upper, count, rule)
        return layer_values(X, nodes, heights_at(datum, nodes), weights, t, viscosity)

    reference = values(reference_count)
    errors = [np.abs(values(n) - reference).max() for n in counts]
    return fit_rate(np.asarray(counts, float) ** dim, errors)


def plot_rates(
    fits: Mapping[str, RateFit],
    ax: "Axes | None" = None,
    *,
    expected: Mapping[str, float] | None = None,
    size: str = "number of neurons N",
    error: str = "error",
) -> "Axes":
    """Errors in the log-log plane with their fitted laws, and the expected slopes beside them.

    **Arguments:** `fits`, by name; `ax`: axes of matplotlib, or `None` for new ones; `expected`: exponents to draw as
    thin dotted lines through the first error, by the same names; `size`, `error`: the names of the axes.
    """
    ax = given_or_new(ax)
    for k, (name, fit) in enumerate(fits.items()):
        colour, marker = CYCLE[k % len(CYCLE)], MARKERS[k % len(MARKERS)]
        ax.plot(fit.sizes, fit.errors.T, marker, color=colour, markersize=4)
        ax.plot([], [], marker + "-", color=colour, markersize=4, label=f"{name}: {fit}")
        ax.plot(fit.sizes, fit(fit.sizes), color=colour, linewidth=1.2)
        if expected and name in expected:
            start = np.exp(np.log(fit.errors[:, 0]).mean())
            law = start * (fit.sizes / fit.sizes[0]) ** expected[name]
            ax.plot(fit.sizes, law, ":", color=colour, linewidth=1.4)
            ax.plot([], [], ":", color=colour, label=f"slope {expected[name]:.2f}")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel(size)
    ax.set_ylabel(error)
    ax.legend(frameon=False, fontsize=7, title="exponent [95 % interval]", title_fontsize=7)
    tidy(ax, "both")
    return ax
