"""Figures of a fit to a user's data."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hjpde._plotting import BLACK, BLUE, CYCLE, MARKERS, ORANGE, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Predict = Callable[[np.ndarray], np.ndarray]


def line_figure(
    predict: Predict,
    training: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    names: tuple[str, str],
) -> "Figure":
    """A fit of one variable: the data and the fitted function. `names` are those of the feature and the target."""
    figure, ax = new_figure(7.2, 4.2)
    tidy(ax, "both")
    x = np.concatenate([training[0], test[0]])[:, 0]
    margin = 0.03 * (np.ptp(x) or 1.0)
    grid = np.linspace(x.min() - margin, x.max() + margin, 512)
    ax.plot(*_thinned(training[0][:, 0], training[1]), "o", color="#999999", markersize=3.5, label="to train")
    ax.plot(*_thinned(test[0][:, 0], test[1]), "D", color=ORANGE, markersize=4, label="held out")
    ax.plot(grid, predict(grid[:, None]), color=BLUE, linewidth=2, label="fitted solution")
    ax.set_xlabel(names[0])
    ax.set_ylabel(names[1])
    ax.legend(frameon=False, fontsize=9)
    return figure


def surface_figure(predict: Predict, X: np.ndarray, y: np.ndarray, names: tuple[str, str, str]) -> "Figure":
    """A regression of two variables: the fitted function as colour, the held-out data as dots in the same colours."""
    from matplotlib.ticker import MaxNLocator

    figure, ax = new_figure(6.8, 5.2)
    horizontal, vertical, values = _on_grid(predict, X)
    low, high = float(min(values.min(), y.min())), float(max(values.max(), y.max()))
    levels = MaxNLocator(20).tick_values(low, high if high > low else low + 1)
    drawn = ax.contourf(horizontal, vertical, values, levels=levels, cmap="cividis", extend="both")
    rows = _chosen(len(X))
    ax.scatter(
        X[rows, 0],
        X[rows, 1],
        c=y[rows],
        s=22,
        cmap="cividis",
        vmin=levels[0],
        vmax=levels[-1],
        edgecolors="white",
        linewidths=0.7,
    )
    ax.set_xlabel(names[0])
    ax.set_ylabel(names[1])
    figure.colorbar(drawn, ax=ax, label=names[2])
    return figure


def regions_figure(
    predict: Predict, X: np.ndarray, labels: np.ndarray, classes: Sequence[str], names: tuple[str, str]
) -> "Figure":
    """A classification of two variables: the regions of the classes, and the held-out data.

    `predict` and `labels` give indices into `classes`.
    """
    from matplotlib.colors import ListedColormap

    figure, ax = new_figure(6.8, 5.2)
    colours = [CYCLE[i % len(CYCLE)] for i in range(len(classes))]
    horizontal, vertical, values = _on_grid(predict, X)
    ax.pcolormesh(
        horizontal,
        vertical,
        values,
        cmap=ListedColormap(colours),
        vmin=-0.5,
        vmax=len(classes) - 0.5,
        alpha=0.25,
        shading="nearest",
        rasterized=True,
    )
    rows = _chosen(len(X))
    for i, name in enumerate(classes):
        mine = rows[labels[rows] == i]
        ax.scatter(
            X[mine, 0],
            X[mine, 1],
            s=24,
            color=colours[i],
            marker=MARKERS[i % len(MARKERS)],
            edgecolors="white",
            linewidths=0.6,
            label=name,
        )
    ax.set_xlabel(names[0])
    ax.set_ylabel(names[1])
    ax.legend(frameon=True, framealpha=0.9, edgecolor="none", fontsize=9)
    return figure


def observed_figure(predicted: np.ndarray, observed: np.ndarray, name: str) -> "Figure":
    """Predicted against observed values of the held-out rows, and the diagonal."""
    figure, ax = new_figure(5.2, 4.8)
    tidy(ax, "both")
    rows = _chosen(len(observed))
    low = float(min(predicted.min(), observed.min()))
    high = float(max(predicted.max(), observed.max()))
    ax.plot([low, high], [low, high], color=BLACK, linewidth=1, linestyle="--", label="equal")
    ax.plot(observed[rows], predicted[rows], "o", color=BLUE, markersize=4, alpha=0.7, markeredgewidth=0)
    ax.set_xlabel(f"{name}, observed")
    ax.set_ylabel(f"{name}, predicted")
    ax.set_aspect("equal", adjustable="datalim")
    ax.legend(frameon=False, fontsize=9)
    return figure


def confusion_figure(counts: np.ndarray, classes: Sequence[str]) -> "Figure":
    """How many held-out rows of each class (down) were taken for each class (across)."""
    n = len(classes)
    size = min(max(0.55 * n + 1.8, 3.6), 9)
    figure, ax = new_figure(size, size)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if n <= 20:
        for i in range(n):
            for j in range(n):
                if counts[i, j]:
                    colour = "white" if shares[i, j] > 0.6 else BLACK
                    ax.text(j, i, str(counts[i, j]), ha="center", va="center", color=colour, fontsize=9)
    turned = max(map(len, classes)) > 3
    ax.set_xticks(range(n), classes, rotation=45 if turned else 0, ha="right" if turned else "center")
    ax.set_yticks(range(n), classes)
    ax.tick_params(length=0)
    ax.set_xlabel("predicted class")
    ax.set_ylabel("true class")
    return figure


def confusion(predicted: np.ndarray, observed: np.ndarray, n_classes: int) -> np.ndarray:
    """Counts by true class (first axis) and predicted class."""
    counts = np.zeros((n_classes, n_classes), int)
    np.add.at(counts, (observed, predicted), 1)
    return counts


def _on_grid(predict: Predict, X: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    low, high = X.min(axis=0), X.max(axis=0)
    margin = 0.05 * np.where(high > low, high - low, 1.0)
    axes = [np.linspace(low[k] - margin[k], high[k] + margin[k], 161) for k in range(2)]
    horizontal, vertical = np.meshgrid(*axes)
    points = np.stack([horizontal.ravel(), vertical.ravel()], axis=1)
    return horizontal, vertical, np.asarray(predict(points)).reshape(horizontal.shape)


def _chosen(n: int, most: int = 1500) -> np.ndarray:
    """All rows, or so many of them that single dots can still be seen."""
    return np.arange(n) if n <= most else np.sort(np.random.default_rng(0).permutation(n)[:most])


def _thinned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows = _chosen(len(x))
    return x[rows], y[rows]
