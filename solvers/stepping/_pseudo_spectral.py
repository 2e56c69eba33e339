"""The Hamilton-Jacobi equation among Fourier modes: derivatives there, the Hamiltonian at the nodes."""

from collections.abc import Sequence
from typing import Any, final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float

from hjpde._types import Scalar, ScalarLike
from hjpde.hamiltonians import AbstractHamiltonian
from hjpde.solvers.grids._grid import Grid
from hjpde.solvers.grids._over_grid import over_grid

from ._heat import HeatFlow

Field = Float[Array, "..."]
Modes = Complex[Array, "..."]


@final
class PseudoSpectral(eqx.Module):
    r"""$\hat u_t = -k^\top N k\, \hat u - \widehat{H(t, x, \nabla u)}$ for a periodic `u` and a constant `N`.

    The Hamiltonian is evaluated at the nodes, its gradient found among the modes. With `dealias` only the lower two
    thirds of the modes of each axis enter and leave it, so that the products of a quadratic Hamiltonian are exact.

    ??? cite "References"

        S. A. Orszag, *On the elimination of aliasing in finite-difference schemes by filtering high-wavenumber
        components*, J. Atmos. Sci. 28, 1971.
    """

    grid: Grid
    hamiltonian: AbstractHamiltonian
    flow: HeatFlow
    dealias: bool = eqx.field(static=True)

    def __call__(self, t: ScalarLike, u: Field, args: Any) -> Field:
        """$-H$ at the nodes: the vector field for `diffrax`, without the viscous part."""
        del args
        return self.flow.inverse(self.slopes(t, self.flow.forward(u)))

    def slopes(self, t: ScalarLike, modes: Modes) -> Modes:
        r"""The modes of $-H(t, x, \nabla u)$."""
        active = self.active
        kept = jnp.where(active, modes, 0)
        gradient = [self.flow.inverse(1j * k.astype(_real(modes)) * kept) for k in self._wavenumbers()]
        values = -over_grid(lambda x, p: self.hamiltonian(t, x, p), self.grid.axes, gradient)
        return jnp.where(active, self.flow.forward(values.astype(_real(modes))), 0)

    def rate(self, t: ScalarLike, u: Field) -> Field:
        """$u_t$ at the nodes."""
        modes = self.flow.forward(u)
        return self.flow.inverse(self.slopes(t, modes) - self.flow.symbol.astype(u.dtype) * modes)

    def tail(self, u: Field) -> Scalar:
        """The root mean square of what the highest third of the modes in use carries."""
        modes = self.flow.forward(u)
        high = self.active & ~self._within([2 * (reach + 1) / 3 for reach in self._reach])
        numbers = _numbers(self.grid.shape)[-1]
        # The last axis keeps one of each pair of conjugate modes.
        pairs = np.where((numbers == 0) | (2 * numbers == self.grid.shape[-1]), 1, 2)
        power = jnp.where(high, jnp.abs(modes) ** 2, 0) * jnp.broadcast_to(pairs, modes.shape).astype(u.dtype)
        return jnp.sqrt(jnp.sum(power)) / u.size

    @property
    def active(self) -> Bool[np.ndarray, "..."]:
        """The modes that take part in the Hamiltonian."""
        return self._within([reach + 1 for reach in self._reach])

    @property
    def _reach(self) -> list[int]:
        """The highest active mode number of each axis."""
        return [(n - 1) // 3 if self.dealias else n // 2 for n in self.grid.shape]

    def _within(self, limits: Sequence[float | int]) -> Bool[np.ndarray, "..."]:
        flags = [np.abs(number) < limit for number, limit in zip(_numbers(self.grid.shape), limits, strict=True)]
        return np.logical_and.reduce(np.meshgrid(*flags, indexing="ij"))

    def _wavenumbers(self) -> list[Float[Array, "..."]]:
        """`k` along each axis, 0 at the Nyquist mode, whose derivative vanishes at the nodes."""
        shape, d = self.grid.shape, self.grid.dim
        periods = self.grid.upper - self.grid.lower
        found = []
        for axis, (n, number) in enumerate(zip(shape, _numbers(shape), strict=True)):
            number = np.where(2 * np.abs(number) == n, 0, number).astype(periods.dtype)
            along = [-1 if i == axis else 1 for i in range(d)]
            found.append((2 * np.pi * jnp.asarray(number) / periods[axis]).reshape(along))
        return found


def _numbers(shape: tuple[int, ...]) -> list[Float[np.ndarray, " m"]]:
    """The mode numbers of each axis, in the order of a real Fourier transform; the last keeps those from 0 on."""
    return [np.fft.fftfreq(n, 1 / n) for n in shape[:-1]] + [np.fft.rfftfreq(shape[-1], 1 / shape[-1])]


def _real(modes: Modes) -> Any:
    return jnp.finfo(modes.dtype).dtype
