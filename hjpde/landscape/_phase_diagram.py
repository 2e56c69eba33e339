r"""Where the replica-symmetric saddle of an activation is stable, over the size of weights and the temperature."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, final

import numpy as np

from hjpde._plotting import BLACK, given_or_new, tidy
from hjpde._types import ArrayInput

from ._activation import Activation, as_activation
from ._proportional_widths import RESULTS, replica_symmetric
from ._random_network import RandomNetwork

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@final
class PhaseDiagram(NamedTuple):
    r"""Replica-symmetric saddles over $\sigma_w$ (first axis, `S`) and temperature (second, `T`).

    - `activation`: its name; `widths`: of the hidden layers; `sigmas`, `temperatures`: the axes.
    - `replicons`: NaN where no saddle was found.
    - `overlaps`: $q_0$; `energies`, `entropies`.
    - `residuals`: what was left where no saddle was found, and below the tolerance elsewhere.
    """

    activation: str
    widths: tuple[float, ...]
    sigmas: np.ndarray
    temperatures: np.ndarray
    replicons: np.ndarray
    overlaps: np.ndarray
    energies: np.ndarray
    entropies: np.ndarray
    residuals: np.ndarray


def phase_diagram(
    activation: str | Activation | Callable[[Any], Any],
    sigmas: ArrayInput,
    temperatures: ArrayInput,
    widths: ArrayInput = 1.0,
    resolution: float = 1.0,
) -> PhaseDiagram:
    r"""The saddle at every $\sigma_w$ and temperature, cooled from the highest, each started from the one before.

    **Arguments:**

    - `activation`, `widths`: as of `RandomNetwork`.
    - `sigmas`: values of $\sigma_w$, positive, shape `(S,)`; `temperatures`: $T = 1/\beta$, positive, shape `(T,)`.
    - `resolution`: of the quadratures.

    **Raises:** `ValueError` if a list is empty or a value is not positive and finite.
    """
    sigmas, temperatures = np.asarray(sigmas, float), np.asarray(temperatures, float)
    for name, values in (("sigmas", sigmas), ("temperatures", temperatures)):
        if values.ndim != 1 or values.size == 0 or not np.all(np.isfinite(values) & (values > 0)):
            raise ValueError(f"`{name}` must be one or more positive numbers, got {values}.")
    phi = as_activation(activation)
    table = np.full((5, sigmas.size, temperatures.size), np.nan)
    networks = [RandomNetwork(widths, phi, float(sigma)) for sigma in sigmas]
    for i, network in enumerate(networks):
        warm = None
        for j in np.argsort(-temperatures):
            found = replica_symmetric(
                network, float(1 / temperatures[j]), start=warm, resolution=resolution, throw=False
            )
            warm = found if found.result == RESULTS.successful else None
            table[:, i, j] = found.replicon, found.overlaps[0], found.energy, found.entropy, found.residual
    return PhaseDiagram(phi.name, networks[0].widths, sigmas, temperatures, *table)


def plot_phase_diagram(diagram: PhaseDiagram, ax: "Axes | None" = None) -> "Axes":
    r"""The replicon in shades, and the line below which the replica-symmetric saddle is unstable.

    Cells without a saddle are hatched, and those that are unstable layer by layer are darkest.

    **Arguments:** `diagram`, of at least two values on either axis; `ax`: axes of matplotlib, or `None` for new ones.

    **Raises:** `ValueError` if an axis has one value only.
    """
    if min(diagram.replicons.shape) < 2:
        raise ValueError(f"`diagram` must have two values on either axis, got shape {diagram.replicons.shape}.")
    ax = given_or_new(ax)
    values = np.minimum(diagram.replicons.T, 3.0)
    ax.set_facecolor("#ffffff")
    ax.patch.set(hatch="////", edgecolor="#999999")
    mesh = ax.pcolormesh(
        diagram.sigmas, diagram.temperatures, values, cmap="cividis_r", vmin=0.0, vmax=2.0, shading="nearest"
    )
    if np.nanmin(values) < 1 < np.nanmax(values):
        line = ax.contour(diagram.sigmas, diagram.temperatures, values, levels=[1.0], colors=[BLACK], linewidths=1.8)
        ax.clabel(line, fmt="replicon 1", fontsize=8)
    if ax.figure is not None:
        ax.figure.colorbar(mesh, ax=ax, label="replicon (stable below 1)", extend="max")
    ax.set(xlabel="standard deviation of weights σ_w", ylabel="temperature T", title=diagram.activation)
    tidy(ax, "both")
    ax.grid(False)
    return ax
