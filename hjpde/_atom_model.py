"""The trained object: point masses in groups, one group a class, read at one time and temperature."""

import functools
from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int

from hjpde._log_sum_exp import gibbs_mean, log_sum_exp
from hjpde._types import Scalar
from hjpde.initial_data import Atoms, LogSumExp

_MOST_ROWS = 1000
"""K-means sees this many rows and 40 a cluster: it only has to find a start."""


@final
class AtomModel(eqx.Module):
    r"""Groups of point masses, $u_c(t, x) = -\varepsilon \log \sum_{j \in c} e^{-(g_j + |x - y_j|^2/4t)/\varepsilon}$.

    What is trained are the positions $y_j$, the heights $g_j$ and $\log t$, not the weights of the layer: from
    the same start these reach a lower error. Groups are padded to a common size, `mask` tells the atoms that count.
    """

    positions: Float[Array, "C K d"]
    heights: Float[Array, "C K"]
    mask: Bool[Array, "C K"]
    log_time: Scalar
    log_viscosity: Scalar

    def class_scores(self, X: Float[Array, "M d"]) -> Float[Array, "M C"]:
        r"""$-u_c(t, x)/\varepsilon$: the logarithm of each group's Gibbs mass, up to a constant of `x`."""
        groups, size, d = self.positions.shape
        positions = self.positions.reshape(-1, d)
        squares = jnp.sum(X**2, axis=1)[:, None] + jnp.sum(positions**2, axis=1)[None] - 2 * X @ positions.T
        energies = self.heights.reshape(-1)[None] + squares * jnp.exp(-self.log_time) / 4
        logits = jnp.where(self.mask.reshape(-1)[None], -energies * jnp.exp(-self.log_viscosity), -jnp.inf)
        return jax.nn.logsumexp(logits.reshape(-1, groups, size), axis=2)

    def values(self, X: Float[Array, "M d"]) -> Float[Array, " M"]:
        """`u` of the first group, without the constant: the form in which a regression is trained."""
        return -jnp.exp(self.log_viscosity) * self.class_scores(X)[:, 0]

    def atoms(self) -> Atoms:
        """All atoms of all groups; those that do not count are infinitely high."""
        heights = jnp.where(self.mask, self.heights, jnp.inf).reshape(-1)
        return Atoms(self.positions.reshape(-1, self.positions.shape[2]), heights)

    def layer(self) -> LogSumExp:
        """The log-sum-exp layer over all atoms: minus the solution plus $|x|^2/4t$."""
        return LogSumExp.from_atoms(self.atoms(), jnp.exp(self.log_time), jnp.exp(self.log_viscosity))

    def streamed_values(self, X: Float[Array, "M d"]) -> Float[Array, " M"]:
        """As `values`, for any number of points."""
        layer = self.layer()
        streamed = log_sum_exp(X, layer.weights, layer.biases, layer.viscosity)
        return jnp.sum(X**2, axis=1) * jnp.exp(-self.log_time) / 4 - streamed

    def streamed_probabilities(self, X: Float[Array, "M d"]) -> Float[Array, "M C"]:
        """The Gibbs mass of each group, for any number of points."""
        layer, (groups, size) = self.layer(), self.heights.shape
        members = jnp.repeat(jnp.eye(groups, dtype=X.dtype), size, axis=0)
        masses = gibbs_mean(X, layer.weights, layer.biases, layer.viscosity, members)
        return masses / jnp.sum(masses, axis=1, keepdims=True)


def trainable(model: Any, train_time: bool = True, train_viscosity: bool = False) -> Any:
    """Which leaves of an `AtomModel`, or of a tuple of them, are trained."""
    if isinstance(model, tuple):
        return tuple(trainable(part, train_time, train_viscosity) for part in model)
    none = jax.tree.map(lambda _: False, model)
    names: Callable = lambda m: (m.positions, m.heights, m.log_time, m.log_viscosity)  # noqa: E731
    return eqx.tree_at(names, none, (True, True, train_time, train_viscosity))


RegressionBatch = tuple[Float[Array, "M d"], Float[Array, " M"], Float[Array, " M"]]
ClassificationBatch = tuple[Float[Array, "M d"], Int[Array, " M"], Float[Array, " M"]]
SamplesBatch = tuple[Float[Array, "M d"], Float[Array, " M"], Float[Array, " M"], Float[Array, " M"]]


def regression_loss(models: tuple[AtomModel, ...], batch: RegressionBatch, key: Array) -> Scalar:
    """Mean squared error of one solution, or of the difference of two; rows carry weights."""
    del key
    X, y, row_weights = batch
    predicted = models[0].values(X)
    if len(models) == 2:
        predicted = predicted - models[1].values(X)
    return jnp.sum(row_weights * (predicted - y) ** 2) / jnp.sum(row_weights)


def samples_loss(models: tuple[AtomModel, ...], batch: SamplesBatch, key: Array) -> Scalar:
    """Mean squared error at each sample's own time, where the solution's constant counts."""
    del key
    X, y, row_weights, t = batch
    d = X.shape[1]

    def value(model: AtomModel, x: Float[Array, " d"], t: Scalar) -> Scalar:
        viscosity = jnp.exp(model.log_viscosity)
        at_t = eqx.tree_at(lambda m: m.log_time, model, jnp.log(t))
        return at_t.values(x[None])[0] + viscosity * d / 2 * jnp.log(4 * jnp.pi * viscosity * t)

    predicted = jax.vmap(lambda x, t: value(models[0], x, t))(X, t)
    if len(models) == 2:
        predicted = predicted - jax.vmap(lambda x, t: value(models[1], x, t))(X, t)
    return jnp.sum(row_weights * (predicted - y) ** 2) / jnp.sum(row_weights)


