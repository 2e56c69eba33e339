"""How far the weights of a network act on each other: the range of the second derivatives of its cost."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, final

import numpy as np
from jaxtyping import PyTree

from hjpde._plotting import BLUE, ORANGE, given_or_new, tidy
from hjpde._types import ArrayInput, ScalarLike, known_number

from ._cost_expansion import expand_cost
from ._ring_network import ToyChain

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@final
class Locality(NamedTuple):
    """The second derivatives of a cost, with a place for each parameter.

    - `hessian`: shape `(P, P)`. - `positions`: shape `(P,)`. - `period`: of the ring that they lie on, or `None`.
    """

    hessian: np.ndarray
    positions: np.ndarray
    period: float | None

    @property
    def distances(self) -> np.ndarray:
        """Between all pairs of parameters, shape `(P, P)`."""
        apart = np.abs(self.positions[:, None] - self.positions[None])
        return apart if self.period is None else np.minimum(apart, self.period - apart)

    def reach(self, rows: slice = slice(None), columns: slice = slice(None), threshold: float = 1e-12) -> float:
        """The largest distance of two parameters that act on each other: an entry above `threshold` of the largest."""
        block = np.abs(self.hessian[rows, columns])
        return float(self.distances[rows, columns][block > threshold * np.abs(self.hessian).max()].max(initial=0))

    def fraction_beyond(self, reach: ScalarLike) -> float:
        """The share of the matrix (of its squared entries) between parameters more than `reach` apart."""
        squares = self.hessian**2
        return float(squares[self.distances > known_number(reach, "reach")].sum() / squares.sum())


def cost_locality(
    cost: Callable[[Any], Any],
    parameters: PyTree,
    positions: ArrayInput | None = None,
    period: ScalarLike | None = None,
) -> Locality:
    """The second derivatives of the cost of any network, with its parameters put on a line or a ring.

    For a general network the share beyond any short distance is large, whatever the order: its field theory is not
    local. No threshold makes that a test; the share is to be reported.

    **Arguments:**

    - `cost`, `parameters`: as of `expand_cost`.
    - `positions`: the place of each parameter, shape `(P,)`; its index by default.
    - `period`: the length of the ring, if they lie on one.

    **Raises:** `ValueError` as `expand_cost`, or for positions of another shape, or outside `[0, period)`.
    """
    hessian = 2 * np.asarray(expand_cost(cost, parameters).J2)
    places = np.arange(len(hessian)) if positions is None else np.asarray(positions)
    if places.shape != hessian.shape[:1]:
        raise ValueError(f"`positions` must have shape {hessian.shape[:1]}, got {places.shape}.")
    length = None if period is None else known_number(period, "period")
    if length is not None and not np.all((places >= 0) & (places < length)):
        raise ValueError(f"`positions` must lie in [0, period) with `period` = {length:g}.")
    return Locality(hessian, places, length)


def chain_ranges(chain: ToyChain, inputs: ArrayInput, targets: ArrayInput) -> dict[str, int]:
    """The sites over which the weights of a chain act on each other, by pairs of layers.

    **Arguments:** `chain`, with weights in general position; `inputs`, `targets`: data, shape `(samples, N)`.

    **Returns:** the ranges under `"w1 w1"`, `"w1 w2"` and `"w2 w2"`: 6, 4 and 2, on a ring of 16 sites or more.
    """
    found = cost_locality(lambda c: c.cost(inputs, targets), chain, chain.weight_sites, chain.sites)
    half = chain.first.shape[0]
    layers = {"w1": slice(0, half), "w2": slice(half, None)}
    return {f"{a} {b}": round(found.reach(layers[a], layers[b])) for a, b in (("w1", "w1"), ("w1", "w2"), ("w2", "w2"))}


def plot_locality(found: dict[str, Locality], ax: "Axes | None" = None) -> "Axes":
    """The share of the second derivatives beyond each distance, one line a network.

    **Arguments:** `found`, from `cost_locality`, by name; `ax`, or `None` for new axes. **Returns:** the axes.
    """
    ax = given_or_new(ax)
    tidy(ax)
    for i, (name, locality) in enumerate(found.items()):
        distances, last = locality.distances, locality.distances.max()
        reaches = np.unique(np.linspace(0, last, 60).astype(int))
        shares = [locality.fraction_beyond(r) for r in reaches]
        look: dict[str, Any] = {"color": (BLUE, ORANGE)[i % 2], "marker": "os"[i % 2], "linestyle": ("-", "--")[i % 2]}
        ax.plot(reaches / distances.max(), shares, ms=4, label=name, **look)
    ax.set_xlabel("distance R [largest distance]")
    ax.set_ylabel("share of the Hessian beyond R")
    ax.set_ylim(-0.02, 1)
    ax.legend(frameon=False, fontsize=8)
    return ax
