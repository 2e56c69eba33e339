"""Which neurons a layer's value comes from: Gibbs weights, and the thermodynamics of their law."""

import dataclasses
from functools import partial
from typing import final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hjpde._fitted import Fitted
from hjpde._streaming import logits, matmul, over_rows, tile_rows
from hjpde._types import ArrayInput, Scalar, ScalarLike, as_float_array, require_finite
from hjpde.initial_data import Atoms, LogSumExp

Source = LogSumExp | Fitted | Atoms


@final
@dataclasses.dataclass(frozen=True)
class Attribution:
    r"""The Gibbs law $\pi_j \propto e^{z_j/\varepsilon}$ of the scores $z_j = W_j \cdot x + b_j$ at points.

    Made by `attribute`. `*batch` is the shape of the points, `k` the number of neurons kept.

    - `viscosity`: $\varepsilon$.
    - `neurons`: the heaviest neurons, the heaviest first, shape `(*batch, k)`; of point masses, the atoms.
    - `weights`: their $\pi_j$.
    - `removals`: $\varepsilon\log(1 - \pi_j) \le 0$, what the layer changes by if that neuron is taken out, exactly.
    - `free_energy`: the layer's value $f = \varepsilon\log\sum_j e^{z_j/\varepsilon}$. With energies $-z_j$ at
      temperature $\varepsilon$ it is minus Helmholtz' free energy, and `energy` minus the internal one.
    - `energy`: $E_\pi[z]$.
    - `entropy`: $S = -\sum_j\pi_j\log\pi_j = \partial f/\partial\varepsilon$, in nats; $f = E_\pi[z] + \varepsilon S$.
    - `heat_capacity`: $C = \mathrm{Var}_\pi(z)/\varepsilon^2$; $\partial S/\partial\varepsilon = C/\varepsilon \ge 0$.
    - `classes`: of a fitted classification, the label of each of `neurons`; else `None`.
    """

    viscosity: Scalar
    neurons: Int[Array, "*batch k"]
    weights: Float[Array, "*batch k"]
    removals: Float[Array, "*batch k"]
    free_energy: Float[Array, "*batch"]
    energy: Float[Array, "*batch"]
    entropy: Float[Array, "*batch"]
    heat_capacity: Float[Array, "*batch"]
    classes: np.ndarray | None = None

    @property
    def effective_number(self) -> Float[Array, "*batch"]:
        """How many neurons share each point, $e^S$, from 1 to `N`."""
        return jnp.exp(self.entropy)

    @property
    def rest(self) -> Float[Array, "*batch"]:
        """The weight of all neurons that were not kept."""
        return jnp.maximum(1 - self.weights.sum(-1), 0)


def attribute(
    source: Source,
    X: ArrayInput,
    *,
    n_heaviest: int = 5,
    t: ScalarLike | None = None,
    viscosity: ScalarLike | None = None,
) -> Attribution:
    r"""Attributes the value at points to neurons, or to the point masses of a solution.

    It is exact: $\pi_j = \partial f/\partial b_j = \partial u/\partial g_j$. What it attributes to are neurons. They
    are training points only where the data themselves are the point masses, as in `Atoms(X_train, heights)`; the atoms
    of a `Fitted` were learnt, and their weights say nothing about the influence of a single sample on the training.

    The table of points by neurons is walked in tiles; memory is `O((M + N) d + M k)`.

    **Arguments:**

    - `source`: a `LogSumExp`; a `Fitted` of one solution, read as it was trained; or `Atoms`, with `t` and `viscosity`.
    - `X`: points, shape `(..., d)`.
    - `n_heaviest`: how many neurons to keep a point, at least 1; all, if there are fewer.
    - `t`: the time at which `Atoms` are read under $H = |p|^2$.
    - `viscosity`: $\varepsilon > 0$ of `Atoms`, or in place of the layer's own; weights and biases stay.

    **Returns:** an `Attribution`, to be drawn by `plot_attribution`.

    **Raises:** `ValueError` if the shape of `X` is wrong, a number is not finite or not positive, `t` is missing or not
    wanted, or a `Fitted` is a difference of two solutions (give one of its `layers`).

    ??? cite "References"

        J. M. A. Minoza, E. F. Legara and C. Monterola, *The Hamilton-Jacobi Theory of Deep Learning*,
        arXiv 2605.28983, 2026, Appendix F.
    """
    layer = as_layer(source, t, viscosity)
    X = _points(layer, X)
    if n_heaviest < 1:
        raise ValueError(f"`n_heaviest` must be at least 1, got {n_heaviest}.")
    k = min(n_heaviest, layer.biases.shape[0])
    flat = _attribute(X.reshape(-1, layer.dim), layer.weights, layer.biases, layer.viscosity, k)
    columns = jax.tree.map(lambda column: column.reshape(*X.shape[:-1], *column.shape[1:]), flat)
    classes = None
    if isinstance(source, Fitted) and source.kind == "classification":
        classes = source.classes[source.atom_classes[np.asarray(columns[0])]]
    return Attribution(layer.viscosity, *columns, classes=classes)


