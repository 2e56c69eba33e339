"""A layer and its entropy in plain numpy, apart from the package's own kernel, and the source's two clusters."""

import numpy as np

from hjpde.initial_data import Atoms


def scores(layer, X):
    """In float64, written out."""
    return np.asarray(X, float) @ np.asarray(layer.weights, float).T + np.asarray(layer.biases, float)


def log_sum_exp(z, viscosity):
    """Also for complex scores and viscosities, whose imaginary part then carries a derivative."""
    top = z.real.max(-1, keepdims=True)
    return (top[..., 0]) + viscosity * np.log(np.exp((z - top) / viscosity).sum(-1))


def shannon(z, viscosity):
    top = z.real.max(-1, keepdims=True)
    p = np.exp((z - top) / viscosity)
    p = p / p.sum(-1, keepdims=True)
    return -(p * np.log(p)).sum(-1)


def two_clusters() -> Atoms:
    """The source's sixteen points: eight around (-1, -1) of height 0 and eight around (1, 1) of height 1."""
    # By numpy's older generator, as there.
    random = np.random.RandomState(42)
    positions = np.concatenate([0.4 * random.randn(8, 2) + centre for centre in (-1.0, 1.0)])
    return Atoms(positions, np.repeat([0.0, 1.0], 8))


def relative_gap(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference over the largest expected entry."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())
