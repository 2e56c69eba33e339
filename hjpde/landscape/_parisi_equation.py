r"""Breaking of the replica symmetry for one hidden layer at proportional widths, by Parisi's equation.

$$\partial_q f = -\tfrac{\sigma_w^2}{2}\bigl(\partial_{hh} f + x(q)\,(\partial_h f)^2\bigr), \qquad
f(1, h) = -\beta a\,\phi(h),$$

a Hamilton-Jacobi equation with viscosity, backward in the overlap: between jumps of `x` at a level `m`, Hopf-Cole makes
$e^{m f}$ a solution of the heat equation. The free energy is the least value over `x` of

$$\tfrac12\Bigl\{\int_0^{q_k}\frac{dq}{\hat x(q)} + \log(1 - q_k)\Bigr\} + \alpha\,E_a f(0, 0).$$
"""

import numpy as np
import scipy.linalg

from hjpde._types import ScalarLike, known_number

from ._covariance_maps import mixture
from ._gaussian_field import FieldPhase, free_energy_functional, minimise_from
from ._random_network import RandomNetwork

_READOUTS = np.linspace(0, 6, 31)
# Steps of the grid in standard deviations of the least heat flow: sums over it are then exact to rounding.
_STEPS = 1.5
# The least difference of two overlaps, between which the heat has to flow; the lowest may be 0.
_APART = 1.5e-3
# The functional of a field without energy is the entropic part.
_NO_ENERGY = mixture([1.0])


def parisi_breaking(network: RandomNetwork, beta: ScalarLike, steps: int = 1) -> FieldPhase:
    r"""The least free energy among order parameters of `steps` steps, for one hidden layer of a periodic activation.

    Heat flows are products with the wrapped Gaussian on a periodic grid, which has no boundary. More steps never raise
    the free energy; that they keep lowering it, with levels that spread, is the sign of full breaking.
    Overlaps are told apart down to 0.0015.

    **Arguments:**

    - `network`: of one layer, with an activation that has a `period`.
    - `beta`: finite and positive.
    - `steps`: `k`; 0 is replica symmetric. Each step starts from a split of the widest one before.

    **Returns:** the minimiser, with the thermodynamics of the network; `plot_field_phase` draws it.

    **Raises:** `ValueError` for another depth, an activation without period, or a number out of range.

    ??? cite "References"

        G. Parisi, *The order parameter for spin glasses*, J. Phys. A 13, 1980; the functional for a hidden layer is
        derived here.
    """
    period = network.activation.period
    if network.depth != 1 or period is None:
        raise ValueError(
            "`network` must have one hidden layer of a periodic activation (sin, cos), got depth "
            f"{network.depth} of {network.activation.name}."
        )
    h = np.linspace(0, period, 7)
    if not np.allclose(network.activation.values(h + period / 2), -network.activation.values(h), atol=1e-6):
        raise ValueError("`network` must have an activation that changes sign after half its period.")
    beta = known_number(beta, "beta")
    if not (np.isfinite(beta) and beta > 0):
        raise ValueError(f"`beta` must be a positive inverse temperature, got {beta:g}.")
    if steps < 0:
        raise ValueError(f"`steps` must not be negative, got {steps}.")

    q, m = np.array([0.5]), np.array([])
    for k in range(steps + 1):

        def unpack(p: np.ndarray, k: int = k) -> tuple[np.ndarray, np.ndarray]:
            return _apart(p[: k + 1]), np.cumsum(_shares(p[k + 1 :]))[:-1]

        def value(p: np.ndarray) -> float:
            return _free_energy(network, period, beta, *unpack(p))

        q, m = unpack(minimise_from(value, [_logits(*start) for start in _starts(q, m, k)]))
    free_energy = _free_energy(network, period, beta, q, m)
    # The order parameter is stationary, so that only the explicit beta counts.
    d = 1e-4 * beta
    energy = -(_free_energy(network, period, beta + d, q, m) - _free_energy(network, period, beta - d, q, m)) / (2 * d)
    return FieldPhase(beta, free_energy, energy, free_energy + beta * energy, q, m)


def _starts(q: np.ndarray, m: np.ndarray, k: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Where to look for `k` steps, given the best of one less."""
    if k == 0:
        return [(q, m)]
    if k == 1:
        above = q[0] + 0.3 * (1 - q[0])
        return [(np.array([low * q[0], above]), np.array([level])) for low, level in ((0.9, 0.4), (0.5, 0.7))]
    i = int(np.argmax(np.diff(q)))
    return [
        (
            np.insert(q, i + 1, (q[i] + q[i + 1]) / 2),
            np.sort(np.concatenate([m[:i], m[i] * np.array([0.85, 1.1]), m[i + 1 :]])),
        )
    ]


def _shares(logits: np.ndarray) -> np.ndarray:
    """Positive shares of 1, by numbers without constraint."""
    shares = np.exp(np.clip(np.append(logits, 0.0), -30, 30))
    return shares / shares.sum()


def _apart(logits: np.ndarray) -> np.ndarray:
    """Increasing overlaps between 0 and 1, `_APART` from each other and from 1."""
    gaps = (1 - len(logits) * _APART) * _shares(logits)
    gaps[1:] += _APART
    return np.cumsum(gaps)[:-1]


def _logits(q: np.ndarray, m: np.ndarray) -> np.ndarray:
    """What `_apart` and `_shares` take to overlaps and levels."""
    gaps, steps = np.diff(q, prepend=0.0, append=1.0), np.diff(m, prepend=0.0, append=1.0)
    gaps[1:] -= _APART
    return np.concatenate([np.log(np.maximum(part[:-1], 1e-9) / np.maximum(part[-1], 1e-9)) for part in (gaps, steps)])


def _free_energy(network: RandomNetwork, period: float, beta: float, q: np.ndarray, m: np.ndarray) -> float:
    points = 2 * int(np.ceil(_STEPS * period / (2 * network.sigma_w * np.sqrt(_APART))))
    h = period * np.arange(points) / points
    variances = network.sigma_w**2 * np.diff(q, prepend=0.0, append=1.0)
    # From the top, levels are 1, m_k, ..., m_1, and 0 below the lowest overlap.
    f = -beta * _READOUTS[:, None] * network.activation.values(h)[None]
    for level, variance in zip(np.append(m, 1.0)[::-1], variances[:0:-1], strict=True):
        exponents = level * f
        peak = exponents.max(axis=1, keepdims=True)
        f = (peak + np.log(np.exp(exponents - peak) @ _heat(h, period, variance))) / level
    modes = 2 * np.pi / period * np.fft.rfftfreq(points, 1 / points)
    f = np.fft.irfft(np.fft.rfft(f) * np.exp(-variances[0] * modes**2 / 2), points)
    # A negative readout is a positive one half a period further on.
    roots = (f[:, 0] + f[:, points // 2]) / 2
    weights = np.exp(-(_READOUTS**2) / 2)
    weights[0] /= 2
    entropic = free_energy_functional(_NO_ENERGY, 0.0, q, m)
    return entropic + network.widths[0] * float(weights @ roots) / float(weights.sum())


def _heat(h: np.ndarray, period: float, variance: float) -> np.ndarray:
    """The heat kernel between the points of a periodic grid: the sum over images, all of whose terms are positive."""
    images = int(np.ceil(8 * np.sqrt(variance) / period)) + 1
    distances = h[:, None] + period * np.arange(-images, images + 1)[None]
    first = np.exp(-(distances**2) / (2 * variance)).sum(axis=1)
    return scipy.linalg.circulant(first / first.sum())
