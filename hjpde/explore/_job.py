"""The interactive page: its panels in order, and the file."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, final

import jax.numpy as jnp

from hjpde._machine import device, versions

from ._certificate import certificate_panel
from ._digits import digits_split
from ._extrapolation import extrapolation_panel
from ._folds import folds_panel
from ._heads import heads_panel
from ._layer import layer_panel
from ._page import page, require_plotly
from ._panel import Panel
from ._points import points_panel
from ._solution import solution_panel
from ._training import training_panel

FILE = "explore.html"

# They need no training and no compilation.
CLOSED_FORMS = (layer_panel, solution_panel, points_panel, folds_panel, extrapolation_panel)


@final
@dataclasses.dataclass(frozen=True)
class Explore:
    """What was made: the panels, the page as HTML, and how long it took."""

    panels: tuple[Panel, ...]
    page: str
    seconds: float


def run_explore(quick: bool, progress: bool, say: Callable[[str], None]) -> Explore:
    """Makes the page.

    **Arguments:**

    - `quick`: whether to train the networks briefly.
    - `progress`: whether to show bars on standard error.
    - `say`: takes a line of news.

    **Raises:** `ValueError` if plotly is not installed.
    """
    require_plotly()
    started = time.perf_counter()
    panels = [make() for make in CLOSED_FORMS]
    say(f"{len(panels)} panels in closed form")
    panels.append(training_panel())
    say("training replayed")
    split = digits_split()
    panels.insert(-1, certificate_panel(split, 100 if quick else 600, progress))
    say("certificate of a classifier of digits")
    panels.append(heads_panel(split, 40 if quick else 500, progress))
    say("heads of a transformer")
    settings = {
        "precision of what is trained": str(jnp.zeros(()).dtype),
        "training": "brief" if quick else "full",
        "made with": versions(),
        "on": device(),
    }
    return Explore(tuple(panels), page(_TITLE, _LEAD, panels, settings), time.perf_counter() - started)


def write_explore(folder: Path, explore: Explore) -> None:
    """Writes the page into an existing folder."""
    (folder / FILE).write_text(explore.page, encoding="utf-8")


def summary(explore: Explore) -> dict[str, Any]:
    """What `hjpde explore --json` prints: every panel with its sliders, and the size of the page."""
    return {
        "panels": [
            {
                "name": panel.name,
                "heading": panel.heading,
                "look": panel.look,
                "sliders": [{"label": slider.label, "values": list(slider.values)} for slider in panel.sliders],
            }
            for panel in explore.panels
        ],
        "bytes": len(explore.page.encode()),
        "seconds": round(explore.seconds, 1),
    }


_TITLE = "From tropical to heat"
_LEAD = (
    "|x|²/4t minus a log-sum-exp layer solves, up to a function of t, uₜ + |∇u|² = ε Δu. Its viscosity ε is a "
    "temperature: near 0 the layer is a maximum of lines and one neuron decides, at large ε all of them have a say. "
    "Drag ε and t, or move them by the arrow keys."
)
