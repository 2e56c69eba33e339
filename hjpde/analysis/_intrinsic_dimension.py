"""The intrinsic dimension of a point cloud: from neighbours, and from the exponent at which layers on it converge."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, final

import numpy as np
import scipy.spatial
import scipy.stats

from hjpde._plotting import CYCLE, MARKERS, given_or_new, tidy
from hjpde._types import ArrayInput

from ._quadrature_layer import layer_values
from ._rates import RateFit, fit_rate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes


@final
class Dimension(NamedTuple):
    """An estimate of a dimension with its confidence interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def flat_torus(count: int, dim: int, ambient: int, seed: int = 0) -> np.ndarray:
    r"""Points uniform on a flat torus of known dimension `k` in a larger space: angles
    $(\cos\theta_i, \sin\theta_i)_{i \le k}$, turned by a random orthogonal map.

    It has no border and no intrinsic curvature, so that distances to neighbours follow their law without bias.

    **Arguments:** `count`; `dim`, $k \ge 1$; `ambient`, at least $2k$; `seed`.

    **Returns:** shape `(count, ambient)`.

    **Raises:** `ValueError` if the torus does not fit.
    """
    if not 1 <= 2 * dim <= ambient or count < 1:
        raise ValueError(f"`ambient` must be at least 2 dim = {2 * dim}, got {ambient} for {count} points.")
    rng = np.random.default_rng(seed)
    angles = rng.uniform(0, 2 * np.pi, (count, dim))
    basis, _ = np.linalg.qr(rng.normal(size=(ambient, 2 * dim)))
    return np.hstack([np.cos(angles), np.sin(angles)]) @ basis.T


def neighbour_dimension(X: ArrayInput, neighbours: int = 10, confidence: float = 0.95) -> Dimension:
    r"""The dimension by maximum likelihood from distances to the nearest neighbours.

    If the density is constant over the `k` nearest neighbours, then $\log(r_k / r_j)$, $j < k$, are exponential with
    mean $1/m$. The inverses are averaged over all points, as MacKay and Ghahramani advise, rather than the estimates,

    $$\hat m^{-1} = \frac{1}{n (k - 1)} \sum_i \sum_{j<k} \log\frac{r_k(x_i)}{r_j(x_i)}.$$

    The interval is normal, from the spread of the `n` inner means; neighbouring points share distances, which it
    corrects by counting only one point in `k`.

    **Arguments:**

    - `X`: distinct points, shape `(n, D)`.
    - `neighbours`: $k$, from 2 to $n - 1$; more lower the variance and raise the bias of curvature and borders.
    - `confidence`: the level of the interval.

    **Raises:** `ValueError` for a wrong shape or `k`, numbers that are not finite, or points that coincide.

    ??? cite "References"

        E. Levina and P. J. Bickel, *Maximum likelihood estimation of intrinsic dimension*, NeurIPS 2004; comments by
        D. J. C. MacKay and Z. Ghahramani, 2005.
    """
    points = _checked(X)
    n = len(points)
    if not 2 <= neighbours <= n - 1:
        raise ValueError(f"`neighbours` must lie between 2 and n - 1 = {n - 1}, got {neighbours}.")
    distances = scipy.spatial.KDTree(points).query(points, k=neighbours + 1)[0][:, 1:]
    if not np.all(distances[:, 0] > 0):
        raise ValueError("`X` must hold distinct points, got some that coincide: leave out the duplicates.")
    means = np.log(distances[:, -1:] / distances[:, :-1]).mean(axis=1)
    spread = scipy.stats.norm.ppf(0.5 + confidence / 2) * means.std(ddof=1) * np.sqrt(neighbours / n)
    middle = means.mean()
    return Dimension(1 / middle, 1 / (middle + spread), 1 / max(middle - spread, np.finfo(float).tiny))


def two_neighbour_dimension(X: ArrayInput, confidence: float = 0.95) -> Dimension:
    r"""The dimension from the ratio of the distances to the first two neighbours alone (TwoNN).

    $\mu = r_2/r_1$ has $P(\mu > s) = s^{-m}$, so $\hat m = (n - 1)/\sum_i\log\mu_i$, and $2 m \sum_i \log\mu_i$ would
    be $\chi^2$ with $2n$ degrees of freedom if the points were independent; the interval counts half of them.

    **Arguments:** `X`, distinct points, shape `(n, D)`, `n >= 3`; `confidence`, the level of the interval.

    **Raises:** `ValueError` for a wrong shape, numbers that are not finite, or points that coincide.

    ??? cite "References"

        E. Facco, M. d'Errico, A. Rodriguez and A. Laio, *Estimating the intrinsic dimension of datasets by a minimal
        neighborhood information*, Sci. Rep. 7 (2017).
    """
    points = _checked(X)
    distances = scipy.spatial.KDTree(points).query(points, k=3)[0][:, 1:]
    if not np.all(distances[:, 0] > 0):
        raise ValueError("`X` must hold distinct points, got some that coincide: leave out the duplicates.")
    logs = np.log(distances[:, 1] / distances[:, 0])
    value, half = (len(logs) - 1) / logs.sum(), len(logs) // 2
    low, high = scipy.stats.chi2.ppf([0.5 - confidence / 2, 0.5 + confidence / 2], 2 * half) / (2 * half)
    return Dimension(value, value * low, value * high)


