r"""Linear recurrences, complex numbers as pairs of real ones, and $\varphi_1$."""

import math
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, Inexact

RecurrenceMethod = Literal["scan", "associative"]


@jax.custom_jvp
def phi1(z: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
    r"""$\varphi_1(z) = (e^z - 1)/z$ with $\varphi_1(0) = 1$, accurate with its derivative also near 0."""
    zero = jnp.abs(z) < jnp.finfo(z.dtype).tiny
    # expm1 of z itself shares its exponential with exp(z), which stands beside it in every use.
    return jnp.where(zero, jnp.ones_like(z), jnp.expm1(z) / jnp.where(zero, jnp.ones_like(z), z))


@phi1.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    """The derivative of the quotient cancels near 0, where a series stands for it."""
    (z,), (direction,) = primals, tangents
    value = phi1(z)
    small = jnp.abs(z) < 0.1
    away = jnp.where(small, jnp.ones_like(z), z)
    near = jnp.where(small, z, jnp.zeros_like(z))
    # Horner's rule for the sum of (k + 1) z^k / (k + 2)!; at |z| = 0.1 the next term is below the roundoff of float64.
    series = jnp.zeros_like(z)
    for k in range(10, -1, -1):
        series = (k + 1) / math.factorial(k + 2) + near * series
    slope = jnp.where(small, series, (jnp.exp(away) - value) / away)
    return value, slope * direction


def as_complex(pair: Float[Array, "2 ..."]) -> Complex[Array, "..."]:
    """The complex array whose real and imaginary parts lie along the leading axis."""
    return jax.lax.complex(pair[0], pair[1])


def as_pair(z: Complex[Array, "..."]) -> Float[Array, "2 ..."]:
    """The inverse of `as_complex`."""
    return jnp.stack([z.real, z.imag])


def fastest_method() -> RecurrenceMethod:
    """In turn on a CPU; in logarithmic depth on devices that compute in parallel."""
    return "scan" if jax.default_backend() == "cpu" else "associative"


def recurrence(
    transition: Inexact[Array, "..."], drive: Inexact[Array, "L ..."], method: RecurrenceMethod | None = None
) -> Inexact[Array, "L ..."]:
    r"""All states of $s_{k+1} = a_k \odot s_k + d_k$ from $s_0 = 0$, without $s_0$ itself.

    **Arguments:**

    - `transition`: $a$, of the shape of `drive`, or without its leading axis where it is the same for all.
    - `drive`: $d$, along a leading axis of length `L`.
    - `method`: `"scan"`, in turn, or `"associative"`, by composing affine maps in a tree: the maps
        $s \mapsto a s + d$ are closed under composition, which is the semigroup property of their flow. By default
        the faster one on the device.

    ??? cite "References"

        G. E. Blelloch, *Prefix Sums and Their Applications*, Carnegie Mellon University, 1990.
    """
    if (fastest_method() if method is None else method) == "associative":

        def compose(first, second):
            return first[0] * second[0], second[0] * first[1] + second[1]

        return jax.lax.associative_scan(compose, (jnp.broadcast_to(transition, drive.shape), drive))[1]
    constant = transition.ndim < drive.ndim

    def step(state, held):
        a, d = (transition, held) if constant else held
        state = a * state + d
        return state, state

    rows = drive if constant else (transition, drive)
    return jax.lax.scan(step, jnp.zeros_like(drive[0]), rows)[1]


def convolution(kernel: Float[Array, "L p m"], x: Float[Array, "L m"]) -> Float[Array, "L p"]:
    r"""$y_k = \sum_{j \le k} K_{k-j} x_j$ by the fast Fourier transform, padded so that nothing wraps around."""
    length = 2 * x.shape[0]
    spectrum = jnp.einsum("kpm,km->kp", jnp.fft.rfft(kernel, length, axis=0), jnp.fft.rfft(x, length, axis=0))
    return jnp.fft.irfft(spectrum, length, axis=0)[: x.shape[0]]
