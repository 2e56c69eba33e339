r"""The entropy of the inputs at a given energy, by Legendre transform of the free energy, and the ground state."""

from typing import TYPE_CHECKING, NamedTuple, final

import numpy as np
from scipy.interpolate import CubicHermiteSpline

from hjpde._plotting import BLUE, ORANGE, given_or_new, tidy
from hjpde._types import ArrayInput

from ._proportional_widths import ReplicaSymmetric, replica_symmetric
from ._random_network import RandomNetwork

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FINE = 4001


@final
class EntropyCurve(NamedTuple):
    r"""Replica-symmetric thermodynamics along inverse temperatures, shape `(M,)` each.

    - `betas`: increasing, from 0.
    - `free_energies`, `energies`, `entropies`: $F$, $e = -F'$ and $s = F + \beta e$.
    - `replicons`: where this exceeds 1 the rest is a bound: symmetry is broken.
    """

    betas: np.ndarray
    free_energies: np.ndarray
    energies: np.ndarray
    entropies: np.ndarray
    replicons: np.ndarray

    def at_energy(self, energy: ArrayInput) -> np.ndarray:
        r"""$s(e) = \min_\beta [F(\beta) + \beta e]$, the logarithm per input of the share of the sphere at energy `e`.

        **Arguments:** `energy`: between that of the last `beta` and minus that: energies are symmetric in law.

        **Raises:** `ValueError` outside that range, which lower temperatures would extend.
        """
        e = -np.abs(np.asarray(energy, float))
        lowest = self.energies[-1]
        if not np.all(e >= lowest):
            raise ValueError(f"`energy` must be between {lowest:.6g} and {-lowest:.6g}, the range of `betas`.")
        betas = np.linspace(0, self.betas[-1], _FINE)
        free_energy = CubicHermiteSpline(self.betas, self.free_energies, -self.energies)(betas)
        return np.minimum((free_energy + betas * e[..., None]).min(axis=-1), 0.0)


def entropy_curve(network: RandomNetwork, betas: ArrayInput) -> EntropyCurve:
    r"""Saddles along inverse temperatures, each started from the one before; `beta = 0` is added.

    **Arguments:** `network`; `betas`: positive and increasing, close enough that a cubic between two is exact enough.

    **Raises:** `ValueError` if `betas` do not increase; `RuntimeError` as of `replica_symmetric`.
    """
    betas = np.asarray(betas, float)
    if betas.ndim != 1 or betas.size == 0 or not np.all(np.diff(betas, prepend=0.0) > 0):
        raise ValueError("`betas` must be positive and increasing.")
    saddles: list[ReplicaSymmetric] = []
    for beta in (0.0, *betas):
        saddles.append(replica_symmetric(network, float(beta), start=saddles[-1] if len(saddles) > 1 else None))
    columns = zip(*((s.beta, s.free_energy, s.energy, s.entropy, s.replicon) for s in saddles), strict=True)
    return EntropyCurve(*(np.array(column) for column in columns))


@final
class GroundStateEnergy(NamedTuple):
    """The energy at temperature 0, how far the extrapolation may be off, and the replicon at the lowest temperature."""

    energy: float
    uncertainty: float
    replicon: float


def ground_state_energy(network: RandomNetwork, betas: ArrayInput = (8.0, 12.0, 16.0, 24.0, 32.0)) -> GroundStateEnergy:
    r"""$e_{\min} = \lim_{T \to 0} e$ of the replica-symmetric saddle, by a polynomial in `T` through low temperatures.

    Where symmetry is broken (`replicon` above 1) the result is a lower bound of the energy.

    **Arguments:** `network`; `betas`: at least 3 inverse temperatures, positive and increasing.

    **Returns:** the value at `T = 0`; its uncertainty is its difference from that without the highest temperature.

    **Raises:** `ValueError` for fewer than 3, or if they do not increase.
    """
    if np.size(betas) < 3:
        raise ValueError(f"`betas` must be at least 3 inverse temperatures, got {np.size(betas)}.")
    curve = entropy_curve(network, betas)
    T, e = 1 / curve.betas[1:], curve.energies[1:]
    best, rougher = (float(np.polyfit(T[first:], e[first:], len(T) - 1 - first)[-1]) for first in (0, 1))
    return GroundStateEnergy(best, abs(best - rougher), float(curve.replicons[-1]))


def plot_entropy_curve(curve: EntropyCurve, ax: "Axes | None" = None) -> "Axes":
    r"""The entropy over the energy; dashed where the replica-symmetric saddle is unstable.

    **Arguments:** `curve`; `ax`: axes of matplotlib, or `None` for new ones.
    """
    ax = given_or_new(ax)
    stable = curve.replicons <= 1
    last = int(np.argmin(stable)) if not np.all(stable) else len(stable)
    ax.plot(curve.energies[:last], curve.entropies[:last], "o-", color=BLUE, markersize=4, label="stable")
    if last < len(stable):
        rest = slice(max(last - 1, 0), None)
        ax.plot(curve.energies[rest], curve.entropies[rest], "s--", color=ORANGE, markersize=4, label="unstable")
    ax.set(xlabel="energy per input e", ylabel="entropy per input s(e)")
    ax.legend(frameon=False)
    tidy(ax, "both")
    return ax
