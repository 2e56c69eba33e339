"""Whether chains have reached the Gibbs measure, and averages over it that exist only if so."""

from typing import Any, NamedTuple, final

import equinox as eqx
import numpy as np
from jaxtyping import Array, Key

from hjpde._types import ArrayInput

from ._energy import AbstractEnergy
from ._minimiser import lowest_energies
from ._moves import AbstractMove, Metropolis
from ._samples import Samples
from ._tempering import sample

_MIXED = 1.1
_ERRORS = 3.0


class CHAINS(eqx.Enumeration):
    """How chains ended; every message but the first says what to change."""

    successful = ""
    stuck = "less than 1 % of the moves were accepted after the adaptation. Increase `burn_in`, or use another move."
    not_mixed = (
        "replicas and halves of the chains differ by more than their fluctuations (`r_hat` above 1.1). Increase "
        "`steps`, or use `temper` with temperatures up to one at which chains mix."
    )
    starts_disagree = (
        "chains from uniform points and from low energies have energies more than three standard errors apart. "
        "Increase `steps`, or use `temper`."
    )


@final
class Diagnosis(NamedTuple):
    r"""What chains tell of themselves.

    - `acceptance`: of moves, over all chains.
    - `autocorrelation_time`: $\tau = 1 + 2\sum_{t\ge1}\rho_t$ of the energy, in records; averages are as precise as
      from one independent record in $\tau$.
    - `r_hat`: the ratio of deviations across and within halves of chains, the larger one of energies and of overlaps;
      1 when they have mixed.
    - `result`: whether that is good enough.
    """

    acceptance: float
    autocorrelation_time: float
    r_hat: float
    result: CHAINS


@final
class ThermalAverages(NamedTuple):
    """Means over the Gibbs measure and then over the disorder; NaN unless `result` is successful.

    - `beta`: inverse temperature.
    - `energy`, `energy_error`: $e = \\langle H\\rangle/N$ and its standard error over samples of the disorder.
    - `overlaps`, `overlap_errors`: $q_l$ of the layers from the input, shape `(L + 1,)`.
    - `diagonals`, `diagonal_errors`: $g_l$ likewise.
    - `diagnosis`, `result`: of the chains.
    """

    beta: float
    energy: float
    energy_error: float
    overlaps: np.ndarray
    overlap_errors: np.ndarray
    diagonals: np.ndarray
    diagonal_errors: np.ndarray
    diagnosis: Diagnosis
    result: CHAINS


@final
class TwoStarts(NamedTuple):
    """Chains from two kinds of first points.

    - `random`, `low`: from uniform points, and from the lowest energies that annealing finds.
    - `gap`, `error`: energy from low minus from random points, mean over the disorder, and its standard error with
      that of the chains themselves.
    - `result`: successful if each has mixed and the gap is within three errors.
    """

    random: Samples
    low: Samples
    gap: float
    error: float
    result: CHAINS


def autocorrelation_time(series: ArrayInput) -> float:
    r"""$\tau = 1 + 2\sum_{t=1}^{M}\rho_t$, with the autocorrelations $\rho_t$ of all chains together.

    The sum stops at the first $M \ge 5\tau$, beyond which it would add noise.

    **Arguments:** `series`: shape `(K, ...)`, records first, chains after.

    **Returns:** $\tau$ in records; 1 for series without any variation.

    **Raises:** `ValueError` for less than 4 records.

    ??? cite "References"

        A. Sokal, *Monte Carlo methods in statistical mechanics*, 1996, Section 3.
    """
    values = _records(series)
    K = values.shape[0]
    centred = values.reshape(K, -1) - values.reshape(K, -1).mean(0)
    spectrum = np.abs(np.fft.rfft(centred, 2 * K, axis=0)) ** 2
    covariance = np.fft.irfft(spectrum, axis=0)[:K].mean(1)
    if not covariance[0] > 0:
        return 1.0
    times = 2 * np.cumsum(covariance / covariance[0]) - 1
    enough = np.flatnonzero(np.arange(K) >= 5 * times)
    return float(max(times[enough[0] if enough.size else K - 1], 1.0))


