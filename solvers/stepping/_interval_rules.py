"""Interval arithmetic, one rule for each of jax's operations that has a known range."""

from collections.abc import Callable, Sequence
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array


class NotAvailable(Exception):
    """An operation whose range over intervals is not known here; the message names it."""


@final
class Interval(eqx.Module):
    """All arrays between two arrays; of booleans where both are boolean.

    `varies` tells intervals that come from the box of co-states from quantities that are merely unknown.
    """

    lower: Array
    upper: Array
    varies: bool = eqx.field(static=True, default=True)


def ends(value: Any, shape: tuple[int, ...] | None = None) -> tuple[Array, Array]:
    """The lower and the upper end of an interval, or a number twice; broadcast where a shape is given."""
    lower, upper = (value.lower, value.upper) if isinstance(value, Interval) else (jnp.asarray(value),) * 2
    return (lower, upper) if shape is None else (jnp.broadcast_to(lower, shape), jnp.broadcast_to(upper, shape))


def unknown(aval: Any, varies: bool) -> Interval:
    """Everything that an array of this shape and dtype may be."""
    if aval.dtype == bool:
        least, most = False, True
    elif jnp.issubdtype(aval.dtype, jnp.integer):
        least, most = jnp.iinfo(aval.dtype).min, jnp.iinfo(aval.dtype).max
    elif jnp.issubdtype(aval.dtype, jnp.floating):
        least, most = -jnp.inf, jnp.inf
    else:
        raise NotAvailable(f"values of dtype {aval.dtype}")
    return Interval(jnp.full(aval.shape, least, aval.dtype), jnp.full(aval.shape, most, aval.dtype), varies)


# Each entry grows with every operand that is an interval; the rest of an operation is bound as it stands.
_ELEMENTWISE = [
    "add",
    "add_any",
    "max",
    "min",
    "clamp",
    "exp",
    "exp2",
    "expm1",
    "log",
    "log1p",
    "logistic",
    "tanh",
    "sinh",
    "asinh",
    "atan",
    "erf",
    "sqrt",
    "cbrt",
    "sign",
    "floor",
    "ceil",
    "round",
    "convert_element_type",
    "copy",
    "copy_p",
    "reduce_precision",
]
_STRUCTURAL = [
    "broadcast_in_dim",
    "reshape",
    "squeeze",
    "expand_dims",
    "transpose",
    "rev",
    "slice",
    "concatenate",
    "pad",
    "split",
    "reduce_sum",
    "reduce_max",
    "reduce_min",
    "cumsum",
    "cummax",
    "cummin",
]
# The operands from this position on are indices, except for the updates of a scatter.
_INDEXED = {"dynamic_slice": slice(1, None), "dynamic_update_slice": slice(2, None), "gather": slice(1, 2)}
_INDEXED |= {"scatter-add": slice(1, 2), "scatter_add": slice(1, 2), "scatter": slice(1, 2)}
# Below (or at, if strict) this argument there is no finite value or derivative.
_LEAST_ARGUMENT = {"log": (0.0, True), "rsqrt": (0.0, True), "log1p": (-1.0, True), "sqrt": (0.0, False)}


def apply(equation: Any, inputs: Sequence[Any], probing: bool) -> list[Interval]:
    """The intervals of one operation's results.

    **Arguments:**

    - `equation`: the operation, an equation of a jaxpr.
    - `inputs`: an `Interval` or a plain value for each operand.
    - `probing`: whether the ends are known now and the co-states unbounded, so that a pole inside means that the
      operation has no finite range in general.

    **Raises:** `NotAvailable` if there is no rule, or a pole is met while probing.
    """
    name = equation.primitive.name
    if probing and name in _LEAST_ARGUMENT:
        least, strict = _LEAST_ARGUMENT[name]
        lower = np.asarray(ends(inputs[0])[0])
        if np.any(lower <= least if strict else lower < least):
            raise NotAvailable(f"`{name}` of what may reach {least:g}")
    if name in _ELEMENTWISE or name in _STRUCTURAL or name in _INDEXED:
        return _increasing(equation, inputs, name)
    if name in _SPECIAL:
        shape = equation.outvars[0].aval.shape
        lower, upper = _SPECIAL[name](equation, inputs, shape, probing)
        return [_sanitised(lower, upper)]
    raise NotAvailable(f"`{name}`")


def _sanitised(lower: Array, upper: Array) -> Interval:
    """What an undefined end leaves is no bound at all."""
    if jnp.issubdtype(lower.dtype, jnp.floating):
        lower = jnp.where(jnp.isnan(lower), -jnp.inf, lower)
        upper = jnp.where(jnp.isnan(upper), jnp.inf, upper)
    return Interval(lower, upper)


