"""Which layers a Lagrangian couples: the blocks of its Hessian, drawn."""

import dataclasses
from typing import TYPE_CHECKING, final

import jax
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Bool, Float

from hjpde._compilation import quick_jit
from hjpde._plotting import BLUE, ORANGE, given_or_new
from hjpde._types import ArrayInput

from ._bulk_boundary import bulk_lagrangian, lagrangian
from ._neuron_coordinates import BiasCoordinates, NeuronCoordinates, Perceptron, require_smooth

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LARGEST = 4000
"""Variables up to which a Hessian is formed: 128 MB in float64."""


@final
@dataclasses.dataclass(frozen=True)
class InteractionGraph:
    """Which groups of variables a Lagrangian couples; made by `interaction_graph` and `bias_interaction_graph`.

    - `names`: the groups in the order of the layers, such as `W0, z1, W1, z2`; `n` of them.
    - `title`: what is shown.
    - `blocks`: the largest second derivative between two groups, shape `(2n, 2n)`: positions first, then velocities.
    - `same_cell`: whether two groups share a cell $(z^{(m)}, W^{(m)}, z^{(m+1)})$, shape `(n, n)`.
    - `threshold`: what is above it counts as a coupling.
    """

    names: tuple[str, ...]
    title: str
    blocks: Float[np.ndarray, "m m"]
    same_cell: Bool[np.ndarray, "n n"]
    threshold: float = 1e-12

    @property
    def coupled(self) -> Bool[np.ndarray, "n n"]:
        """Whether two groups are coupled, in positions or velocities."""
        n = len(self.names)
        return np.asarray((self.blocks > self.threshold).reshape(2, n, 2, n).any((0, 2)))

    @property
    def violations(self) -> list[tuple[str, str]]:
        """The pairs that are coupled though they share no cell."""
        return [
            (self.names[i], self.names[j]) for i, j in zip(*np.nonzero(self.coupled & ~self.same_cell), strict=True)
        ]

    @property
    def fraction(self) -> float:
        """The part of all pairs of different groups that are coupled."""
        pairs = ~np.eye(len(self.names), dtype=bool)
        return float(self.coupled[pairs].mean())


def interaction_graph(
    perceptron: Perceptron, state: NeuronCoordinates, velocity: NeuronCoordinates
) -> InteractionGraph:
    """The couplings of `bulk_lagrangian` in weights and neurons: only neighbours, whatever the depth.

    Memory is that of the whole Hessian: at most 4000 variables, positions and velocities together.

    **Arguments:** `perceptron`, with a smooth activation; `state` and `velocity` in weights and neurons, with no
    particular symmetry (random ones), as a coupling that vanishes at one state is not seen there.

    **Raises:** `ValueError` if the activation has kinks or there are too many variables.
    """
    title = "bulk, in weights and neurons"
    return _graph(perceptron, title, "z", 1, lambda q, v: bulk_lagrangian(perceptron, q, v), state, velocity)


def bias_interaction_graph(
    perceptron: Perceptron, state: BiasCoordinates, velocity: BiasCoordinates, x: ArrayInput, y: ArrayInput
) -> InteractionGraph:
    """The couplings of `lagrangian` in weights and biases: every layer with every other one, through the loss.

    **Arguments:** as for `lagrangian`.

    **Raises:** `ValueError` as `interaction_graph` and `lagrangian`.
    """
    title = "whole, in weights and biases"
    return _graph(perceptron, title, "b", 0, lambda q, v: lagrangian(perceptron, q, v, x, y), state, velocity)


def plot_interaction_graph(graph: InteractionGraph, ax: "Axes | None" = None) -> "Axes":
    """The groups of variables against one another, in the order of the layers: a square where two are coupled.

    Squares within a cell are filled, others are hatched: a local Lagrangian is a band.

    **Arguments:** `graph`; `ax`: axes of matplotlib, or `None` for new ones.
    """
    from matplotlib.patches import Rectangle

    ax = given_or_new(ax, 4.6, 4.6)
    n, near, far = len(graph.names), None, None
    for i, j in zip(*np.nonzero(graph.coupled), strict=True):
        place = (j - 0.44, i - 0.44)
        if graph.same_cell[i, j]:
            near = ax.add_patch(Rectangle(place, 0.88, 0.88, facecolor=BLUE))
        else:
            far = ax.add_patch(
                Rectangle(place, 0.88, 0.88, facecolor="white", edgecolor=ORANGE, hatch="////", linewidth=0.8)
            )
    ax.set(xlim=(-0.5, n - 0.5), ylim=(n - 0.5, -0.5), aspect="equal")
    ax.set_xticks(range(n), graph.names, fontsize=9)
    ax.set_yticks(range(n), graph.names, fontsize=9)
    ax.tick_params(length=0)
    ax.spines[:].set_color("#bbbbbb")
    ax.set_xlabel("variables, in the order of the layers")
    ax.set_title(f"{graph.title}:\n{graph.fraction:.0%} of all pairs are coupled", fontsize=10)
    found = [(patch, name) for patch, name in ((near, "within a cell"), (far, "beyond")) if patch is not None]
    ax.legend(*zip(*found, strict=True), frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2)
    return ax


def _graph(perceptron, title, letter, first, function, state, velocity) -> InteractionGraph:
    """With the groups `W0, W1, ...` and those of the letter, which are counted from `first`."""
    require_smooth(perceptron.activation)
    flat, unravel = ravel_pytree((state, velocity))
    if flat.size > _LARGEST:
        raise ValueError(f"`state` and `velocity` must have at most {_LARGEST} entries together, got {flat.size}.")
    hessian = np.abs(np.asarray(quick_jit(jax.hessian(lambda q: function(*unravel(q))), 0)(flat)))
    # The tree lists all weights before all neurons or biases; the graph goes layer by layer.
    sizes = [leaf.size for leaf in jax.tree.leaves((state, velocity))]
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    rows = np.maximum.reduceat(np.maximum.reduceat(hessian, starts, axis=0), starts, axis=1)
    depth = len(state.weights)
    names = tuple(name for m in range(depth) for name in (f"W{m}", f"{letter}{m + first}"))
    order = np.arange(2 * depth).reshape(2, depth).T.ravel()
    order = np.concatenate([order, order + 2 * depth])
    # Cells by number: a weight is in its own, a neuron or bias in those on both sides.
    cells = [{k // 2} if k % 2 == 0 else {k // 2, k // 2 + 1} for k in range(2 * depth)]
    same = np.array([[bool(a & b) for b in cells] for a in cells])
    return InteractionGraph(names, title, rows[np.ix_(order, order)], same)
