"""The heat flow on a grid, exact in time: what an integrating factor needs."""

from collections.abc import Callable, Sequence
from typing import Literal, final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from hjpde._types import ArrayInput, Scalar, ScalarLike, as_float_array, is_concrete, require_symmetric

Reflection = Literal["periodic", "neumann", "dirichlet"]
"""How values continue beyond a border: periodically, evenly about the border node, oddly about it."""


@final
class HeatFlow(eqx.Module):
    r"""The flow $e^{sL}v$ of $L = \sum_{ij} N_{ij} \partial_i \partial_j$ with constant $N \ge 0$, on grid values.

    The values are taken for a trigonometric polynomial and each mode decays by $e^{-s\,k^\top N k}$, whatever the
    size of $sN$: periodic axes by a Fourier transform, homogeneous Neumann axes by a cosine transform (reflection
    about the border nodes), Dirichlet axes by a sine transform of what is above the constant border value.

    One transform serves several increments: `flow.inverse(flow.decay(s, flow.forward(v)))` is `flow(s, v)`.

    ??? cite "References"

        G. Strang, *The discrete cosine transform*, SIAM Review 41, 1999, Section 2.
    """

    symbol: Float[Array, "*modes"]
    constant: Scalar
    shape: tuple[int, ...] = eqx.field(static=True)
    kinds: tuple[str, ...] = eqx.field(static=True)

    def __init__(
        self,
        shape: Sequence[int],
        spacing: ArrayInput,
        kinds: Sequence[str],
        N: ArrayInput,
        constant: ScalarLike = 0.0,
    ):
        r"""**Arguments:**

        - `shape`: the nodes of each axis, at least 2; axes that are not periodic include both ends.
        - `spacing`: the distance between nodes, shape `(d,)`, in units of `x`.
        - `kinds`: `"periodic"`, `"neumann"` or `"dirichlet"` for each axis.
        - `N`: a scalar for $N I$, or a symmetric positive semidefinite matrix of shape `(d, d)`, in units of squared
          `x` per unit of time. An axis that is not periodic has no mixed derivatives.
        - `constant`: the value on Dirichlet borders; one for all of them, as they meet at corners.

        **Raises:** `ValueError` if shapes disagree, an axis is too short, or `N` has a mixed derivative along an
        axis that is not periodic; a runtime error where that is only known then.
        """
        shape, kinds, d = tuple(shape), tuple(kinds), len(shape)
        spacing, N = as_float_array(spacing, "spacing", 1), as_float_array(N, "N")
        if d < 1 or spacing.shape != (d,) or len(kinds) != d or N.shape not in ((), (d, d)):
            raise ValueError(
                "`shape`, `spacing` and `kinds` must have one entry for each axis and `N` the shape () or (d, d), got "
                f"{shape}, {spacing.shape}, {kinds} and {N.shape}."
            )
        unknown = set(kinds) - {"periodic", "neumann", "dirichlet"}
        if min(shape) < 2 or unknown:
            raise ValueError(
                "`shape` must have at least 2 nodes in each axis, and `kinds` be 'periodic', 'neumann' or "
                f"'dirichlet', got {shape} and {kinds}."
            )
        dtype = jnp.result_type(spacing, N)
        N = N.astype(dtype) * jnp.eye(d, dtype=dtype) if N.ndim == 0 else N.astype(dtype)
        require_symmetric(N, "N")
        self.shape, self.kinds = shape, kinds
        self.constant = jnp.asarray(constant, dtype)
        self.symbol = self._symbol(spacing.astype(dtype), self._without_mixed(N))

    def __call__(self, s: ScalarLike, v: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """$e^{sL}v$ of grid values; Dirichlet borders get their constant.

        **Arguments:**

        - `s`: the time, at least 0; may be traced.
        - `v`: the values, of the grid's shape.
        """
        return self.inverse(self.decay(s, self.forward(v)))

    def forward(self, v: Float[Array, "*shape"]) -> Float[Array, "*modes"] | Complex[Array, "*modes"]:
        """The modes of grid values."""
        if v.shape != self.shape:
            raise ValueError(f"`v` must have the grid's shape {self.shape}, got {v.shape}.")
        if "dirichlet" in self.kinds:
            v = v - self.constant.astype(v.dtype)
        # Reflected axes first: their modes are real as long as the values are.
        for axis, kind in enumerate(self.kinds):
            if kind == "neumann":
                v = _along(axis, _cosine_modes, v)
            elif kind == "dirichlet":
                v = _along(axis, _sine_modes, v)
        periodic = self._periodic
        if periodic:
            v = jnp.fft.rfft(v, axis=periodic[-1])
            for group in _triples(periodic[:-1]):
                v = jnp.fft.fftn(v, axes=group)
        return v

    def inverse(self, modes: Float[Array, "*modes"] | Complex[Array, "*modes"]) -> Float[Array, "*shape"]:
        """Grid values of modes: undoes `forward`, but for the border values that a Dirichlet axis prescribes."""
        v, periodic = modes, self._periodic
        if periodic:
            for group in _triples(periodic[:-1]):
                v = jnp.fft.ifftn(v, axes=group)
            v = jnp.fft.irfft(v, self.shape[periodic[-1]], axis=periodic[-1])
        for axis, (n, kind) in enumerate(zip(self.shape, self.kinds, strict=True)):
            if kind == "neumann":
                v = _along(axis, lambda m, n=n: jnp.fft.irfft(m, 2 * n - 2)[..., :n], v)
            elif kind == "dirichlet":
                v = _along(axis, lambda m, n=n: _sine_values(m, n), v)
        return v + self.constant.astype(v.dtype) if "dirichlet" in self.kinds else v

    def decay(self, s: ScalarLike, modes: Array) -> Array:
        """The modes a time `s` later, $e^{-s k^T N k}$ times what they were."""
        dtype = jnp.finfo(modes.dtype).dtype
        return jnp.exp(-jnp.asarray(s, dtype) * self.symbol.astype(dtype)) * modes

    @property
    def _periodic(self) -> tuple[int, ...]:
        return tuple(axis for axis, kind in enumerate(self.kinds) if kind == "periodic")

    def _without_mixed(self, N: Float[Array, "d d"]) -> Float[Array, "d d"]:
        """`N`, after making sure that no mixed derivative involves a reflected axis."""
        reflected = np.array([kind != "periodic" for kind in self.kinds])
        forbidden = (reflected[:, None] | reflected[None, :]) & ~np.eye(len(reflected), dtype=bool)
        message = (
            "`N` must have no mixed derivatives (entries off the diagonal) along an axis that is not periodic: "
            "reflection about its border does not commute with them."
        )
        if not forbidden.any():
            return N
        if is_concrete(N):
            if np.any(np.asarray(N)[forbidden]):
                raise ValueError(f"{message} Got {np.asarray(N).tolist()} with {self.kinds}.")
            return N
        return eqx.error_if(N, jnp.any(jnp.where(forbidden, N, 0) != 0), message)

    def _symbol(self, spacing: Float[Array, " d"], N: Float[Array, "d d"]) -> Float[Array, "*modes"]:
        r"""$k^\top N k$ at every mode.

        A Nyquist mode stands for $+k$ and $-k$ at once: the mean over both signs keeps its square and drops its
        mixed terms, so that real values stay real and none grows.
        """
        d, squares, mixed = len(self.shape), [], []
        for axis, (n, kind) in enumerate(zip(self.shape, self.kinds, strict=True)):
            if kind != "periodic":
                number = np.arange(n) / (2 * (n - 1))
            elif axis == self._periodic[-1]:
                number = np.fft.rfftfreq(n)
            else:
                number = np.fft.fftfreq(n)
            along = [-1 if i == axis else 1 for i in range(d)]
            k = 2 * np.pi * jnp.asarray(number, spacing.dtype) / spacing[axis]
            squares.append((k**2).reshape(along))
            mixed.append(jnp.where(np.abs(number) == 0.5, 0, k).reshape(along))
        terms = [N[i, i] * squares[i] for i in range(d)]
        terms += [2 * N[i, j] * mixed[i] * mixed[j] for i in self._periodic for j in self._periodic if i < j]
        symbol = terms[0]
        for term in terms[1:]:
            symbol = symbol + term
        return symbol


def _along(axis: int, transform: Callable[[Array], Array], v: Array) -> Array:
    """A transform of the last axis, applied to another one."""
    return jnp.moveaxis(transform(jnp.moveaxis(v, axis, -1)), -1, axis)


def _triples(axes: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Groups of at most three axes, as many as one Fourier transform takes."""
    return [axes[i : i + 3] for i in range(0, len(axes), 3)]


def _cosine_modes(v: Float[Array, "*rest n"]) -> Float[Array, "*rest n"]:
    return jnp.fft.rfft(jnp.concatenate([v, v[..., -2:0:-1]], axis=-1)).real


def _sine_modes(v: Float[Array, "*rest n"]) -> Float[Array, "*rest n"]:
    inside = v[..., 1:-1]
    zero = jnp.zeros_like(v[..., :1])
    return jnp.fft.rfft(jnp.concatenate([zero, inside, zero, -inside[..., ::-1]], axis=-1)).imag


def _sine_values(modes: Float[Array, "*rest n"], n: int) -> Float[Array, "*rest n"]:
    v = jnp.fft.irfft(1j * modes, 2 * n - 2)[..., 1 : n - 1]
    zero = jnp.zeros_like(v, shape=(*v.shape[:-1], 1))
    return jnp.concatenate([zero, v, zero], axis=-1)