def r_hat(series: ArrayInput) -> float:
    r"""$\hat R = \sqrt{1 - 1/n + B/W}$: variance `B` between the means of half chains, and `W` within them.

    Both are averaged over samples of the disorder, since few replicas of one tell little.

    **Arguments:** `series`: shape `(K, S, R)`: records, samples of the disorder, replicas.

    **Raises:** `ValueError` for another shape or less than 4 records.

    ??? cite "References"

        A. Gelman et al., *Bayesian Data Analysis*, 3rd edition, 2013, Section 11.4.
    """
    values = _records(series)
    if values.ndim != 3:
        raise ValueError(f"`series` must have shape (records, samples, replicas), got {values.shape}.")
    n = values.shape[0] // 2
    halves = np.concatenate([values[:n], values[-n:]], axis=2)
    within = halves.var(0, ddof=1).mean()
    between = halves.mean(0).var(1, ddof=1).mean()
    if not within > 0:
        return 1.0 if between == 0 else float("inf")
    return float(np.sqrt(1 - 1 / n + between / within))


def diagnose(samples: Samples) -> Diagnosis:
    """Acceptance, autocorrelation time of the energy, $\\hat R$, and whether they are good enough.

    Energies may settle long before pairs of chains have found the states that they share, so that both are asked.

    **Arguments:** `samples`: at least 4 records.
    """
    ratio = max(r_hat(samples.energies), r_hat(samples.overlaps))
    acceptance = float(samples.acceptance.mean())
    result = CHAINS.stuck if acceptance < 0.01 else CHAINS.successful if ratio <= _MIXED else CHAINS.not_mixed
    return Diagnosis(acceptance, autocorrelation_time(samples.energies), ratio, result)


def thermal_averages(samples: Samples, *, throw: bool = True) -> ThermalAverages:
    """Energy, overlaps and diagonals of chains that have mixed, with standard errors over the disorder.

    **Arguments:**

    - `samples`: of at least 2 samples of the disorder.
    - `throw`: whether chains that have not mixed raise; else their numbers are NaN and `result` says why.

    **Raises:** `RuntimeError` if they have not, unless `throw` is false; `ValueError` for a single sample.
    """
    if samples.energies.shape[1] < 2:
        raise ValueError("`samples` must be of at least 2 samples of the disorder for a standard error, got 1.")
    diagnosis = diagnose(samples)
    failed = diagnosis.result != CHAINS.successful
    if failed and throw:
        raise RuntimeError(f"Chains at beta = {samples.beta:g}: {CHAINS[diagnosis.result]}")
    energy, overlaps, diagonals = (
        (np.nan * mean, np.nan * error) if failed else (mean, error)
        for mean, error in map(
            over_disorder, (samples.energies.mean((0, 2)), samples.layer_overlaps.mean(0), samples.diagonals.mean(0))
        )
    )
    return ThermalAverages(
        samples.beta, float(energy[0]), float(energy[1]), *overlaps, *diagonals, diagnosis, diagnosis.result
    )


def two_starts(
    energies: AbstractEnergy,
    beta: float,
    *,
    key: Key[Array, ""],
    move: AbstractMove = Metropolis(),
    replicas: int = 2,
    steps: int = 10_000,
    every: int = 20,
) -> TwoStarts:
    """Chains from uniform points and from low energies: both forget their start once they have equilibrated.

    **Arguments:** as `sample`, for at least 2 samples of the disorder.

    **Raises:** `ValueError` as `sample`.
    """
    options = {"move": move, "replicas": replicas, "steps": steps, "every": every}
    lowest = lowest_energies(energies, key=key, starts=replicas)
    random = sample(energies, beta, key=key, **options)
    low = sample(energies, beta, key=key, start=lowest.points, **options)
    gaps = low.energies.mean((0, 2)) - random.energies.mean((0, 2))
    gap, error = over_disorder(gaps)
    diagnoses = diagnose(random), diagnose(low)
    failed = [d.result for d in diagnoses if d.result != CHAINS.successful]
    apart = CHAINS.starts_disagree if abs(gap) > _ERRORS * error else CHAINS.successful
    return TwoStarts(random, low, float(gap), float(error), failed[0] if failed else apart)


def over_disorder(values: np.ndarray) -> tuple[Any, Any]:
    """Mean over the first axis, and its standard error."""
    return values.mean(0), values.std(0, ddof=1) / values.shape[0] ** 0.5


def _records(series: ArrayInput) -> np.ndarray:
    values = np.asarray(series, float)
    if values.ndim == 0 or values.shape[0] < 4:
        raise ValueError(f"`series` must have at least 4 records, got shape {values.shape}.")
    return values
