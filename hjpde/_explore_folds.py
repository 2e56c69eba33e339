"""The panel of the entropy along a line: its critical points, and the folds in which they vanish."""

import itertools

import numpy as np
from scipy.optimize import root
from scipy.special import entr, softmax

from hjpde._explore_panel import Moving, Panel, Row, Slider, dots, line, stacked
from hjpde._plotting import BLACK, GREEN, ORANGE

_ATOMS = np.array([-2.6, -1.5, -0.4, 0.7, 1.7, 2.7])
"""The test bed: six atoms of height 0, read at t = 1/2."""
_TIME = 0.5
_X = np.linspace(-4, 4, 321)
_FINE = np.linspace(-4, 4, 1601)
_VISCOSITIES = np.round(np.linspace(0.1, 0.6, 51), 3)
_BRANCHES = np.linspace(0.1, 0.6, 401)


def _weights(x: np.ndarray, eps: float) -> np.ndarray:
    return softmax(-((x[:, None] - _ATOMS) ** 2) / (4 * _TIME * eps), axis=1)


def _entropy(x: np.ndarray, eps: float) -> np.ndarray:
    return entr(_weights(x, eps)).sum(axis=1)


def entropy_slope(x: np.ndarray, eps: float) -> np.ndarray:
    r"""$\partial_x S = \mathrm{Cov}_\pi(y, -\log\pi) / (2t\varepsilon)$."""
    weights = _weights(x, eps)
    # A vanishing weight has no part in the mean, and its logarithm none in the covariance.
    surprise = -np.log(np.maximum(weights, np.finfo(float).tiny))
    centred = _ATOMS - (weights @ _ATOMS)[:, None]
    return (weights * surprise * centred).sum(axis=1) / (2 * _TIME * eps)


def critical_points(eps: float) -> tuple[np.ndarray, np.ndarray]:
    """The minima and the maxima of the entropy: where its slope changes its sign."""
    slope = entropy_slope(_FINE, eps)
    i = np.nonzero(np.signbit(slope[1:]) != np.signbit(slope[:-1]))[0]
    x = _FINE[i] - slope[i] * (_FINE[i + 1] - _FINE[i]) / (slope[i + 1] - slope[i])
    rising = slope[i + 1] > slope[i]
    return x[rising], x[~rising]


def folds() -> np.ndarray:
    """The viscosities and places, rows `(eps, x)`, at which a minimum and a maximum meet and vanish."""
    found = []
    for eps, following in itertools.pairwise(_BRANCHES):
        points, fewer = (np.sort(np.concatenate(critical_points(e))) for e in (eps, following))
        if len(fewer) == len(points):
            continue
        # The steps are short enough for one pair at a time: it is the one without which the others stay where they are.
        moves = [np.abs(np.delete(points, [i, i + 1]) - fewer).sum() for i in range(len(points) - 1)]
        i = int(np.argmin(moves))
        found.append(_fold_near(eps, (points[i] + points[i + 1]) / 2))
    return np.array(found)


def _fold_near(eps: float, x: float) -> np.ndarray:
    """Slope and curvature of the entropy both 0, by Newton's method."""
    step = 1e-4

    def equations(unknowns: np.ndarray) -> list[float]:
        eps, x = unknowns
        left, slope, right = entropy_slope(np.array([x - step, x, x + step]), eps)
        return [slope, (right - left) / (2 * step)]

    return root(equations, [eps, x], tol=1e-12).x


def folds_panel() -> Panel:
    """Entropy along a line, and its critical points over the viscosity."""
    entropies = np.array([_entropy(_X, eps) for eps in _VISCOSITIES])
    critical = [critical_points(eps) for eps in _VISCOSITIES]
    at = [[(x, _entropy(x, eps)) for x in pair] for eps, pair in zip(_VISCOSITIES, critical, strict=True)]
    places = np.array([[_padded(x) for x, _ in pair] for pair in at])
    heights = np.array([[_padded(h) for _, h in pair] for pair in at])
    counts = [sum(map(len, pair)) for pair in critical]
    minima, maxima = (_branch(kind) for kind in range(2))
    turning = folds()
    traces = [
        line(_X, entropies[0], "entropy", colour=BLACK),
        dots(places[0, 0], heights[0, 0], "minima", size=12),
        dots(places[0, 1], heights[0, 1], "maxima", colour=ORANGE, symbol="square", size=11),
        dots(_ATOMS, np.zeros(6), "atoms", colour=BLACK, symbol="triangle-up", size=10),
        dots(minima[:, 0], minima[:, 1], "minima", row=2, size=4),
        dots(maxima[:, 0], maxima[:, 1], "maxima", row=2, colour=ORANGE, symbol="square", size=4),
        dots(turning[:, 0], turning[:, 1], "folds", row=2, colour=GREEN, symbol="x", size=12),
        line([0, 0], [-4, 4], "ε", row=2, colour=BLACK, dash="dash"),
    ]
    for trace in traces[4:6]:
        trace["marker"]["line"]["width"] = 0
    rows = (
        Row("x", "entropy [nats]", 1.0, {"range": [-4, 4]}, {"range": [-0.08, 1.3]}),
        Row("viscosity ε", "critical points x", 1.1, {"range": [0.09, 0.61]}, {"range": [-4, 4]}),
    )
    listed = ", ".join(f"{eps:.6f}" for eps in turning[:, 0])
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
            Moving(7, "x", (0,), np.repeat(_VISCOSITIES[:, None], 2, axis=1)),
        ],
        readings=np.array(
            [
                f"ε = {eps:.3g}: {len(low)} minima and {len(high)} maxima, {len(low) + len(high)} critical points."
                for eps, (low, high) in zip(_VISCOSITIES, critical, strict=True)
            ]
        ),
    )


def _branch(kind: int) -> np.ndarray:
    """All minima (0) or maxima (1), rows `(eps, x)`."""
    return np.array([(eps, x) for eps in _BRANCHES for x in critical_points(eps)[kind]])


def _padded(values: np.ndarray, size: int = 6) -> np.ndarray:
    return np.pad(values, (0, size - len(values)), constant_values=np.nan)
