"""The first two sources of a cost: its Taylor expansion in the parameters, for any network."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from hjpde._plotting import BLUE, given_or_new, tidy
from hjpde._types import ArrayInput, Scalar, as_float_array, require_finite

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_PARAMETERS = 4000
"""Beyond that a dense matrix of second derivatives is refused."""


@final
class CostExpansion(eqx.Module):
    r"""The cost near some parameters,

    $$C(\theta + \delta) = J_0 + J_1 \cdot \delta + \delta \cdot J_2 \delta + O(\delta^3).$$

    Read with the index of a parameter for its place, $J_1(x)$ and $J_2(x, y)$ are the sources of a field theory of the
    weights, and $J_2$ joins distant places unless the architecture prevents it.
    """

    J0: Scalar
    J1: Float[Array, " P"]
    J2: Float[Array, "P P"]

    def __call__(self, displacement: Float[Array, " P"]) -> Scalar:
        r"""The quadratic polynomial at $\delta$, in the order of `jax.flatten_util.ravel_pytree`."""
        return self.J0 + self.J1 @ displacement + displacement @ self.J2 @ displacement


@final
class RemainderOrder(NamedTuple):
    """What the quadratic expansion misses: `sizes` of the displacement, `remainders`, and the fitted `order`."""

    sizes: np.ndarray
    remainders: np.ndarray
    order: float


def expand_cost(cost: Callable[[Any], Any], parameters: PyTree) -> CostExpansion:
    """The sources $J_1$ and $J_2$ of any cost, by automatic differentiation.

    **Arguments:**

    - `cost`: a scalar function of the parameters, for instance the loss of an Equinox model on its data.
    - `parameters`: a module or another pytree; its floating arrays are the coordinates, 4000 numbers at most.

    **Raises:** `ValueError` for no or too many parameters, or parameters that are not finite.
    """
    flat, function = flat_cost(cost, parameters)
    J0, J1, H = _derivatives(function, flat)
    return CostExpansion(J0, J1, H / 2)


def remainder_order(
    cost: Callable[[Any], Any],
    parameters: PyTree,
    direction: ArrayInput,
    sizes: ArrayInput = (0.2, 0.1, 0.05, 0.025, 0.0125),
) -> RemainderOrder:
    """The power with which the quadratic expansion's error falls along a direction: 3, unless the cost has kinks.

    **Arguments:**

    - `cost`, `parameters`: as of `expand_cost`. Needs float64 for orders to be read.
    - `direction`: of the displacement, shape `(P,)`; scaled to length 1.
    - `sizes`: the displacements' lengths, positive, at least two different.

    **Raises:** `ValueError` as `expand_cost`, or for a direction of another shape or zero, or sizes not positive.
    """
    flat, function = flat_cost(cost, parameters)
    along, lengths = np.asarray(direction, float), np.asarray(sizes, float)
    if along.shape != flat.shape or not np.linalg.norm(along) > 0:
        raise ValueError(f"`direction` must have shape {flat.shape} and not vanish, got shape {along.shape}.")
    if lengths.ndim != 1 or np.unique(lengths).size < 2 or not np.all(lengths > 0):
        raise ValueError(f"`sizes` must hold at least two different positive numbers, got {sizes}.")
    expansion = expand_cost(cost, parameters)
    steps = jnp.asarray(lengths[:, None] * along / np.linalg.norm(along), flat.dtype)
    truth, model = eqx.filter_jit(lambda e, f, s: (jax.vmap(lambda d: function(f + d))(s), jax.vmap(e)(s)))(
        expansion, flat, steps
    )
    remainders = np.abs(np.asarray(truth - model, float))
    order = np.polyfit(np.log(lengths), np.log(np.maximum(remainders, np.finfo(float).tiny)), 1)[0]
    return RemainderOrder(lengths, remainders, float(order))


def plot_remainder(remainder: RemainderOrder, ax: "Axes | None" = None) -> "Axes":
    """The error of the quadratic expansion over the size of the displacement, with a line of slope 3.

    **Arguments:** `remainder`, from `remainder_order`; `ax`, or `None` for new axes. **Returns:** the axes.
    """
    ax = given_or_new(ax)
    tidy(ax, "both")
    sizes, errors = remainder.sizes, remainder.remainders
    ax.loglog(sizes, errors, "o-", color=BLUE, label=f"order {remainder.order:.2f}")
    ax.loglog(sizes, 0.5 * errors[0] * (sizes / sizes[0]) ** 3, "k:", label="slope 3")
    ax.set_xticks(sizes, [f"{size:.2g}" for size in sizes])
    ax.minorticks_off()
    ax.set_xlabel("size of the displacement |δ|")
    ax.set_ylabel("|cost − quadratic expansion|")
    ax.legend(frameon=False, fontsize=8)
    return ax


def flat_cost(cost: Callable[[Any], Any], parameters: PyTree) -> tuple[Float[Array, " P"], Callable[[Any], Any]]:
    """The floating arrays of some parameters as one vector, and the cost as its function."""
    moving, fixed = eqx.partition(parameters, eqx.is_inexact_array)
    flat, unravel = ravel_pytree(moving)
    if not 1 <= flat.size <= MOST_PARAMETERS:
        raise ValueError(f"`parameters` must hold 1 to {MOST_PARAMETERS} floating numbers, got {flat.size}.")
    require_finite(as_float_array(flat, "parameters"), "parameters")
    return flat, lambda v: cost(eqx.combine(unravel(v), fixed))


def _derivatives(function: Callable[[Any], Any], flat: Float[Array, " P"]) -> tuple[Array, Array, Array]:
    # Forward over reverse: one program for value, gradient and all columns.
    def gradient(v: Array) -> tuple[Array, tuple[Array, Array]]:
        value, slope = jax.value_and_grad(function)(v)
        return slope, (value, slope)

    hessian, (value, slope) = jax.jit(jax.jacfwd(gradient, has_aux=True))(flat)
    return value, slope, hessian
