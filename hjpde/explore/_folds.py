"""The panel of the entropy along a line: its critical points, and the folds in which they vanish."""

import numpy as np

from hjpde._log_sum_exp import gibbs_entropy
from hjpde._plotting import BLACK, GREEN, ORANGE
from hjpde.analysis import EntropyBranches, critical_points_on_segment, entropy_branches
from hjpde.initial_data import Atoms, LogSumExp

from ._panel import Moving, Panel, Row, Slider, dots, line, stacked, twice, upright

_ATOMS = np.array([-2.6, -1.5, -0.4, 0.7, 1.7, 2.7])
"""The test bed: six atoms of height 0, read at t = 1/2."""
_START, _END = np.array([-4.0]), np.array([4.0])
_X = np.linspace(-4, 4, 321)
_VISCOSITIES = np.round(np.linspace(0.1, 0.6, 51), 3)


def folds_panel() -> Panel:
    """Entropy along a line, and its critical points over the viscosity."""
    layer = LogSumExp.from_atoms(Atoms(_ATOMS[:, None], np.zeros(6)), 0.5, _VISCOSITIES[0])
    entropies = np.array([gibbs_entropy(_X[:, None], layer.weights, layer.biases, eps) for eps in _VISCOSITIES])
    critical = [critical_points_on_segment(layer, _START, _END, eps) for eps in _VISCOSITIES]
    kinds = [(points.is_minimum, ~points.is_minimum) for points in critical]
    places = np.array([[_padded(p.positions[k, 0]) for k in pair] for p, pair in zip(critical, kinds, strict=True)])
    heights = np.array([[_padded(p.entropies[k]) for k in pair] for p, pair in zip(critical, kinds, strict=True)])
    found = entropy_branches(layer, _START, _END, _VISCOSITIES[0], _VISCOSITIES[-1])
    folds = np.array([(fold.viscosity, fold.position[0]) for fold in found.singular_points])
    traces = [
        line(_X, entropies[0], "entropy", colour=BLACK),
        dots(places[0, 0], heights[0, 0], "minima", size=12),
        dots(places[0, 1], heights[0, 1], "maxima", colour=ORANGE, symbol="square", size=11),
        dots(_ATOMS, np.zeros(6), "atoms", colour=BLACK, symbol="triangle-up", size=10),
        line(*_curves(found, True), "minima", row=2, width=3),
        line(*_curves(found, False), "maxima", row=2, colour=ORANGE, dash="dot", width=3),
        dots(folds[:, 0], folds[:, 1], "folds", row=2, colour=GREEN, symbol="x", size=12),
        upright(row=2),
    ]
    rows = (
        Row("x", "entropy [nats]", 1.0, {"range": [-4, 4]}, {"range": [-0.08, 1.3]}),
        Row("viscosity ε", "critical points x", 1.1, {"range": [0.09, 0.61]}, {"range": [-4, 4]}),
    )
    counts = [points.s.size for points in critical]
    listed = ", ".join(f"{eps:.6f}" for eps in folds[:, 0])
    return Panel(
        name="folds",
        heading="Minima of the entropy meet maxima and vanish",
        look=f"Raise ε: {counts[0]} critical points become {counts[-1]}. A minimum and a maximum meet in a fold, at "
        f"ε = {listed}; the closer ε is to a fold, the closer are the two, as the square root of the distance.",
        alternative="Entropy over x with its minima and maxima marked; below, the branches of both over the "
        "viscosity, with the folds.",
        sliders=(Slider("viscosity ε (t = 1/2)", _VISCOSITIES.tolist(), 15),),
        traces=traces,
        layout=stacked(rows, 760),
        moving=[
            Moving(0, "y", (0,), entropies),
            *(Moving(1 + kind, "x", (0,), places[:, kind]) for kind in range(2)),
            *(Moving(1 + kind, "y", (0,), heights[:, kind]) for kind in range(2)),
            Moving(7, "x", (0,), twice(_VISCOSITIES)),
        ],
        readings=np.array(
            [
                f"ε = {eps:.3g}: minima {low.sum()}, maxima {high.sum()}; critical points in all {low.size}"
                f"{', as is proven' if points.certified else ''}."
                for eps, points, (low, high) in zip(_VISCOSITIES, critical, kinds, strict=True)
            ]
        ),
    )


def _curves(found: EntropyBranches, minima: bool) -> tuple[np.ndarray, np.ndarray]:
    """The parts of all branches that are minima, or maxima, with gaps between them: viscosities and places."""
    viscosities, places = [], []
    for branch in found.branches:
        x = found.start[0] + branch.s * (found.end[0] - found.start[0])
        viscosities += [branch.viscosities, [np.nan]]
        places += [np.where(branch.is_minimum == minima, x, np.nan), [np.nan]]
    return np.concatenate(viscosities), np.concatenate(places)


def _padded(values: np.ndarray, size: int = 6) -> np.ndarray:
    return np.pad(values, (0, size - len(values)), constant_values=np.nan)