@functools.cache
def smoothed_classification_loss(label_smoothing: float) -> Callable:
    """The cross-entropy of the Gibbs masses against labels that are wrong with probability `label_smoothing`.

    Without smoothing the temperature falls until the training set is remembered. One function for each value, so that
    what was compiled for it is found again.
    """

    def loss(model: AtomModel, batch: ClassificationBatch, key: Array) -> Scalar:
        del key
        X, labels, row_weights = batch
        scores = model.class_scores(X)
        targets = optax.smooth_labels(jax.nn.one_hot(labels, scores.shape[1], dtype=scores.dtype), label_smoothing)
        losses = optax.softmax_cross_entropy(scores, targets)
        return jnp.sum(row_weights * losses) / jnp.sum(row_weights)

    return loss


def classification_loss(model: AtomModel, batch: ClassificationBatch, key: Array) -> Scalar:
    """Mean cross-entropy of the Gibbs masses; rows carry weights."""
    return smoothed_classification_loss(0.0)(model, batch, key)


def regression_start(
    X: Float[np.ndarray, "n d"], y: Float[np.ndarray, " n"], n_atoms: int, viscosity: float, seed: int
) -> AtomModel:
    """Atoms at the centres of k-means, as high as the mean target there.

    The first time is half the atoms' spacing over the steepest slope between two of them: the time after which a
    cone of that slope has lost its tip.
    """
    centres, nearest = _k_means(X, n_atoms, seed)
    counts = np.bincount(nearest, minlength=len(centres))
    means = np.bincount(nearest, weights=y, minlength=len(centres)) / np.maximum(counts, 1)
    distances = np.sqrt(np.maximum(_squared_distances(centres, centres), 0)) + 1e9 * np.eye(len(centres))
    spacing = float(np.median(distances.min(axis=1))) if len(centres) > 1 else 1.0
    steepest = float(np.percentile(np.abs(means[:, None] - means[None]) / distances, 99))
    time = np.clip(spacing / (2 * steepest + 1e-6), 1e-3, 1e3)
    return _model([centres], [means], n_atoms, float(time), viscosity, X.dtype)


def samples_start(
    X: Float[np.ndarray, "n d"], u: Float[np.ndarray, " n"], n_atoms: int, viscosity: float, time: float, seed: int
) -> AtomModel:
    """As `regression_start`, at a known time: heights are lowered by the crowding of atoms within its reach."""
    centres, nearest = _k_means(X, n_atoms, seed)
    counts = np.bincount(nearest, minlength=len(centres))
    means = np.bincount(nearest, weights=u, minlength=len(centres)) / np.maximum(counts, 1)
    model = _model([centres], [means], n_atoms, time, viscosity, X.dtype)
    constant = viscosity * X.shape[1] / 2 * np.log(4 * np.pi * viscosity * time)
    excess = means - np.asarray(model.values(jnp.asarray(centres)), X.dtype) - constant
    padded = np.zeros((1, n_atoms), X.dtype)
    padded[0, : len(centres)] = means + excess
    return eqx.tree_at(lambda m: m.heights, model, jnp.asarray(padded))


def classification_start(
    X: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"],
    n_atoms: int,
    n_classes: int,
    seed: int,
    viscosity: float = 1.0,
) -> AtomModel:
    r"""Atoms at the centres of k-means within each class, all of height 0.

    Only $4t\varepsilon$ matters at first: it is the mean squared distance to the nearest atom. A colder start
    remembers the training set before it generalises.
    """
    groups = [_k_means(X[labels == c], n_atoms, seed)[0] for c in range(n_classes)]
    everywhere = np.concatenate(groups)
    probe = X[np.random.default_rng(seed).permutation(len(X))[:500]]
    reach = float(np.mean(_squared_distances(probe, everywhere).min(axis=1)))
    if not reach > 0:
        reach = max(float(np.mean(np.var(X, axis=0))), 1e-6)
    heights = [np.zeros(len(group)) for group in groups]
    return _model(groups, heights, n_atoms, reach / (4 * viscosity), viscosity, X.dtype)


def _model(
    groups: list[np.ndarray], heights: list[np.ndarray], size: int, time: float, viscosity: float, dtype: np.dtype
) -> AtomModel:
    d = groups[0].shape[1]
    positions = np.zeros((len(groups), size, d), dtype)
    padded, mask = np.zeros((len(groups), size), dtype), np.zeros((len(groups), size), bool)
    for c, (group, height) in enumerate(zip(groups, heights, strict=True)):
        positions[c, : len(group)], padded[c, : len(group)], mask[c, : len(group)] = group, height, True
    return AtomModel(
        positions=jnp.asarray(positions),
        heights=jnp.asarray(padded),
        mask=jnp.asarray(mask),
        log_time=jnp.asarray(np.log(time), dtype),
        log_viscosity=jnp.asarray(np.log(viscosity), dtype),
    )


def _k_means(X: np.ndarray, n_clusters: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Centres and the index of the nearest one; no more clusters than distinct points."""
    from sklearn.cluster import KMeans

    rows = X
    if len(X) > _MOST_ROWS + 40 * n_clusters:
        rows = X[np.random.default_rng(seed).permutation(len(X))[: _MOST_ROWS + 40 * n_clusters]]
    if len(X) < 4 * n_clusters or len(X) < 1000:
        n_clusters = min(n_clusters, len(np.unique(X, axis=0)))
    method = KMeans(n_clusters, n_init=1, max_iter=30, random_state=seed).fit(rows)  # pyright: ignore
    centres = method.cluster_centers_.astype(X.dtype)
    return centres, np.asarray(method.labels_ if rows is X else method.predict(X))


def _squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
