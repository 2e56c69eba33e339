"""A layer and its entropy in plain numpy, apart from the package's own kernel, and the source's two clusters."""

import numpy as np

from hjpde.initial_data import Atoms, LogSumExp


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


def two_clusters():
    """Eight points around (-1, -1) of height 0 and eight around (1, 1) of height 1, read at t = 1."""
    rng = np.random.RandomState(42)
    positions = np.concatenate([0.4 * rng.randn(8, 2) - 1, 0.4 * rng.randn(8, 2) + 1])
    return LogSumExp.from_atoms(Atoms(positions, np.repeat([0.0, 1.0], 8)), 1.0, 1.0)
