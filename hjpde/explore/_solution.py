"""The panel of a solution over space and time: characteristics cross into shocks, and viscosity rounds them."""

import numpy as np
from scipy.special import logsumexp

from hjpde._plotting import BLACK, GREEN, ORANGE

from ._panel import Moving, Panel, Row, Slider, dots, line, stacked

_X = np.linspace(-np.pi, np.pi, 121)
_TIMES = np.linspace(0, 2, 41)
_VISCOSITIES = np.geomspace(0.01, 1, 13)
# The kernel's width is at least 0.03, so that the trapezoidal rule is exact to rounding.
_Y = np.linspace(-3 * np.pi, 3 * np.pi, 1201)
_FEET = np.linspace(-np.pi, np.pi, 33)


def _g(y: np.ndarray) -> np.ndarray:
    return 0.5 * np.cos(y) + 0.3 * np.cos(2 * y + 1)


def _slope(y: np.ndarray) -> np.ndarray:
    return -0.5 * np.sin(y) - 0.6 * np.sin(2 * y + 1)


def _curvature(y: np.ndarray) -> np.ndarray:
    return -0.5 * np.cos(y) - 1.2 * np.cos(2 * y + 1)


def _actions(t: float) -> np.ndarray:
    """Hopf and Lax: $g(y) + (x - y)^2/4t$, one row a point `x`."""
    return _g(_Y) + (_X[:, None] - _Y) ** 2 / (4 * t)


def _solution() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The viscous solutions by viscosity and time, the inviscid one by time, and its minimisers `y`."""
    u = np.empty((len(_VISCOSITIES), len(_TIMES), len(_X)))
    inviscid, feet = np.empty(u.shape[1:]), np.empty(u.shape[1:])
    u[:, 0], inviscid[0], feet[0] = _g(_X), _g(_X), _X
    for k, t in enumerate(_TIMES[1:], 1):
        actions = _actions(t)
        inviscid[k], feet[k] = actions.min(axis=1), _Y[actions.argmin(axis=1)]
        for i, eps in enumerate(_VISCOSITIES):
            scale = np.log((_Y[1] - _Y[0]) / np.sqrt(4 * np.pi * eps * t))
            u[i, k] = -eps * (logsumexp(-actions / eps, axis=1) + scale)
    return u, inviscid, feet


def _characteristics(inviscid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lines $x = y + 2 t g'(y)$ while they carry the minimum, with gaps between them and at the border."""
    x = _FEET[:, None] + 2 * _TIMES * _slope(_FEET)[:, None]
    carried = _g(_FEET)[:, None] + _TIMES * _slope(_FEET)[:, None] ** 2
    least = np.array([np.interp(x[:, k], _X, inviscid[k], period=2 * np.pi) for k in range(len(_TIMES))]).T
    # Linear interpolation between the nodes of x is off by at most |u_xx| dx^2 / 8 = 6e-4.
    alive = np.minimum.accumulate(carried <= least + 1e-3, axis=1)
    x = np.where(alive & (np.abs(x) <= np.pi), x, np.nan)
    x = np.pad(x, ((0, 0), (0, 1)), constant_values=np.nan)
    times = np.pad(np.broadcast_to(_TIMES, (len(_FEET), len(_TIMES))), ((0, 0), (0, 1)), constant_values=np.nan)
    return x.ravel(), times.ravel()


def _shocks(feet: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the minimiser jumps: it leaves out places from which the characteristics have crossed."""
    left, right = feet[:, :-1, None], feet[:, 1:, None]
    skipped = left + (right - left) * np.linspace(0, 1, 33)
    spread = 1 + 2 * _TIMES[:, None, None] * _curvature(skipped)
    k, i = np.nonzero(spread.min(axis=2) < 0)
    return (_X[i] + _X[i + 1]) / 2, _TIMES[k]


def solution_panel() -> Panel:
    """A periodic datum with two hills, solved by the Hopf-Cole formula, over viscosity and time."""
    u, inviscid, feet = _solution()
    rays, shocks = _characteristics(inviscid), _shocks(feet)
    first = 1 / (2 * np.max(-_curvature(_Y)))
    gaps = np.abs(u - inviscid).max(axis=2)
    middle = int(np.argmin(np.abs(_VISCOSITIES - 0.1)))
    heat = {
        "type": "heatmap",
        "x": _X,
        "y": _TIMES,
        "z": u[0],
        "colorscale": "Cividis",
        "zmin": float(inviscid.min()),
        "zmax": float(_g(_X).max()),
        "colorbar": {"title": {"text": "u"}, "thickness": 12, "len": 0.42, "y": 1, "yanchor": "top"},
    }
    traces = [
        heat,
        line(*rays, "characteristics", colour="#ffffff", width=1),
        dots(*shocks, "shocks", colour=ORANGE, size=6),
        line(_X[[0, -1]], [0, 0], "time t", colour=BLACK, dash="dash"),
        line(_X, inviscid[0], "u at ε = 0", row=2, colour=BLACK, dash="dash"),
        line(_X, u[0, 0], "u at ε", row=2, width=3),
        line(_X, _g(_X), "initial datum", row=2, colour=GREEN, dash="dot"),
        dots(_X, feet[0], row=3, colour=BLACK, size=6),
    ]
    across = {"range": [-np.pi, np.pi], "dtick": 1}
    rows = (
        Row("x", "time t", 1.4, across, {"range": [0, 2]}),
        Row("x", "u", 1.0, across, {"range": [-0.85, 0.85]}),
        Row("x", "minimiser y(x)", 0.8, across, {"range": [-4.5, 4.5]}),
    )
    words = [[_reading(i, k, gaps) for k in range(len(_TIMES))] for i in range(len(_VISCOSITIES))]
    return Panel(
        name="solution",
        heading="Characteristics cross into shocks, and viscosity rounds them",
        look=f"From t = {first:.3f} on characteristics meet and end in shocks, where the minimiser jumps and u has a "
        f"kink. Raise ε: at t = 2 the viscous solution is off the one without viscosity by {gaps[0, -1]:.3f} at most "
        f"for ε = {_VISCOSITIES[0]:.2g}, and by {gaps[middle, -1]:.2f} for ε = {_VISCOSITIES[middle]:.2g}.",
        alternative="A map of u over x and t with characteristics that end in shocks; below, u and the minimiser at "
        "the time of the slider.",
        sliders=(Slider("viscosity ε", _VISCOSITIES.tolist(), 3), Slider("time t", _TIMES.tolist(), 24, 2)),
        traces=traces,
        layout=stacked(rows, 980, legend={"orientation": "h", "y": 1, "yanchor": "bottom", "bgcolor": "#b9c2cf"}),
        moving=[
            Moving(0, "z", (0,), u),
            Moving(3, "y", (1,), np.repeat(_TIMES[:, None], 2, axis=1)),
            Moving(4, "y", (1,), inviscid),
            Moving(5, "y", (0, 1), u),
            Moving(7, "y", (1,), feet),
        ],
        readings=np.array(words),
    )


def _reading(i: int, k: int, gaps: np.ndarray) -> str:
    return (
        f"ε = {_VISCOSITIES[i]:.3g}, t = {_TIMES[k]:.2f}: u is off the inviscid solution by at most {gaps[i, k]:.3f}; "
        f"the kernel is √(2εt) = {np.sqrt(2 * _VISCOSITIES[i] * _TIMES[k]):.2f} wide."
    )
