"""The panel of a fitted classifier's curvature: measured, and below two bounds."""

import jax
import numpy as np
from scipy.spatial.distance import pdist
from scipy.special import softmax

from hjpde._demo_models import Split
from hjpde._explore_panel import Moving, Panel, Row, Slider, line, stacked
from hjpde._fit import fit
from hjpde._log_sum_exp import hessian_spectral_norm
from hjpde._observations import Classification
from hjpde._plotting import BLACK, BLUE, GREEN, ORANGE, SKY
from hjpde.initial_data import LogSumExp

_FACTORS = 2.0 ** np.arange(-4, 5.25, 0.5)
_POINTS = 240
_BINS = 60


def certificate_panel(split: Split, steps: int, progress: bool) -> Panel:
    """Atoms fitted to digits: the norm of the Hessian at test images, over the viscosity, and its bounds."""
    observations = Classification(split.X[0], split.y[0])
    fitted = fit(observations, metric="common", steps=steps, key=jax.random.key(0), progress=progress)
    layer, X, labels = fitted.layer, split.X_test[0], split.y_test[0]
    viscosities = float(layer.viscosity) * _FACTORS
    norms = np.array([_norms(layer, X[:_POINTS], eps) for eps in viscosities])
    accuracy = np.array([_accuracy(layer, fitted.atom_classes, X, labels, eps) for eps in viscosities])
    W = np.asarray(layer.weights, float)
    source = np.max((W**2).sum(axis=1)) / viscosities
    popoviciu = pdist(W).max() ** 2 / (4 * viscosities)
    least, middle, most = norms.min(axis=1), np.median(norms, axis=1), norms.max(axis=1)
    edges = np.geomspace(max(norms.min(), 1e-3 * norms.max()), 1.5 * source.max(), _BINS + 1)
    counts = np.array([np.histogram(np.maximum(row, edges[0]), edges)[0] for row in norms])
    start = int(np.argmin(np.abs(_FACTORS - 1)))
    traces = [
        line(viscosities, source, "max|W|²/ε", colour=ORANGE, dash="dash"),
        line(viscosities, popoviciu, "diam²/4ε", colour=GREEN, dash="dashdot"),
        line(viscosities, most, "largest measured", colour=BLUE, width=3),
        line(viscosities, middle, "median", colour=BLACK, dash="dot"),
        line([0, 0], [edges[0], edges[-1]], "ε", colour="#777777", width=1),
        {
            **line(np.sqrt(edges[1:] * edges[:-1]), counts[0], f"{_POINTS} images", row=2, colour=SKY, width=1),
            "fill": "tozeroy",
            "line": {"shape": "hvh", "color": BLUE},
        },
        line([0, 0], [0, 1], "max|W|²/ε", row=2, colour=ORANGE, dash="dash"),
        line([0, 0], [0, 1], "diam²/4ε", row=2, colour=GREEN, dash="dashdot"),
    ]
    height = float(counts.max()) * 1.05
    for trace in traces[6:]:
        trace["y"] = [0, height]
    rows = (
        Row("viscosity ε", "‖D²f‖", 1.2, {"type": "log", "dtick": 1}, {"type": "log", "dtick": 1}),
        Row("‖D²f‖ at one image", "images", 0.9, {"type": "log", "dtick": 1}, {"range": [0, height]}),
    )
    pairs = [Moving(i, "x", (0,), np.repeat(b[:, None], 2, axis=1)) for i, b in ((6, source), (7, popoviciu))]
    return Panel(
        name="certificate",
        heading="Certified curvature of a fitted classifier",
        look=f"At all {_POINTS} images and every ε the norm of the Hessian stays below both bounds: at the trained ε = "
        f"{viscosities[start]:.3g} it is {most[start]:.3g} at most, below diam²/4ε = {popoviciu[start]:.3g} and "
        f"max|W|²/ε = {source[start]:.3g}. Raising ε lowers all three, and at {_FACTORS[-1]:.0f} times the trained ε "
        f"{100 * accuracy[-1]:.1f} % of the images are still recognised, of {100 * accuracy[start]:.1f} %.",
        alternative="Norms of the Hessian over the viscosity, below two falling bounds; below, their distribution "
        "over images at the viscosity of the slider.",
        sliders=(Slider("viscosity ε", viscosities.tolist(), start),),
        traces=traces,
        layout=stacked(rows, 760),
        moving=[
            Moving(4, "x", (0,), np.repeat(viscosities[:, None], 2, axis=1)),
            Moving(5, "y", (0,), counts),
            *pairs,
        ],
        readings=np.array(
            [
                f"ε = {eps:.3g}: ‖D²f‖ from {least[i]:.3g} to {most[i]:.3g}, median {middle[i]:.3g}; bounds "
                f"{popoviciu[i]:.3g} and {source[i]:.3g}; {100 * accuracy[i]:.1f} % of {len(labels)} images right."
                for i, eps in enumerate(viscosities)
            ]
        ),
    )


def _norms(layer: LogSumExp, X: np.ndarray, eps: float) -> np.ndarray:
    key = jax.random.key(0)
    norms = hessian_spectral_norm(X, layer.weights, layer.biases, eps, key=key, steps=24)
    return np.asarray(norms, float)


def _accuracy(layer: LogSumExp, classes: np.ndarray, X: np.ndarray, labels: np.ndarray, eps: float) -> float:
    """How often the class with the most Gibbs mass is the right one."""
    weights = softmax((X @ np.asarray(layer.weights).T + np.asarray(layer.biases)) / eps, axis=1)
    mass = weights @ np.eye(classes.max() + 1)[classes]
    return float(np.mean(mass.argmax(axis=1) == labels))
