"""Where the field of smooth weights fails to predict training: the mode that alternates from weight to weight."""

from typing import TYPE_CHECKING, NamedTuple, final

import numpy as np

from hjpde._plotting import BLUE, GREEN, ORANGE, given_or_new, tidy
from hjpde._types import ArrayInput

from ._locality import cost_locality
from ._ring_network import ToyChain

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@final
class StaggeredMode(NamedTuple):
    r"""A smooth wave in the second layer of a chain under gradient flow, and what the field theory says of it.

    - `t`: times of the gradient flow, shape `(T,)`.
    - `smooth`: the wave's amplitude in training, 1 at the start.
    - `staggered`: the amplitude of everything else that training excites.
    - `field`: the wave's amplitude by the field's equation, $e^{-Rt}$.
    - `rayleigh`: $R = v \cdot \mathcal H v/|v|^2$, the curvature of the cost along the wave.
    - `eigenvalues`: the distinct eigenvalues of the second layer's block of the Hessian.
    """

    t: np.ndarray
    smooth: np.ndarray
    staggered: np.ndarray
    field: np.ndarray
    rayleigh: float
    eigenvalues: np.ndarray


def staggered_mode(
    sites: int = 64, waves: int = 6, *, constant: float = 0.5, samples: int = 2, times: ArrayInput | None = None
) -> StaggeredMode:
    r"""Gradient flow on the quadratic cost of a chain without first layer, from a smooth wave of $w_2$.

    Its outputs are $Z_k = r(w_{k-1} + w_{k+1})$ and share no weight, so that training moves the sum of each pair and
    never its difference: the Hessian has the eigenvalues 0 and $4N_ir^2$ alone. A wave has the Rayleigh quotient
    $4N_ir^2\cos^2 ka$, as the field theory says, but is no eigenvector. Of its amplitude, $\sin^2 ka$ stays for ever,

    $$\cos^2(ka)\, e^{-4N_ir^2t} + \sin^2(ka) \quad\text{against}\quad e^{-4N_ir^2\cos^2(ka)\,t}.$$

    The numbers come from the Hessian of the network's cost, by its eigenvectors.

    **Arguments:**

    - `sites`: a multiple of 4. - `waves`: on the ring, from 1 to below `sites / 8`. - `constant`: `r`, not 0.
    - `samples`: $N_i \ge 1$. - `times`: shape `(T,)`; by default up to three decay times of the field.

    **Raises:** `ValueError` for a number outside its range.
    """
    if not 1 <= waves < sites / 8:
        raise ValueError(f"`waves` must be from 1 to below sites / 8 = {sites / 8:g}, got {waves}.")
    if not constant or samples < 1:
        raise ValueError(f"`constant` must not be 0 and `samples` at least 1, got {constant:g} and {samples}.")
    weights = np.zeros(sites // 2)
    chain = ToyChain(weights, weights, constant=constant, linear=1.0)
    inputs = targets = np.zeros((samples, sites // 4))
    hessian = cost_locality(lambda c: c.cost(inputs, targets), chain).hessian[sites // 2 :, sites // 2 :]
    wave = np.cos(2 * np.pi * waves * np.arange(1, sites, 2) / sites)
    wave = wave / np.linalg.norm(wave)
    rates, modes = np.linalg.eigh(hessian)
    rayleigh = float(wave @ hessian @ wave)
    t = np.linspace(0, 3 / rayleigh, 61) if times is None else np.asarray(times, float)
    paths = (modes * np.exp(-np.multiply.outer(t, rates))[:, None]) @ (modes.T @ wave)
    smooth = paths @ wave
    rest = np.linalg.norm(paths - smooth[:, None] * wave, axis=1)
    distinct = np.unique(np.round(rates / rates.max(), 6)) * rates.max()
    return StaggeredMode(t, smooth, rest, np.exp(-rayleigh * t), rayleigh, distinct)


def plot_staggered_mode(mode: StaggeredMode, ax: "Axes | None" = None) -> "Axes":
    """The wave's amplitude in training and by the field's equation, and the staggered rest.

    **Arguments:** `mode`, from `staggered_mode`; `ax`, or `None` for new axes. **Returns:** the axes.
    """
    ax = given_or_new(ax)
    tidy(ax)
    ax.plot(mode.t, mode.field, "--", color=ORANGE, label="smooth wave, by the field's equation")
    ax.plot(mode.t, mode.smooth, "o-", ms=3, color=BLUE, label="smooth wave, in training")
    ax.plot(mode.t, mode.staggered, "^-", ms=3, color=GREEN, label="staggered rest, in training")
    ax.set_xlabel("time of gradient flow t")
    ax.set_ylabel("amplitude [that of the start]")
    ax.set_ylim(bottom=0)
    ax.legend(frameon=False, fontsize=8)
    return ax
