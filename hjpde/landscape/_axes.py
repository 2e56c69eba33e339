"""The axes that a figure function draws on: the caller's, or new ones."""

from typing import TYPE_CHECKING

from hjpde._plotting import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def given_or_new(ax: "Axes | None", width: float = 5.6, height: float = 3.8) -> "Axes":
    """`ax`, or the axes of a new figure of some inches."""
    return new_figure(width, height)[1] if ax is None else ax
