"""The claim about particle and wave phases of attribution on images: where the change between them lies."""

import numpy as np
from scipy.optimize import root_scalar
from scipy.special import softmax

from hjpde._datasets import load_digits_data, load_mnist
from hjpde._plotting import BLUE, GREEN, ORANGE, tidy
from hjpde.analysis import fit_rate

from ._claim import Check, Claim, Evidence, Setting
from ._sources import THEORY

_SHARE = 4.0
"""The effective number of points at which attribution is said to turn from one point to many."""


def _effective_number(X, Y, viscosity):
    """The mean of exp(entropy) over queries X, of points Y at time 1 with heights 0."""
    squares = (X**2).sum(1)[:, None] - 2 * X @ Y.T + (Y**2).sum(1)[None]
    weights = softmax(-squares / (4 * viscosity), axis=1)
    return float(np.exp(-(weights * np.log(np.maximum(weights, 1e-300))).sum(1)).mean())


def _turning(X, Y):
    """The viscosity at which the mean effective number is `_SHARE`."""

    def excess(log_viscosity):
        return _effective_number(X, Y, np.exp(log_viscosity)) - _SHARE

    return float(np.exp(root_scalar(excess, bracket=(np.log(1e-8), np.log(1e4))).root))


def _two_digits(setting: Setting) -> np.ndarray:
    """Threes and sevens, sixty of each, on the two principal axes of both."""
    from sklearn.decomposition import PCA

    dataset = load_digits_data() if setting.mnist is None else load_mnist(setting.mnist)
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.choice(np.flatnonzero(dataset.y == digit), 60, replace=False) for digit in (3, 7)])
    return PCA(2).fit_transform(dataset.X[rows].astype(float))


def _phases(setting: Setting) -> Evidence:
    rng = np.random.default_rng(1)
    counts = (64, 128, 256, 512, 1024, 2048, 4096) if setting.full else (64, 128, 256, 512, 1024)
    # Queries away from the edge of the unit square, where half of the neighbours are missing.
    X = rng.uniform(0.3, 0.7, (60, 2))
    turnings = [[_turning(X, rng.uniform(0, 1, (n, 2))) for n in counts] for _ in range(4)]
    fit = fit_rate(counts, turnings)
    points = _two_digits(setting)
    viscosities = np.logspace(-3, 1, 41)
    numbers = [_effective_number(points, points, eps) for eps in viscosities]
    star, found = len(points) ** -0.5, _turning(points, points)
    finer = _turning(2 * points, 2 * points) / found

    def draw(ax):
        tidy(ax)
        ax.loglog(viscosities, numbers, color=BLUE, label="120 threes and sevens on two axes")
        ax.axvline(star, color=ORANGE, linestyle="--", label="N^(−1/d) = 0.091")
        ax.axvline(found, color=GREEN, linestyle=":", label=f"four points share the answer: {found:.2g}")
        ax.set(xlabel="viscosity ε", ylabel="effective number of points")
        ax.legend(frameon=False)
        return ax

    return Evidence(
        stated=(
            Check("exponent in N of the turning viscosity, d = 2", fit.exponent, -0.5, (fit.high - fit.low) / 2),
            Check("factor by which it moves when the unit of length is halved", finer, 1.0, 0.1),
        ),
        amended=(
            # Clouds of few points feel the edges: the first power of 1/N is a limit.
            Check("exponent in N of the turning viscosity, d = 2", fit.exponent, -1.0, 0.1),
            Check("factor by which it moves when the unit of length is halved", finer, 4.0, 1e-6),
        ),
        draw=draw,
        caption="Attribution turns from one point to many where the kernel's width reaches the spacing of the points, "
        "which N^(−1/d) knows nothing of.",
        notes="Images: " + ("scikit-learn's digits." if setting.mnist is None else "MNIST."),
    )


PHASES = (
    Claim(
        name="theory.particle-and-wave",
        source=f"{THEORY}, project page and authors' code, phases of MNIST",
        statement="Attribution turns from particles to waves at the critical viscosity $ε* = N^{−1/d}$, 0.091 for 120 "
        "images on two axes.",
        computed="The viscosity at which four points share the answer: over N for uniform clouds, and for two digits "
        "in two units.",
        measure=_phases,
        recorded="fails",
        instead="It turns where the kernel's width √(2εt) reaches the spacing of the points, h ~ N^(−1/d): at "
        "ε ~ h²/t, which falls as N^(−2/d) and scales with the square of the unit of length.",
    ),
)
