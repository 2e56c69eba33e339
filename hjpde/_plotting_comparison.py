"""Figures of a comparison of a network with its flow."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hjpde._plotting import BLUE, CYCLE, MARKERS, ORANGE, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def refinement_figure(
    n: Sequence[int],
    curves: Sequence[tuple[str, np.ndarray, float]],
    expected_order: float,
    rounding: float,
    of_times: bool,
) -> "Figure":
    """Errors over the steps in a layer, on logarithmic axes, with the slope of the expected order.

    **Arguments:**

    - `n`: the steps in a layer.
    - `curves`: name, errors of shape `(len(n),)` and observed order; the first is the value's.
    - `expected_order`: infinite where only rounding is expected, which is drawn then.
    - `rounding`: below which an error counts as such.
    - `of_times`: whether `1/n` is a time, in place of the size of a step.
    """
    figure, ax = new_figure(6.4, 4.2)
    for (name, errors, order), colour, marker in zip(curves, CYCLE, MARKERS, strict=False):
        label = f"{name}, order {order:.2f}" if np.isfinite(order) else name
        # What is zero to the last bit is drawn at the bottom, not left out.
        ax.loglog(n, np.maximum(errors, 1e-17), color=colour, marker=marker, markersize=5, label=label)
    first = curves[0][1][0]
    if not np.isfinite(expected_order):
        ax.axhline(rounding, color="k", linestyle=":", linewidth=1, label="rounding")
    elif len(n) > 1 and first > 0:
        slope = 0.5 * first / np.asarray(n, float) ** expected_order
        ax.loglog(n, slope, "k:", linewidth=1, label=f"slope {expected_order:g}")
    ax.set_xscale("log", base=2)
    ax.set_xticks(n, ["1" if k == 1 else f"1/{k}" for k in n] if of_times else [f"{k}" for k in n])
    ax.minorticks_off()
    ax.set_xlabel("gauge time t = 1/n" if of_times else "own steps a layer n (1: the network itself)")
    ax.set_ylabel("difference to the equation" if of_times else "difference to the flow (units of the readout)")
    ax.legend(frameon=False)
    tidy(ax)
    return figure


def agreement_figure(gap: np.ndarray, gradient_gap: np.ndarray, equal: np.ndarray | None) -> "Figure":
    """Where a fitted operator and a network disagree: the gap of values against that of gradients, point by point.

    **Arguments:** those of `OperatorGap`.
    """
    figure, ax = new_figure(6.0, 4.2)
    same = np.ones(gap.shape, bool) if equal is None else equal
    ax.scatter(gap[same], gradient_gap[same], s=10, color=BLUE, alpha=0.6, label="same decision")
    if not np.all(same):
        ax.scatter(gap[~same], gradient_gap[~same], s=26, color=ORANGE, marker="X", label="another decision")
    if equal is None:
        ax.set_xlabel("|u - network|")
    else:
        ax.legend(frameon=False)
        ax.set_xlabel("total variation of the class probabilities")
    ax.set_ylabel("relative gap of the input gradients")
    tidy(ax)
    return figure
