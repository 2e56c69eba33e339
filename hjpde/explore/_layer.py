"""The panel of a layer that hardens to a maximum."""

import numpy as np
from scipy.special import logsumexp, softmax

from hjpde._plotting import BLACK, CYCLE

from ._panel import Moving, Panel, Row, Slider, dots, line, stacked

_W = np.array([-2.0, -0.8, 0.1, 1.1, 1.9])
_B = np.array([-1.9, 0.0, 0.35, -0.2, -1.3])
_X = np.linspace(-3, 3, 241)
_VISCOSITIES = np.geomspace(0.01, 4, 27)
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")


def layer_panel() -> Panel:
    """Five neurons on a line: the layer, the maximum, and the Gibbs weights, over the viscosity."""
    z = _X[:, None] * _W + _B
    maximum, eps = z.max(axis=1), _VISCOSITIES[:, None]
    f = eps * np.asarray(logsumexp(z / eps[..., None], axis=2))
    weights = np.asarray(softmax(z / eps[..., None], axis=2))
    gaps = (f - maximum).max(axis=1)
    neurons = range(len(_W))
    traces = [
        *(line(_X, z[:, j], colour=CYCLE[j], dash=_DASHES[j], width=1) for j in neurons),
        line(_X, maximum, "maximum", colour=BLACK, dash="dot"),
        line(_X, f[0], "layer f", colour=BLACK, width=3),
        *(line(_X, weights[0, :, j], row=2, colour=CYCLE[j], dash=_DASHES[j]) for j in neurons),
        line(_VISCOSITIES, gaps, "largest f − max", row=3),
        line(_VISCOSITIES, _VISCOSITIES * np.log(len(_W)), "ε log 5", row=3, colour=BLACK, dash="dot"),
        dots([0], [0], row=3, size=12),
    ]
    n = len(_W)
    rows = (
        Row("x", "f", 1.3, {"range": [-3, 3]}, {"range": [-1, 6]}),
        Row("x", "Gibbs weight πⱼ", 1.0, {"range": [-3, 3]}, {"range": [-0.02, 1.02]}),
        Row("viscosity ε", "distance", 0.8, {"type": "log", "dtick": 1}, {"type": "log", "dtick": 1}),
    )
    tie = int(np.argmin(np.abs(_VISCOSITIES - 0.1)))
    return Panel(
        name="layer",
        heading="A layer hardens to a maximum",
        look="Lower ε: the layer f = ε log Σ exp((Wⱼx + bⱼ)/ε) falls onto the largest of its five lines, and the "
        "weights of the neurons become steps. The distance is never above ε log 5 = 1.609 ε; once ε is so small that "
        "only two lines tie it is ε log 2 = 0.693 ε at most, as it nearly is at "
        f"ε = {_VISCOSITIES[tie]:.2g}: {gaps[tie] / _VISCOSITIES[tie]:.3f} ε.",
        alternative="Five lines, their maximum and the smooth layer above it; below, the five Gibbs weights.",
        sliders=(Slider("viscosity ε", _VISCOSITIES.tolist(), start=17),),
        traces=traces,
        layout=stacked(rows, 760),
        moving=[
            Moving(n + 1, "y", (0,), f),
            *(Moving(n + 2 + j, "y", (0,), weights[:, :, j]) for j in neurons),
            Moving(2 * n + 4, "x", (0,), _VISCOSITIES[:, None]),
            Moving(2 * n + 4, "y", (0,), gaps[:, None]),
        ],
        readings=np.array(
            [
                f"ε = {e:.3g}: f lies at most {gap:.3g} = {gap / e:.3f} ε above the maximum."
                for e, gap in zip(_VISCOSITIES, gaps, strict=True)
            ]
        ),
    )
