"""A solution that moves: as a GIF, or as a page with a slider that holds all of itself."""

import base64
import dataclasses
import html
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, final

import numpy as np

from hjpde._plotting import BLACK, BLUE, SKY, new_figure, tidy
from hjpde._plotting_solution import Plane, draw_plane, plane_size

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 100
_PER_SECOND = 12


@final
@dataclasses.dataclass(frozen=True)
class Scene:
    """A figure, and what draws its frame `k`; `captions` tell each frame in words."""

    figure: "Figure"
    draw: Callable[[int], None]
    captions: tuple[str, ...]


def profile_scene(x: np.ndarray, ts: np.ndarray, us: np.ndarray, exacts: np.ndarray | None, name: str) -> Scene:
    """A solution in one dimension; `us` and `exacts` of shape `(K, n)`."""
    figure, ax = new_figure(6.4, 4.0)
    tidy(ax)
    ax.plot(x, us[0], color=SKY, linewidth=1.2, label="t = 0")
    (line,) = ax.plot(x, us[0], color=BLUE, linewidth=2.2, label="u")
    lines = [(line, us)]
    if exacts is not None:
        (dashed,) = ax.plot(x, exacts[0], color=BLACK, linewidth=1.0, linestyle=(0, (3, 3)), label="exact")
        lines.append((dashed, exacts))
    low, high = float(us.min()), float(us.max())
    room = 0.06 * (high - low or 1.0)
    ax.set_ylim(low - room, high + room)
    ax.margins(x=0)
    ax.set_xlabel(name)
    ax.set_ylabel("u [1]")
    ax.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
    titles = _titles(ts)
    title = ax.set_title(titles[0], fontsize=11, loc="left")

    def draw(k: int) -> None:
        for line, values in lines:
            line.set_ydata(values[k])
        title.set_text(titles[k])

    return Scene(figure, draw, titles)


def plane_scene(ts: np.ndarray, planes: Sequence[Sequence[Plane]], front: bool) -> Scene:
    """A solution on one plane or several; `planes[k]` are those at `ts[k]`, `front` draws the zero level set."""
    first = planes[0]
    width, height = plane_size(first, 4.6 if len(first) == 1 else 3.0, 0.9)
    figure, axes = new_figure(len(first) * width + 0.9, height + 0.4, 1, len(first), squeeze=False)
    values = [plane.values for frame in planes for plane in frame]
    low, high = min(float(v.min()) for v in values), max(float(v.max()) for v in values)
    drawn = [draw_plane(ax, plane, low, high) for ax, plane in zip(axes[0], first, strict=True)]
    figure.colorbar(drawn[0], ax=list(axes[0]), label="u [1]", pad=0.02, aspect=24)
    titles = _titles(ts)
    title = figure.suptitle(titles[0], fontsize=11)
    fronts: list = []

    def draw(k: int) -> None:
        while fronts:
            fronts.pop().remove()
        for ax, image, plane in zip(axes[0], drawn, planes[k], strict=True):
            image.set_data(plane.values.T)
            if front and plane.values.min() < 0 < plane.values.max():
                lines = ax.contour(plane.x, plane.y, plane.values.T, levels=[0.0], colors="white", linewidths=1.6)
                fronts.append(lines)
        title.set_text(titles[k])

    return Scene(figure, draw, titles)


def write_gif(path: Path, scene: Scene) -> None:
    """One image a frame, for ever."""
    from matplotlib.animation import PillowWriter

    _settle(scene)
    writer = PillowWriter(fps=_PER_SECOND)
    with writer.saving(scene.figure, str(path), _DPI):
        for k in range(len(scene.captions)):
            scene.draw(k)
            writer.grab_frame()


def write_html(path: Path, scene: Scene, heading: str) -> None:
    """A page with a slider and a button to play; it asks no network and works from the keyboard."""
    _settle(scene)
    frames = []
    for k in range(len(scene.captions)):
        scene.draw(k)
        stream = io.BytesIO()
        scene.figure.savefig(stream, format="png", dpi=_DPI, metadata={"Software": None})
        frames.append("data:image/png;base64," + base64.b64encode(stream.getvalue()).decode())
    page = _PAGE
    replaced = {
        "@heading@": html.escape(heading),
        "@first@": frames[0],
        "@caption@": html.escape(scene.captions[0]),
        "@last@": str(len(frames) - 1),
        "@delay@": str(round(1000 / _PER_SECOND)),
        "@frames@": json.dumps(frames),
        # No text can end the script.
        "@captions@": json.dumps(scene.captions).replace("<", "\\u003c"),
    }
    for mark, words in replaced.items():
        page = page.replace(mark, words)
    path.write_text(page, encoding="utf-8")


def _settle(scene: Scene) -> None:
    """Lays the figure out once, so that nothing jumps between frames."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(scene.figure).draw()
    scene.figure.set_layout_engine("none")


def _titles(ts: np.ndarray) -> tuple[str, ...]:
    return tuple(f"t = {t:.3f}" for t in ts)


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>@heading@</title>
<style>
:root { color-scheme: light; }
body { margin: 0; background: #fff; color: #1a1a1a;
  font: 16px/1.5 system-ui, "Segoe UI", Helvetica, Arial, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem; }
h1 { font-size: 1.3rem; margin: 0 0 0.8rem; }
img { display: block; max-width: 100%; height: auto; margin: 0 auto; }
.bar { display: flex; gap: 1rem; align-items: center; max-width: 40rem; margin: 1rem auto 0; }
input { flex: 1; accent-color: #0072b2; }
button { font: inherit; width: 5.5rem; padding: 0.3rem 0; border: 1px solid #0072b2; border-radius: 4px;
  background: #fff; color: #0072b2; cursor: pointer; }
:focus-visible { outline: 3px solid #e69f00; outline-offset: 2px; }
output { width: 6.5rem; font-variant-numeric: tabular-nums; }
.keys { text-align: center; color: #555; font-size: 0.85rem; }
</style>
</head>
<body>
<main>
<h1>@heading@</h1>
<img id="frame" alt="The solution at @caption@" src="@first@">
<div class="bar">
<button id="play" type="button">Play</button>
<input id="slider" type="range" min="0" max="@last@" value="0" aria-label="Time">
<output id="time" for="slider">@caption@</output>
</div>
<p class="keys">Space plays and stops; the arrow keys go one frame on or back.</p>
</main>
<script>
"use strict";
const frames = @frames@;
const captions = @captions@;
const [image, slider, button, time] = ["frame", "slider", "play", "time"].map((id) => document.getElementById(id));
let timer = null;
function show(k) {
  slider.value = k;
  image.src = frames[k];
  image.alt = "The solution at " + captions[k];
  time.textContent = captions[k];
  slider.setAttribute("aria-valuetext", captions[k]);
}
function toggle() {
  if (timer !== null) { clearInterval(timer); timer = null; button.textContent = "Play"; return; }
  timer = setInterval(() => show((Number(slider.value) + 1) % frames.length), @delay@);
  button.textContent = "Stop";
}
slider.addEventListener("input", () => show(Number(slider.value)));
button.addEventListener("click", toggle);
document.addEventListener("keydown", (event) => {
  if (event.key === " " && event.target !== button) { event.preventDefault(); toggle(); return; }
  if (event.target === slider) { return; }
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (step) { event.preventDefault(); show((Number(slider.value) + step + frames.length) % frames.length); }
});
show(0);
</script>
</body>
</html>
"""
