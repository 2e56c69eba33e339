"""The five models of the main job: initial data of a Hamilton-Jacobi equation, and four networks of the same size."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PyTree

from hjpde._atom_model import AtomModel, classification_loss, classification_start, trainable
from hjpde._compilation import build_many, quick_jit
from hjpde._training_loop import TrainingResult, train_many
from hjpde._types import Scalar
from hjpde.architectures import GRU, DiagonalStateSpace, ResidualNetwork, Transformer, parameter_count

BATCH_SIZE = 128
ATOMS_PER_CLASS = 10
CLASSES = 10
SIDE = 8
CANDIDATE_RATES = (0.003, 0.01, 0.03)


@final
@dataclasses.dataclass(frozen=True)
class Contestant:
    """One of the models.

    - `name`: as scripts know it. - `title`: for readers. - `size`: its widths, in words.
    - `learning_rate`: Adam's at the start, from `CANDIDATE_RATES`, chosen on other splits of the data.
    - `build`: draws a network from a key; `None` for the atoms, which start at the data.
    - `rows`: whether it reads the image as a sequence of rows.
    """

    name: str
    title: str
    size: str
    learning_rate: float
    build: Callable[[Array], Any] | None
    rows: bool


def _residual(key: Array) -> ResidualNetwork:
    return ResidualNetwork(SIDE * SIDE, CLASSES, width=24, depth=4, key=key)


def _gru(key: Array) -> GRU:
    return GRU(SIDE, hidden_size=41, out_size=CLASSES, key=key)


def _ssm(key: Array) -> DiagonalStateSpace:
    return DiagonalStateSpace(SIDE, state_size=40, out_size=CLASSES, width=26, key=key)


def _transformer(key: Array) -> Transformer:
    return Transformer(SIDE, SIDE, width=24, heads=4, hidden=64, depth=1, out_size=CLASSES, key=key)


CONTESTANTS = (
    Contestant("hj", "HJ initial data", "10 atoms a class", 0.03, None, False),
    Contestant("residual", "residual network", "width 24, 4 layers", 0.03, _residual, False),
    Contestant("gru", "GRU", "over rows, 41 units", 0.03, _gru, True),
    Contestant("ssm", "state-space model", "over rows, diagonal, 40 states, width 26", 0.03, _ssm, True),
    Contestant("transformer", "transformer", "over rows, 1 block, 4 heads, width 24", 0.01, _transformer, True),
)


@final
@dataclasses.dataclass(frozen=True)
class Split:
    """The images and labels of all seeds, stacked: `X` has shape `(seeds, images, 64)`."""

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    seeds: tuple[int, ...]


@final
@dataclasses.dataclass(frozen=True)
class Trained:
    """One model after training, all seeds side by side.

    - `models`: with a leading axis of seeds. - `logits`: on the test images, shape `(seeds, images, 10)`.
    - `train_seconds`: of all seeds together, the start from the data included, `compile_seconds` apart.
    - `inference_microseconds`: a test image, compiled, all seeds side by side; the median of many calls.
    - `curve`: step and mean training loss over the seeds.
    """

    contestant: Contestant
    models: PyTree
    parameters: int
    logits: np.ndarray
    train_seconds: float
    compile_seconds: float
    inference_microseconds: float
    curve: list[tuple[int, float]]

    def accuracies(self, labels: np.ndarray) -> list[float]:
        """One number a seed."""
        return np.mean(np.argmax(self.logits, axis=-1) == labels, axis=1).tolist()

    def losses(self, labels: np.ndarray) -> list[float]:
        """The mean cross-entropy on the test images in nats, one number a seed."""
        shifted = self.logits - self.logits.max(axis=-1, keepdims=True)
        log_probabilities = shifted - np.log(np.sum(np.exp(shifted), axis=-1, keepdims=True))
        return (-np.take_along_axis(log_probabilities, labels[..., None], axis=-1)[..., 0].mean(axis=1)).tolist()


def train_contestant(contestant: Contestant, split: Split, steps: int, progress: bool) -> Trained:
    """Trains one model on all seeds side by side, and measures it on the test images.

    **Raises:** `FloatingPointError` if a loss is not finite; `KeyboardInterrupt` if the user stops it.
    """
    n_seeds = len(split.seeds)
    shape = (SIDE, SIDE) if contestant.rows else (SIDE * SIDE,)
    X, X_test = (a.reshape(*a.shape[:2], *shape) for a in (split.X, split.X_test))
    keys = jax.vmap(jax.random.key)(jnp.asarray(split.seeds, jnp.uint32))
    started = time.perf_counter()
    models = _atoms(split) if contestant.build is None else build_many(contestant.build, keys)
    start_seconds = time.perf_counter() - started
    hj = contestant.build is None
    result: TrainingResult = train_many(
        classification_loss if hj else network_loss,
        models,
        (X, split.y, np.ones(split.y.shape, X.dtype)),
        keys=keys,
        steps=steps,
        batch_size=BATCH_SIZE,
        learning_rate=contestant.learning_rate,
        chunk=max(1, steps // 20),
        quick_compile=True,
        trainable=trainable(models) if hj else eqx.is_inexact_array,
        progress=progress,
        description=contestant.title,
    )
    if result.interrupted:
        raise KeyboardInterrupt
    logits, microseconds = _measured(quick_jit(_class_scores if hj else _network_logits, 1), result.model, X_test)
    one = jax.tree.map(lambda leaf: leaf[0], eqx.filter(result.model, eqx.is_array))
    # Of the atoms' two scalars only the time is trained, the temperature being the same gauge.
    parameters = parameter_count(one) - hj
    return Trained(
        contestant=contestant,
        models=result.model,
        parameters=parameters,
        logits=logits,
        train_seconds=result.run_seconds + (start_seconds if hj else 0.0),
        compile_seconds=result.compile_seconds + (0.0 if hj else start_seconds),
        inference_microseconds=microseconds / n_seeds / X_test.shape[1],
        curve=[(entry["step"], float(np.mean(entry["loss"]))) for entry in result.history],
    )


def network_loss(
    network: Any, batch: tuple[Float[Array, "m ..."], Int[Array, " m"], Float[Array, " m"]], key: Array
) -> Scalar:
    """Mean cross-entropy; rows carry weights, as in `hjpde._atom_model.classification_loss`."""
    del key
    X, labels, row_weights = batch
    losses = optax.softmax_cross_entropy_with_integer_labels(jax.vmap(network)(X), labels)
    return jnp.sum(row_weights * losses) / jnp.sum(row_weights)


def seed_of(models: PyTree, index: int) -> PyTree:
    """The model of one seed."""
    return jax.tree.map(lambda leaf: leaf[index] if eqx.is_array(leaf) else leaf, models)


def _atoms(split: Split) -> AtomModel:
    starts = [
        classification_start(X, y, ATOMS_PER_CLASS, CLASSES, seed)
        for X, y, seed in zip(split.X, split.y, split.seeds, strict=True)
    ]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *starts)


def _class_scores(models: AtomModel, X: Float[Array, "s m d"]) -> Float[Array, "s m c"]:
    return eqx.filter_vmap(lambda model, X: model.class_scores(X))(models, X)


def _network_logits(models: Any, X: Float[Array, "s m ..."]) -> Float[Array, "s m c"]:
    return eqx.filter_vmap(lambda model, X: jax.vmap(model)(X))(models, X)


def _measured(logits: Callable[[Any, Any], Array], models: PyTree, X: np.ndarray) -> tuple[np.ndarray, float]:
    """The logits, and the median time of a call in microseconds."""
    points = jnp.asarray(X)
    values = jax.block_until_ready(logits(models, points))
    seconds = []
    for _ in range(15):
        started = time.perf_counter()
        jax.block_until_ready(logits(models, points))
        seconds.append(time.perf_counter() - started)
    return np.asarray(values), float(np.median(seconds)) * 1e6
