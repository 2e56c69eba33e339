"""The work of `hjpde compare`: networks at random or trained on data, beside their flows and a fitted operator."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from hjpde._compare import compare
from hjpde._comparison import ComparisonReport
from hjpde._compilation import build_many, quick_jit
from hjpde._datasets import Dataset
from hjpde._fit_atoms import fit_atoms
from hjpde._fit_job import held_out, load_data
from hjpde._fitted import Fitted
from hjpde._network_measures import log_probability_of_the_decision, mean_head_entropies, network_outputs
from hjpde._networks_by_name import (
    NETWORK_NAMES,
    builder,
    default_sizes,
    input_shape,
    parse_noise,
    parse_options,
)
from hjpde._observations import Classification, Regression
from hjpde._operator_gap import operator_gap
from hjpde._training_loop import train_many
from hjpde._types import Scalar
from hjpde.architectures import NoisyNetwork, Transformer

_FEATURES, _SIDE = 8, 8
_BATCH = 128
_REFINEMENTS = (1, 2, 4, 8, 16)
_TEMPERATURES = (0.3, 3.0, 30.0)
"""In units of the target's spread, tried for the fitted operator of a regression: few rows ask for much."""


@final
@dataclasses.dataclass(frozen=True)
class CompareSettings:
    """What the user asked for.

    - `architecture`: of `NETWORK_NAMES`. - `trained_on`: a data set, a file, or `None` for random weights.
    - `target`: of a file. - `options`: `NAME=VALUE` of the constructor. - `noise`: `NAME=VALUE`.
    - `seeds`: networks, each on its own split. - `steps`: Adam's. - `rate`: its first learning rate.
    - `points`: inputs that the report means over, at most.
    """

    architecture: str
    trained_on: str | None = None
    target: str | None = None
    options: tuple[str, ...] = ()
    noise: str | None = None
    seeds: int = 3
    steps: int = 600
    rate: float = 0.01
    points: int = 64


@final
@dataclasses.dataclass(frozen=True)
class Trained:
    """One seed's score on the held-out data, the fitted operator's, and the transformer's head entropies in nats."""

    score: float
    fitted_score: float
    head_entropies: np.ndarray | None


@final
@dataclasses.dataclass(frozen=True)
class CompareJob:
    """The reports, one a seed, and where the networks were trained what they reached."""

    settings: CompareSettings
    reports: tuple[ComparisonReport, ...]
    trained: tuple[Trained, ...]
    dataset: Dataset | None
    seconds: float

    @property
    def metric(self) -> str:
        """What a score is."""
        return "accuracy" if self.dataset is not None and self.dataset.task == "classification" else "r2"


def run_compare(settings: CompareSettings, progress: bool, say: Callable[[str], None]) -> CompareJob:
    """Builds or trains, and compares.

    **Raises:** `ValueError` for a mistake in the settings or the data; `FloatingPointError` if a training diverges;
    `KeyboardInterrupt` if the user stops it.
    """
    _check(settings)
    started = time.perf_counter()
    if settings.trained_on is None:
        reports = (_of_random_weights(settings),)
        return CompareJob(settings, reports, (), None, time.perf_counter() - started)
    dataset = load_data(settings.trained_on, settings.target, None)
    reports, trained = _of_trained_networks(settings, dataset, progress, say)
    return CompareJob(settings, reports, trained, dataset, time.perf_counter() - started)


def summary(job: CompareJob) -> dict[str, Any]:
    """The fields of `hjpde compare --json`: those of the first seed, and all seeds below `seeds`."""
    found = {"architecture_name": job.settings.architecture, **job.reports[0].summary()}
    if not job.trained:
        return {**found, "seconds": job.seconds}
    seeds = []
    for report, trained in zip(job.reports, job.trained, strict=True):
        entropies = None if trained.head_entropies is None else trained.head_entropies.tolist()
        scores = {job.metric: trained.score, f"fitted_{job.metric}": trained.fitted_score}
        seeds.append({**scores, "head_entropies": entropies, **report.summary()})
    return {**found, "trained_on": job.settings.trained_on, "seeds": seeds, "seconds": job.seconds}


