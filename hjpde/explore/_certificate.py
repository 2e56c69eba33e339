"""The panel of a fitted classifier's certificates: curvature below its bounds, and radii that follow from them."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from hjpde._demo_models import Split
from hjpde._fit import fit
from hjpde._observations import Classification
from hjpde._plotting import BLACK, GREEN, ORANGE, PINK
from hjpde.analysis import CertifiedRadii, CurvatureBounds, GibbsClassifier, certified_radius, curvature_bounds

from ._panel import Moving, Panel, Row, Slider, line, stacked, twice, upright

_FACTORS = 2.0 ** np.arange(-4, 4.25, 0.5)
_POINTS = 200
_BINS = 60
_BALL = 0.1
_RADII = np.linspace(0, 1, 101)
_CERTIFICATES = ("scores", "diameter", "row_norm")


def certificate_panel(split: Split, steps: int, progress: bool) -> Panel:
    """Atoms fitted to digits: the norm of the Hessian at test images and its bounds, and certified accuracy."""
    data = Classification(split.X[0], split.y[0])
    fitted = fit(data, metric="common", steps=steps, key=jax.random.key(0), progress=progress)
    classifier = GibbsClassifier.of(fitted)
    X, labels = split.X_test[0, :_POINTS], split.y_test[0, :_POINTS]
    viscosities = float(classifier.viscosity) * _FACTORS
    heated = [classifier.at_viscosity(eps) for eps in viscosities]
    found = [curvature_bounds(one.layer, X, _BALL, key=jax.random.key(0), steps=32) for one in heated]
    radii = [certified_radius(one, X, _CERTIFICATES) for one in heated]
    norms = np.array([bounds.measured for bounds in found], float)
    source, diameter = (np.array([float(getattr(b, name)) for b in found]) for name in ("row_norm", "diameter"))
    local = np.median([bounds.local for bounds in found], axis=1)
    certified = np.array([_certified(one, labels) for one in radii])
    edges = np.geomspace(1e-3 * norms.max(), 1.5 * source.max(), _BINS + 1)
    counts = np.array([np.histogram(np.maximum(row, edges[0]), edges)[0] for row in norms])
    start = int(np.argmin(np.abs(np.log(_FACTORS))))
    histogram = {"fill": "tozeroy", "line": {"shape": "hvh", "color": BLACK, "width": 1}}
    traces = [
        line(viscosities, source, "max|W|²/ε", colour=ORANGE, dash="dash"),
        line(viscosities, diameter, "diam²/4ε", colour=GREEN, dash="dashdot"),
        line(viscosities, local, f"local, r = {_BALL}, median", colour=PINK, dash="longdash"),
        line(viscosities, norms.max(axis=1), "measured, largest", width=3),
        line(viscosities, np.median(norms, axis=1), "measured, median", colour=BLACK, dash="dot"),
        upright(width=1),
        {**line(np.sqrt(edges[1:] * edges[:-1]), counts[0], f"{_POINTS} images", row=2), **histogram},
        upright("max|W|²/ε", row=2, colour=ORANGE, width=2),
        upright("diam²/4ε", row=2, colour=GREEN, dash="dashdot", width=2),
        line(_RADII, certified[0, 0], "by the scores", row=3, width=3),
        line(_RADII, certified[0, 1], "by diam²/4ε", row=3, colour=GREEN, dash="dashdot"),
        line(_RADII, certified[0, 2], "by max|W|²/ε", row=3, colour=ORANGE, dash="dash"),
    ]
    logs: dict[str, Any] = {"type": "log", "dtick": 1}
    rows = (
        Row("viscosity ε", "‖D²f‖", 1.2, logs, {**logs, "range": [-2, np.log10(2 * source.max())]}),
        Row("‖D²f‖ at one image", "images", 0.8, logs, {"rangemode": "tozero"}),
        Row("radius [pixel values]", "certified [%]", 1.0, {"range": [0, 1]}, {"range": [0, 102]}),
    )
    return Panel(
        name="certificate",
        heading="What a fitted classifier can promise",
        look=_look(found[start], radii[start], certified[start], float(viscosities[start])),
        alternative="Norms of the Hessian over the viscosity below their falling bounds; below, their distribution "
        "over images, and the part of the images that are certified against changes of a given size.",
        sliders=(Slider("viscosity ε", viscosities.tolist(), start),),
        traces=traces,
        layout=stacked(rows, 1000),
        moving=[
            Moving(5, "x", (0,), twice(viscosities)),
            Moving(6, "y", (0,), counts),
            Moving(7, "x", (0,), twice(source)),
            Moving(8, "x", (0,), twice(diameter)),
            *(Moving(9 + i, "y", (0,), certified[:, i]) for i in range(len(_CERTIFICATES))),
        ],
        readings=np.array(
            [_reading(*one) for one in zip(viscosities.tolist(), found, radii, certified, strict=True)],
        ),
    )


def _certified(radii: CertifiedRadii, labels: np.ndarray) -> list[Sequence[float]]:
    """The percentage of images that are right and stay so within each radius, by certificate."""
    right = np.asarray(radii.predicted) == labels
    reach = [np.where(right, np.asarray(radii.radii[name]), -1.0) for name in _CERTIFICATES]
    return [(100 * np.mean(one[:, None] >= _RADII, axis=0)).tolist() for one in reach]


def _look(bounds: CurvatureBounds, radii: CertifiedRadii, certified: np.ndarray, eps: float) -> str:
    medians = {name: float(np.median(radius)) for name, radius in radii.radii.items()}
    return (
        f"At the trained ε = {eps:.3g} the norm of the Hessian is {float(bounds.measured.max()):.3g} at most, below "
        f"diam²/4ε = {float(bounds.diameter):.3g} and max|W|²/ε = {float(bounds.row_norm):.3g}, as it is at every ε. "
        f"From max|W|²/ε no change up to {medians['row_norm']:.2f} in the median can turn a decision, from the scores "
        f"themselves none up to {medians['scores']:.2f}; {certified[0, 0]:.1f} % are right without any."
    )


def _reading(eps: float, bounds: CurvatureBounds, radii: CertifiedRadii, certified: np.ndarray) -> str:
    norms = np.asarray(bounds.measured)
    return (
        f"ε = {eps:.3g}: ‖D²f‖ up to {norms.max():.3g}, median {np.median(norms):.3g}; bounds "
        f"{float(bounds.diameter):.3g} and {float(bounds.row_norm):.3g}; {certified[0, 0]:.1f} % right, certified "
        f"radius {np.median(radii.radii['scores']):.2f} in the median."
    )
