"""Linear dynamics with quadratic costs."""

from collections.abc import Callable
from typing import final

import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._sets import Box
from hjpde._types import (
    ArrayInput,
    Point,
    Scalar,
    ScalarLike,
    as_float_array,
    components,
    dot,
    matvec,
    require_finite,
    require_positive_definite,
    require_symmetric,
)

from ._abstract import AbstractHamiltonian
from ._quadratic import linear_bound, why_not_diagonal

TimeDependent = Float[Array, "..."] | Callable[[Scalar], Float[Array, "..."]]


@final
class LinearQuadratic(AbstractHamiltonian):
    r"""$H(t, x, p) = p^\top A p + (Bx + c) \cdot p - \tfrac12 x^\top Q x$.

    `B` and `c` are a linear drift: with viscosity $N = \varepsilon A$, $e^{-u/\varepsilon}$ is an expectation over
    the Ornstein-Uhlenbeck process $dX = -(BX + c)\,ds + \sqrt{2\varepsilon A}\,dW$. `Q` is a running cost, so that
    $u$ is the value of a linear-quadratic regulator. A quadratic datum of curvature `P` stays quadratic,
    $\dot P = -2PAP - PB - B^\top P + Q$; with `Q` or `P` indefinite this may end in a finite time.
    """

    A: Float[Array, "d d"]
    B: TimeDependent
    c: TimeDependent
    Q: TimeDependent

    def __init__(
        self,
        A: ArrayInput,
        B: ArrayInput | Callable | None = None,
        c: ArrayInput | Callable | None = None,
        Q: ArrayInput | Callable | None = None,
    ):
        r"""**Arguments:**

        - `A`: shape `(d, d)`, symmetric positive definite, constant.
        - `B`: the drift's matrix, shape `(d, d)`, per unit of time, or a function of `t`; by default 0.
        - `c`: the drift's constant, shape `(d,)`, in units of `x` per unit of time, or a function of `t`;
          by default 0.
        - `Q`: the running cost's matrix, shape `(d, d)`, symmetric, or a function of `t`; by default 0.

        **Raises:** `ValueError` if a shape is wrong, `A` is known now and not symmetric positive definite, `Q`
        is not symmetric, or a number is not finite.
        """
        self.A = as_float_array(A, "A", 2)
        if self.A.shape[0] != self.A.shape[1] or self.A.shape[0] < 1:
            raise ValueError(f"`A` must be a square matrix, got shape {self.A.shape}.")
        require_finite(self.A, "A")
        require_positive_definite(self.A, "A")
        d, dtype = self.A.shape[0], self.A.dtype
        self.B = _coefficient(B, "B", (d, d), dtype)
        self.c = _coefficient(c, "c", (d,), dtype)
        self.Q = _coefficient(Q, "Q", (d, d), dtype)
        if not callable(self.Q):
            require_symmetric(self.Q, "Q")

    @property
    def dim(self) -> int:
        return self.A.shape[0]

    @property
    def time_dependent(self) -> bool:
        """Whether a coefficient is a function of time."""
        return any(callable(coefficient) for coefficient in (self.B, self.c, self.Q))

    def coefficients(self, t: ScalarLike) -> tuple[Array, Array, Array]:
        """`B`, `c` and `Q` at time `t`."""
        t = jnp.asarray(t, jnp.result_type(t, self.A.dtype))
        B, c, Q = (f(t) if callable(f) else f for f in (self.B, self.c, self.Q))
        return B, c, Q

    def __call__(self, t: ScalarLike, x: Point, p: Float[Array, " d"]) -> Scalar:
        B, c, Q = self.coefficients(t)
        value = dot(p, matvec(self.A, p)) + dot(matvec(B, x) + c, p) - dot(x, matvec(Q, x)) / 2
        return value.astype(p.dtype)

    def speed_bound(self, t: ScalarLike, x: Point, box: Box) -> Float[Array, " d"]:
        r"""$\max_p |(2Ap + Bx + c)_i|$ over the box, attained: see `HasSpeedBound`."""
        B, c, _ = self.coefficients(t)
        return linear_bound(2 * self.A, (matvec(B, x) + c).astype(box.lower.dtype), box)

    def why_not_godunov(self) -> str | None:
        return why_not_diagonal(self.A)

    def godunov(self, t: ScalarLike, x: Point, left: Float[Array, " d"], right: Float[Array, " d"]) -> Scalar:
        r"""A sum over the axes of the convex parabolas $h_i(p) = A_{ii} p^2 + (Bx + c)_i\, p$, each taken at
        $\max(p^-, p^*)$ or at $\min(p^+, p^*)$, whichever is larger, for its minimiser
        $p^* = -(Bx + c)_i/(2A_{ii})$: see `HasGodunov`."""
        B, c, Q = self.coefficients(t)
        a, b = jnp.diagonal(self.A).astype(left.dtype), (matvec(B, x) + c).astype(left.dtype)
        minimiser = -b / (2 * a)
        from_left, from_right = jnp.maximum(left, minimiser), jnp.minimum(right, minimiser)
        sum_of = jnp.maximum(from_left * (a * from_left + b), from_right * (a * from_right + b))
        first, *rest = components(sum_of)
        return sum(rest, start=first) - (dot(x, matvec(Q, x)) / 2).astype(left.dtype)


def _coefficient(value: ArrayInput | Callable | None, name: str, shape: tuple[int, ...], dtype) -> TimeDependent:
    if callable(value):
        return value
    array = jnp.zeros(shape, dtype) if value is None else as_float_array(value, name).astype(dtype)
    if array.shape != shape:
        raise ValueError(f"`{name}` must have shape {shape}, got {array.shape}.")
    require_finite(array, name)
    return array