def convergence_on_cloud(
    X: ArrayInput,
    counts: Sequence[int],
    *,
    datum: str = "kinked",
    queries: int = 200,
    repeats: int = 8,
    t: float = 1.0,
    viscosity: float = 1.0,
    seed: int = 0,
) -> RateFit:
    r"""The rate at which a layer with $N$ points of the cloud as atoms approaches the solution on all of it.

    At a query `c` of the cloud the error is, averaged over queries,

    - `"kinked"`: that of the inviscid layer for the datum $g(y) = |y - c|$, whose minimum is at its kink: the distance
      to the nearest atom to first order, $\sim N^{-1/k}$ on a `k`-manifold;
    - `"smooth"`: that for $g = 0$, the squared distance over $4t$, $\sim N^{-2/k}$;
    - `"viscous"`: that of $-\varepsilon\log\frac1N\sum_j e^{-|c - y_j|^2/4t\varepsilon}$ against the whole cloud at a
      fixed viscosity: a Monte Carlo average, $\sim N^{-1/2}$ in every dimension; divided by $\sqrt{1 - N/n}$, since
      atoms are drawn from the cloud without repetition.

    So the first two identify the dimension, each by its own power, and the third does not.

    **Arguments:**

    - `X`: the cloud, shape `(n, D)`.
    - `counts`: $N$, at least three different, below `n - queries`, which is the number of all atoms.
    - `datum`: which of the three.
    - `queries`: how many points are kept apart to measure the error at.
    - `repeats`: independent choices of atoms.
    - `t`, `viscosity`: the time, and $\varepsilon$ of `"viscous"`.
    - `seed`: of the choices.

    **Raises:** `ValueError` for a wrong shape, datum, or too large counts.
    """
    points = _checked(X)
    if datum not in ("kinked", "smooth", "viscous"):
        raise ValueError(f"`datum` must be 'kinked', 'smooth' or 'viscous', got {datum!r}.")
    if not 1 <= max(counts) < len(points) - queries:
        raise ValueError(f"`counts` must lie below n - queries = {len(points) - queries}, got {list(counts)}.")
    rng = np.random.default_rng(seed)

    def all_of_it(order: np.ndarray) -> np.ndarray:
        return _solution(points[order[:queries]], points[order[queries:]], t, viscosity)

    def error(count: int) -> float:
        order = rng.permutation(len(points))
        C, Y = points[order[:queries]], points[order[queries : queries + count]]
        if datum == "viscous":
            gap = _solution(C, Y, t, viscosity) - all_of_it(order)
            return float(np.abs(gap).mean() / np.sqrt(1 - count / (len(points) - queries)))
        nearest = scipy.spatial.KDTree(Y).query(C)[0]
        return float((nearest**2 / (4 * t) + (nearest if datum == "kinked" else 0)).mean())

    return fit_rate(counts, [[error(n) for n in counts] for _ in range(repeats)])


def _solution(C: np.ndarray, Y: np.ndarray, t: float, viscosity: float) -> np.ndarray:
    """The viscous solution at `C` of equal masses at `Y` and height zero, without its constant."""
    equal = np.full(len(Y), 1 / len(Y))
    return (C**2).sum(axis=1) / (4 * t) - layer_values(C, Y, np.zeros(len(Y)), equal, t, viscosity)


def dimension_of_rate(fit: RateFit, order: float = 1.0) -> Dimension:
    r"""The dimension `k` behind an exponent $p = -q/k$, with the interval of the exponent carried over.

    **Arguments:** `fit`, of an error that falls; `order`, $q$: 1 for kinked and 2 for smooth data.

    **Raises:** `ValueError` if the interval of the exponent contains 0 or growth: no dimension follows then.
    """
    if not fit.high < 0:
        raise ValueError(f"`fit` must have a negative exponent with all of its interval, got {fit}.")
    return Dimension(-order / fit.exponent, -order / fit.low, -order / fit.high)


def plot_dimensions(
    estimates: "Mapping[str, Sequence[Dimension]]", truth: Sequence[int], ax: "Axes | None" = None
) -> "Axes":
    """Estimated against true dimensions, with intervals and a band of 15 % about the diagonal.

    **Arguments:** `estimates`, for each estimator one a true dimension; `truth`, these; `ax`: axes of matplotlib, or
    `None` for new ones.
    """
    ax = given_or_new(ax)
    span = np.array([0.9 * min(truth), 1.1 * max(truth)])
    ax.fill_between(span, 0.85 * span, 1.15 * span, color="#dddddd", label="within 15 %")
    for k, (name, row) in enumerate(estimates.items()):
        value, low, high = np.array(row).T
        place = np.asarray(truth) * (1 + 0.03 * (k - (len(estimates) - 1) / 2))
        bars = np.stack([value - low, high - value])
        ax.errorbar(
            place, value, bars, fmt=MARKERS[k % len(MARKERS)], color=CYCLE[k % len(CYCLE)], capsize=3, label=name
        )
    ax.set_xscale("log", base=2)
    ax.set_yscale("log", base=2)
    ax.set_xticks(truth, [str(k) for k in truth])
    ax.set_yticks(truth, [str(k) for k in truth])
    ax.set_xlabel("true dimension k")
    ax.set_ylabel("estimate [95 % interval]")
    ax.legend(frameon=False, fontsize=8)
    tidy(ax, "both")
    return ax


def _checked(X: ArrayInput) -> np.ndarray:
    points = np.asarray(X, float)
    if points.ndim != 2 or len(points) < 3:
        raise ValueError(f"`X` must have shape (n, D) with n >= 3, got {points.shape}.")
    if not np.all(np.isfinite(points)):
        raise ValueError("`X` must be finite, got entries that are NaN or infinite.")
    return points
