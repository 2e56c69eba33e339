"""The main job: initial data fitted to images of digits, beside four networks of the same size."""

import dataclasses
import os
import time
from collections.abc import Callable
from importlib import metadata
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hjpde._atom_model import AtomModel
from hjpde._datasets import load_digits_data
from hjpde._demo_models import CONTESTANTS, Split, Trained, seed_of, train_contestant
from hjpde._demo_networks import NetworkMeasures, measure_network
from hjpde._problem import InitialValueProblem
from hjpde._solve import solve
from hjpde.hamiltonians import Quadratic
from hjpde.initial_data import LogSumExp
from hjpde.solvers import HopfCole

SWEEP = tuple(float(factor) for factor in np.round(2.0 ** np.arange(-8, 8.5, 0.5), 6))
"""Multiples of the trained temperature at which the fit is read again."""


@final
@dataclasses.dataclass(frozen=True)
class Sweep:
    """What the temperature does to a trained fit: shape `(seeds, len(SWEEP))` each, entropies in nats."""

    factors: tuple[float, ...]
    accuracy: np.ndarray
    entropy: np.ndarray


@final
@dataclasses.dataclass(frozen=True)
class Demo:
    """All that was measured. `rows` has one dictionary a model, as `hjpde demo --json` prints it.

    `networks` are the four, beside their flows and the fitted atoms, in the order of `trained` after the first.
    """

    split: Split
    trained: tuple[Trained, ...]
    networks: tuple[NetworkMeasures, ...]
    rows: list[dict[str, Any]]
    layer_identity_residual: float
    sweep: Sweep
    steps: int
    seconds: float

    @property
    def atoms(self) -> AtomModel:
        """The fitted atoms of the first seed."""
        return seed_of(self.trained[0].models, 0)


def run_demo(n_seeds: int = 3, steps: int = 1000, progress: bool = False, say: Callable[[str], None] = print) -> Demo:
    """Runs the main job.

    **Arguments:**

    - `n_seeds`: how many splits of the data, trained side by side.
    - `steps`: Adam's steps, for every model.
    - `progress`: whether to show bars on standard error.
    - `say`: takes a line of news.

    **Raises:** `ValueError` if a number is not positive; `FloatingPointError` if a training diverges.
    """
    if not 1 <= n_seeds <= 20:
        raise ValueError(f"`seeds` must lie between 1 and 20, got {n_seeds}.")
    if steps < 1:
        raise ValueError(f"`steps` must be at least 1, got {steps}.")
    started = time.perf_counter()
    split = _split(tuple(range(n_seeds)))
    say(f"digits: {split.X.shape[1]} images to train, {split.X_test.shape[1]} to test, {n_seeds} seeds side by side")
    trained = []
    for contestant in CONTESTANTS:
        one = train_contestant(contestant, split, steps, progress)
        trained.append(one)
        accuracy = np.mean(one.accuracies(split.y_test))
        say(
            f"{contestant.title}: accuracy {100 * accuracy:.2f} %, {one.parameters} numbers, trained in "
            f"{one.train_seconds:.1f} s (compiled in {one.compile_seconds:.1f} s)"
        )
    atoms = trained[0].models
    residual = max(identity_residual(seed_of(atoms, i), split.X_test[i]) for i in range(n_seeds))
    say(f"layer and solution agree to {residual:.1e}")
    networks = tuple(measure_network(one, atoms, split) for one in trained[1:])
    say("networks: compared with their flows, and with the fitted solution operator")
    sweep = _sweep(atoms, split)
    right_halves = [{}, *(network.means() for network in networks)]
    return Demo(
        split=split,
        trained=tuple(trained),
        networks=networks,
        rows=[{**_row(one, split.y_test), **right} for one, right in zip(trained, right_halves, strict=True)],
        layer_identity_residual=residual,
        sweep=sweep,
        steps=steps,
        seconds=time.perf_counter() - started,
    )