def _increasing(equation: Any, inputs: Sequence[Any], name: str) -> list[Interval]:
    for index in inputs[_INDEXED[name]] if name in _INDEXED else ():
        if isinstance(index, Interval):
            if index.varies:
                raise NotAvailable(f"`{name}` at an index that depends on the co-state")
            return [unknown(variable.aval, True) for variable in equation.outvars]
    shape = equation.outvars[0].aval.shape if name in _ELEMENTWISE else None
    sides = []
    for side in (0, 1):
        out = equation.primitive.bind(*(ends(value, shape)[side] for value in inputs), **equation.params)
        sides.append(out if equation.primitive.multiple_results else [out])
    return [_sanitised(lower, upper) for lower, upper in zip(*sides, strict=True)]


def _is_same(equation: Any) -> bool:
    """Whether both operands are one variable, so that an interval is not taken for two independent ones."""
    first, second = equation.invars
    return first is second


def _subtract(equation, inputs, shape, probing):
    (a, b), (c, d) = (ends(value, shape) for value in inputs)
    if _is_same(equation):
        return jnp.zeros_like(a), jnp.zeros_like(a)
    return a - d, b - c


def _negate(equation, inputs, shape, probing):
    lower, upper = ends(inputs[0])
    return -upper, -lower


def _magnitude(lower: Array, upper: Array) -> tuple[Array, Array]:
    return jnp.maximum(jnp.maximum(lower, -upper), 0), jnp.maximum(jnp.abs(lower), jnp.abs(upper))


def _absolute(equation, inputs, shape, probing):
    return _magnitude(*ends(inputs[0]))


def _even(function: Callable) -> Callable:
    """A rule for an even function that grows away from 0."""

    def rule(equation, inputs, shape, probing):
        least, most = _magnitude(*ends(inputs[0]))
        return function(least), function(most)

    return rule


def _products(a: Array, b: Array, c: Array, d: Array) -> tuple[Array, Array]:
    products = [a * c, a * d, b * c, b * d]
    # Nothing is ever infinite, only unbounded: 0 times infinity is 0.
    products = [jnp.where(jnp.isnan(product), 0, product) for product in products]
    lower, upper = products[0], products[0]
    for product in products[1:]:
        lower, upper = jnp.minimum(lower, product), jnp.maximum(upper, product)
    return lower, upper


def _multiply(equation, inputs, shape, probing):
    (a, b), (c, d) = (ends(value, shape) for value in inputs)
    if _is_same(equation):
        least, most = _magnitude(a, b)
        return jnp.square(least), jnp.square(most)
    return _products(a, b, c, d)


def _quotient(a: Array, b: Array, c: Array, d: Array) -> tuple[Array, Array]:
    pole = (c <= 0) & (d >= 0)
    c, d = 1 / jnp.where(pole, 1, c), 1 / jnp.where(pole, 1, d)
    lower, upper = _products(a, b, d, c)
    return jnp.where(pole, -jnp.inf, lower), jnp.where(pole, jnp.inf, upper)


def _refuse_a_pole(value: Any, probing: bool, name: str) -> None:
    if probing and (not isinstance(value, Interval) or value.varies):
        lower, upper = (np.asarray(end) for end in ends(value))
        if np.any((lower <= 0) & (upper >= 0)):
            raise NotAvailable(f"`{name}` by what may be 0")


def _divide(equation, inputs, shape, probing):
    _refuse_a_pole(inputs[1], probing, "div")
    if not isinstance(inputs[1], Interval):
        a, b = ends(inputs[0], shape)
        divisor = jnp.broadcast_to(jnp.asarray(inputs[1]), shape)
        return jnp.minimum(a / divisor, b / divisor), jnp.maximum(a / divisor, b / divisor)
    (a, b), (c, d) = (ends(value, shape) for value in inputs)
    return _quotient(a, b, c, d)


def _reciprocal_root(equation, inputs, shape, probing):
    lower, upper = ends(inputs[0])
    return jax.lax.rsqrt(upper), jax.lax.rsqrt(lower)


def _integer_power(equation, inputs, shape, probing):
    y = equation.params["y"]
    lower, upper = ends(inputs[0])
    if y % 2 == 0:
        lower, upper = _magnitude(lower, upper)
    powers = jax.lax.integer_pow(lower, abs(y)), jax.lax.integer_pow(upper, abs(y))
    if y >= 0:
        return powers
    _refuse_a_pole(Interval(*powers), probing, "integer_pow")
    one = jnp.ones_like(lower)
    return _quotient(one, one, *powers)


def _power(equation, inputs, shape, probing):
    base, exponent = inputs
    if isinstance(exponent, Interval):
        raise NotAvailable("`pow` with an exponent that is not known")
    lower, upper = ends(base, shape)
    falls = jnp.broadcast_to(jnp.asarray(exponent), shape) < 0
    if probing and np.any(np.asarray((lower < 0) | (falls & (lower <= 0)))):
        raise NotAvailable("`pow` of what may be negative, or 0 with a negative exponent")
    y = jnp.broadcast_to(jnp.asarray(exponent, lower.dtype), shape)
    low, high = lower**y, upper**y
    return jnp.where(falls, high, low), jnp.where(falls, low, high)


