"""Point masses from observations."""

import functools
from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, PRNGKeyArray, PyTree

from hjpde._atom_model import (
    AtomModel,
    ClassificationBatch,
    classification_start,
    regression_loss,
    regression_start,
    samples_loss,
    samples_start,
    smoothed_classification_loss,
    trainable,
)
from hjpde._fitted import Coordinates, Fitted, Kind
from hjpde._observations import Classification, Regression, Samples
from hjpde._training_loop import TrainingResult, train
from hjpde._training_step import TrainingState
from hjpde._types import Scalar, ScalarLike, positive_scalar
from hjpde.hamiltonians import AbstractHamiltonian, Quadratic

Observations = Samples | Regression | Classification
Augment = Callable[[PRNGKeyArray, Array], Array]
"""`augment(key, X)`: other points of shape `(M, d)` that have the labels of `X`, both in the user's units."""

_CHUNKS = 30
"""Scores of the validation set, entries of the history and chances to stop, in a run."""


def fit_atoms(
    observations: Observations,
    *,
    hamiltonian: AbstractHamiltonian | None = None,
    viscosity: ScalarLike | None = None,
    n_atoms: int | None = None,
    metric: str = "features",
    difference: bool = False,
    train_viscosity: bool = False,
    optimiser: str = "adam",
    steps: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    label_smoothing: float = 0.05,
    augment: Augment | None = None,
    validation_fraction: float = 0.1,
    patience: int | None = None,
    key: PRNGKeyArray | None = None,
    state: TrainingState | None = None,
    until: int | None = None,
    progress: bool = False,
) -> Fitted:
    r"""Fits point masses $(y_j, g_j)$, and where it is a gauge the time `t`, to observations of a solution.

    The solution is that of $u_t + p^\top A p = \varepsilon\,\mathrm{tr}(A D^2 u)$. A single one is semiconcave,
    $D^2 u \le A^{-1}/2t$; `difference=True` fits the difference of two, which can be any continuous function. In a
    classification each class owns atoms, and its probability is their Gibbs mass. Atoms start at the centres of
    k-means; positions, heights and $\log t$ are trained, in coordinates in which the data have unit scale.

    **Arguments:**

    - `observations`: `Samples`, `Regression` or `Classification`.
    - `hamiltonian`: `Quadratic(A)`. `None` is $|p|^2$ for samples; for the others, where `A` is a gauge, it is
      taken from the data, by `metric`.
    - `viscosity`: the temperature $\varepsilon > 0$, in units of `u`. `None` is a quarter of the targets' spread in a
      regression, and 1 in a classification, where heights are log-odds. Samples need it.
    - `n_atoms`: how many, in a classification for each class; by default 32 in a regression, a quarter of
      the rows but 32 to 128 for samples, and 10 in a classification (50 beyond 20,000 rows).
    - `metric`: without a `hamiltonian`, `"features"` makes `A` the diagonal of the features' variances,
      `"common"` their mean times the identity (for images).
    - `difference`: whether to fit the difference of two solutions, of `n_atoms` each.
    - `train_viscosity`: whether $\varepsilon$ is trained too.
    - `optimiser`: `"adam"` with a cosine schedule, or `"lbfgs"` on all rows.
    - `steps`: by default 1,500, and 200 for L-BFGS.
    - `batch_size`: rows in a step of Adam; `None` takes all of up to 2,048 in a regression and of up to 256 in a
      classification, and 256 or 128 beyond.
    - `learning_rate`: Adam's, at the start; by default 0.01, and 0.02 in a classification.
    - `label_smoothing`: in a classification, the probability in $[0, 1)$ with which a label is taken to be wrong.
    - `augment`: in a classification, `augment(key, X)` moves the rows of each batch, in units of the data, to where
      their labels stay what they are (shifted images, noise); jax must be able to trace it. The validation rows stay.
      `None`: rows are as they were observed.
    - `validation_fraction`: the part of the rows that is kept apart, in $[0, 1)$; the parameters with the best score
      on it are returned. With fewer than 5 such rows there is none.
    - `patience`: how many of the 30 scores of a run may pass without improvement before it stops; `None`: all.
    - `key`: a jax key; `None` is `jax.random.key(0)`.
    - `state`: `Fitted.state` of an earlier call with the same arguments, to go on from there: the result is that of
      a run that never stopped, bit for bit.
    - `until`: a step at which to stop for now.
    - `progress`: whether to show a bar on standard error.

    **Returns:** a `Fitted`.

    **Raises:** `ValueError` for a mistake in the arguments, naming it; `FloatingPointError` if the loss is not
    finite.
    """
    key = jr.key(0) if key is None else key
    kind: Kind = _kind_of(observations)
    _check_arguments(observations, hamiltonian, viscosity, n_atoms, validation_fraction, metric, optimiser, difference)
    if augment is not None and kind != "classification":
        raise ValueError(f"`augment` must be None for {kind}: it keeps labels, not values.")
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"`label_smoothing` must lie in [0, 1), got {label_smoothing}.")
    seed = int(jr.randint(jr.fold_in(key, 0), (), 0, np.iinfo(np.int32).max))
    coordinates = _coordinates(observations, hamiltonian, metric)
    rows, targets, times = _unit_scale(observations, coordinates)
    n_atoms = _default_atoms(kind, len(rows)) if n_atoms is None else n_atoms
    training, held_out = _split(len(rows), validation_fraction, seed)
    start = _start(
        kind,
        (rows[training], targets[training], times[training] if times is not None else None),
        n_atoms,
        _unit_viscosity(viscosity, kind, coordinates),
        len(observations.classes) if isinstance(observations, Classification) else 1,
        difference,
        seed,
    )
    columns = _bucket(rows.shape[1])
    data = _padded(rows, targets, times, training, columns)
    loss, score = _loss(kind, label_smoothing), None
    if augment is not None and isinstance(observations, Classification):
        data = _padded(np.asarray(observations.X), targets, None, training, columns)
        score = _score(loss)
        loss = _Augmented(loss, augment, coordinates.centre, jnp.linalg.inv(coordinates.root))
    result = train(
        loss,
        _widened(start, columns),
        data,
        steps=_default_steps(optimiser) if steps is None else steps,
        key=jr.fold_in(key, 1),
        batch_size=_batch_size(kind, optimiser, batch_size, len(training)),
        learning_rate=(2e-2 if kind == "classification" else 1e-2) if learning_rate is None else learning_rate,
        optimiser=optimiser,
        validation=_padded(rows, targets, times, held_out, columns) if len(held_out) else None,
        score=score,
        patience=patience,
        chunk=max(1, (_default_steps(optimiser) if steps is None else steps) // _CHUNKS),
        n_rows=len(training),
        trainable=trainable(start, train_time=kind != "samples", train_viscosity=train_viscosity),
        state=state,
        until=until,
        quick_compile=len(training) <= 4096,
        progress=progress,
        description="fitting",
    )
    return _fitted(result, rows.shape[1], kind, coordinates, observations, train_viscosity)


def _loss(kind: Kind, label_smoothing: float) -> Callable:
    if kind == "classification":
        return smoothed_classification_loss(float(label_smoothing))
    return samples_loss if kind == "samples" else regression_loss


@functools.cache
def _score(loss: Callable) -> Callable:
    """The loss on rows as they are; one function a loss, so that what was compiled for it is found again."""
    return lambda model, batch: loss(model, batch, jr.key(0))


@final
class _Augmented(eqx.Module):
    """The loss of batches in the user's units, whose rows are moved there and then brought to unit scale."""

    loss: Callable
    augment: Augment
    centre: Array
    inverse_root: Array

    def __call__(self, model: AtomModel, batch: ClassificationBatch, key: Array) -> Scalar:
        rows, labels, row_weights = batch
        d = self.centre.shape[0]
        moved = jnp.asarray(self.augment(key, rows[:, :d]), rows.dtype)
        if moved.shape != (len(rows), d):
            raise ValueError(f"`augment` must return the shape {(len(rows), d)} of its `X`, got {moved.shape}.")
        points = (moved - self.centre[None]) @ self.inverse_root.T
        return self.loss(model, (jnp.pad(points, ((0, 0), (0, rows.shape[1] - d))), labels, row_weights), key)


def _kind_of(observations: Observations) -> Kind:
    if isinstance(observations, Classification):
        return "classification"
    if isinstance(observations, Regression):
        return "regression"
    if isinstance(observations, Samples):
        return "samples"
    raise ValueError(
        f"`observations` must be `Samples`, `Regression` or `Classification`, got {type(observations).__name__}."
    )


def _check_arguments(
    observations: Observations,
    hamiltonian: Any,
    viscosity: ScalarLike | None,
    n_atoms: int | None,
    validation_fraction: float,
    metric: str,
    optimiser: str,
    difference: bool,
) -> None:
    points = observations.x if isinstance(observations, Samples) else observations.X
    if hamiltonian is not None and not isinstance(hamiltonian, Quadratic):
        raise ValueError(f"`hamiltonian` must be `Quadratic(A)`, got {type(hamiltonian).__name__}.")
    if hamiltonian is not None and hamiltonian.dim not in (None, points.shape[1]):
        raise ValueError(f"`hamiltonian` has d = {hamiltonian.dim}, the observations d = {points.shape[1]}.")
    if viscosity is None and isinstance(observations, Samples):
        raise ValueError("`viscosity` must be given with `Samples`: their equation has one.")
    if viscosity is not None:
        positive_scalar(viscosity, "viscosity", points.dtype)
    if n_atoms is not None and n_atoms < 1:
        raise ValueError(f"`n_atoms` must be at least 1, got {n_atoms}.")
    if not 0 <= validation_fraction < 1:
        raise ValueError(f"`validation_fraction` must lie in [0, 1), got {validation_fraction}.")
    if metric not in ("features", "common"):
        raise ValueError(f"`metric` must be 'features' or 'common', got {metric!r}.")
    if optimiser not in ("adam", "lbfgs"):
        raise ValueError(f"`optimiser` must be 'adam' or 'lbfgs', got {optimiser!r}.")
    if difference and isinstance(observations, Classification):
        raise ValueError("`difference` must be False with `Classification`: its scores are Gibbs masses.")


def _coordinates(observations: Observations, hamiltonian: AbstractHamiltonian | None, metric: str) -> Coordinates:
    points = np.asarray(observations.x if isinstance(observations, Samples) else observations.X)
    d, dtype = points.shape[1], points.dtype
    centre = points.mean(axis=0, dtype=np.float64)
    if hamiltonian is not None or isinstance(observations, Samples):
        A = hamiltonian.A if isinstance(hamiltonian, Quadratic) else None
        A = np.eye(d) if A is None else np.asarray(A, np.float64)
        root = np.linalg.cholesky(A)
    else:
        variances = points.var(axis=0, dtype=np.float64)
        if metric == "common":
            variances = np.full(d, variances.mean())
        # A feature that never varies tells nothing: any scale will do.
        root = np.diag(np.sqrt(np.where(variances > 1e-12 * (centre**2 + variances.max()), variances, 1.0)))
    if isinstance(observations, Classification):
        mean, scale = 0.0, 1.0
    else:
        targets = np.asarray(observations.u if isinstance(observations, Samples) else observations.y, np.float64)
        mean, scale = float(targets.mean()), float(targets.std())
        scale = scale if scale > 1e-12 * abs(mean) and scale > 0 else 1.0
    return Coordinates(
        centre=jnp.asarray(centre, dtype),
        root=jnp.asarray(root, dtype),
        mean=jnp.asarray(mean, dtype),
        scale=jnp.asarray(scale, dtype),
    )


def _unit_scale(
    observations: Observations, coordinates: Coordinates
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Points, targets and times in the coordinates of the training."""
    if isinstance(observations, Classification):
        return np.asarray(coordinates.points(observations.X)), np.asarray(observations.labels), None
    scale, mean = np.asarray(coordinates.scale), np.asarray(coordinates.mean)
    if isinstance(observations, Regression):
        return np.asarray(coordinates.points(observations.X)), (np.asarray(observations.y) - mean) / scale, None
    # u = scale * v solves the equation in the time scale * t, at the temperature eps / scale.
    values = (np.asarray(observations.u) - mean) / scale
    return np.asarray(coordinates.points(observations.x)), values, np.asarray(observations.t) * scale


def _unit_viscosity(viscosity: ScalarLike | None, kind: Kind, coordinates: Coordinates) -> float:
    if viscosity is None:
        return 1.0 if kind == "classification" else 0.25
    return float(np.asarray(viscosity)) / float(coordinates.scale)


def _split(n: int, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    order = np.random.default_rng(seed).permutation(n)
    held_out = int(n * fraction)
    held_out = held_out if held_out >= 5 else 0
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def _start(
    kind: Kind,
    training: tuple[np.ndarray, np.ndarray, np.ndarray | None],
    n_atoms: int,
    viscosity: float,
    n_classes: int,
    difference: bool,
    seed: int,
) -> PyTree:
    rows, targets, times = training
    if kind == "classification":
        return classification_start(rows, targets, n_atoms, n_classes, seed, viscosity)

    def one(targets: np.ndarray, seed: int) -> AtomModel:
        if times is None:
            return regression_start(rows, targets, n_atoms, viscosity, seed)
        return samples_start(rows, targets, n_atoms, viscosity, float(np.median(times)), seed)

    if difference:
        return one(targets / 2, seed), one(-targets / 2, seed + 1)
    return (one(targets, seed),)


def _bucket(n: int, limit: int = 64) -> int:
    """The next power of two: fits of similar size share one compiled function. Large ones are left as they are."""
    return n if n > limit else 1 << max(n - 1, 0).bit_length()


def _padded(
    rows: np.ndarray, targets: np.ndarray, times: np.ndarray | None, chosen: np.ndarray, columns: int
) -> tuple[np.ndarray, ...]:
    n, dtype = len(chosen), rows.dtype
    size = _bucket(max(n, 16), limit=4096)
    points = np.zeros((size, columns), dtype)
    points[:n, : rows.shape[1]] = rows[chosen]
    padded_targets, row_weights = np.zeros(size, targets.dtype), np.zeros(size, dtype)
    padded_targets[:n], row_weights[:n] = targets[chosen], 1
    if times is None:
        return points, padded_targets, row_weights
    padded_times = np.ones(size, dtype)
    padded_times[:n] = times[chosen]
    return points, padded_targets, row_weights, padded_times


def _widened(model: PyTree, columns: int) -> PyTree:
    """The model with zero columns to the padded dimension; distances stay what they are."""
    if isinstance(model, tuple):
        return tuple(_widened(part, columns) for part in model)
    missing = columns - model.positions.shape[2]
    positions = jnp.pad(model.positions, ((0, 0), (0, 0), (0, missing)))
    return AtomModel(positions, model.heights, model.mask, model.log_time, model.log_viscosity)


def _default_atoms(kind: Kind, n: int) -> int:
    if kind == "samples":
        return min(max(32, n // 4), 128)
    if kind == "regression":
        return 32
    return 10 if n <= 20_000 else 50


def _default_steps(optimiser: str) -> int:
    return 200 if optimiser == "lbfgs" else 1500


def _batch_size(kind: Kind, optimiser: str, batch_size: int | None, n: int) -> int | None:
    if batch_size is not None or optimiser == "lbfgs":
        return batch_size
    if kind == "classification":
        return None if n <= 256 else 128 if n <= 20_000 else 256
    return None if n <= 2048 else 256


def _fitted(
    result: TrainingResult,
    d: int,
    kind: Kind,
    coordinates: Coordinates,
    observations: Observations,
    train_viscosity: bool,
) -> Fitted:
    models = result.model if isinstance(result.model, tuple) else (result.model,)
    narrow = tuple(AtomModel(m.positions[..., :d], m.heights, m.mask, m.log_time, m.log_viscosity) for m in models)
    counted = sum(int(np.sum(np.asarray(m.mask))) * (d + 1) + (kind != "samples") + train_viscosity for m in narrow)
    return Fitted(
        models=narrow,
        coordinates=coordinates,
        state=result.state,
        kind=kind,
        classes=observations.classes if isinstance(observations, Classification) else (),
        parameters=counted,
        train_seconds=result.compile_seconds + result.run_seconds,
        stopped_early=result.stopped_early,
        interrupted=result.interrupted,
    )