def _check(settings: CompareSettings) -> None:
    if settings.architecture not in NETWORK_NAMES:
        raise ValueError(f"`architecture` must be one of {', '.join(NETWORK_NAMES)}, got {settings.architecture!r}.")
    for name in ("seeds", "steps", "points"):
        if getattr(settings, name) < 1:
            raise ValueError(f"`{name}` must be at least 1, got {getattr(settings, name)}.")
    if not (np.isfinite(settings.rate) and settings.rate > 0):
        raise ValueError(f"`rate` must be positive and finite, got {settings.rate:g}.")
    if settings.target is not None and settings.trained_on is None:
        raise ValueError("`target` is for a file in --trained-on.")


def _of_random_weights(settings: CompareSettings) -> ComparisonReport:
    name = settings.architecture
    features = _FEATURES if name in ("residual", "log_sum_exp") else _FEATURES * _SIDE
    shape = input_shape(name, features, (_SIDE, _FEATURES))
    sizes = {**default_sizes(name, shape, _FEATURES), **parse_options(name, settings.options)}
    if name == "log_sum_exp":
        sizes["features"] = features
    build = builder(name, sizes, parse_noise(settings.noise))
    network = quick_jit(build, 0)(jax.random.key(0)) if name != "log_sum_exp" else build(jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (min(settings.points, 16), *shape))
    return compare(network, x, n_refine=_REFINEMENTS)


def _of_trained_networks(
    settings: CompareSettings, dataset: Dataset, progress: bool, say: Callable[[str], None]
) -> tuple[tuple[ComparisonReport, ...], tuple[Trained, ...]]:
    name, classification = settings.architecture, dataset.task == "classification"
    splits = [_standardised(held_out(dataset, 0.25, seed), dataset) for seed in range(settings.seeds)]
    shape = input_shape(name, dataset.X.shape[1], dataset.image_shape)
    out_size = len(dataset.classes) if classification else 1
    temperature = None if classification else _temperature(splits[0])
    fits = [_fitted_operator(split, dataset, temperature, seed) for seed, split in enumerate(splits)]
    say(f"{dataset.name}: {settings.seeds} seeds; initial data of a Hamilton-Jacobi equation fitted to each")
    if name == "log_sum_exp":
        if settings.options or settings.noise:
            raise ValueError("`option` and `noise` are for networks: the layer is the one that `hjpde.fit` finds.")
        networks: list[Any] = [fit.layer for fit in fits]
    else:
        sizes = {**default_sizes(name, shape, out_size), **parse_options(name, settings.options)}
        build = builder(name, sizes, parse_noise(settings.noise))
        networks = _train(settings, build, splits, shape, classification, progress)
    reports, trained = [], []
    for seed, (network, split, fit) in enumerate(zip(networks, splits, fits, strict=True)):
        X_test, y_test = split[2], split[3]
        inputs = jnp.asarray(X_test).reshape(-1, *shape)
        fitted_score = _score(_fit_outputs(fit, X_test), y_test, classification)
        score = fitted_score
        if name != "log_sum_exp":
            score = _score(np.asarray(network_outputs(network, inputs)), y_test, classification)
        report = _report(network, inputs, settings, fit if name != "log_sum_exp" else None, classification)
        entropies = _head_entropies(network, inputs[: settings.points])
        reports.append(report)
        trained.append(Trained(score, fitted_score, entropies))
        say(f"seed {seed}: score {score:.3f} (fitted operator {fitted_score:.3f}); {report.verdict}")
    return tuple(reports), tuple(trained)


def _report(
    network: Any, inputs: Float[Array, "M ..."], settings: CompareSettings, fit: Fitted | None, classification: bool
) -> ComparisonReport:
    """Means over some of the held-out inputs; the operator's gap over all of them."""
    from_logits = log_probability_of_the_decision if classification else None
    report = compare(network, inputs[: settings.points], readout=from_logits, n_refine=_REFINEMENTS)
    if fit is None:
        return report
    return dataclasses.replace(report, operator=operator_gap(network, inputs, fit))