def _cosine_range(lower: Array, upper: Array) -> tuple[Array, Array]:
    turn = 2 * np.pi

    def reaches(angle: float) -> Array:
        return jnp.floor((upper - angle) / turn) >= jnp.ceil((lower - angle) / turn)

    at_ends = jnp.cos(lower), jnp.cos(upper)
    least = jnp.where(reaches(np.pi), -1.0, jnp.minimum(*at_ends)).astype(lower.dtype)
    most = jnp.where(reaches(0.0), 1.0, jnp.maximum(*at_ends)).astype(lower.dtype)
    return least, most


def _cosine(equation, inputs, shape, probing):
    return _cosine_range(*ends(inputs[0]))


def _sine(equation, inputs, shape, probing):
    lower, upper = ends(inputs[0])
    return _cosine_range(lower - np.pi / 2, upper - np.pi / 2)


def _compare(name: str) -> Callable:
    def rule(equation, inputs, shape, probing):
        if _is_same(equation):
            out = jnp.full(shape, name in ("le", "ge", "eq"))
            return out, out
        (a, b), (c, d) = (ends(value, shape) for value in inputs)
        if name == "lt":
            return b < c, a < d
        if name == "le":
            return b <= c, a <= d
        if name == "gt":
            return a > d, b > c
        if name == "ge":
            return a >= d, b >= c
        certainly, possibly = (a == b) & (c == d) & (a == c), (a <= d) & (c <= b)
        return (certainly, possibly) if name == "eq" else (~possibly, ~certainly)

    return rule


def _logical(function: Callable) -> Callable:
    def rule(equation, inputs, shape, probing):
        if equation.outvars[0].aval.dtype != bool:
            raise NotAvailable(f"`{equation.primitive.name}` of integers")
        pairs = [ends(value, shape) for value in inputs]
        return function(*pairs)

    return rule


def _select(equation, inputs, shape, probing):
    which, *cases = inputs
    pairs = [ends(case, shape) for case in cases]
    if not isinstance(which, Interval):
        which = jnp.asarray(which)
        return tuple(jax.lax.select_n(which, *(pair[side] for pair in pairs)) for side in (0, 1))
    lower, upper = pairs[0]
    if which.lower.dtype != bool:
        for low, high in pairs[1:]:
            lower, upper = jnp.minimum(lower, low), jnp.maximum(upper, high)
        return lower, upper
    always, possibly = ends(which, shape)
    low, high = pairs[1]
    return (
        jnp.where(always, low, jnp.where(possibly, jnp.minimum(low, lower), lower)),
        jnp.where(always, high, jnp.where(possibly, jnp.maximum(high, upper), upper)),
    )


def _contract(equation, inputs, shape, probing):
    left, right = inputs

    def product(a: Array, b: Array) -> Array:
        return equation.primitive.bind(a, b, **equation.params)

    (contracted, _), (batched, _) = equation.params["dimension_numbers"]
    a, b = ends(left)
    if _is_same(equation) and not batched and len(contracted) == a.ndim:
        least, most = _magnitude(a, b)
        return product(least, least), product(most, most)
    if isinstance(left, Interval) and isinstance(right, Interval):
        c, d = ends(right)
        middles, radii = ((a + b) / 2, (c + d) / 2), ((b - a) / 2, (d - c) / 2)
        sizes = jnp.abs(middles[0]), jnp.abs(middles[1])
        middle = product(*middles)
        radius = product(sizes[0], radii[1]) + product(radii[0], sizes[1]) + product(*radii)
        return middle - radius, middle + radius
    interval, plain, swap = (left, right, False) if isinstance(left, Interval) else (right, left, True)
    lower, upper = ends(interval)
    plain = jnp.asarray(plain)
    rising, falling = jnp.maximum(plain, 0), jnp.minimum(plain, 0)

    def combined(with_rising: Array, with_falling: Array) -> Array:
        if swap:
            return product(rising, with_rising) + product(falling, with_falling)
        return product(with_rising, rising) + product(with_falling, falling)

    return combined(lower, upper), combined(upper, lower)


_SPECIAL = {
    "sub": _subtract,
    "neg": _negate,
    "abs": _absolute,
    "mul": _multiply,
    "div": _divide,
    "rsqrt": _reciprocal_root,
    "integer_pow": _integer_power,
    "square": _even(jnp.square),
    "cosh": _even(jnp.cosh),
    "pow": _power,
    "cos": _cosine,
    "sin": _sine,
    "select_n": _select,
    "dot_general": _contract,
    "and": _logical(lambda first, second: (first[0] & second[0], first[1] & second[1])),
    "or": _logical(lambda first, second: (first[0] | second[0], first[1] | second[1])),
    "not": _logical(lambda only: (~only[1], ~only[0])),
    "is_finite": lambda equation, inputs, shape, probing: (jnp.zeros(shape, bool), jnp.ones(shape, bool)),
    **{name: _compare(name) for name in ("lt", "le", "gt", "ge", "eq", "ne")},
}
