"""Free energy and entropy of finite landscapes from their mean energies at many temperatures."""

from typing import TYPE_CHECKING, NamedTuple, final

import numpy as np
from jaxtyping import Array, Key
from scipy.integrate import cumulative_simpson

from hjpde._plotting import BLUE, GREEN, ORANGE, given_or_new, tidy
from hjpde._types import ArrayInput

from ._diagnostics import CHAINS, diagnose, over_disorder
from ._energy import AbstractEnergy, sample_count
from ._moves import AbstractMove, Metropolis
from ._tempering import temper

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@final
class ThermodynamicIntegral(NamedTuple):
    r"""Energies, free energies and entropies per input over the inverse temperature, each of shape `(T,)`.

    Means over the disorder, with standard errors; NaN unless `result` is successful.

    - `betas`: from 0.
    - `energy`, `energy_error`: $e = \langle H\rangle/N$.
    - `free_energy`, `free_energy_error`: $F(\beta) = -\int_0^\beta e\,d\beta'$.
    - `entropy`, `entropy_error`: $s = F + \beta e \le 0$.
    - `entropy_of_fluctuations`: $-\int_0^\beta \beta' N\,\mathrm{var}(H/N)\,d\beta'$, which is the same and comes from
      other numbers.
    - `exchanges`: acceptance between neighbouring temperatures, shape `(T - 1,)`.
    - `result`: of the worst chains.
    """

    betas: np.ndarray
    energy: np.ndarray
    energy_error: np.ndarray
    free_energy: np.ndarray
    free_energy_error: np.ndarray
    entropy: np.ndarray
    entropy_error: np.ndarray
    entropy_of_fluctuations: np.ndarray
    exchanges: np.ndarray
    result: CHAINS


def thermodynamic_integration(
    energies: AbstractEnergy,
    betas: ArrayInput,
    *,
    key: Key[Array, ""],
    move: AbstractMove = Metropolis(),
    replicas: int = 2,
    steps: int = 5_000,
    every: int = 10,
    throw: bool = True,
) -> ThermodynamicIntegral:
    r"""$F(\beta)$ and $s(\beta)$ by Simpson's rule over temperatures that exchange their points.

    **Arguments:**

    - `energies`: at least 2 samples of the disorder; `centred` ones where the activation has an even part, whose
      random mean adds $-\beta \bar H/N$ to `F`.
    - `betas`: increasing from 0, at least 3. - others: as for `temper`.
    - `throw`: whether chains that have not mixed raise; else numbers are NaN and `result` says why.

    **Raises:** `ValueError` for other `betas`, a single sample, or as `temper`; `RuntimeError` for chains that have not
    mixed, unless `throw` is false.
    """
    grid = np.asarray(betas, float)
    if grid.ndim != 1 or grid.size < 3 or grid[0] != 0 or not np.all(np.diff(grid) > 0):
        raise ValueError(f"`betas` must increase from 0, with at least 3 of them, got {grid.tolist()}.")
    if sample_count(energies) < 2:
        raise ValueError("`energies` must hold at least 2 samples of the disorder for a standard error, got 1.")
    tempered = temper(energies, grid, key=key, move=move, replicas=replicas, steps=steps, every=every)
    # One row for each sample of the disorder.
    e = np.stack([samples.energies.mean((0, 2)) for samples in tempered.samples], axis=1)
    variance = np.stack([samples.energies.var((0, 2)) for samples in tempered.samples], axis=1)
    failures = [d.result for d in map(diagnose, tempered.samples) if d.result != CHAINS.successful]
    result = failures[0] if failures else CHAINS.successful
    if failures and throw:
        raise RuntimeError(f"No free energy: {CHAINS[result]}")
    F = -cumulative_simpson(e, x=grid, axis=1, initial=0)
    fluctuations = -cumulative_simpson(grid * energies.dimension * variance, x=grid, axis=1, initial=0)
    # What has not mixed is no number.
    e, F, fluctuations = (rows * (np.nan if failures else 1.0) for rows in (e, F, fluctuations))
    energy, energy_error = over_disorder(e)
    free_energy, free_energy_error = over_disorder(F)
    entropy, entropy_error = over_disorder(F + grid * e)
    return ThermodynamicIntegral(
        betas=grid,
        energy=energy,
        energy_error=energy_error,
        free_energy=free_energy,
        free_energy_error=free_energy_error,
        entropy=entropy,
        entropy_error=entropy_error,
        entropy_of_fluctuations=fluctuations.mean(0),
        exchanges=tempered.exchanges,
        result=result,
    )


def plot_thermodynamic_integral(integral: ThermodynamicIntegral, ax: "Axes | None" = None) -> "Axes":
    """Free energy and the two entropies over the inverse temperature, with standard errors.

    **Arguments:** `integral`; `ax`: axes of matplotlib, or `None` for new ones.
    """
    ax = given_or_new(ax)
    betas = integral.betas
    ax.errorbar(betas, integral.free_energy, integral.free_energy_error, fmt="o-", color=BLUE, label="free energy F")
    ax.errorbar(betas, integral.entropy, integral.entropy_error, fmt="s--", color=ORANGE, label="entropy F + βe")
    ax.plot(betas, integral.entropy_of_fluctuations, "^:", color=GREEN, label="entropy from fluctuations of H")
    ax.set(xlabel="inverse temperature β", ylabel="per input dimension")
    ax.legend(frameon=False)
    tidy(ax)
    return ax
