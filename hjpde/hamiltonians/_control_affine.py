"""Optimal control and differential games with dynamics that are affine in control and disturbance."""

from collections.abc import Callable
from typing import Literal, final, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._sets import Ball, Box
from hjpde._types import (
    ArrayInput,
    Point,
    Scalar,
    ScalarLike,
    as_float_array,
    dot,
    matvec,
    require_finite,
)

from ._abstract import AbstractHamiltonian

Aim = Literal["min", "max"]
"""What a player does with the value."""


@final
class ControlAffine(AbstractHamiltonian):
    r"""The Hamiltonian of the dynamics $\dot x = f + G a + D b$ with control `a` and disturbance `b`,

    $$H(t, x, p) = -\mathop{\mathrm{opt}}_a \mathop{\mathrm{opt}}_b\;
      p \cdot \bigl(f(t, x) + G(t, x)\,a + D(t, x)\,b\bigr) + \ell(t, x),$$

    so that $u_t + H = 0$, $u(0, \cdot) = g$ has as $u(T, x)$ the optimal value of
    $g(x(T)) + \int \ell\,ds$ over trajectories that start at $x$ with the time $T$ to go. `t` is the **time to go**:
    at the real time `s` of a trajectory it is $T - s$. The two players' terms are separate, so Isaacs' condition
    holds: it does not matter who moves first.

    ??? cite "References"

        I. M. Mitchell, A. M. Bayen and C. J. Tomlin, *A time-dependent Hamilton-Jacobi formulation of reachable sets
        for continuous dynamic games*, IEEE Transactions on Automatic Control 50 (2005), 947-957.
    """

    drift: Float[Array, " d"] | Callable
    control_matrix: Float[Array, "d k"] | Callable | None
    disturbance_matrix: Float[Array, "d m"] | Callable | None
    controls: Box | Ball | None
    disturbances: Box | Ball | None
    running_cost: Callable | None
    control: Aim = eqx.field(static=True)
    disturbance: Aim = eqx.field(static=True)
    _dim: int | None = eqx.field(static=True)

    def __init__(
        self,
        drift: ArrayInput | Callable,
        control_matrix: ArrayInput | Callable | None = None,
        disturbance_matrix: ArrayInput | Callable | None = None,
        *,
        controls: Box | Ball | None = None,
        disturbances: Box | Ball | None = None,
        dim: int | None = None,
        control: Aim = "min",
        disturbance: Aim | None = None,
        running_cost: Callable | None = None,
    ):
        r"""**Arguments:**

        - `drift`: $f$, shape `(d,)`, in units of `x` per unit of time, or a function of `t` and one point `x`.
        - `control_matrix`: $G$, shape `(d, k)`, or a function of `t` and `x`; `None` for no control.
        - `disturbance_matrix`: $D$, shape `(d, m)`, or a function of `t` and `x`; `None` for no disturbance.
        - `controls`, `disturbances`: the `hjpde.Box` or `hjpde.Ball` in which `a` and `b` live.
        - `dim`: $d$; needed only where no constant array shows it and a solver has to know it.
        - `control`: whether `a` is chosen to make the value small ("min", to reach a target) or large ("max", to
          avoid one).
        - `disturbance`: the same for `b`; by default the opposite of `control`, a game of two opponents.
        - `running_cost`: $\ell$, a function of `t` and `x`, in units of `u` per unit of time; by default none.

        **Raises:** `ValueError` if shapes disagree, a matrix comes without its set or a set without its matrix, or
        a word is unknown.
        """
        for name, word in (("control", control), ("disturbance", disturbance)):
            if word not in get_args(Aim) and not (name == "disturbance" and word is None):
                raise ValueError(f'`{name}` must be "min" or "max", got {word!r}.')
        if running_cost is not None and not callable(running_cost):
            raise ValueError(f"`running_cost` must be a function of `t` and `x`, got {type(running_cost).__name__}.")
        self.drift = _function_or_array(drift, "drift", 1)
        self.control_matrix = _with_its_set(control_matrix, "control_matrix", controls, "controls")
        self.disturbance_matrix = _with_its_set(disturbance_matrix, "disturbance_matrix", disturbances, "disturbances")
        self.controls, self.disturbances, self.running_cost = controls, disturbances, running_cost
        self.control = control
        self.disturbance = ("max" if control == "min" else "min") if disturbance is None else disturbance
        if dim is not None and (isinstance(dim, bool) or not isinstance(dim, int) or dim < 1):
            raise ValueError(f"`dim` must be a positive integer or `None`, got {dim!r}.")
        known = {
            "dim": dim,
            **{
                name: None if value is None or callable(value) else value.shape[0]
                for name, value in (
                    ("drift", self.drift),
                    ("control_matrix", self.control_matrix),
                    ("disturbance_matrix", self.disturbance_matrix),
                )
            },
        }
        known = {name: value for name, value in known.items() if value is not None}
        if len(set(known.values())) > 1:
            raise ValueError(
                "the dimensions disagree: " + ", ".join(f"`{name}` has d = {value}" for name, value in known.items())
            )
        self._dim = next(iter(known.values()), None)

    @property
    def dim(self) -> int | None:
        return self._dim

    def __call__(self, t: ScalarLike, x: Point, p: Float[Array, " d"]) -> Scalar:
        f, G, D = self.coefficients(t, x, p.dtype)
        rate = dot(f, p)
        if self.controls is not None and G is not None:
            rate = rate + _optimum(self.control, self.controls, _pull_back(G, p))
        if self.disturbances is not None and D is not None:
            rate = rate + _optimum(self.disturbance, self.disturbances, _pull_back(D, p))
        if self.running_cost is not None:
            rate = rate + jnp.asarray(self.running_cost(jnp.asarray(t), x), p.dtype)
        return -rate

    def optimal_control(self, t: ScalarLike, x: Point, p: Float[Array, " d"]) -> Float[Array, " k"]:
        r"""The control that is optimal under the co-state $p = \nabla u(t, x)$, shape `(k,)`.

        In a box it is a vertex; in a ball it is on the sphere. Where $G^\top p$, or an entry of it for a box, is 0,
        every control is optimal, and the middle is taken.
        """
        _, G, _ = self.coefficients(t, x, p.dtype)
        return _optimiser(self.control, self.controls, G, p)

    def optimal_disturbance(self, t: ScalarLike, x: Point, p: Float[Array, " d"]) -> Float[Array, " m"]:
        """The disturbance that is optimal for its own aim, shape `(m,)`; ties as in `optimal_control`."""
        _, _, D = self.coefficients(t, x, p.dtype)
        return _optimiser(self.disturbance, self.disturbances, D, p)

    def velocity(
        self,
        t: ScalarLike,
        x: Point,
        a: Float[Array, " k"] | None = None,
        b: Float[Array, " m"] | None = None,
    ) -> Float[Array, " d"]:
        r"""$\dot x = f + G a + D b$, shape `(d,)`; `None` leaves a player's term out."""
        f, G, D = self.coefficients(t, x, x.dtype)
        if a is not None and G is not None:
            f = f + matvec(G, a)
        if b is not None and D is not None:
            f = f + matvec(D, b)
        return f

    def speed_bound(self, t: ScalarLike, x: Point, box: Box) -> Float[Array, " d"]:
        r"""The largest $|\dot x_i|$ over all controls and disturbances, whatever the box: see `HasSpeedBound`.

        For sets that are symmetric about 0 it is $|f_i| + \max_a |(Ga)_i| + \max_b |(Db)_i|$.
        """
        f, G, D = self.coefficients(t, x, box.lower.dtype)
        highest, lowest = f, -f
        for M, choices in ((G, self.controls), (D, self.disturbances)):
            if M is not None and choices is not None:
                highest = highest + jax.vmap(choices.support)(M)
                lowest = lowest + jax.vmap(choices.support)(-M)
        return jnp.maximum(highest, lowest)

    def coefficients(
        self, t: ScalarLike, x: Point, dtype: jnp.dtype
    ) -> tuple[Float[Array, " d"], Float[Array, "d k"] | None, Float[Array, "d m"] | None]:
        """`f`, `G` and `D` at one time and point, in a given dtype; `None` for what is not there.

        **Raises:** `ValueError` if a function returns another shape.
        """
        d = x.shape[0]
        sizes = (None if choices is None else choices.dim for choices in (self.controls, self.disturbances))
        k, m = sizes
        return (
            _at(self.drift, t, x, "drift", (d,), dtype),
            None if k is None else _at(self.control_matrix, t, x, "control_matrix", (d, k), dtype),
            None if m is None else _at(self.disturbance_matrix, t, x, "disturbance_matrix", (d, m), dtype),
        )


