"""Figures of a solution of a Hamilton-Jacobi equation: profiles, fields, level sets, convergence."""

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, final

import numpy as np

from hjpde._plotting import BLACK, BLUE, ORANGE, SKY, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIELD_COLOURS = "cividis"
_ERROR_COLOURS = "RdBu_r"
_OUTSIDE = "#cfcfcf"
_LEVELS = 16


@final
@dataclasses.dataclass(frozen=True)
class Plane:
    """Values over a rectangle: a solution in two dimensions, or a section of one in more.

    - `x`, `y`: coordinates of the nodes. - `values`: shape `(len(x), len(y))`. - `names`: of both axes, with units.
    - `title`: which section it is; empty for none.
    """

    x: np.ndarray
    y: np.ndarray
    values: np.ndarray
    names: tuple[str, str]
    title: str = ""

    def with_values(self, values: np.ndarray, title: str | None = None) -> "Plane":
        """Other values at the same nodes."""
        return dataclasses.replace(self, values=values, title=self.title if title is None else title)


def time_colours(count: int) -> list[Any]:
    """Early times dark, late ones light, none too pale for white paper."""
    import matplotlib

    return [matplotlib.colormaps[FIELD_COLOURS](0.86 * k / max(count - 1, 1)) for k in range(count)]


def profiles_figure(
    x: np.ndarray,
    ts: np.ndarray,
    us: np.ndarray,
    exacts: np.ndarray | None,
    name: str,
    measured: np.ndarray | None = None,
) -> "Figure":
    """A solution in one dimension over several times, with the exact one dashed and the error below.

    **Arguments:**

    - `x`: the nodes, shape `(n,)`. - `ts`: the times, shape `(K,)`.
    - `us`, `exacts`: values, shape `(K, n)`; `None` where nothing exact is known.
    - `name`: of the axis. - `measured`: whether each node is measured; others are left out below.
    """
    if exacts is None:
        figure, top = new_figure(7.6, 4.2)
        panels = [top]
    else:
        figure, panels = new_figure(7.6, 5.6, 2, 1, sharex=True, height_ratios=[2.2, 1.0])
        top = panels[0]
    colours = time_colours(len(ts))
    tidy(top)
    for k, (t, u) in enumerate(zip(ts, us, strict=True)):
        top.plot(x, u, color=colours[k], linewidth=2.2, label=f"t = {t:.3g}")
        if exacts is not None:
            # Beneath white, the dashes stay visible on every colour.
            last = k == len(ts) - 1
            top.plot(x, exacts[k], color=BLACK, linewidth=0.9, linestyle=(0, (3, 3)), label="exact" if last else None)
    top.set_ylabel("u [1]")
    top.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
    if exacts is not None:
        below = panels[1]
        tidy(below)
        error = us[-1] - exacts[-1]
        error = error if measured is None else np.where(measured, error, np.nan)
        below.axhline(0, color="#999999", linewidth=0.8)
        below.plot(x, error, color=ORANGE, linewidth=1.4)
        below.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3), useMathText=True)
        below.set_ylabel(f"error of u\nat t = {ts[-1]:.3g} [1]")
        figure.align_ylabels()
    panels[-1].set_xlabel(name)
    panels[-1].margins(x=0)
    return figure


def fields_figure(
    planes: Sequence[Plane],
    errors: Sequence[np.ndarray] | None,
    *,
    curves: np.ndarray | None = None,
    front: bool = False,
) -> "Figure":
    """The solution on planes as colour, and its error on the same planes.

    **Arguments:**

    - `planes`: one, drawn beside its error, or several, drawn above theirs.
    - `errors`: values of the same shapes, NaN where nothing is measured; `None` where nothing exact is known.
    - `curves`: characteristics on a single plane, shape `(curves, points, 2)`, from their end backwards in time.
    - `front`: whether the zero level set is drawn.
    """
    single = len(planes) == 1
    rows, columns = (1, 1 if errors is None else 2) if single else (1 if errors is None else 2, len(planes))
    width, height = plane_size(planes, 4.3 if single else 3.1, 1.2 if single else 0.9)
    figure, axes = new_figure(
        columns * width + 0.7, rows * height + (0.0 if single else 0.3), rows, columns, squeeze=False
    )
    levels = _levels([plane.values for plane in planes])
    above = axes[0, :1] if single else axes[0]
    drawn = [_draw_field(ax, plane, levels, front) for ax, plane in zip(above, planes, strict=True)]
    if curves is not None:
        _draw_curves(axes[0, 0], curves)
    figure.colorbar(drawn[0], ax=list(above), label="u [1]", pad=0.02, aspect=28)
    if errors is not None:
        below = axes[0, 1:] if single else axes[1]
        finite = np.concatenate([np.abs(error[np.isfinite(error)]).ravel() for error in errors])
        largest = float(finite.max()) if finite.size and finite.max() > 0 else 1e-300
        drawn = [
            _draw_error(ax, plane.with_values(error, "error" if single else plane.title), largest)
            for ax, plane, error in zip(below, planes, errors, strict=True)
        ]
        top = 10.0 ** math.floor(math.log10(largest))
        ticks = [-top, -top / 10, 0, top / 10, top]
        figure.colorbar(drawn[0], ax=list(below), label="error of u [1]", pad=0.02, aspect=28, ticks=ticks)
    return figure


