"""Log-sum-exp layers that are quadratures of the Hopf-Cole integral of an initial datum."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike

from hjpde._types import ArrayInput, ScalarLike, as_float_array, known_number
from hjpde.initial_data import Atoms, LogSumExp

# Scores in one block of the table of points and neurons: 32 MB in float64.
_BLOCK = 1 << 22
_NODES = 4096


def quadrature_grid(
    lower: ArrayInput, upper: ArrayInput, count: int, rule: str = "midpoint"
) -> tuple[np.ndarray, np.ndarray]:
    r"""Nodes and weights of a product rule on a box, all weights $|\Omega| / N$.

    **Arguments:**

    - `lower`, `upper`: the corners of the box $\Omega$, shape `(d,)`.
    - `count`: nodes in each direction, at least 1; with endpoints at least 2.
    - `rule`: `"midpoint"`, of second order; or `"endpoints"`, equally spaced nodes with both ends, which with equal
        weights is of first order only.

    **Returns:** nodes, shape `(N, d)` with $N = n^d$, and weights, shape `(N,)`, in float64.

    **Raises:** `ValueError` for corners that bound no box, too few nodes or another rule.
    """
    low, high = np.atleast_1d(np.asarray(lower, float)), np.atleast_1d(np.asarray(upper, float))
    if low.shape != high.shape or low.ndim != 1 or not np.all(low < high):
        raise ValueError(f"`lower` and `upper` must have shape (d,) and `lower < upper`, got {lower} and {upper}.")
    if rule not in ("midpoint", "endpoints"):
        raise ValueError(f"`rule` must be 'midpoint' or 'endpoints', got {rule!r}.")
    if count < 1 + (rule == "endpoints"):
        raise ValueError(f"`count` must be at least {1 + (rule == 'endpoints')} for rule {rule!r}, got {count}.")
    unit = (np.arange(count) + 0.5) / count if rule == "midpoint" else np.linspace(0, 1, count)
    axes = np.meshgrid(*[a + (b - a) * unit for a, b in zip(low, high, strict=True)], indexing="ij")
    nodes = np.stack(axes, axis=-1).reshape(-1, low.size)
    return nodes, np.full(len(nodes), np.prod(high - low) / len(nodes))


def quadrature_layer(
    datum: Callable[..., ArrayLike], nodes: ArrayInput, weights: ArrayInput | None, t: ScalarLike, viscosity: ScalarLike
) -> LogSumExp:
    r"""The layer $f^N_\varepsilon(x) = \varepsilon \log \sum_j w_j \exp\bigl((x \cdot y_j/2t - g(y_j) - |y_j|^2/4t)
    / \varepsilon\bigr)$, in which $\varepsilon\log w_j$ joins the bias.

    $|x|^2/4t - f^N_\varepsilon + \tfrac{\varepsilon d}{2}\log(4\pi\varepsilon t)$ tends to the solution of
    $u_t + |\nabla u|^2 = \varepsilon\,\Delta u$ with $u(0) = g$ as the nodes fill the box that carries the mass.
    Without the weights the sum grows as $\varepsilon\log N$ for ever.

    **Arguments:**

    - `datum`: $g(y)$ at one point of shape `(d,)`, a scalar; an initial datum or any function of jax.
    - `nodes`: $y_j$, shape `(N, d)`.
    - `weights`: $w_j > 0$, shape `(N,)`; `None` for a plain sum.
    - `t`, `viscosity`: positive.

    **Raises:** `ValueError` for a weight that is not positive, or as `LogSumExp`.
    """
    nodes = as_float_array(nodes, "nodes", 2)
    heights = heights_at(datum, nodes)
    if weights is not None:
        weights = np.asarray(weights, float)
        if weights.shape != heights.shape or not np.all(weights > 0):
            raise ValueError(f"`weights` must be positive with shape {heights.shape}, got shape {weights.shape}.")
        heights = heights - known_number(viscosity, "viscosity") * np.log(weights)
    return LogSumExp.from_atoms(Atoms(nodes, heights), t, viscosity)


def heights_at(datum: Callable[..., ArrayLike], nodes: ArrayInput) -> np.ndarray:
    """`g` at each of the nodes, in float64 as far as jax computes it.

    **Raises:** `ValueError` if `g` is no scalar or a NaN.
    """
    Y = np.asarray(nodes)
    # Blocks of one size: jax compiles each operation of the datum once, not once for every number of nodes.
    filled = np.pad(Y, ((0, -len(Y) % _NODES), (0, 0)), mode="edge")
    blocks = [jax.vmap(datum)(jnp.asarray(filled[k : k + _NODES])) for k in range(0, len(filled), _NODES)]
    heights = np.concatenate([np.asarray(block, float) for block in blocks])[: len(Y)]
    if heights.ndim != 1 or np.isnan(heights).any():
        raise ValueError(f"`datum` must return a scalar that is no NaN, got shape {heights.shape} at many points.")
    return heights


def layer_values(
    X: np.ndarray, nodes: np.ndarray, heights: np.ndarray, weights: np.ndarray | None, t: float, viscosity: float
) -> np.ndarray:
    """`quadrature_layer` at points, or at viscosity 0 its limit, in float64 on the host.

    Sweeps over widths have a new shape at each, for which compiling would take longer than the numbers.
    """
    slopes, biases = nodes / (2 * t), -heights - (nodes**2).sum(axis=1) / (4 * t)
    rows = max(1, _BLOCK // len(nodes))
    return np.concatenate([_block(X[k : k + rows], slopes, biases, weights, viscosity) for k in range(0, len(X), rows)])


def _block(
    X: np.ndarray, slopes: np.ndarray, biases: np.ndarray, weights: np.ndarray | None, viscosity: float
) -> np.ndarray:
    scores = X @ slopes.T + biases
    top = scores.max(axis=1)
    if viscosity == 0:
        return top
    shares = np.exp((scores - top[:, None]) / viscosity)
    return top + viscosity * np.log(shares.sum(axis=1) if weights is None else shares @ weights)
