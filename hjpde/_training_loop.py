"""The one training loop of the library: Adam or L-BFGS in compiled chunks, stopped and continued at will."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from hjpde._progress import ProgressBar
from hjpde._progress import progress as progress_bar
from hjpde._training_step import (
    Loss,
    Numbers,
    Score,
    Setting,
    TrainingState,
    begin,
    chunk_runner,
    unravel,
)


@final
class TrainingResult(eqx.Module):
    """What `train` and `train_many` return.

    - `model`: with the best parameters by the validation score; without one, with the last.
    - `history`: one dictionary a chunk: `step`, `loss` (of the last step, or with batches the mean over the
        chunk) and, where there is a validation set, `validation`; the last two hold one number a seed in a
        run of `train_many`.
    - `state`: to be passed to a later call, to continue.
    - `steps`: the steps taken so far, those of earlier calls included.
    - `stopped_early`: whether patience ran out; `interrupted`: whether the user did.
    - `compile_seconds`, `run_seconds`: wall time of this call, the compilation apart.
    """

    model: PyTree
    history: list[dict[str, Any]]
    state: TrainingState
    steps: int
    stopped_early: bool
    interrupted: bool
    compile_seconds: float
    run_seconds: float


def _row_count(data: PyTree, axis: int) -> int:
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(data)]
    counts = {shape[axis] if len(shape) > axis else 0 for shape in shapes}
    if len(counts) != 1 or 0 in counts:
        raise ValueError(
            f"`data` must hold arrays with the same number of rows, at least one, along axis {axis}, "
            f"got shapes {', '.join(map(str, shapes)) or 'none'}."
        )
    return counts.pop()


def _check(optimiser: str, batch_size: int | None, **positive: int | float | None) -> None:
    if optimiser not in ("adam", "lbfgs"):
        raise ValueError(f"`optimiser` must be 'adam' or 'lbfgs', got {optimiser!r}.")
    if optimiser == "lbfgs" and batch_size is not None:
        raise ValueError(f"`batch_size` must be None with optimiser='lbfgs', got {batch_size}.")
    for name, value in (positive | {"batch_size": batch_size}).items():
        if value is not None and not value > 0:
            raise ValueError(f"`{name}` must be positive, got {value}.")


def _require_same_run(state: TrainingState, fresh: TrainingState) -> TrainingState:
    def shapes(s: TrainingState) -> list[tuple[int, ...]]:
        return [leaf.shape for leaf in (s.parameters, *s.optimiser)]

    if shapes(state) != shapes(fresh):
        raise ValueError(
            f"`state` belongs to another run: it holds parameters of shape {state.parameters.shape}, where "
            f"this model has {fresh.parameters.shape}, or it is another optimiser's."
        )
    return state


def _numbers_of(array: Array) -> Any:
    """A scalar as a float, a row of them as a tuple: what a history holds."""
    values = np.asarray(array, float)
    return tuple(values.tolist()) if values.ndim else float(values)


def _require_finite(bad: np.ndarray, loss: np.ndarray, learning_rate: float, optimiser: str) -> None:
    steps, losses = np.atleast_1d(bad), np.atleast_1d(loss)
    if (steps < 0).all():
        return
    seed = int(np.argmax(steps >= 0))
    where = f" of seed {seed}" if len(steps) > 1 else ""
    remedy = f"lower `learning_rate` (it was {learning_rate:g}), or " if optimiser == "adam" else ""
    raise FloatingPointError(
        f"The loss{where} is no longer finite at step {steps[seed]} (the chunk ended with {losses[seed]:g}): "
        f"{remedy}look for NaN and very large values in the data or the initial model."
    )


@final
class _Run(NamedTuple):
    """The arguments of `train` that the Python side of the loop needs."""

    steps: int
    learning_rate: float
    validation: PyTree
    patience: int | None
    chunk: int
    rows: int
    until: int | None
    runner: Callable[..., tuple[TrainingState, Array, Array, Array]]

    def numbers(self, n_steps: int) -> Numbers:
        endless = np.iinfo(np.int32).max
        return Numbers(
            n_steps=jnp.asarray(n_steps, jnp.int32),
            total=jnp.asarray(max(self.steps, 1), jnp.int32),
            learning_rate=jnp.asarray(self.learning_rate, float),
            n_rows=jnp.asarray(self.rows, jnp.int32),
            patience=jnp.asarray(endless if self.patience is None else self.patience, jnp.int32),
        )


def _loop(
    setting: Setting, run: _Run, state: TrainingState, frozen: PyTree, data: PyTree, bar: ProgressBar
) -> tuple[TrainingState, bool]:
    """Chunk after chunk from `state`; returns the last whole one, and whether the user interrupted."""
    history, state = list(state.history), dataclasses.replace(state, history=())
    step = int(np.max(state.step))
    goal = run.steps if run.until is None else min(run.steps, -(-run.until // run.chunk) * run.chunk)
    interrupted = False
    try:
        while step < goal and not np.all(state.stopped):
            n_steps = min((step // run.chunk + 1) * run.chunk, run.steps) - step
            moved, loss, score, bad = jax.block_until_ready(
                run.runner(setting, run.numbers(n_steps), state, frozen, data, run.validation)
            )
            _require_finite(np.asarray(bad), np.asarray(loss), run.learning_rate, setting.optimiser)
            state, step = moved, int(np.max(moved.step))
            entry: dict[str, Any] = {"step": step, "loss": _numbers_of(loss)}
            if run.validation is not None:
                entry["validation"] = _numbers_of(score)
            history.append(entry)
            bar.update(step, **{name: float(np.mean(entry[name])) for name in entry if name != "step"})
    except KeyboardInterrupt:
        interrupted = True
    return dataclasses.replace(state, history=tuple(history)), interrupted


def train(
    loss: Loss,
    model: PyTree,
    data: PyTree,
    *,
    steps: int,
    key: Array,
    batch_size: int | None = None,
    learning_rate: float = 1e-2,
    optimiser: str = "adam",
    validation: PyTree = None,
    score: Score | None = None,
    patience: int | None = None,
    chunk: int = 50,
    n_rows: int | None = None,
    trainable: PyTree = eqx.is_inexact_array,
    state: TrainingState | None = None,
    until: int | None = None,
    seeds: Literal["stacked", "shared"] | None = None,
    quick_compile: bool = False,
    progress: bool = False,
    description: str = "training",
) -> TrainingResult:
    """Minimises `loss(model, data, key)` over the trainable arrays of `model`.

    Steps run in compiled chunks. One compiled function serves every call with the same `loss` and `score`
    (the same objects: define them once, not in a loop) and the same shapes, whatever the numbers.

    **Arguments:**

    - `loss`: `loss(model, batch, key)`, a scalar to be made small; under L-BFGS its key never changes.
    - `model`: a pytree or an Equinox module.
    - `data`: a pytree of arrays with one leading axis of rows; weights of the rows, if any, are a leaf
        of it, and the loss's affair.
    - `steps`: the steps in all, those of an earlier call included. Adam's rate falls to 0 over them, as a
        cosine.
    - `key`: draws the batches, and goes to the loss.
    - `batch_size`: rows a step, drawn with replacement; `None` for all of them.
    - `learning_rate`: Adam's at the start; L-BFGS searches along its direction and takes none.
    - `optimiser`: `"adam"`, or `"lbfgs"` on all rows at once.
    - `validation`: data for the score after each chunk, or `None`.
    - `score`: `score(model, validation)`, small is good; `None` takes the loss.
    - `patience`: chunks without a better score before stopping, or `None`.
    - `chunk`: steps between two scores.
    - `n_rows`: how many leading rows batches are drawn from, so that callers may pad the data to a common
        shape (under `batch_size=None` such rows need weight 0 in the loss).
    - `trainable`: which leaves move, as in `equinox.partition`.
    - `state`: `TrainingResult.state` of an earlier call with the same arguments, to continue; the result is
        that of a run never stopped, bit for bit.
    - `until`: stop after this step, rounded up to a whole chunk, with the schedule of all `steps`.
    - `seeds`: see `train_many`.
    - `quick_compile`: let XLA optimise less: half the compilation, for short runs of small models.
    - `progress`: show a bar on standard error.

    **Raises:** `FloatingPointError` if the loss or a parameter is no longer finite. `ValueError` for a
    mistake in the arguments. A `KeyboardInterrupt` ends the run after its last whole chunk and is reported
    as `interrupted`.
    """
    _check(optimiser, batch_size, chunk=chunk, learning_rate=learning_rate, patience=patience, steps=steps)
    many = seeds is not None
    rows = _row_count(data, 1 if seeds == "stacked" else 0)
    if n_rows is not None and not 1 <= n_rows <= rows:
        raise ValueError(f"`n_rows` must lie between 1 and the {rows} rows of `data`, got {n_rows}.")
    varying, frozen = eqx.partition(model, trainable)
    if not jax.tree.leaves(varying):
        raise ValueError("`model` must hold at least one trainable array of floats, it holds none.")
    like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[many:], leaf.dtype), varying)
    setting = Setting(loss, score, like, optimiser, batch_size, many, seeds == "shared")
    data, validation = jax.tree.map(jnp.asarray, (data, validation))
    run = _Run(
        steps=steps,
        learning_rate=float(learning_rate),
        validation=validation,
        patience=patience,
        chunk=chunk,
        rows=rows if n_rows is None else n_rows,
        until=until,
        runner=chunk_runner(quick_compile),
    )
    started = time.perf_counter()
    fresh = begin(varying, optimiser, key, many)
    state = fresh if state is None else _require_same_run(state, fresh)
    state = dataclasses.replace(state, stopped=state.stale >= run.numbers(0).patience)
    # No step at all costs the compilation only, which is thereby measured apart.
    bare = dataclasses.replace(state, history=())
    jax.block_until_ready(run.runner(setting, run.numbers(0), bare, frozen, data, validation))
    compiled = time.perf_counter()
    with progress_bar(steps, description, progress) as bar:
        state, interrupted = _loop(setting, run, state, frozen, data, bar)
    finished = time.perf_counter()
    best = jax.vmap(lambda p: unravel(p, like))(state.best) if many else unravel(state.best, like)
    return TrainingResult(
        model=eqx.combine(best, frozen),
        history=list(state.history),
        state=state,
        steps=int(np.max(state.step)),
        stopped_early=bool(np.all(state.stopped)),
        interrupted=interrupted,
        compile_seconds=compiled - started,
        run_seconds=finished - compiled,
    )


def train_many(
    loss: Loss, models: PyTree, data: PyTree, *, keys: Array, shared_data: bool = False, **options: Any
) -> TrainingResult:
    """`train` for several seeds side by side, compiled once.

    `models` (for instance `eqx.filter_vmap(build)(keys)`) and `keys` have a leading axis of seeds; so have
    `data` and `validation`, unless `shared_data`. A seed whose patience ran out keeps its state while
    the others go on. `options` are the other arguments of `train`.
    """
    return train(loss, models, data, key=keys, seeds="shared" if shared_data else "stacked", **options)
