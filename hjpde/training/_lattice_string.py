"""The textbook's passage from a lattice to a field: masses on springs, and the string."""

from typing import TYPE_CHECKING, NamedTuple, final

import numpy as np

from hjpde._plotting import BLUE, ORANGE, given_or_new, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@final
class LatticeString(NamedTuple):
    r"""The squared frequencies of a ring of masses on springs, mode by mode.

    - `k`: wavenumbers, ascending, shape `(N,)`.
    - `lattice`: eigenvalues of the ring's equations of motion. - `string`: $c^2k^2 + M/\mu$.
    - `spacing`: `a`.
    """

    k: np.ndarray
    lattice: np.ndarray
    string: np.ndarray
    spacing: float

    def error(self, mode: int) -> float:
        r"""$|\omega^2 - (c^2k^2 + M/\mu)|$ of the mode with `mode` waves on the ring."""
        at = len(self.k) // 2 + mode
        return float(abs(self.lattice[at] - self.string[at]))


def lattice_string(
    masses: int, *, length: float = 2 * np.pi, density: float = 1.0, tension: float = 1.0, restoring: float = 0.0
) -> LatticeString:
    r"""The ring $L = \tfrac12\sum_i[\mu a\,\dot\eta_i^2 - \tfrac{Y}{a}(\eta_{i+1} - \eta_i)^2 - Ma\,\eta_i^2]$ against
    its limit $\tfrac12\int[\mu\dot\eta^2 - Y\eta'^2 - M\eta^2]\,dx$, whose waves have the speed $c = \sqrt{Y/\mu}$.

    Frequencies come from the eigenvalues of the ring's matrix, sorted by mode, not from a formula.

    **Arguments:** `masses`, at least 3; `length`, `density` $\mu$ and `tension` `Y`, positive; `restoring`, $M \ge 0$.

    **Raises:** `ValueError` for a number outside its range.

    ??? cite "References"

        H. Goldstein, C. Poole and J. Safko, *Classical Mechanics*, 3rd edition, Pearson, 2002, Section 13.1.
    """
    if masses < 3:
        raise ValueError(f"`masses` must be at least 3, got {masses}.")
    for name, value in (("length", length), ("density", density), ("tension", tension)):
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"`{name}` must be positive and finite, got {value:g}.")
    if not (np.isfinite(restoring) and restoring >= 0):
        raise ValueError(f"`restoring` must be at least 0, got {restoring:g}.")
    a, one = length / masses, np.eye(masses)
    stretch = np.roll(one, 1, 1) - one
    matrix = (tension / a * stretch.T @ stretch + restoring * a * one) / (density * a)
    k = 2 * np.pi * np.arange(-(masses // 2), (masses + 1) // 2) / length
    # Ascending eigenvalues go to ascending |k|: modes of one frequency come in pairs.
    lattice = np.empty(masses)
    lattice[np.argsort(np.abs(k), kind="stable")] = np.linalg.eigvalsh(matrix)
    return LatticeString(k, lattice, tension / density * k**2 + restoring / density, a)


def plot_lattice_string(string: LatticeString, ax: "Axes | None" = None) -> "Axes":
    """Frequencies over the wavenumber, of the ring and of the string.

    **Arguments:** `string`, from `lattice_string`; `ax`, or `None` for new axes. **Returns:** the axes.
    """
    ax = given_or_new(ax)
    tidy(ax)
    ax.plot(string.k, np.sqrt(string.string), "--", color=ORANGE, label="string")
    ax.plot(string.k, np.sqrt(np.maximum(string.lattice, 0)), "o", ms=4, color=BLUE, label="masses on springs")
    ax.set_xlabel("wavenumber k [1/length]")
    ax.set_ylabel("frequency ω [1/time]")
    ax.legend(frameon=False, fontsize=8)
    return ax