def times_figure(planes: Sequence[Plane], front: bool = False) -> "Figure":
    """One plane at several times, side by side in the same colours; titles tell the times."""
    width, height = plane_size(planes, 2.3, 0.3)
    figure, axes = new_figure(len(planes) * width + 0.9, height, 1, len(planes), sharey=True, squeeze=False)
    levels = _levels([plane.values for plane in planes])
    drawn = [_draw_field(ax, plane, levels, front) for ax, plane in zip(axes[0], planes, strict=True)]
    for ax in axes[0]:
        ax.label_outer()
    figure.colorbar(drawn[0], ax=list(axes[0]), label="u [1]", pad=0.02, aspect=22)
    return figure


def level_sets_figure(planes: Sequence[Plane], targets: Sequence[np.ndarray]) -> "Figure":
    """Sections of the set $u \\le 0$, with the target's border dashed; one panel a section."""
    columns = 3
    rows = math.ceil(len(planes) / columns)
    width, height = plane_size(planes, 2.8, 0.3)
    figure, axes = new_figure(
        columns * width, rows * (height + 0.2) + 0.3, rows, columns, sharex=True, sharey=True, squeeze=False
    )
    for ax, plane, target in zip(axes.flat, planes, targets, strict=False):
        if plane.values.min() < 0:
            ax.contourf(plane.x, plane.y, plane.values.T, levels=[plane.values.min() - 1, 0], colors=[SKY], alpha=0.55)
        _zero_level(ax, plane, BLUE, "-")
        _zero_level(ax, plane.with_values(target), BLACK, "--")
        _frame(ax, plane)
        ax.label_outer()
    for ax in axes.flat[len(planes) :]:
        ax.remove()
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=BLUE, linewidth=1.6, label="u = 0 at the final time"),
        Line2D([], [], color=BLACK, linewidth=1.2, linestyle="--", label="u = 0 at t = 0"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def convergence_figure(
    sizes: Sequence[int], curves: dict[str, tuple[Sequence[float], float | None]], words: str
) -> "Figure":
    """Errors against the number of nodes, double logarithmic, each with the nearest whole order as a slope.

    **Arguments:**

    - `sizes`: nodes along an axis. - `curves`: by name, the errors, one a size, and the observed order;
      errors at 0 are left out.
    - `words`: the name of the vertical axis.
    """
    figure, ax = new_figure(6.2, 4.0)
    tidy(ax, "both")
    for (name, (errors, observed)), colour, marker in zip(curves.items(), (BLUE, ORANGE), "os", strict=False):
        n, e = np.asarray([(n, e) for n, e in zip(sizes, errors, strict=True) if e > 0], float).reshape(-1, 2).T
        if n.size == 0:
            continue
        ax.plot(n, e, color=colour, marker=marker, markersize=6, linewidth=1.8, label=name)
        order = 0 if observed is None else round(observed)
        if 1 <= order <= 8:
            slope = e[-1] * (n / n[-1]) ** -float(order)
            ax.plot(n, 0.6 * slope, color=colour, linestyle=(0, (4, 3)), linewidth=1.0, label=f"slope {order}")
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.set_xticks(list(sizes), [str(n) for n in sizes])
    ax.minorticks_off()
    ax.set_xlabel("n, nodes along an axis")
    ax.set_ylabel(words)
    if ax.lines:
        ax.legend(frameon=False, fontsize=9)
    return figure


def errors_figure(errors: np.ndarray, gaps: np.ndarray, roundoff: float) -> "Figure":
    """A histogram of the sizes of errors at points, and of how far the solver said that it may be off.

    **Arguments:**

    - `errors`, `gaps`: shape `(n,)`; a size below an eighth of `roundoff` is counted there, and gaps that are all 0 are
      not drawn.
    - `roundoff`: the size of rounding, marked by a line.
    """
    figure, ax = new_figure(7.6, 3.6)
    tidy(ax)
    sizes = {"errors": np.abs(errors)} | ({"gaps, by the solver": gaps} if np.any(gaps > 0) else {})
    exponents = [np.log10(np.maximum(values, roundoff / 8)) for values in sizes.values()]
    ends = [*np.concatenate(exponents), math.log10(roundoff)]
    bins = list(np.linspace(min(ends) - 0.1, max(ends) + 0.1, 33))
    styles: list[dict[str, Any]] = [
        {"color": BLUE, "alpha": 0.75},
        {"color": ORANGE, "histtype": "step", "linewidth": 1.8},
    ]
    for name, values, style in zip(sizes, exponents, styles, strict=False):
        ax.hist(values, bins=bins, label=name, **style)
    ax.axvline(math.log10(roundoff), color=BLACK, linestyle="--", linewidth=1.2, label="one unit of rounding")
    ax.set_xlabel("size of the error of u [1], as a power of 10")
    ax.set_ylabel("number of points")
    ax.legend(frameon=False, fontsize=9)
    return figure


def draw_plane(ax: "Axes", plane: Plane, low: float, high: float) -> Any:
    """An image of the plane without level lines, quick to draw again with other values."""
    dx, dy = (float(line[1] - line[0]) / 2 for line in (plane.x, plane.y))
    extent = (plane.x[0] - dx, plane.x[-1] + dx, plane.y[0] - dy, plane.y[-1] + dy)
    drawn = ax.imshow(
        plane.values.T,
        cmap=FIELD_COLOURS,
        vmin=low,
        vmax=high,
        extent=extent,
        origin="lower",
        aspect="auto",
        interpolation="bilinear",
    )
    _frame(ax, plane)
    return drawn


def plane_size(planes: Sequence[Plane], width: float, beside: float) -> tuple[float, float]:
    """Inches of a panel of this width in the proportions of the planes, of which labels and scales take `beside`."""
    if not _is_square(planes[0]):
        return width, 0.82 * width
    ratio = max(float(np.ptp(plane.y) / np.ptp(plane.x)) for plane in planes)
    return width, float(np.clip(ratio, 0.45, 1.4)) * (width - beside) + 0.6


def _is_square(plane: Plane) -> bool:
    """Whether both axes carry the same unit, so that a circle should look like one."""
    units = [name.rpartition("[")[2] for name in plane.names]
    ratio = np.ptp(plane.y) / np.ptp(plane.x)
    return units[0] == units[1] and bool(0.4 < ratio < 2.5)


def _frame(ax: "Axes", plane: Plane) -> None:
    ax.set_xlabel(plane.names[0])
    ax.set_ylabel(plane.names[1])
    ax.set_xlim(plane.x[0], plane.x[-1])
    ax.set_ylim(plane.y[0], plane.y[-1])
    if plane.title:
        ax.set_title(plane.title, fontsize=10)
    if _is_square(plane):
        ax.set_aspect("equal")


def _levels(fields: Sequence[np.ndarray]) -> np.ndarray:
    from matplotlib.ticker import MaxNLocator

    low, high = (float(pick([pick(field) for field in fields])) for pick in (np.min, np.max))
    span = high - low if high > low else 1.0
    return np.asarray(MaxNLocator(_LEVELS).tick_values(low, low + span))


def _draw_field(ax: "Axes", plane: Plane, levels: np.ndarray, front: bool) -> Any:
    drawn = ax.contourf(plane.x, plane.y, plane.values.T, levels=levels, cmap=FIELD_COLOURS)
    lines = {"colors": "white", "linewidths": 0.4, "linestyles": "solid", "alpha": 0.55}
    ax.contour(plane.x, plane.y, plane.values.T, levels=levels, **lines)
    if front:
        _zero_level(ax, plane, "white", "-", 2.4)
        _zero_level(ax, plane, ORANGE, "-")
    _frame(ax, plane)
    return drawn


def _draw_error(ax: "Axes", plane: Plane, largest: float) -> Any:
    from matplotlib.colors import SymLogNorm

    norm = SymLogNorm(linthresh=largest / 100, vmin=-largest, vmax=largest, base=10)
    ax.set_facecolor(_OUTSIDE)
    drawn = ax.pcolormesh(
        plane.x, plane.y, plane.values.T, cmap=_ERROR_COLOURS, norm=norm, shading="nearest", rasterized=True
    )
    _frame(ax, plane)
    measured = np.isfinite(plane.values)
    if not measured.all():
        for limit, line, axis in ((ax.set_xlim, plane.x, 1), (ax.set_ylim, plane.y, 0)):
            ends = line[measured.any(axis=axis)]
            limit(ends.min(), ends.max())
    return drawn


def _draw_curves(ax: "Axes", curves: np.ndarray) -> None:
    from matplotlib.patheffects import withStroke

    # A light border, so that black is seen on the dark colours too.
    halo = [withStroke(linewidth=2.0, foreground="white", alpha=0.7)]
    for curve in curves:
        ax.plot(curve[:, 0], curve[:, 1], color=BLACK, linewidth=0.9, path_effects=halo)
    ax.plot(curves[:, 0, 0], curves[:, 0, 1], "o", color=BLACK, markersize=3.4, markeredgecolor="white", mew=0.6)


def _zero_level(ax: "Axes", plane: Plane, colour: str, style: str, width: float = 1.5) -> None:
    if plane.values.min() < 0 < plane.values.max():
        ax.contour(
            plane.x, plane.y, plane.values.T, levels=[0.0], colors=[colour], linestyles=[style], linewidths=[width]
        )
