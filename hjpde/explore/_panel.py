"""One panel of the interactive page: a plotly figure, its sliders, and what they change."""

import base64
import dataclasses
from collections.abc import Sequence
from typing import Any, final

import numpy as np

from hjpde._plotting import BLACK, BLUE

_GRID = "#dddddd"
_UNIT = {"range": [0, 1], "visible": False, "fixedrange": True}
_TOP, _BOTTOM, _GAP = 34, 52, 122
"""Pixels above the figure, below it and between its rows: room for legends and for the axes' titles."""
_WHOLE = 20
"""Above the numbers of all rows."""


@final
@dataclasses.dataclass(frozen=True)
class Slider:
    """A slider over given values.

    - `label`: its name for readers. - `values`: what it takes, in order.
    - `start`: the index of the value that the page opens with, and that is printed.
    - `decimals`: how a value is shown; by default with three digits.
    """

    label: str
    values: Sequence[int | float]
    start: int = 0
    decimals: int | None = None

    def words(self) -> list[str]:
        """The values as they are shown and spoken."""
        style = ".3g" if self.decimals is None else f".{self.decimals}f"
        return [format(value, style) for value in self.values]


@final
@dataclasses.dataclass(frozen=True)
class Moving:
    """An attribute of a trace that follows the sliders.

    - `trace`: its index in `Panel.traces`. - `attribute`: such as `y` or `marker.size`.
    - `over`: the indices of the sliders that it depends on.
    - `values`: one leading axis for each of them, then those of the attribute; NaN leaves a gap.
    """

    trace: int
    attribute: str
    over: tuple[int, ...]
    values: np.ndarray


@final
@dataclasses.dataclass(frozen=True)
class Panel:
    """A heading that says an idea, a sentence that says what to look for, and a figure with sliders.

    - `name`: of the section in the page. - `alternative`: the figure in words, for those who cannot see it.
    - `traces`, `layout`: as plotly takes them; the moving attributes are filled in from the frames.
    - `readings`: a line of numbers for each place of the sliders, an array of strings with one axis a slider.
    """

    name: str
    heading: str
    look: str
    alternative: str
    sliders: tuple[Slider, ...]
    traces: list[dict[str, Any]]
    layout: dict[str, Any]
    moving: list[Moving]
    readings: np.ndarray


def encoded(array: np.ndarray) -> dict[str, str]:
    """An array in single precision as plotly.js reads it: half the size of its digits."""
    array = np.ascontiguousarray(array, "<f4")
    shape = {"shape": ", ".join(map(str, array.shape))} if array.ndim > 1 else {}
    return {"dtype": "f4", "bdata": base64.b64encode(array.tobytes()).decode(), **shape}


def frames(moving: Moving) -> list[Any]:
    """The attribute at each place of its sliders, the last slider running fastest."""
    n = len(moving.over)
    values = np.asarray(moving.values)
    flat = values.reshape(-1, *values.shape[n:])
    if flat.ndim == 1:
        return [float(f"{value:.5g}") for value in flat]
    return [encoded(value) for value in flat]


def line(
    x: Any,
    y: Any,
    name: str | None = None,
    *,
    row: int = 1,
    colour: str = BLUE,
    dash: str = "solid",
    width: int | float = 2,
    **more: Any,
) -> dict[str, Any]:
    """A line of one row; without a name it stands in no legend."""
    style = {"color": colour, "dash": dash, "width": width}
    return _trace(x, y, name, row, mode="lines", line=style, **more)


def whole(row: int) -> str:
    """The name of a row's second y-axis, which runs from 0 to 1 over its height."""
    return f"y{_WHOLE + row}"


def upright(
    name: str | None = None, *, row: int = 1, colour: str = BLACK, dash: str = "dash", width: int | float = 1.5
) -> dict[str, Any]:
    """A line over the whole height of a row, whatever its range is; its `x` moves, by `twice`."""
    return {**line([0, 0], [0, 1], name, row=row, colour=colour, dash=dash, width=width), "yaxis": whole(row)}


def twice(values: np.ndarray) -> np.ndarray:
    """Both ends of an upright line."""
    return np.repeat(values[..., None], 2, axis=-1)


def dots(
    x: Any,
    y: Any,
    name: str | None = None,
    *,
    row: int = 1,
    colour: str = BLUE,
    symbol: str = "circle",
    size: Any = 8,
    **more: Any,
) -> dict[str, Any]:
    """Markers of one row."""
    style = {"color": colour, "symbol": symbol, "size": size, "line": {"width": 1, "color": "#ffffff"}}
    return _trace(x, y, name, row, mode="markers", marker=style, **more)


def _trace(x: Any, y: Any, name: str | None, row: int, **more: Any) -> dict[str, Any]:
    place = {"xaxis": axis("x", row), "yaxis": axis("y", row)}
    named = {"showlegend": False} if name is None else {"name": name, "showlegend": True, "legend": axis("legend", row)}
    return {"type": "scatter", "x": x, "y": y, **place, **named, **more}


def axis(name: str, row: int) -> str:
    """Of a row, as plotly counts: `x`, `x2`, ..."""
    return name if row == 1 else f"{name}{row}"


@final
@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a figure: the titles of its axes, its share of the height, and more of plotly's attributes of them."""

    x: str
    y: str
    share: float = 1.0
    x_axis: dict[str, Any] = dataclasses.field(default_factory=dict)
    y_axis: dict[str, Any] = dataclasses.field(default_factory=dict)


def stacked(rows: Sequence[Row], height: int, **more: Any) -> dict[str, Any]:
    """The layout of rows one below the other, which fits a phone as well as a page."""
    inner = height - _TOP - _BOTTOM
    shares = np.asarray([row.share for row in rows])
    shares = (1 - _GAP / inner * (len(rows) - 1)) * shares / shares.sum()
    layout: dict[str, Any] = {
        "height": height,
        "autosize": True,
        "template": "none",
        "font": {"size": 15, "family": "system-ui, Helvetica, Arial, sans-serif", "color": BLACK},
        "margin": {"l": 64, "r": 14, "t": _TOP, "b": _BOTTOM},
        "hovermode": "closest",
        # A finger on a figure scrolls the page.
        "dragmode": False,
    }
    common = {
        "zeroline": False,
        "gridcolor": _GRID,
        "automargin": True,
        "tickfont": {"size": 14},
        "exponentformat": "none",
    }
    top = 1.0
    for i, (row, share) in enumerate(zip(rows, shares, strict=True), 1):
        titles = ({"title": {"text": words, "standoff": 6}} for words in (row.x, row.y))
        x, y = ({**common, **title, "anchor": axis(other, i)} for title, other in zip(titles, "yx", strict=True))
        domain = [max(top - share, 0.0), top]
        layout[axis("xaxis", i)] = {**x, "showgrid": False, **row.x_axis}
        layout[axis("yaxis", i)] = {**y, "domain": domain, **row.y_axis}
        layout[axis("legend", i)] = {"orientation": "h", "x": 0, "y": top, "yanchor": "bottom"}
        layout[f"yaxis{_WHOLE + i}"] = {"overlaying": axis("y", i), "anchor": axis("x", i), **_UNIT}
        top -= share + _GAP / inner
    return {**layout, **more}
