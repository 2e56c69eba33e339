"""A function that ends in a minimum, as the branches that the minimum is taken of."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Literal, jaxpr_as_fun
from jaxtyping import Array, Float

from hjpde._types import Point, Scalar

_MOST_BRANCHES = 256


def branches_of_minimum(f: Callable[[Point], Scalar], x: Point) -> Callable[[Point], Float[Array, " K"]] | None:
    r"""Functions $f_k$ with $f = \min_k f_k$, all of them at once; `None` where `f` ends in no minimum.

    They are read off the operations that `f` consists of: minima, minima of two, and sums with such. Lax's formula is
    linear over the minimum, so that each branch may be solved alone; most often they are convex where `f` is not.

    ??? cite "References"

        W. M. McEneaney, *Max-Plus Methods for Nonlinear Control and Estimation*, Birkhäuser, 2006, Section 1.2.
    """
    program = jax.make_jaxpr(f)(x)
    origins = {variable: equation for equation in program.jaxpr.eqns for variable in equation.outvars}
    leaves: list[Any] = []

    def leaf(variable: Any) -> Callable[[list[Array]], Float[Array, " K"]]:
        if isinstance(variable, Literal):
            return lambda values: jnp.full((1,), variable.val, x.dtype)
        leaves.append(variable)
        place = len(leaves) - 1
        return lambda values: values[place].ravel()

    def expand(variable: Any) -> Callable[[list[Array]], Float[Array, " K"]]:
        if isinstance(variable, Literal) or variable not in origins:
            return leaf(variable)
        inputs = origins[variable].invars
        match origins[variable].primitive.name:
            case "reduce_min":
                return leaf(inputs[0])
            case "min":
                parts = [expand(part) for part in inputs]
                return lambda values: jnp.concatenate([part(values) for part in parts])
            case "add":
                left, right = (expand(part) for part in inputs)
                return lambda values: (left(values)[:, None] + right(values)[None, :]).ravel()
            case _:
                return leaf(variable)

    joined = expand(program.jaxpr.outvars[0])
    run = jaxpr_as_fun(ClosedJaxpr(program.jaxpr.replace(outvars=leaves), program.consts))

    def branches(y: Point) -> Float[Array, " K"]:
        return joined(run(y))

    count = jax.eval_shape(branches, x).shape[0]
    return branches if 1 < count <= _MOST_BRANCHES else None
