"""Figures of the Gibbs weights: the shares of neurons at points, and how they spread with the viscosity."""

from typing import TYPE_CHECKING

import jax
import numpy as np

from hjpde._plotting import BLACK, BLUE, CYCLE, ORANGE, given_or_new, tidy
from hjpde._types import ArrayInput
from hjpde.initial_data import LogSumExp

from ._attribution import Attribution, attribute, critical_viscosity

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_HATCHES = ("", "//", "..", "xx", "--", "\\\\", "++")


def plot_attribution(attribution: Attribution, ax: "Axes | None" = None) -> "Axes":
    """One bar a point, cut into the shares of its heaviest neurons, with their numbers or labels in them.

    **Arguments:**

    - `attribution`: what `attribute` returned, for at most 40 points.
    - `ax`: axes to draw on; new ones by default.

    **Returns:** the axes.

    **Raises:** `ValueError` if there are more than 40 points.
    """
    weights = np.asarray(attribution.weights)
    weights = weights.reshape(-1, weights.shape[-1])
    if len(weights) > 40:
        raise ValueError(f"`attribution` must have at most 40 points to be drawn, got {len(weights)}.")
    named = attribution.neurons if attribution.classes is None else attribution.classes
    names = np.asarray(named).reshape(weights.shape)
    ax = given_or_new(ax, 6.4, 0.32 * len(weights) + 1.1)
    left = np.zeros(len(weights))
    for rank, share in enumerate(weights.T):
        colour, hatch = CYCLE[rank % 6], _HATCHES[rank % len(_HATCHES)]
        ax.barh(range(len(weights)), share, left=left, height=0.7, color=colour, hatch=hatch, edgecolor="white")
        for row, width in enumerate(share):
            if width > 0.05:
                box = {"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.85}
                words = str(names[row, rank])
                ax.text(left[row] + width / 2, row, words, ha="center", va="center", fontsize=8, bbox=box)
        left += share
    ax.barh(range(len(weights)), 1 - left, left=left, height=0.7, color="#dddddd", label="all others")
    effective = np.asarray(attribution.effective_number).reshape(-1)
    ax.set_yticks(range(len(weights)), [f"{i}  ($e^S$ = {number:.1f})" for i, number in enumerate(effective)])
    ax.invert_yaxis()
    ax.set_xlim(0, 1)
    ax.set_xlabel("Gibbs weight, heaviest neuron first")
    ax.set_ylabel("point (neurons it has)")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def plot_viscosity_sweep(
    layer: LogSumExp,
    x: ArrayInput,
    lowest: float = 1e-3,
    highest: float = 1e2,
    ax: "Axes | None" = None,
) -> "Axes":
    r"""The entropy and the heaviest weights at one point as the viscosity sweeps, weights and biases fixed.

    Marked are the two scales of `critical_viscosity`.

    **Arguments:**

    - `layer`: the layer; its own viscosity plays no role.
    - `x`: the point, shape `(d,)`.
    - `lowest`, `highest`: the range of the viscosity, in units of the layer's values.
    - `ax`: axes to draw on; new ones by default.

    **Returns:** the axes.

    **Raises:** `ValueError` as `attribute`, or if the range is not positive and increasing.
    """
    if not 0 < lowest < highest:
        raise ValueError(f"`lowest` must be positive and below `highest`, got {lowest:g} and {highest:g}.")
    viscosities = np.geomspace(lowest, highest, 121)
    laws = [attribute(layer, x, n_heaviest=3, viscosity=float(e)) for e in viscosities]
    neurons, weights, entropies = (
        np.array(jax.device_get([getattr(law, name) for law in laws])) for name in ("neurons", "weights", "entropy")
    )
    ax = given_or_new(ax, 6.4, 3.8)
    tidy(ax)
    n_neurons, dim = layer.weights.shape
    ax.plot(viscosities, entropies / np.log(n_neurons), color=BLACK, lw=2.2, label=r"entropy $S / \log N$")
    styles = (("-", BLUE), ("--", ORANGE), (":", CYCLE[2]))
    for j, (style, colour) in zip(neurons[0], styles, strict=False):
        share = np.where(neurons == j, weights, 0).sum(1)
        share = np.where((neurons == j).any(1), share, np.nan)
        ax.plot(viscosities, share, style, color=colour, lw=1.4, label=rf"weight $\pi_j$ of neuron {j}")
    for critical, power, style in (
        (critical_viscosity(n_neurons, dim), 1, "-."),
        (critical_viscosity(n_neurons, dim, "smooth"), 2, (0, (1, 3))),
    ):
        ax.axvline(critical, color="#666666", linestyle=style, lw=1.2, label=rf"$N^{{-{power}/d}}$ = {critical:.2g}")
    ax.set_xscale("log")
    ax.set_xlim(lowest, highest)
    ax.set_ylim(0, 1.02)
    ax.set_xlabel(r"viscosity $\varepsilon$ [units of the layer]")
    ax.set_ylabel("entropy, weight [share]")
    ax.legend(frameon=False, fontsize=8)
    return ax
