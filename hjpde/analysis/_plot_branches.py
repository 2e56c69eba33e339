"""Figures of the entropy's critical points: along a segment, over the viscosity, and in the plane."""

from typing import TYPE_CHECKING, Any

import numpy as np

from hjpde._plotting import BLACK, BLUE, GREEN, ORANGE, given_or_new, tidy

from ._attribution import entropy_gradient
from ._continuation import EntropyBranches
from ._critical_points import SegmentCriticalPoints
from ._critical_points_plane import KINDS, PlaneCriticalPoints
from ._entropy_landscape import LogEntropy, active_neurons

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MINIMUM: dict[str, Any] = {"color": BLUE, "marker": "o"}
_SADDLE: dict[str, Any] = {"color": GREEN, "marker": "X"}
_MAXIMUM: dict[str, Any] = {"color": ORANGE, "marker": "^"}
_SINGULAR_MARKERS = {"fold": "D", "pitchfork": "*", "transcritical": "P", "degenerate": "s"}


def plot_critical_points(points: SegmentCriticalPoints, ax: "Axes | None" = None) -> "Axes":
    """The entropy along the segment, its minima and maxima, and the intervals left undecided shaded.

    **Arguments:**

    - `points`: what `critical_points_on_segment` returned.
    - `ax`: axes to draw on; new ones by default.

    **Returns:** the axes.
    """
    ax = given_or_new(ax)
    tidy(ax)
    s = np.linspace(0, 1, 801)
    line = points.start + s[:, None] * (points.end - points.start)
    log_entropy = LogEntropy(*active_neurons(points.layer), points.viscosity)
    ax.plot(s, np.exp(log_entropy(line)[0]), color=BLACK, lw=1.4)
    for which, look, name in ((points.is_minimum, _MINIMUM, "minimum"), (~points.is_minimum, _MAXIMUM, "maximum")):
        label = f"{which.sum()} {name if which.sum() == 1 else name[:-2] + 'a'}"
        ax.plot(points.s[which], points.entropies[which], linestyle="none", ms=7, label=label, **look)
    for low, high in points.unresolved:
        ax.axvspan(low, high, color="#bbbbbb", label="not decided")
    ax.set_xlabel("position along the segment, $s$ [lengths of it]")
    ax.set_ylabel(r"entropy $H(\pi)$ [nats]")
    ax.set_title(rf"$\varepsilon$ = {points.viscosity:.3g}", fontsize=10)
    ax.legend(frameon=False, fontsize=9)
    return ax


def plot_entropy_branches(branches: EntropyBranches, ax: "Axes | None" = None, *, quantity: str = "entropy") -> "Axes":
    """The branches of critical points over the viscosity: maxima solid, minima dashed, with folds and pitchforks.

    **Arguments:**

    - `branches`: what `entropy_branches` returned.
    - `ax`: axes to draw on; new ones by default.
    - `quantity`: what is drawn upwards: the critical points' `entropy`, or their `position` along the segment.

    **Returns:** the axes.

    **Raises:** `ValueError` if `quantity` is neither.
    """
    if quantity not in ("entropy", "position"):
        raise ValueError(f"`quantity` must be 'entropy' or 'position', got {quantity!r}.")
    from matplotlib.ticker import LogLocator

    ax = given_or_new(ax, 6.4, 4.0)
    tidy(ax)
    for i, branch in enumerate(branches.branches):
        values = branch.entropies if quantity == "entropy" else branch.s
        for is_minimum, style, name in ((False, "-", "maximum"), (True, "--", "minimum")):
            # A stretch of one kind reaches to the first point of the other, where the two meet.
            kind = branch.is_minimum == is_minimum
            shown = np.where(kind | np.append(False, kind[:-1]), values, np.nan)
            label = name if i == 0 else None
            colour = _MINIMUM["color"] if is_minimum else _MAXIMUM["color"]
            ax.plot(branch.viscosities, shown, style, color=colour, lw=1.6, label=label)
    for kind, marker in _SINGULAR_MARKERS.items():
        these = [point for point in branches.singular_points if point.kind == kind]
        values = [point.entropy if quantity == "entropy" else point.s for point in these]
        if these:
            look: dict[str, Any] = {"color": BLACK, "ms": 11 if marker == "*" else 6, "linestyle": "none", "zorder": 3}
            ax.plot([point.viscosity for point in these], values, marker=marker, label=kind, **look)
    ax.set_xscale("log")
    # The range is often less than a decade.
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter("")
    ax.set_xlim(*branches.viscosities)
    ax.set_xlabel(r"viscosity $\varepsilon$ [units of the layer]")
    names = {"entropy": r"entropy $H(\pi)$ at critical points [nats]", "position": "position of critical points, $s$"}
    ax.set_ylabel(names[quantity])
    ax.legend(frameon=False, fontsize=9)
    return ax


def plot_critical_points_in_plane(points: PlaneCriticalPoints, ax: "Axes | None" = None) -> "Axes":
    r"""The entropy as grey levels with arrows of $-\nabla H$, towards the nearest neuron, and the critical points.

    **Arguments:**

    - `points`: what `critical_points_in_plane` returned.
    - `ax`: axes to draw on; new ones by default.

    **Returns:** the axes.
    """
    ax = given_or_new(ax, 5.4, 4.4)
    sides = [np.linspace(low, high, 120) for low, high in zip(points.lower, points.upper, strict=True)]
    grid = np.stack(np.meshgrid(*sides), -1)
    log_entropy = LogEntropy(*active_neurons(points.layer), points.viscosity)
    entropy = np.exp(log_entropy(grid.reshape(-1, 2))[0]).reshape(grid.shape[:-1])
    levels = ax.contourf(grid[..., 0], grid[..., 1], entropy, levels=14, cmap="Greys")
    ax.figure.colorbar(levels, ax=ax, label=r"entropy $H(\pi)$ [nats]")
    coarse = grid[4::8, 4::8]
    downhill = -np.asarray(entropy_gradient(points.layer, coarse, viscosity=points.viscosity))
    length = np.linalg.norm(downhill, axis=-1, keepdims=True)
    downhill = downhill / np.where(length > 0, length, 1)
    ax.quiver(coarse[..., 0], coarse[..., 1], downhill[..., 0], downhill[..., 1], color="#56b4e9", width=0.003)
    for index, look in enumerate((_MINIMUM, _SADDLE, _MAXIMUM)):
        these = points.positions[points.indices == index]
        label = f"{KINDS[index]}: {len(these)}"
        ax.plot(*these.T, linestyle="none", ms=9, markeredgecolor="white", label=label, **look)
    if points.unresolved.size:
        ax.plot(*points.unresolved.T, linestyle="none", marker="x", color=BLACK, label="not resolved")
    ax.set_xlabel("$x_1$")
    ax.set_ylabel("$x_2$")
    ax.set_title(rf"$\varepsilon$ = {points.viscosity:.3g}", fontsize=10)
    ax.legend(fontsize=8, loc="best")
    return ax
