"""Figures of matplotlib; its global state (pyplot, settings) is neither used nor changed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which the colour-blind can tell apart.
BLUE, ORANGE, GREEN, PINK, YELLOW, SKY, BLACK = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#1a1a1a",
)
CYCLE = (BLUE, ORANGE, GREEN, PINK, YELLOW, SKY, BLACK)
MARKERS = "osD^vPX"
_GREY = "#666666"


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1, **options: Any) -> "tuple[Figure, Any]":
    """A figure in inches and its axes, as `matplotlib.pyplot.subplots` would make them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, **options)


def given_or_new(ax: "Axes | None", width: float = 5.6, height: float = 3.8) -> "Axes":
    """`ax`, or the axes of a new figure of some inches."""
    return new_figure(width, height)[1] if ax is None else ax


def tidy(ax: "Axes", grid: str = "y") -> None:
    """Takes away what carries no number, and lays a faint grid along one axis."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis=grid, color="#dddddd", linewidth=0.7)  # pyright: ignore[reportArgumentType]
    ax.set_axisbelow(True)


def show_image(ax: "Axes", image: np.ndarray, low: float = 0.0, high: float = 1.0) -> None:
    """An image without ticks, grey with ink dark, or coloured if it has a last axis of 3; clipped to `[low, high]`."""
    if image.ndim == 3:
        # Gaps are white.
        ax.imshow(np.nan_to_num(np.clip((image - low) / (high - low), 0, 1), nan=1.0), interpolation="nearest")
    else:
        ax.imshow(image, cmap="gray_r", vmin=low, vmax=high, interpolation="nearest")
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_color("#bbbbbb")


def atoms_figure(images: np.ndarray, groups: Sequence[str], low: float = 0.0, high: float = 1.0) -> "Figure":
    """Atoms as images, one row of the figure for each group.

    **Arguments:**

    - `images`: shape `(groups, atoms, height, width)`, with a last axis of 3 if they are coloured.
    - `groups`: the name of each row.
    - `low`, `high`: the values drawn as white and as black.
    """
    rows, columns, height, width, *colours = images.shape
    # One picture with gaps draws many times faster than a pair of axes for each atom.
    gap = max(1, round(0.12 * width))
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, *colours), np.nan)
    for i in range(rows):
        for j in range(columns):
            top, left = i * (height + gap), j * (width + gap)
            sheet[top : top + height, left : left + width] = images[i, j]
    size = min(0.72, 8.0 / columns)
    figure, ax = new_figure(size * columns + 0.5, size * rows * height / width + 0.1)
    show_image(ax, sheet, low, high)
    ax.spines[:].set_visible(False)
    ax.set_yticks([i * (height + gap) + (height - 1) / 2 for i in range(rows)], groups, fontsize=12)
    ax.tick_params(length=0)
    return figure


def explanation_figure(cases: Sequence[dict[str, Any]]) -> "Figure":
    """Predictions by their atoms: the image, the heaviest atoms, and below each its Gibbs weight.

    **Arguments:**

    - `cases`: dictionaries with `image`, `title`, `atoms` (the images of the heaviest, first to last), `weights`
      (theirs), `labels` (the class of each) and `agree` (whether that is the image's own).
    """
    columns = max(len(case["weights"]) for case in cases)
    ratios = [1.0, 0.62] * len(cases)
    figure, axes = new_figure(9.0, 2.35 * len(cases), 2 * len(cases), columns + 2, squeeze=False, height_ratios=ratios)
    for row, case in enumerate(cases):
        for ax in axes[2 * row : 2 * row + 2, :2].flat:
            ax.remove()
        for ax in axes[2 * row + 1, 2:]:
            ax.remove()
        grid = axes[2 * row, 0].get_gridspec()
        shown = figure.add_subplot(grid[2 * row : 2 * row + 2, :2])
        show_image(shown, case["image"])
        shown.set_title(case["title"], fontsize=10)
        bars = figure.add_subplot(grid[2 * row + 1, 2:])
        _weight_bars(bars, case["weights"], case["agree"], columns)
        for j in range(columns):
            ax = axes[2 * row, 2 + j]
            if j >= len(case["weights"]):
                ax.remove()
                continue
            show_image(ax, case["atoms"][j])
            ax.set_title(f"a {case['labels'][j]}", fontsize=9)
    return figure


def _weight_bars(ax: "Axes", weights: Sequence[float], agree: Sequence[bool], columns: int) -> None:
    tidy(ax)
    colours = [BLUE if own else ORANGE for own in agree]
    ax.bar(range(len(weights)), [100 * weight for weight in weights], width=0.55, color=colours)
    for j, weight in enumerate(weights):
        ax.annotate(_percent(weight), (j, 100 * weight), (0, 2), textcoords="offset points", ha="center", fontsize=8)
    ax.set_xlim(-0.5, columns - 0.5)
    ax.set_ylim(0, 118)
    ax.set_yticks([0, 50, 100])
    ax.set_xticks([])
    ax.tick_params(labelsize=8)
    ax.set_ylabel("Gibbs\nweight [%]", fontsize=8)


def _percent(weight: float) -> str:
    if weight >= 0.001:
        return f"{100 * weight:.1f}"
    return "<0.1"


def temperature_figure(factors: Sequence[float], accuracy: np.ndarray, entropy: np.ndarray, largest: float) -> "Figure":
    """Accuracy and entropy when the temperature is multiplied after training; one line a seed.

    **Arguments:**

    - `factors`: the multiples.
    - `accuracy`, `entropy`: shape `(seeds, factors)`; entropies in nats.
    - `largest`: the entropy of equal weights, `log N`.
    """
    figure, (top, bottom) = new_figure(7.2, 4.6, 2, 1, sharex=True)
    for ax, values in ((top, 100 * accuracy), (bottom, entropy)):
        tidy(ax)
        for i, line in enumerate(values):
            ax.plot(factors, line, color=SKY, linewidth=1, label="one seed" if i == 0 else None)
        ax.plot(factors, values.mean(axis=0), color=BLUE, linewidth=2.2, label="mean")
        ax.axvline(1, color=ORANGE, linestyle="--", linewidth=1.3, label="as trained")
    bottom.axhline(largest, color=_GREY, linestyle=":", linewidth=1.3)
    words, place = f"log N = {largest:.2f}", (factors[0], largest)
    bottom.annotate(words, place, (0, -4), textcoords="offset points", va="top", fontsize=9, color=_GREY)
    top.set_ylabel("test accuracy [%]")
    bottom.set_ylabel("mean entropy of the\nGibbs weights [nats]")
    bottom.set_xscale("log", base=2)
    bottom.set_xlabel("temperature ε, as a multiple of the trained one")
    top.legend(frameon=False, fontsize=9, loc="lower left")
    figure.align_ylabels()
    return figure


def accuracy_figure(titles: Sequence[str], accuracies: Sequence[Sequence[float]]) -> "Figure":
    """One row a model: a dot for each seed, a bar at their mean."""
    figure, ax = new_figure(7.2, 0.52 * len(titles) + 0.8)
    tidy(ax, "x")
    for i, values in enumerate(accuracies):
        colour = CYCLE[i % len(CYCLE)]
        percent = [100 * value for value in values]
        spread = np.linspace(-0.12, 0.12, len(percent)) if len(percent) > 1 else [0.0]
        ax.plot(percent, i + np.asarray(spread), "o", color=colour, markersize=7, alpha=0.75, markeredgewidth=0)
        mean = float(np.mean(percent))
        ax.plot([mean, mean], [i - 0.3, i + 0.3], color=colour, linewidth=2.5)
        ax.annotate(f"{mean:.1f}", (mean, i - 0.3), (0, 1), textcoords="offset points", ha="center", fontsize=9)
    ax.set_yticks(range(len(titles)), titles)
    ax.set_ylim(len(titles) - 0.4, -0.65)
    ax.margins(x=0.08)
    ax.set_xlabel("test accuracy [%]")
    ax.tick_params(axis="y", length=0)
    return figure


def history_figure(titles: Sequence[str], curves: Sequence[Sequence[tuple[int, float]]], unit: str) -> "Figure":
    """The loss along the training, one line each."""
    figure, ax = new_figure(7.2, 3.6)
    tidy(ax)
    for i, (title, curve) in enumerate(zip(titles, curves, strict=True)):
        steps, losses = np.asarray(curve, float).T
        colour, marker = CYCLE[i % len(CYCLE)], MARKERS[i % len(MARKERS)]
        ax.plot(steps, losses, color=colour, marker=marker, markersize=4, linewidth=1.5, label=title)
    values = [loss for curve in curves for _, loss in curve]
    if 0 < 20 * min(values) < max(values):
        ax.set_yscale("log")
    else:
        ax.set_ylim(bottom=0)
    ax.set_xlabel("steps of training")
    ax.set_ylabel(f"loss [{unit}]")
    ax.legend(frameon=False, fontsize=9)
    return figure
