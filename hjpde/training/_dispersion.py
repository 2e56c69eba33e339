"""One-step matrices of networks on a ring, and their frequencies against those of a lattice and of the continuum."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Num, PyTree

from hjpde._compilation import compiled_once
from hjpde._plotting import BLACK, BLUE, ORANGE, SKY, given_or_new, tidy
from hjpde._types import ArrayInput

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SCHEMES = ("klein-gordon", "cayley", "exponential", "staggered")


def one_step_matrix(network: Callable[[Any], Any], state: PyTree) -> Num[Array, "n n"]:
    """The Jacobian of one step at a state, which for a linear network is its matrix.

    **Arguments:** `network`, any map of a state to the next; `state`: where, and in which structure; its numbers in
    their order in memory are the coordinates.
    """
    return _jacobian(network, jax.tree.map(jnp.asarray, state))


@compiled_once
def _jacobian(network: Callable[[Any], Any], state: PyTree) -> Num[Array, "n n"]:
    flat, unravel = ravel_pytree(state)
    return jax.jacfwd(lambda v: ravel_pytree(network(unravel(v)))[0], holomorphic=jnp.iscomplexobj(flat))(flat)


def wavenumbers(sites: int, spacing: float) -> np.ndarray:
    r"""The wavenumbers of a ring, in the order of the discrete Fourier transform, in $[-\pi/a, \pi/a)$."""
    return 2 * np.pi * np.fft.fftfreq(sites, spacing)


def lattice_frequency(
    k: ArrayInput, scheme: str, *, spacing: float, step: float, mass: float, speed: float = 1.0
) -> np.ndarray:
    r"""The frequency $\omega(k)$ at which a network's modes turn, in closed form.

    | scheme | energy $E^2 - m^2$ | frequency |
    | --- | --- | --- |
    | `klein-gordon` | $(4c^2/a^2) \sin^2(ka/2)$ | $(2/\varepsilon) \arcsin(\varepsilon E/2)$ |
    | `exponential` | $\sin^2(ka)/a^2$ | $E$ |
    | `cayley` | $\sin^2(ka)/a^2$ | $(2/\varepsilon) \arctan(\varepsilon E/2)$ |
    | `staggered` | $(1 - ma)(4/a^2) \sin^2(ka/2)$ | $(2/\varepsilon) \arcsin(\varepsilon E/2)$ |

    **Arguments:** `k`, wavenumbers; `scheme`; `spacing`, `step`, positive; `mass`; `speed`, for `klein-gordon` alone.

    **Raises:** `ValueError` for an unknown scheme, or where $\varepsilon E > 2$, an unstable step.
    """
    if scheme not in SCHEMES:
        raise ValueError(f"`scheme` must be one of {', '.join(SCHEMES)}, got {scheme!r}.")
    k, half = np.asarray(k, float), np.sin(np.asarray(k, float) * spacing / 2) ** 2 * 4 / spacing**2
    squared = {
        "klein-gordon": mass**2 + speed**2 * half,
        "staggered": mass**2 + (1 - mass * spacing) * half,
    }.get(scheme, mass**2 + np.sin(k * spacing) ** 2 / spacing**2)
    energy = np.sqrt(squared)
    if scheme == "exponential":
        return np.asarray(energy)
    if scheme == "cayley":
        return np.asarray(2 / step * np.arctan(step * energy / 2))
    if np.any(step * energy > 2):
        raise ValueError(f"`step` = {step:g} is unstable: `step` times the energy must be at most 2.")
    return np.asarray(2 / step * np.arcsin(step * energy / 2))


@final
class Dispersion(NamedTuple):
    r"""The spectrum of a one-step matrix of a network on a ring.

    - `k`: wavenumbers, ascending, shape `(N,)`.
    - `frequencies`: $|\arg\lambda|/\varepsilon$ of the largest eigenvalue's phase at each, in units of 1/time.
    - `growth`: the largest modulus $|\lambda|$ at each; 1 where the step is stable.
    - `spacing`, `step`: `a` and $\varepsilon$.
    """

    k: np.ndarray
    frequencies: np.ndarray
    growth: np.ndarray
    spacing: float
    step: float

    def modes_below(self, frequency: float) -> int:
        """How many wavenumbers turn slower than that: more than the continuum has if there are doublers."""
        return int(np.sum(self.frequencies < frequency))


def dispersion(matrix: ArrayInput, sites: int, *, spacing: float, step: float) -> Dispersion:
    """The frequencies of a network on a ring, wavenumber by wavenumber.

    Plane waves turn a matrix that commutes with shifts into one small block for each wavenumber.

    **Arguments:**

    - `matrix`: a one-step matrix of `c` components on `N` sites, shape `(c N, c N)`; needs float64 for errors below
      1e-5.
    - `sites`: `N`.
    - `spacing`, `step`: positive.

    **Raises:** `ValueError` for another shape, or a matrix that does not commute with shifts.
    """
    M = np.asarray(matrix)
    if M.ndim != 2 or M.shape[0] != M.shape[1] or sites < 1 or M.shape[0] % sites:
        raise ValueError(f"`matrix` must have shape (c N, c N) with N = {sites}, got {M.shape}.")
    if not (spacing > 0 and step > 0):
        raise ValueError(f"`spacing` and `step` must be positive, got {spacing:g} and {step:g}.")
    c = M.shape[0] // sites
    rolled = np.roll(M.reshape(c, sites, c, sites), (1, 1), (1, 3)).reshape(M.shape)
    if not np.abs(rolled - M).max() <= 1e3 * np.finfo(M.dtype).eps * np.abs(M).max():
        raise ValueError("`matrix` must commute with shifts of the ring, it does not: its modes have no wavenumber.")
    # The first column of each block is a convolution kernel.
    kernels = M.reshape(c, sites, c, sites)[:, :, :, 0]
    eigenvalues = np.linalg.eigvals(np.fft.fft(kernels, axis=1).transpose(1, 0, 2))
    k, order = wavenumbers(sites, spacing), np.argsort(wavenumbers(sites, spacing), kind="stable")
    frequencies, growth = np.abs(np.angle(eigenvalues)).max(1) / step, np.abs(eigenvalues).max(1)
    return Dispersion(k[order], frequencies[order], growth[order], float(spacing), float(step))


def plot_dispersion(
    measured: Dispersion,
    ax: "Axes | None" = None,
    *,
    scheme: str | None = None,
    mass: float | None = None,
    speed: float = 1.0,
) -> "Axes":
    r"""Frequencies over the wavenumber, with the lattice's formula and $\omega^2 = c^2k^2 + m^2$ of the continuum.

    **Arguments:** `measured`, from `dispersion`; `ax`, or `None` for new axes; `scheme`: whose formula is drawn, for
    `mass` and `speed`.

    **Returns:** the axes.
    """
    ax = given_or_new(ax)
    tidy(ax)
    if mass is not None:
        ax.plot(measured.k, np.hypot(speed * measured.k, mass), "--", color=ORANGE, label="continuum, √(c²k² + m²)")
        if scheme is not None:
            options = {"spacing": measured.spacing, "step": measured.step, "mass": mass, "speed": speed}
            fine = np.linspace(-np.pi / measured.spacing, np.pi / measured.spacing, 401)
            ax.plot(fine, lattice_frequency(fine, scheme, **options), color=BLUE, label=f"lattice, {scheme}")
    ax.plot(measured.k, measured.frequencies, "o", ms=3.5, mfc=SKY, mec=BLACK, mew=0.4, label="one-step matrix")
    ax.set_xlabel("wavenumber k [1/length]")
    ax.set_ylabel("frequency ω [1/time]")
    ax.set_ylim(0, 1.5 * measured.frequencies.max())
    ax.legend(edgecolor="none", fontsize=8, loc="upper center")
    return ax
