"""The interactive page: panels, plotly.js and the script of the sliders in one HTML file that loads nothing."""

import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ._panel import Panel, frames


def require_plotly() -> None:
    """**Raises:** `ValueError` if plotly is not installed."""
    try:
        import plotly
    except ImportError as error:
        raise ValueError("`explore` needs plotly: install `hjpde[explore]`.") from error
    del plotly


def page(title: str, lead: str, panels: Sequence[Panel], settings: dict[str, Any]) -> str:
    """The page as HTML, plotly.js embedded.

    **Arguments:**

    - `title`, `lead`: the heading, and what the page is for.
    - `panels`: in the order shown.
    - `settings`: under which the numbers were made; shown at the end.
    """
    from plotly.offline import get_plotlyjs

    return _PAGE.format(
        title=html.escape(title),
        lead=html.escape(lead),
        style=_beside("_page.css"),
        contents="\n".join(f'<li><a href="#{p.name}">{html.escape(p.heading)}</a></li>' for p in panels),
        sections="\n".join(_section(panel) for panel in panels),
        settings=html.escape("; ".join(f"{name}: {value}" for name, value in settings.items())),
        plotly=get_plotlyjs(),
        panels=_script_safe(json.dumps([_drawn(panel) for panel in panels], separators=(",", ":"), allow_nan=False)),
        script=_beside("_page.js"),
    )


def _beside(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _script_safe(document: str) -> str:
    """JSON that cannot end the script element that holds it."""
    return document.replace("<", "\\u003c")


def _drawn(panel: Panel) -> dict[str, Any]:
    """What the script needs of a panel; plotly checks the names of all attributes."""
    from plotly.graph_objects import Figure

    figure = Figure(data=panel.traces, layout=panel.layout).to_plotly_json()
    return {
        "name": panel.name,
        "data": figure["data"],
        "layout": figure["layout"],
        "words": [slider.words() for slider in panel.sliders],
        "moving": [
            {"trace": m.trace, "attribute": m.attribute, "over": m.over, "frames": frames(m)} for m in panel.moving
        ],
        "readings": panel.readings.ravel().tolist(),
    }


def _section(panel: Panel) -> str:
    sliders = "\n".join(_slider(panel, i) for i in range(len(panel.sliders)))
    return _SECTION.format(
        name=panel.name,
        heading=html.escape(panel.heading),
        look=html.escape(panel.look),
        sliders=sliders,
        alternative=html.escape(panel.alternative),
        height=panel.layout["height"],
    )


def _slider(panel: Panel, i: int) -> str:
    slider = panel.sliders[i]
    return _SLIDER.format(
        key=f"{panel.name}-{i}",
        label=html.escape(slider.label),
        last=len(slider.values) - 1,
        start=slider.start,
        words=slider.words()[slider.start],
    )


_SLIDER = """<div class="slider">
<label for="{key}">{label}</label>
<output for="{key}">{words}</output>
<input type="range" id="{key}" max="{last}" value="{start}" aria-valuetext="{words}" autocomplete="off">
</div>"""

_SECTION = """<section id="{name}" aria-labelledby="{name}-heading">
<h2 id="{name}-heading">{heading}</h2>
<p>{look}</p>
{sliders}
<p class="reading" role="status"></p>
<div class="figure" role="img" aria-label="{alternative}" style="min-height: {height}px"></div>
</section>"""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>
{style}</style>
</head>
<body>
<main>
<header>
<h1>{title}</h1>
<p class="lead">{lead}</p>
<noscript><p>The figures are drawn by a script inside this file: allow scripts to see them.</p></noscript>
<nav aria-label="Contents">
<ol>
{contents}
</ol>
</nav>
</header>
{sections}
<footer><p>{settings}</p></footer>
</main>
<script type="application/json" id="panels">{panels}</script>
<script>{plotly}</script>
<script>
{script}</script>
</body>
</html>
"""
