"""What one compiled chunk of training does: steps of Adam or L-BFGS, then a validation score."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, PyTree
from optax import tree_utils

from hjpde._compilation import quick_jit

Loss = Callable[[Any, Any, Array], Array]
Score = Callable[[Any, Any], Array]


@final
class TrainingState(eqx.Module):
    """All that a run needs to go on as if it had never stopped; holds arrays and numbers only.

    The arrays carry a leading axis of seeds in a run of `train_many`.
    """

    parameters: Float[Array, "... P"]
    optimiser: tuple[Array, ...]
    step: Int[Array, "..."]
    key: Array
    best: Float[Array, "... P"]
    best_score: Float[Array, "..."]
    best_step: Int[Array, "..."]
    stale: Int[Array, "..."]
    stopped: Bool[Array, "..."]
    history: tuple[dict[str, Any], ...] = ()


class Setting(NamedTuple):
    """What the compiled chunk depends on; anything in here that is no array is static."""

    loss: Loss
    score: Score | None
    like: PyTree
    optimiser: str
    batch_size: int | None
    many: bool
    shared_data: bool


class Numbers(NamedTuple):
    """Traced, so that changing one compiles nothing."""

    n_steps: Array
    total: Array
    learning_rate: Array
    n_rows: Array
    patience: Array


def unravel(vector: Array, like: PyTree) -> PyTree:
    leaves, treedef = jax.tree.flatten(like)
    ends = np.cumsum([leaf.size for leaf in leaves])[:-1]
    pieces = jnp.split(vector, ends)
    shaped = [p.reshape(leaf.shape).astype(leaf.dtype) for p, leaf in zip(pieces, leaves, strict=True)]
    return jax.tree.unflatten(treedef, shaped)


def _ravel(tree: PyTree) -> Array:
    leaves = jax.tree.leaves(tree)
    dtype = jnp.result_type(*leaves)
    return jnp.concatenate([jnp.ravel(leaf).astype(dtype) for leaf in leaves])


def _transformation(name: str) -> optax.GradientTransformationExtraArgs:
    return optax.lbfgs() if name == "lbfgs" else optax.with_extra_args_support(optax.scale_by_adam())


def _adam(setting: Setting, numbers: Numbers, key: Array, frozen: PyTree, data: PyTree):
    """A function that takes one step, at the rate of a cosine decay to zero."""
    transformation = _transformation("adam")

    def one(parameters, optimiser, step):
        loss_key = jax.random.fold_in(key, 2 * step)
        batch = data
        if setting.batch_size is not None:
            # Compiles in a third of the time of `randint`; the bias of the remainder is n_rows / 2**32.
            bits = jax.random.bits(jax.random.fold_in(key, 2 * step + 1), (setting.batch_size,), jnp.uint32)
            rows = (bits % numbers.n_rows.astype(jnp.uint32)).astype(jnp.int32)
            batch = jax.tree.map(lambda leaf: leaf[rows], data)
        # The gradient is taken leaf by leaf and put together once: cheaper than through the split.
        loss, gradient = jax.value_and_grad(lambda tree: setting.loss(eqx.combine(tree, frozen), batch, loss_key))(
            unravel(parameters, setting.like)
        )
        gradient = _ravel(gradient).astype(parameters.dtype)
        updates: Any
        updates, optimiser = transformation.update(gradient, optimiser, parameters)
        done = jnp.minimum(step.astype(parameters.dtype) / numbers.total, 1.0)
        rate = numbers.learning_rate * 0.5 * (1 + jnp.cos(jnp.pi * done))
        return parameters - rate.astype(parameters.dtype) * updates, optimiser, loss

    return one


def _lbfgs(setting: Setting, numbers: Numbers, key: Array, frozen: PyTree, data: PyTree):
    """A function that takes one step with a line search.

    Where that ends in a point that is not finite, the step is not taken and the curvature memory dropped.
    """
    del numbers
    transformation = _transformation("lbfgs")

    def value(parameters):
        return setting.loss(eqx.combine(unravel(parameters, setting.like), frozen), data, key)

    def one(parameters, optimiser, step):
        del step
        loss, gradient = optax.value_and_grad_from_state(value)(parameters, state=optimiser)
        updates, moved = transformation.update(
            gradient, optimiser, parameters, value=loss, grad=gradient, value_fn=value
        )
        candidate = parameters + updates
        ok = jnp.all(jnp.isfinite(candidate)) & jnp.isfinite(tree_utils.tree_get(moved, "value"))
        restart = transformation.init(parameters)
        optimiser = jax.tree.map(lambda new, old: jnp.where(ok, new, old), moved, restart)
        return jnp.where(ok, candidate, parameters), optimiser, loss

    return one


def _advance(setting: Setting, numbers: Numbers, state: TrainingState, frozen, data, validation):
    """`n_steps` steps of one seed and the score after them: state, loss, score, first bad step or -1."""
    lbfgs = setting.optimiser == "lbfgs"
    one = (_lbfgs if lbfgs else _adam)(setting, numbers, state.key, frozen, data)
    structure = jax.tree.structure(jax.eval_shape(_transformation(setting.optimiser).init, state.parameters))
    zero = jnp.zeros((), state.best_score.dtype)

    def body(_, inner):
        parameters, leaves, step, shown, bad = inner
        parameters, optimiser, loss = one(parameters, jax.tree.unflatten(structure, leaves), step)
        bad = jnp.where((bad < 0) & ~jnp.isfinite(loss), step, bad)
        loss = jnp.asarray(loss, zero.dtype)
        shown = loss if setting.batch_size is None else shown + loss / numbers.n_steps
        return parameters, tuple(jax.tree.leaves(optimiser)), step + 1, shown, bad

    inner = (state.parameters, state.optimiser, state.step, zero, jnp.full((), -1, jnp.int32))
    parameters, optimiser, step, shown, bad = jax.lax.fori_loop(0, numbers.n_steps, body, inner)
    bad = jnp.where((bad < 0) & ~jnp.all(jnp.isfinite(parameters)), step - 1, bad)
    score, better, stale = shown, jnp.array(True), state.stale
    if validation is not None:
        model = eqx.combine(unravel(parameters, setting.like), frozen)
        if setting.score is None:
            score = setting.loss(model, validation, state.key)
        else:
            score = setting.score(model, validation)
        score = jnp.asarray(score, zero.dtype)
        better = score < state.best_score
        stale = jnp.where(better, 0, stale + 1)
    moved = TrainingState(
        parameters=parameters,
        optimiser=optimiser,
        step=step,
        key=state.key,
        best=jnp.where(better, parameters, state.best),
        best_score=jnp.where(better, score, state.best_score),
        best_step=jnp.where(better, step, state.best_step),
        stale=stale,
        stopped=stale >= numbers.patience,
    )
    # A seed that has run out of patience waits for the others, as it is.
    moved = jax.tree.map(lambda new, old: jnp.where(state.stopped, old, new), moved, state)
    return moved, shown, score, jnp.where(state.stopped, -1, bad)


def _run_chunk(setting: Setting, numbers: Numbers, state: TrainingState, frozen, data, validation):
    if not setting.many:
        return _advance(setting, numbers, state, frozen, data, validation)
    axis = None if setting.shared_data else eqx.if_array(0)
    mapped = eqx.filter_vmap(
        lambda *varying: _advance(setting, numbers, *varying),
        in_axes=(eqx.if_array(0), eqx.if_array(0), axis, axis),
    )
    return mapped(state, frozen, data, validation)


@functools.cache
def chunk_runner(quick: bool) -> Callable[..., tuple[TrainingState, Array, Array, Array]]:
    """The compiled chunk, one for the process; `quick` spares half of the compilation."""
    return quick_jit(_run_chunk, 1) if quick else eqx.filter_jit(_run_chunk)


def begin(trainable: PyTree, optimiser: str, key: Array, many: bool) -> TrainingState:
    """The state before the first step."""
    return _beginner()(trainable, optimiser, key, many)


@functools.cache
def _beginner() -> Callable[..., TrainingState]:
    return quick_jit(_begin, 0)


def _begin(trainable: PyTree, optimiser: str, key: Array, many: bool) -> TrainingState:
    def one(trainable, key):
        parameters, zero = _ravel(trainable), jnp.zeros((), jnp.int32)
        leaves = jax.tree.leaves(_transformation(optimiser).init(parameters))
        return TrainingState(
            parameters=parameters,
            # Some come weakly typed and would be strong after a step: a second compilation.
            optimiser=tuple(jax.lax.convert_element_type(leaf, leaf.dtype) for leaf in leaves),
            step=zero,
            key=key,
            best=parameters,
            best_score=jnp.full((), jnp.inf, parameters.dtype),
            best_step=zero,
            stale=zero,
            stopped=jnp.array(False),
        )

    return jax.vmap(one)(trainable, key) if many else one(trainable, key)
