"""The panel of the Gibbs weights over points of a plane, and their entropy."""

import numpy as np
from scipy.special import entr, softmax

from hjpde._plotting import BLACK, ORANGE
from hjpde.problems.claims._written_out import two_clusters

from ._panel import Moving, Panel, Row, Slider, dots, line, stacked, twice, upright

_SIDE = np.linspace(-3, 3, 33)
_QUERY = np.array([[0.3, -0.2]])
_TIMES = (0.25, 0.5, 1.0, 2.0, 4.0)
_CRITICAL = 0.25
"""$N^{-1/d}$ for 16 points of a plane."""
_VISCOSITIES = np.round(_CRITICAL * 2.0 ** np.arange(-5.25, 7, 0.75), 5)


def points_panel() -> Panel:
    """Sixteen atoms, the entropy over the plane, and the weights at one query, over viscosity and time."""
    atoms = two_clusters()
    y, g = np.asarray(atoms.positions), np.asarray(atoms.heights)
    plane = np.stack(np.meshgrid(_SIDE, _SIDE), axis=-1).reshape(-1, 2)
    entropy, at_query = _over_all(y, g, plane), _over_all(y, g, _QUERY)[..., 0]
    weights = np.array([[_weights(y, g, _QUERY, t, eps)[0] for t in _TIMES] for eps in _VISCOSITIES])
    # The area follows the weight, and a weight of 0 can still be seen.
    sizes = 7 + 34 * np.sqrt(weights)
    mean = entropy.mean(axis=2)
    start = int(np.argmin(np.abs(_VISCOSITIES - _CRITICAL)))
    low, high = g == 0, g == 1
    traces = [
        _heat(entropy[0, 0].reshape(33, 33)),
        dots(y[low, 0], y[low, 1], "height 0", colour="#ffffff", size=8),
        dots(y[high, 0], y[high, 1], "height 1", colour="#ffffff", symbol="square", size=8),
        dots(_QUERY[:, 0], _QUERY[:, 1], "query", colour=ORANGE, symbol="star", size=16),
        line(_VISCOSITIES, mean[:, 0], "mean over the plane", row=2, colour=BLACK),
        line(_VISCOSITIES, at_query[:, 0], "at the query", row=2, dash="dash"),
        {**upright("ε* = 0.25", row=2, colour=ORANGE, dash="dot", width=2), "x": [_CRITICAL] * 2},
        dots([0, 0], [0, 0], row=2, size=12, colour=BLACK),
    ]
    for trace in traces[1:3]:
        trace["marker"]["line"] = {"width": 2, "color": BLACK}
    here = np.stack([mean, at_query], axis=-1)
    rows = (
        Row("x₁", "x₂", 1.7, {"range": [-3, 3]}, {"range": [-3, 3]}),
        Row("viscosity ε", "entropy [nats]", 1.0, {"type": "log", "dtick": 1}, {"range": [0, 2.9]}),
    )
    words = [[_reading(i, k, weights, entropy) for k in range(len(_TIMES))] for i in range(len(_VISCOSITIES))]
    one = _TIMES.index(1.0)
    return Panel(
        name="points",
        heading="From one point to all: entropy of the weights",
        look="Below ε* = N^(−1/d) = 0.25 most places listen to few of the sixteen points, above it to many: at t = 1 "
        f"the mean entropy rises from {mean[0, one]:.2f} at ε = {_VISCOSITIES[0]:.2g} over {mean[start, one]:.2f} at "
        f"ε* to {mean[-1, one]:.2f} nats, and log 16 = 2.77. The mark is an order of magnitude; nothing jumps there.",
        alternative="A map of the entropy over a plane with two clusters of eight points, the size of a point being "
        "its weight at the query; below, the entropy over the viscosity.",
        sliders=(Slider("viscosity ε", _VISCOSITIES.tolist(), start), Slider("time t", _TIMES, one)),
        traces=traces,
        layout=stacked(rows, 900),
        moving=[
            Moving(0, "z", (0, 1), entropy.reshape(len(_VISCOSITIES), len(_TIMES), 33, 33)),
            Moving(1, "marker.size", (0, 1), sizes[..., low]),
            Moving(2, "marker.size", (0, 1), sizes[..., high]),
            Moving(4, "y", (1,), mean.T),
            Moving(5, "y", (1,), at_query.T),
            Moving(7, "x", (0,), twice(_VISCOSITIES)),
            Moving(7, "y", (0, 1), here),
        ],
        readings=np.array(words),
    )


def _weights(y: np.ndarray, g: np.ndarray, X: np.ndarray, t: float, eps: float) -> np.ndarray:
    squares = ((X[:, None] - y) ** 2).sum(axis=2)
    return softmax(-(g + squares / (4 * t)) / eps, axis=1)


def _over_all(y: np.ndarray, g: np.ndarray, X: np.ndarray) -> np.ndarray:
    """The entropies by viscosity, time and point."""
    return np.array([[entr(_weights(y, g, X, t, eps)).sum(axis=1) for t in _TIMES] for eps in _VISCOSITIES])


def _heat(z: np.ndarray) -> dict:
    bar = {"title": {"text": "nats"}, "thickness": 12, "len": 0.55, "y": 1, "yanchor": "top"}
    return {
        "type": "heatmap",
        "x": _SIDE,
        "y": _SIDE,
        "z": z,
        "zmin": 0,
        "zmax": float(np.log(16)),
        "zsmooth": "best",
        "colorscale": "Cividis",
        "colorbar": bar,
    }


def _reading(i: int, k: int, weights: np.ndarray, entropy: np.ndarray) -> str:
    at = weights[i, k]
    return (
        f"ε = {_VISCOSITIES[i]:.3g} = {_VISCOSITIES[i] / _CRITICAL:.3g} ε*, t = {_TIMES[k]:g}: at the query "
        f"exp(entropy) = {np.exp(entr(at).sum()):.1f} points count, the heaviest with {100 * at.max():.0f} %; over the "
        f"plane the mean is {np.exp(entropy[i, k]).mean():.1f}."
    )
