"""The range of a function's derivative over a box, by interval arithmetic on what jax traced."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._sets import Box
from hjpde._types import Point, ScalarLike, is_concrete

from ._interval_rules import Interval, NotAvailable, apply, unknown

_CALLS = [
    "jit",
    "pjit",
    "closed_call",
    "core_call",
    "remat",
    "remat2",
    "checkpoint",
    "custom_jvp_call",
    "custom_vjp_call",
    "custom_vjp_call_jaxpr",
]


def interval_gradient(hamiltonian: Callable, dim: int, dtype: jnp.dtype) -> Callable[[ScalarLike, Point, Box], Box]:
    r"""A function of `(t, x, box)` that encloses $\partial H/\partial p$ over the co-states of a box.

    The enclosure contains every value up to rounding: the ends are widened by a few units of the last place and not
    rounded outwards one by one. It may be wide where a co-state occurs several times, as each occurrence is
    taken for itself.

    **Arguments:**

    - `hamiltonian`: `H`, a function of `(t, x, p)`.
    - `dim`: the dimension `d`.
    - `dtype`: of `t`, `x` and the box.

    **Raises:** `NotAvailable` if the derivative contains an operation without a rule, or may divide by 0
    somewhere in the space of co-states.
    """
    scalar, vector = jax.ShapeDtypeStruct((), dtype), jax.ShapeDtypeStruct((dim,), dtype)
    traced = jax.make_jaxpr(jax.grad(hamiltonian, argnums=2))(scalar, vector, vector)
    _probe(traced)

    def enclosure(t: ScalarLike, x: Point, box: Box) -> Box:
        lower, upper = (end.astype(dtype) for end in (box.lower, box.upper))
        inputs = [jnp.asarray(t, dtype), x.astype(dtype), Interval(lower, upper)]
        (out,) = _interpret(traced.jaxpr, traced.consts, inputs, probing=False)
        ends = (out.lower, out.upper) if isinstance(out, Interval) else (out, out)
        return Box(*_widened(*ends, dtype))

    return enclosure


def _widened(lower: Float[Array, " d"], upper: Float[Array, " d"], dtype: jnp.dtype) -> tuple[Array, Array]:
    slack = 16 * float(jnp.finfo(dtype).eps)
    most = jnp.maximum(jnp.abs(lower), jnp.abs(upper))
    return lower - slack * most, upper + slack * most


def _probe(traced: jex.ClosedJaxpr) -> None:
    """Goes through all operations with the co-state unbounded and whatever is not known now unknown."""
    with jax.ensure_compile_time_eval():
        time, place, costate = (unknown(variable.aval, False) for variable in traced.jaxpr.invars)
        consts = [
            const if is_concrete(const) else unknown(variable.aval, False)
            for const, variable in zip(traced.consts, traced.jaxpr.constvars, strict=True)
        ]
        costate = Interval(costate.lower, costate.upper)
        _interpret(traced.jaxpr, consts, [time, place, costate], probing=True)


def _interpret(jaxpr: jex.Jaxpr, consts: Sequence[Any], inputs: Sequence[Any], probing: bool) -> list[Any]:
    """The outputs of a jaxpr: intervals where an input interval reaches them, and plain values elsewhere."""
    known: dict[Any, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
    known |= dict(zip(jaxpr.invars, inputs, strict=True))

    def read(variable: Any) -> Any:
        return variable.val if isinstance(variable, jex.Literal) else known[variable]

    for equation in jaxpr.eqns:
        values = _results(equation, [read(variable) for variable in equation.invars], probing)
        known |= dict(zip(equation.outvars, values, strict=True))
    return [read(variable) for variable in jaxpr.outvars]


def _results(equation: Any, inputs: list[Any], probing: bool) -> list[Any]:
    intervals = [value for value in inputs if isinstance(value, Interval)]
    if intervals and not any(interval.varies for interval in intervals):
        return [unknown(variable.aval, False) for variable in equation.outvars]
    if equation.primitive.name in _CALLS:
        inner = next(equation.params[key] for key in ("jaxpr", "call_jaxpr", "fun_jaxpr") if key in equation.params)
        consts = inner.consts if isinstance(inner, jex.ClosedJaxpr) else ()
        inner = inner.jaxpr if isinstance(inner, jex.ClosedJaxpr) else inner
        return _interpret(inner, consts, inputs, probing)
    if intervals:
        return apply(equation, inputs, probing)
    out = equation.primitive.bind(*inputs, **equation.params)
    return list(out) if equation.primitive.multiple_results else [out]


__all__ = ["NotAvailable", "interval_gradient"]
