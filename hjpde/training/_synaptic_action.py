"""The cost of ring networks against the action of their weight fields, as the ring is refined."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hjpde._compilation import compiled_once
from hjpde._plotting import BLUE, ORANGE, given_or_new, tidy
from hjpde._types import ArrayInput, Scalar

from ._ring_network import Field, ToyChain
from ._synaptic_couplings import SynapticCouplings, synaptic_couplings

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@final
class ActionComparison(NamedTuple):
    """The costs of networks and of their continuum, ring by ring.

    - `sites`, `spacings`: of the rings, shape `(n,)`.
    - `discrete`: the networks' costs, to second order in the weights.
    - `continuum`: the integrals over the fields.
    - `order`: the fitted power of the spacing with which their relative difference falls.
    """

    sites: np.ndarray
    spacings: np.ndarray
    discrete: np.ndarray
    continuum: np.ndarray
    order: float

    @property
    def errors(self) -> np.ndarray:
        """The differences relative to the network's cost, shape `(n,)`."""
        return np.abs(self.discrete - self.continuum) / np.abs(self.discrete)


@compiled_once
def second_order_cost(chain: ToyChain, inputs: Float[Array, "samples N"], targets: Float[Array, "samples N"]) -> Scalar:
    """The cost of a chain without its terms above second order in the weights: the Taylor polynomial about zero."""

    def scaled(s: Scalar) -> Scalar:
        return jax.tree.map(lambda w: s * w, chain).cost(inputs, targets)

    def slope(s: Scalar) -> Scalar:
        return jax.jvp(scaled, (s,), (jnp.ones_like(s),))[1]

    zero = jnp.zeros((), chain.first.dtype)
    first, second = jax.jvp(slope, (zero,), (jnp.ones_like(zero),))
    return scaled(zero) + first + second / 2


def compare_action(
    first: Field,
    second: Field,
    inputs: Field,
    targets: Field,
    *,
    constant: float,
    linear: float,
    sites: Sequence[int] = (64, 128, 256, 512),
    length: float = 2 * np.pi,
    points: int = 256,
    change: Callable[[SynapticCouplings], SynapticCouplings] | None = None,
) -> ActionComparison:
    r"""How the cost of networks approaches the integral over their weight fields: with $a^4$, for smooth fields.

    What is compared is the value of the action on smooth fields. It does not follow that training moves the weights as
    the field's equation of motion says: see `staggered_mode`.

    **Arguments:**

    - `first`, `second`: the fields $w_1$ and $w_2$, functions of an array of positions, smooth and periodic.
    - `inputs`, `targets`: the same for `X` and `Y`, with a leading axis of samples: `(M,)` to `(samples, M)`.
    - `constant`, `linear`: of the activation.
    - `sites`: of the rings, multiples of 4, at least two different.
    - `length`: of the ring. - `points`: of the grid for the integral, which must resolve the integrand.
    - `change`: applied to the couplings first; a wrong sign or a missing coupling shows in the errors.

    **Raises:** `ValueError` for fewer than two rings, or as `ToyChain` and `synaptic_couplings`.
    """
    rings = np.asarray(sites, int)
    if np.unique(rings).size < 2:
        raise ValueError(f"`sites` must hold at least two different rings, got {tuple(sites)}.")
    grid = np.arange(points) * (length / points)
    X, Y, w1, w2 = (np.asarray(field(grid)) for field in (inputs, targets, first, second))
    discrete, continuum = [], []
    for n in rings.tolist():
        chain = ToyChain.from_fields(first, second, n, length=length, constant=constant, linear=linear)
        outputs = np.arange(0, n, 4) * (length / n)
        discrete.append(float(second_order_cost(chain, _rows(inputs(outputs)), _rows(targets(outputs)))))
        couplings = synaptic_couplings(X, Y, constant=constant, linear=linear, spacing=length / n, length=length)
        continuum.append(float((couplings if change is None else change(couplings)).cost(w1, w2)))
    costs, integrals, spacings = np.array(discrete), np.array(continuum), length / rings
    errors = np.abs(costs - integrals) / np.abs(costs)
    order = np.polyfit(np.log(spacings), np.log(np.maximum(errors, np.finfo(float).tiny)), 1)[0]
    return ActionComparison(rings, spacings, costs, integrals, float(order))


def plot_action(comparison: ActionComparison, ax: "Axes | None" = None, *, label: str = "") -> "Axes":
    """The relative differences over the spacing, with a line of slope 4.

    **Arguments:** `comparison`, from `compare_action`; `ax`, or `None` for new axes; `label`, put before the order.

    **Returns:** the axes, so that a second comparison can be drawn on them.
    """
    ax = given_or_new(ax)
    tidy(ax, "both")
    a, errors = comparison.spacings, comparison.errors
    look = {"color": ORANGE, "marker": "s"} if ax.lines else {"color": BLUE, "marker": "o"}
    ax.loglog(a, errors, linestyle="-", label=f"{label} order {comparison.order:.2f}".strip(), **look)
    if len(ax.lines) == 1:
        ax.loglog(a, 0.4 * errors[0] * (a / a[0]) ** 4, "k:", label="slope 4")
    ax.set_xticks(a, [f"{spacing:.3f}" for spacing in a])
    ax.minorticks_off()
    ax.set_xlabel("spacing of the sites a [length]")
    ax.set_ylabel("|network − integral| / network")
    ax.legend(frameon=False, fontsize=8)
    return ax


def _rows(values: ArrayInput) -> Float[Array, "samples N"]:
    return jnp.atleast_2d(jnp.asarray(values, jnp.result_type(float)))