def _standardised(
    split: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray], dataset: Dataset
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Features, and the targets of a regression, in units of their spread; images stay as they are."""
    X, y, X_test, y_test = split
    if dataset.image_shape is None:
        centre, spread = X.mean(axis=0), X.std(axis=0)
        spread = np.where(spread > 0, spread, 1)
        X, X_test = (X - centre) / spread, (X_test - centre) / spread
    if dataset.task == "classification":
        return X, y.astype(np.int32), X_test, y_test.astype(np.int32)
    mean, scale = y.mean(), y.std() or 1.0
    return X, ((y - mean) / scale).astype(X.dtype), X_test, ((y_test - mean) / scale).astype(X.dtype)


def _fitted_operator(split: tuple[np.ndarray, ...], dataset: Dataset, temperature: float | None, seed: int) -> Fitted:
    X, y = split[:2]
    if dataset.task == "classification":
        metric = "features" if dataset.image_shape is None else "common"
        return fit_atoms(Classification(X, y), metric=metric, steps=600, key=jax.random.key(seed))
    return _regression(X, y, temperature, seed)


def _regression(X: np.ndarray, y: np.ndarray, temperature: float | None, seed: int) -> Fitted:
    return fit_atoms(
        Regression(X, y), n_atoms=8, difference=True, viscosity=temperature, steps=1000, key=jax.random.key(seed)
    )


def _temperature(split: tuple[np.ndarray, ...]) -> float:
    """That of `_TEMPERATURES` whose fit of the first four fifths tells the last fifth of the training rows best."""
    X, y = split[:2]
    cut = max(1, 4 * len(X) // 5)
    scores = {}
    for temperature in _TEMPERATURES:
        fit = _regression(X[:cut], y[:cut], temperature, 0)
        scores[temperature] = _score(_fit_outputs(fit, X[cut:]), y[cut:], False) if cut < len(X) else 0.0
    return max(_TEMPERATURES, key=lambda temperature: scores[temperature])


def _train(
    settings: CompareSettings,
    build: Callable[[Any], Any],
    splits: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]],
    shape: tuple[int, ...],
    classification: bool,
    progress: bool,
) -> list[Any]:
    keys = jax.vmap(jax.random.key)(jnp.arange(settings.seeds, dtype=jnp.uint32))
    X, y = np.stack([split[0].reshape(-1, *shape) for split in splits]), np.stack([split[1] for split in splits])
    result = train_many(
        _cross_entropy if classification else _squared_error,
        build_many(build, keys),
        (X, y),
        keys=keys,
        steps=settings.steps,
        batch_size=min(_BATCH, X.shape[1]),
        learning_rate=settings.rate,
        chunk=max(1, settings.steps // 20),
        quick_compile=True,
        progress=progress,
        description=settings.architecture,
    )
    if result.interrupted:
        raise KeyboardInterrupt
    return [
        jax.tree.map(lambda leaf, seed=seed: leaf[seed] if eqx.is_array(leaf) else leaf, result.model)
        for seed in range(settings.seeds)
    ]


def _cross_entropy(network: Any, batch: Any, key: Array) -> Scalar:
    X, labels = batch
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(_outputs(network, X, key), labels))


def _squared_error(network: Any, batch: Any, key: Array) -> Scalar:
    X, y = batch
    return jnp.mean((_outputs(network, X, key)[:, 0] - y) ** 2)


def _outputs(network: Any, X: Float[Array, "m ..."], key: Array) -> Float[Array, "m c"]:
    """Noise acts in training."""
    if isinstance(network, NoisyNetwork):
        return jax.vmap(network.sample)(X, jax.random.split(key, X.shape[0]))
    return jax.vmap(network)(X)


def _fit_outputs(fit: Fitted, X: np.ndarray) -> np.ndarray:
    return np.asarray(fit.predict_proba(X) if fit.kind == "classification" else fit.predict(X)[:, None])


def _score(outputs: np.ndarray, y: np.ndarray, classification: bool) -> float:
    if classification:
        return float(np.mean(np.argmax(outputs, axis=1) == y))
    return float(1 - np.sum((outputs[:, 0] - y) ** 2) / np.sum((y - y.mean()) ** 2))


def _head_entropies(network: Any, inputs: Float[Array, "M ..."]) -> np.ndarray | None:
    """The mean entropy of each head, shape `(depth, heads)`; `None` for other networks."""
    inner = network.architecture if isinstance(network, NoisyNetwork) else network
    if not isinstance(inner, Transformer):
        return None
    return np.asarray(mean_head_entropies(inner, inputs))