def identity_residual(atoms: AtomModel, X: np.ndarray) -> float:
    r"""The largest $|f + u - |x|^2/4t| / (|f| + |u| + |x|^2/4t)$ over the points.

    `f` is the exported layer, streamed; `u` is the solution grown from the atoms, by squared distances.
    """
    t, viscosity = jnp.exp(atoms.log_time), jnp.exp(atoms.log_viscosity)
    problem = InitialValueProblem(atoms.atoms(), Quadratic(), viscosity)
    solution = solve(problem, t, HopfCole(normalised=False))
    return float(_residual(atoms.layer(), solution, t, jnp.asarray(X, atoms.positions.dtype)))


@eqx.filter_jit
def _residual(layer: LogSumExp, solution: Any, t: Array, X: Float[Array, "m d"]) -> Array:
    f, u = layer.batch(X), solution.batch(t, X)
    paraboloid = jnp.sum(X**2, axis=1) / (4 * t)
    return jnp.max(jnp.abs(f + u - paraboloid) / (jnp.abs(f) + jnp.abs(u) + paraboloid))


def gibbs_weights(atoms: AtomModel, X: np.ndarray, factor: float = 1.0) -> np.ndarray:
    """The Gibbs weights of the exported layer's neurons at each point, the temperature multiplied by `factor`."""
    layer = atoms.layer()
    scores = X @ np.asarray(layer.weights).T + np.asarray(layer.biases)
    scores = scores / (float(layer.viscosity) * factor)
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def _split(seeds: tuple[int, ...]) -> Split:
    # The clustering is loaded here, so that its loading does not count as training.
    import sklearn.cluster
    from sklearn.model_selection import train_test_split

    del sklearn
    data = load_digits_data()
    X, y = data.X.astype(jnp.zeros(()).dtype), data.y.astype(np.int32)
    parts = [train_test_split(X, y, test_size=0.25, random_state=seed, stratify=y) for seed in seeds]
    X, X_test, y, y_test = (np.stack(part) for part in zip(*parts, strict=True))
    return Split(X=X, y=y, X_test=X_test, y_test=y_test, seeds=seeds)


def _sweep(models: AtomModel, split: Split) -> Sweep:
    n_seeds = len(split.seeds)
    accuracy, entropy = np.zeros((2, n_seeds, len(SWEEP)))
    for i in range(n_seeds):
        atoms = seed_of(models, i)
        classes = np.repeat(np.eye(atoms.heights.shape[0]), atoms.heights.shape[1], axis=0)
        for k, factor in enumerate(SWEEP):
            weights = gibbs_weights(atoms, split.X_test[i], factor)
            accuracy[i, k] = np.mean(np.argmax(weights @ classes, axis=1) == split.y_test[i])
            logs = np.log(np.where(weights > 0, weights, 1.0))
            entropy[i, k] = np.mean(-np.sum(weights * logs, axis=1))
    return Sweep(SWEEP, accuracy, entropy)


def _row(one: Trained, labels: np.ndarray) -> dict[str, Any]:
    accuracies, losses = one.accuracies(labels), one.losses(labels)
    return {
        "model": one.contestant.name,
        "title": one.contestant.title,
        "size": one.contestant.size,
        "accuracy": float(np.mean(accuracies)),
        "accuracy_spread": max(accuracies) - min(accuracies),
        "accuracies": accuracies,
        "loss": float(np.mean(losses)),
        "loss_spread": max(losses) - min(losses),
        "parameters": one.parameters,
        "train_seconds": one.train_seconds,
        "compile_seconds": one.compile_seconds,
        "inference_microseconds": one.inference_microseconds,
        "learning_rate": one.contestant.learning_rate,
    }


def settings(demo: Demo) -> dict[str, Any]:
    """Under which the numbers were made."""
    device = jax.devices()[0]
    names = ("jax", "jaxlib", "equinox", "optax", "numpy", "scikit-learn")
    return {
        "precision": str(demo.atoms.positions.dtype),
        "device": f"{device.device_kind}, {os.cpu_count()} cores",
        "seeds": ", ".join(map(str, demo.split.seeds)),
        "steps": demo.steps,
        "versions": ", ".join(f"{name} {metadata.version(name)}" for name in names),
        "seconds": round(demo.seconds, 1),
    }
