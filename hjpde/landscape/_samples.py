"""What chains on the sphere leave behind."""

from typing import NamedTuple, final

import numpy as np


@final
class Samples(NamedTuple):
    """Records of chains at one temperature: `K` records of `S` samples of the disorder, each with `R` replicas.

    Numbers are numpy's float64.

    - `beta`: inverse temperature.
    - `energies`: $H/N$, shape `(K, S, R)`.
    - `overlaps`: $x^a \\cdot x^b/N$ of all pairs of replicas of the same sample, shape `(K, S, R (R - 1)/2)`.
    - `diagonals`: mean squares of the layers' activations $g_l$, over replicas, shape `(K, S, L + 1)`; $g_0 = 1$.
    - `layer_overlaps`: mean products $q_l$, over pairs of replicas, shape `(K, S, L + 1)`.
    - `points`: the last points, shape `(S, R, N)`.
    - `acceptance`, `steps`: of the moves after their adaptation, shape `(S, R)`.
    """

    beta: float
    energies: np.ndarray
    overlaps: np.ndarray
    diagonals: np.ndarray
    layer_overlaps: np.ndarray
    points: np.ndarray
    acceptance: np.ndarray
    steps: np.ndarray
