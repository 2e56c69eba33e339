"""One-sided derivatives of grid values along one axis: first-order upwind, WENO3 and WENO5."""

import itertools
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Order = Literal[1, 3, 5]

GHOST_CELLS: dict[Order, int] = {1: 1, 3: 2, 5: 3}
"""How many values beyond each end the stencil of an order reads."""

# Jiang and Peng's constant, in units of a squared slope. It is part of the scheme: with 1e-12 the values of a game's
# barrier change in the second digit.
_EPSILON = 1e-6

Field = Float[Array, "..."]


def one_sided_derivatives(padded: Field, axis: int, spacing: Float[Array, ""], order: Order) -> tuple[Field, Field]:
    r"""The left and right derivatives $D^- v$, $D^+ v$ along one axis.

    **Arguments:**

    - `padded`: values with `GHOST_CELLS[order]` ghost cells at both ends of `axis`, and none along the others.
    - `axis`, `spacing`: the axis and the distance of its points.
    - `order`: 1, 3 or 5, the order where the values are smooth.

    ??? cite "References"

        G.-S. Jiang and D. Peng, *Weighted ENO schemes for Hamilton-Jacobi equations*, SIAM J. Sci. Comput. 21, 2000,
        equations (2.4)-(2.9).
    """
    # Without the barrier XLA evaluates the ghost cells again for every one of the shifted reads.
    padded = lax.optimization_barrier(padded)
    n = padded.shape[axis] - 2 * GHOST_CELLS[order]
    values = [lax.slice_in_dim(padded, k, k + n, axis=axis) for k in range(2 * GHOST_CELLS[order] + 1)]
    scale = 1 / spacing
    slopes = [(right - left) * scale for left, right in itertools.pairwise(values)]
    return _RULES[order](*slopes)


def _upwind(left: Field, right: Field) -> tuple[Field, Field]:
    return left, right


def _weno3(a: Field, b: Field, c: Field, d: Field) -> tuple[Field, Field]:
    """From the slopes of four neighbouring intervals; the point lies between `b` and `c`."""
    outer_left, inner, outer_right = (b - a), (c - b), (d - c)
    central = (b + c) / 2
    return (
        central - _weno3_weight(outer_left, inner) * (inner - outer_left) / 2,
        central - _weno3_weight(outer_right, inner) * (outer_right - inner) / 2,
    )


def _weno3_weight(outer: Field, inner: Field) -> Field:
    ratio = (_EPSILON + outer**2) / (_EPSILON + inner**2)
    return 1 / (1 + 2 * ratio**2)


def _weno5(*slopes: Field) -> tuple[Field, Field]:
    """From the slopes of six neighbouring intervals; the point lies in the middle.

    Jiang and Peng's form: the central difference of fourth order, and on each side one correction by second
    differences, which both sides share.
    """
    _, b, c, d, e, _ = slopes
    bends = [right - left for left, right in itertools.pairwise(slopes)]
    central = (7 * (c + d) - (b + e)) * (1 / 12)
    return central - _correction(*bends[:4]), central + _correction(*bends[:0:-1])


def _smoothness(a: Field, b: Field, c: Field, d: Field) -> tuple[Field, Field, Field]:
    """The smoothness of the three sub-stencils, times 12, from second differences."""
    epsilon = 12 * _EPSILON
    return (
        13 * (a - b) ** 2 + 3 * (a - 3 * b) ** 2 + epsilon,
        13 * (b - c) ** 2 + 3 * (b + c) ** 2 + epsilon,
        13 * (c - d) ** 2 + 3 * (3 * c - d) ** 2 + epsilon,
    )


@jax.custom_jvp
def _correction(a: Field, b: Field, c: Field, d: Field) -> Field:
    """Jiang and Peng's Phi_WENO, with all weights over one common denominator: one division instead of four."""
    s0, s1, s2 = _smoothness(a, b, c, d)
    q0, q1, q2 = (s1 * s2) ** 2, 6 * (s0 * s2) ** 2, 3 * (s0 * s1) ** 2
    scale = 1 / (q0 + q1 + q2)
    return (q0 * scale) * (a - 2 * b + c) * (1 / 3) + (q2 * scale - 0.5) * (b - 2 * c + d) * (1 / 6)


@_correction.defjvp
def _correction_tangent(primals: tuple[Field, ...], tangents: tuple[Field, ...]) -> tuple[Field, Field]:
    """The derivative in closed form: by plain differentiation XLA repeats the divisions for each of the four
    directions, which makes the reverse mode half as slow again.

    With $M = w_0 A + w_2 B$ and $C = (A, 0, B)$, the weights give $\\sum_k \\mu_k\\,ds_k$ with
    $\\mu_k = -2 w_k (C_k - M)/s_k$.
    """
    a, b, c, d = primals
    s0, s1, s2 = _smoothness(a, b, c, d)
    q0, q1, q2 = (s1 * s2) ** 2, 6 * (s0 * s2) ** 2, 3 * (s0 * s1) ** 2
    scale, product = lax.optimization_barrier((1 / (q0 + q1 + q2), -2 / (s0 * s1 * s2)))
    w0, w1, w2 = q0 * scale, q1 * scale, q2 * scale
    A, B = (a - 2 * b + c) * (1 / 3), (b - 2 * c + d) * (1 / 6)
    M = A * w0 + B * w2
    m0, m1, m2, w0, w2 = lax.optimization_barrier(
        (
            w0 * (A - M) * product * (s1 * s2),
            -w1 * M * product * (s0 * s2),
            w2 * (B - M) * product * (s0 * s1),
            w0 * (1 / 3),
            (w2 - 0.5) * (1 / 6),
        )
    )
    x0, y0 = 26 * (a - b), 6 * (a - 3 * b)
    x1, y1 = 26 * (b - c), 6 * (b + c)
    x2, y2 = 26 * (c - d), 6 * (3 * c - d)
    partials = (
        w0 + m0 * (x0 + y0),
        w2 - 2 * w0 - m0 * (x0 + 3 * y0) + m1 * (x1 + y1),
        w0 - 2 * w2 + m1 * (y1 - x1) + m2 * (x2 + 3 * y2),
        w2 - m2 * (x2 + y2),
    )
    tangent = sum(partial * direction for partial, direction in zip(partials, tangents, strict=True))
    return M - 0.5 * B, jnp.asarray(tangent)


_RULES: dict[Order, Callable[..., tuple[Field, Field]]] = {1: _upwind, 3: _weno3, 5: _weno5}
