"""The panel of a layer outside its support: one neuron's line, and curvature at the borders between neurons."""

import numpy as np
from scipy.special import logsumexp, softmax

from hjpde._plotting import BLACK, GREEN, ORANGE

from ._panel import Moving, Panel, Row, Slider, dots, line, stacked, twice, upright, whole

_ATOMS = np.array([-2.0, -1.2, -0.5, 0.3, 0.9, 1.5, 2.2])
_HEIGHTS = np.array([0.1, 0.5, 0.2, 0.6, 0.1, 0.4, 0.3])
# Fine where the borders are, whose near-shocks are ε/|Wⱼ − Wₖ| wide.
_X = np.concatenate([np.linspace(-8, -3.2, 16, endpoint=False), np.linspace(-3.2, 3.2, 161), np.linspace(3.5, 8, 16)])
_VISCOSITIES = np.geomspace(0.05, 2, 17)
_TIMES = (0.25, 0.5, 1.0, 2.0, 4.0)


def extrapolation_panel() -> Panel:
    """Seven atoms: the layer, the line of its dominant neuron, their distance and its bound, and the curvature."""
    shape = (len(_VISCOSITIES), len(_TIMES), len(_X))
    f, bound, curvature = np.empty(shape), np.empty(shape), np.empty(shape)
    dominant = np.empty(shape[1:])
    widest = np.empty(len(_TIMES))
    for k, t in enumerate(_TIMES):
        W, b = _ATOMS / (2 * t), -_HEIGHTS - _ATOMS**2 / (4 * t)
        z = _X[:, None] * W + b
        second, first = np.sort(z, axis=1)[:, -2:].T
        dominant[k], widest[k] = first, np.max(np.diff(W[np.unique(z.argmax(axis=1))]))
        for i, eps in enumerate(_VISCOSITIES):
            weights = softmax(z / eps, axis=1)
            f[i, k] = eps * logsumexp(z / eps, axis=1)
            bound[i, k] = eps * np.log1p((len(W) - 1) * np.exp(-(first - second) / eps))
            curvature[i, k] = (weights * (W - (weights @ W)[:, None]) ** 2).sum(axis=1) / eps
    excess, peaks = f - dominant, widest**2 / (4 * _VISCOSITIES[:, None])
    radius = np.sqrt(2 * _VISCOSITIES[:, None] * _TIMES)
    left, right = _ATOMS.min() - radius, _ATOMS.max() + radius
    traces = [
        {**upright("support ± √(2εt)", width=0), **_BAND},
        line(_X, f[0, 0], "layer f", width=4),
        line(_X, dominant[0], "dominant neuron", colour=BLACK, dash="dash"),
        {**dots(_ATOMS, np.full(7, 0.04), "atoms", colour=ORANGE, symbol="triangle-up", size=10), "yaxis": whole(1)},
        line(_X, excess[0, 0], "f − dominant neuron", row=2),
        line(_X, bound[0, 0], "its bound", row=2, colour=BLACK, dash="dot"),
        line(_X, curvature[0, 0], "curvature Var(W)/ε", row=3, colour=GREEN),
        line([-8, 8], [0, 0], "two neurons, (Wⱼ − Wₖ)²/4ε", row=3, colour=BLACK, dash="dot"),
    ]
    across = {"range": [-8, 8]}
    rows = (
        Row("x", "f", 1.2, across),
        Row("x", "distance", 0.8, across, {"rangemode": "tozero"}),
        Row("x", "curvature", 0.9, across, {"rangemode": "tozero"}),
    )
    return Panel(
        name="extrapolation",
        heading="Far from its support a layer is one neuron's line",
        look="Beyond the shaded support, widened by the diffusion radius √(2εt), f lies within ε log(1 + 6 exp(−Δ/ε)) "
        "of the line of the neuron that leads by Δ. Lower ε: the curvature gathers in near-shocks at the borders "
        "between neurons, of height (Wⱼ − Wₖ)²/4ε where no third has a share: for the two neighbours furthest apart "
        f"{peaks[0, 2]:.3g} at ε = 0.05, t = 1, and {curvature[0, 2].max():.3g} is reached.",
        alternative="The layer against the dominant neuron's line with the support shaded; below, their distance with "
        "its bound, and the curvature.",
        sliders=(Slider("viscosity ε", _VISCOSITIES.tolist(), 8), Slider("time t", _TIMES, 2)),
        traces=traces,
        layout=stacked(rows, 900),
        moving=[
            Moving(0, "x", (0, 1), np.stack([left, right, right, left], axis=-1)),
            Moving(1, "y", (0, 1), f),
            Moving(2, "y", (1,), dominant),
            Moving(4, "y", (0, 1), excess),
            Moving(5, "y", (0, 1), bound),
            Moving(6, "y", (0, 1), curvature),
            Moving(7, "y", (0, 1), twice(peaks)),
        ],
        readings=np.array(
            [[_reading(i, k, radius, excess, curvature) for k in range(len(_TIMES))] for i in range(len(_VISCOSITIES))]
        ),
    )


_BAND = {"y": [0, 0, 1, 1], "fill": "toself", "fillcolor": "rgba(86, 180, 233, 0.22)", "hoverinfo": "skip"}


def _reading(i: int, k: int, radius: np.ndarray, excess: np.ndarray, curvature: np.ndarray) -> str:
    return (
        f"ε = {_VISCOSITIES[i]:.3g}, t = {_TIMES[k]:g}: √(2εt) = {radius[i, k]:.2f}; at x = 8 f is "
        f"{excess[i, k, -1]:.2g} above the dominant neuron, anywhere at most {excess[i, k].max():.2g}; the largest "
        f"curvature is {curvature[i, k].max():.3g}."
    )
