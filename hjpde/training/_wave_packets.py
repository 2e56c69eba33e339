"""A wave packet and a spinor that travel through the steps of a network, and their figure in space and time."""

from typing import TYPE_CHECKING, NamedTuple, final

import numpy as np

from hjpde._plotting import given_or_new

from ._dirac import Dirac
from ._dispersion import lattice_frequency, wavenumbers
from ._duality import evolve
from ._klein_gordon import KleinGordon, klein_gordon_operator

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@final
class SpaceTime(NamedTuple):
    """A field on a ring over the steps of a network.

    - `x`: positions, shape `(N,)`. - `t`: times, shape `(T,)`.
    - `values`: shape `(T, N)`. - `name`: of the values.
    - `velocity`: at which theory says that the packet's middle moves, in length/time.
    - `start`: where it started.
    """

    x: np.ndarray
    t: np.ndarray
    values: np.ndarray
    name: str
    velocity: float
    start: float

    def centres(self) -> np.ndarray:
        """The middle of the squared field at each time, on the ring, shape `(T,)`; without jumps."""
        length = len(self.x) * (self.x[1] - self.x[0])
        angles = 2 * np.pi * self.x / length
        return np.unwrap(np.angle(self.values**2 @ np.exp(1j * angles))) * length / (2 * np.pi)


def wave_packet(
    sites: int = 256,
    *,
    length: float = 20.0,
    step: float = 0.05,
    steps: int = 160,
    mass: float = 2.0,
    wavenumber: float = 3.0,
    width: float = 1.2,
) -> SpaceTime:
    r"""A packet of positive frequencies on a Klein-Gordon network, started a quarter along the ring.

    It moves with the group velocity $d\omega/dk$ of the lattice at the carrier.

    **Arguments:** `sites`, of the ring of some `length`; `step`; `steps`; `mass`; `wavenumber` of the carrier;
    `width`: the standard deviation of the envelope.

    **Raises:** `ValueError` as `KleinGordon`, or if the packet is wider than an eighth of the ring.
    """
    x, envelope, spacing = _envelope(sites, length, wavenumber, width)
    options = {"spacing": spacing, "step": step, "mass": mass}
    modes, omega = np.fft.fft(envelope), lattice_frequency(wavenumbers(sites, spacing), "klein-gordon", **options)
    before, now = (np.fft.ifft(modes * np.exp(-1j * omega * t)).real for t in (0.0, step))
    network = KleinGordon(klein_gordon_operator(sites, **options))
    values = np.asarray(evolve(network, network.start(before, now), steps)[0])
    ends = lattice_frequency(wavenumber + np.array([-1e-4, 1e-4]), "klein-gordon", **options)
    velocity = float(np.diff(ends)[0] / 2e-4)
    return SpaceTime(x, step * np.arange(steps + 1), values, "field φ", velocity, length / 4)


def spinor_packet(
    sites: int = 256,
    *,
    length: float = 20.0,
    step: float = 0.05,
    steps: int = 160,
    mass: float = 2.0,
    wavenumber: float = 3.0,
    width: float = 1.2,
    one_energy: bool = True,
) -> SpaceTime:
    r"""The density $\psi_1^2 + \psi_2^2$ of a real spinor on a `Dirac` network.

    **Arguments:** as of `wave_packet`, and

    - `one_energy`: keep the solutions $e^{-iEt}$ of the packet alone, which move one way; needs a mass. Without that
      all of it starts in the first component; both energies interfere, and the packet trembles and splits.
    """
    x, envelope, spacing = _envelope(sites, length, wavenumber, width)
    psi: np.ndarray = np.stack([envelope, np.zeros_like(envelope)])
    if one_energy:
        # The projection (1 + h/E)/2 with h = s sigma_3 + m sigma_2, s = sin(ka)/a, on a spinor whose second part is 0.
        s = np.sin(wavenumbers(sites, spacing) * spacing) / spacing
        E = np.hypot(s, mass)
        psi = np.fft.ifft(np.stack([1 + s / E, 1j * mass / E]) * np.fft.fft(envelope) / 2)
    network = Dirac(sites, spacing=spacing, step=step, mass=mass)
    density = (np.asarray(evolve(network, np.real(psi), steps)) ** 2).sum(1)
    ends = lattice_frequency(wavenumber + np.array([-1e-4, 1e-4]), "cayley", spacing=spacing, step=step, mass=mass)
    velocity = float(np.diff(ends)[0] / 2e-4)
    return SpaceTime(x, step * np.arange(steps + 1), density, "density ψ₁² + ψ₂²", velocity, length / 4)


def plot_space_time(packet: SpaceTime, ax: "Axes | None" = None) -> "Axes":
    """The field as shades over space (across) and time (up), with the path at the predicted velocity.

    **Arguments:** `packet`, from `wave_packet` or `spinor_packet`; `ax`, or `None` for new axes.

    **Returns:** the axes.
    """
    ax = given_or_new(ax, 4.8, 4.0)
    signed = bool(packet.values.min() < 0)
    reach = float(np.abs(packet.values).max())
    image = ax.pcolormesh(
        packet.x,
        packet.t,
        packet.values,
        cmap="RdBu_r" if signed else "cividis",
        vmin=-reach if signed else 0.0,
        vmax=reach,
        shading="nearest",
        rasterized=True,
    )
    length = len(packet.x) * (packet.x[1] - packet.x[0])
    path = packet.start + packet.velocity * packet.t
    path = np.where(path > packet.x[-1], path - length, path)
    shown = np.where(np.abs(np.diff(path, prepend=path[0])) > length / 2, np.nan, path)
    colour = "black" if signed else "white"
    ax.plot(shown, packet.t, "--", color=colour, lw=1.2, label=f"group velocity {packet.velocity:.2f}")
    ax.set_xlabel("position x [length]")
    ax.set_ylabel("time t [time]")
    ax.legend(frameon=True, fontsize=8, loc="upper left", facecolor="#888888" if not signed else "white")
    ax.figure.colorbar(image, ax=ax, label=packet.name)
    return ax


def _envelope(sites: int, length: float, wavenumber: float, width: float) -> tuple[np.ndarray, np.ndarray, float]:
    if not 0 < width < length / 8:
        raise ValueError(f"`width` must lie between 0 and length / 8 = {length / 8:g}, got {width:g}.")
    if sites < 3:
        raise ValueError(f"`sites` must be at least 3, got {sites}.")
    x = np.arange(sites) * (length / sites)
    return x, np.exp(-((x - length / 4) ** 2) / (2 * width**2) + 1j * wavenumber * x), length / sites