def _function_or_array(value: ArrayInput | Callable, name: str, ndim: int) -> Array | Callable:
    if callable(value):
        return value
    array = as_float_array(value, name, ndim)
    if 0 in array.shape:
        raise ValueError(f"`{name}` must not be empty, got shape {array.shape}.")
    require_finite(array, name)
    return array


def _with_its_set(
    matrix: ArrayInput | Callable | None, name: str, choices: Box | Ball | None, set_name: str
) -> Array | Callable | None:
    if choices is not None and not isinstance(choices, Box | Ball):
        raise ValueError(f"`{set_name}` must be a `hjpde.Box` or a `hjpde.Ball`, got {type(choices).__name__}.")
    if (matrix is None) != (choices is None):
        missing, given = (set_name, name) if choices is None else (name, set_name)
        raise ValueError(f"`{given}` needs `{missing}`, which is missing.")
    if matrix is None or choices is None:
        return None
    matrix = _function_or_array(matrix, name, 2)
    if not callable(matrix) and matrix.shape[1] != choices.dim:
        raise ValueError(f"`{name}` must have {choices.dim} columns as `{set_name}`, got shape {matrix.shape}.")
    return matrix


def _at(value: Array | Callable | None, t: ScalarLike, x: Point, name: str, shape: tuple[int, ...], dtype) -> Array:
    array = jnp.asarray(value(jnp.asarray(t), x) if callable(value) else value, dtype)
    if array.shape != shape:
        raise ValueError(f"`{name}` must have shape {shape} at a point of shape {x.shape}, got {array.shape}.")
    return array


def _pull_back(M: Float[Array, "d k"], p: Float[Array, " d"]) -> Float[Array, " k"]:
    return matvec(M.T, p)


def _optimum(aim: Aim, choices: Box | Ball, q: Float[Array, " k"]) -> Scalar:
    return choices.support(q) if aim == "max" else -choices.support(-q)


def _optimiser(
    aim: Aim, choices: Box | Ball | None, M: Float[Array, "d k"] | None, p: Float[Array, " d"]
) -> Float[Array, " k"]:
    if choices is None or M is None:
        return jnp.zeros((0,), p.dtype)
    q = _pull_back(M, p)
    return choices.maximiser(q if aim == "max" else -q)
