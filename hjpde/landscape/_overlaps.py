"""The distribution of overlaps between inputs from the same Gibbs measure, and how far overlaps swing."""

from typing import TYPE_CHECKING, NamedTuple, final

import numpy as np
from scipy.signal import find_peaks
from scipy.stats import gaussian_kde

from hjpde._plotting import BLUE, ORANGE, given_or_new, tidy

from ._samples import Samples

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PROMINENCE = 0.05


@final
class OverlapDistribution(NamedTuple):
    r"""$P(q)$ of $q = x\cdot y/N$ for independent inputs `x` and `y` of one network.

    - `edges`: of the bins, shape `(B + 1,)`.
    - `density`: over the disorder, shape `(B,)`; its integral is 1.
    - `per_sample`: of each sample of the disorder, shape `(S, B)`.
    - `mean`, `width`: of all overlaps together, and their standard deviation.
    - `peaks`: where a Gaussian smoothing of the density has its maxima, in increasing order.
    """

    edges: np.ndarray
    density: np.ndarray
    per_sample: np.ndarray
    mean: float
    width: float
    peaks: np.ndarray


def overlap_distribution(samples: Samples, bins: int = 50, bandwidth: float | None = None) -> OverlapDistribution:
    r"""$P(q)$ from pairs of replicas of the same sample of the disorder.

    It is a single peak where the landscape is replica symmetric, of width $O(N^{-1/2})$; several peaks, or a broad
    part that stays as `N` grows, are a breaking of the symmetry.

    **Arguments:**

    - `samples`: of at least two replicas. - `bins`: over $[-1, 1]$, at least 2.
    - `bandwidth`: of the smoothing for `peaks`, in units of `q`, positive; by default Scott's rule.

    **Raises:** `ValueError` if `bins` or `bandwidth` is out of range.
    """
    if bins < 2:
        raise ValueError(f"`bins` must be at least 2, got {bins}.")
    if bandwidth is not None and not 0 < bandwidth < np.inf:
        raise ValueError(f"`bandwidth` must be positive, got {bandwidth}.")
    q = np.clip(np.moveaxis(samples.overlaps, 1, 0).reshape(samples.overlaps.shape[1], -1), -1, 1)
    edges = np.linspace(-1, 1, bins + 1)
    per_sample = np.stack([np.histogram(row, edges, density=True)[0] for row in q])
    width = float(q.std())
    return OverlapDistribution(
        edges, per_sample.mean(0), per_sample, float(q.mean()), width, _peaks(q.ravel(), width, bandwidth)
    )


@final
class OverlapSusceptibility(NamedTuple):
    r"""$\chi$ as a mean over the disorder, and its standard error.

    - `value`, `error`.
    """

    value: float
    error: float


def overlap_susceptibility(samples: Samples) -> OverlapSusceptibility:
    r"""$\chi = N\,E[\langle q_{12}^2\rangle - 2\langle q_{12}q_{13}\rangle + \langle q_{12}q_{34}\rangle]
    = E\,\mathrm{tr}\,C^2/N$, with the covariance `C` of inputs from the Gibbs measure.

    For large `N` it is $(1 - q_0)^2/(1 - \lambda)$ with the replicon $\lambda$ of a stable saddle
    (`replica_symmetric`), and so grows without bound where the symmetry breaks.

    **Arguments:** `samples`: of at least 4 replicas, and at least 2 samples of the disorder.

    **Raises:** `ValueError` for fewer.

    ??? cite "References"

        J. de Almeida, D. Thouless, *Stability of the Sherrington-Kirkpatrick solution*, J. Phys. A 11, 1978.
    """
    S, R, N = samples.points.shape
    if R < 4 or S < 2:
        raise ValueError(f"`samples` must have at least 4 replicas of 2 samples of the disorder, got {R} of {S}.")
    pairs = np.stack(np.triu_indices(R, 1), axis=1)
    # How many replicas two pairs have together: 2, 3 or 4.
    together = np.array([[np.union1d(one, other).size for other in pairs] for one in pairs])
    products = np.einsum("ksp,ksr->spr", samples.overlaps, samples.overlaps) / len(samples.overlaps)
    same, shared, apart = (products[:, together == count].mean(1) for count in (2, 3, 4))
    values = N * (same - 2 * shared + apart)
    return OverlapSusceptibility(float(values.mean()), float(values.std(ddof=1) / S**0.5))


def _peaks(q: np.ndarray, width: float, bandwidth: float | None) -> np.ndarray:
    """Maxima of the smoothed density that stand out by a twentieth of the highest."""
    if width == 0:
        return q[:1]
    # A smooth density needs no more than some thousand of its points.
    q = q[:: max(1, q.size // 5000)]
    kernel = gaussian_kde(q, None if bandwidth is None else bandwidth / width)
    grid = np.linspace(-1, 1, 801)
    density = kernel(grid)
    return grid[find_peaks(density, prominence=_PROMINENCE * density.max())[0]]


def plot_overlap_distribution(distribution: OverlapDistribution, ax: "Axes | None" = None, label: str = "") -> "Axes":
    """$P(q)$ over the disorder, with single samples behind it.

    **Arguments:** `distribution`; `ax`: axes of matplotlib, or `None` for new ones; `label`: in the legend.
    """
    ax = given_or_new(ax)
    first = not ax.has_data()
    color, style = (BLUE, "-") if first else (ORANGE, "--")
    centres = (distribution.edges[1:] + distribution.edges[:-1]) / 2
    for row in distribution.per_sample[:8]:
        ax.plot(centres, row, color=color, alpha=0.2, linewidth=0.8)
    ax.plot(centres, distribution.density, style, color=color, linewidth=2, label=label or "mean over networks")
    ax.set(xlabel="overlap q = x·y/N of two inputs", ylabel="probability density P(q)")
    ax.legend(frameon=False)
    tidy(ax)
    return ax