def entropy_gradient(
    source: Source, X: ArrayInput, *, t: ScalarLike | None = None, viscosity: ScalarLike | None = None
) -> Float[Array, "*batch d"]:
    r"""The gradient in `x` of the entropy, $\nabla H = \mathrm{Cov}_\pi(W, -\log\pi)/\varepsilon = -\mathrm{Cov}_\pi(W,
    z)/\varepsilon^2$.

    Scores are taken relative to the largest one, which keeps the relative error small where one neuron dominates.

    **Arguments:** as for `attribute`.

    **Returns:** shape `(..., d)`, in nats per unit of `x`.

    **Raises:** `ValueError` as `attribute`.
    """
    layer = as_layer(source, t, viscosity)
    X = _points(layer, X)
    gradients = _entropy_gradient(X.reshape(-1, layer.dim), layer.weights, layer.biases, layer.viscosity)
    return gradients.reshape(X.shape)


def critical_viscosity(n_neurons: int, dim: int, data: str = "kinked") -> float:
    r"""The viscosity at which neighbouring neurons begin to share points, in units where both range over order one.

    $N^{-1/d}$ for kinked data, as the source has it; $N^{-2/d}$ for smooth data, where the diffusion radius
    $\sqrt{2\varepsilon t}$ is the spacing of the neurons. Both are orders of magnitude, not thresholds.

    **Arguments:**

    - `n_neurons`, `dim`: `N` and `d`, at least 1.
    - `data`: the regularity of the initial datum, `kinked` or `smooth`.

    **Raises:** `ValueError` if an argument is out of range.
    """
    if n_neurons < 1 or dim < 1:
        raise ValueError(f"`n_neurons` and `dim` must be at least 1, got {n_neurons} and {dim}.")
    powers = {"kinked": 1, "smooth": 2}
    if data not in powers:
        raise ValueError(f"`data` must be 'kinked' or 'smooth', got {data!r}.")
    return n_neurons ** (-powers[data] / dim)


def as_layer(source: Source, t: ScalarLike | None, viscosity: ScalarLike | None) -> LogSumExp:
    """The layer behind any source, at another viscosity if one is given."""
    if isinstance(source, Atoms):
        if t is None or viscosity is None:
            raise ValueError("`Atoms` need both `t` and `viscosity` to be read, got only one of them or none.")
        return LogSumExp.from_atoms(source, t, viscosity)
    if t is not None:
        raise ValueError(f"`t` must be None for a `{type(source).__name__}`: its time is part of the layer.")
    if isinstance(source, Fitted):
        if len(source.layers) != 1:
            raise ValueError("`source` is the difference of two solutions: give one of its `layers`.")
        source = source.layer
    return source if viscosity is None else LogSumExp(source.weights, source.biases, viscosity)


def _points(layer: LogSumExp, X: ArrayInput) -> Float[Array, "*batch d"]:
    points = as_float_array(X, "X").astype(layer.weights.dtype)
    if points.ndim < 1 or points.shape[-1] != layer.dim or points.size == 0:
        raise ValueError(f"`X` must have shape (..., {layer.dim}) and hold a point, got {points.shape}.")
    require_finite(points, "X")
    return points


@partial(jax.jit, static_argnames="k")
def _attribute(X, weights, biases, viscosity, k):
    """The columns of an `Attribution` from `neurons` on, tile by tile."""
    n_neurons = weights.shape[0]

    def tile(x):
        scores = logits(x, weights, biases)
        top, neurons = jax.lax.top_k(scores, k)
        best, winner = top[:, :1], neurons[:, :1]
        gaps = jnp.where(biases > -jnp.inf, (scores - best) / viscosity, -jnp.inf)
        others = jnp.where(jnp.arange(n_neurons)[None, :] == winner, -jnp.inf, gaps)
        log_odds = jax.nn.logsumexp(others, axis=1, keepdims=True)
        log_sum = jnp.logaddexp(0, log_odds)
        pi, finite = jnp.exp(gaps - log_sum), jnp.where(gaps > -jnp.inf, gaps, 0)
        mean = (pi * finite).sum(1, keepdims=True)
        variance = (pi * (finite - mean) ** 2).sum(1)
        kept = jnp.exp((top - best) / viscosity - log_sum)
        # Next to 1 the weight has lost what 1 - pi needs; the odds of the others have it.
        removals = jnp.log1p(-kept[:, 1:])
        removals = viscosity * jnp.concatenate([log_odds - log_sum, removals], axis=1)
        value, energy = best + viscosity * log_sum, best + viscosity * mean
        entropy = log_sum - mean
        return neurons, kept, removals, value[:, 0], energy[:, 0], entropy[:, 0], variance

    return over_rows(tile, tile_rows(X.shape[0], weights.shape, X.dtype), X)


@jax.jit
def _entropy_gradient(X, weights, biases, viscosity):
    def tile(x):
        scores = logits(x, weights, biases)
        gaps = scores - scores.max(1, keepdims=True)
        pi = jax.nn.softmax(gaps / viscosity, axis=1)
        weighted = pi * jnp.where(gaps > -jnp.inf, gaps, 0)
        covariance = matmul(weighted, weights) - weighted.sum(1, keepdims=True) * matmul(pi, weights)
        return -covariance / viscosity**2

    return over_rows(tile, tile_rows(X.shape[0], weights.shape, X.dtype), X)
