"""Each network against its formula, written out independently."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from hjpde import architectures
from hjpde._compilation import build_many, quick_jit
from hjpde._training_loop import train_many

TOLERANCE = 1e-12 if jnp.result_type(float) == jnp.float64 else 1e-5


def make(build, key):
    return quick_jit(build, 0)(key)


def close(one, other):
    np.testing.assert_allclose(one, other, rtol=TOLERANCE, atol=TOLERANCE)


def f64(array):
    return np.asarray(array, np.float64)


def affine(layer, x):
    return x @ f64(layer.weight).T + f64(layer.bias)


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    weights = np.exp(x - x.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def norm(layer, x):
    spread = np.sqrt(x.var(axis=-1, keepdims=True) + layer.eps)
    return (x - x.mean(axis=-1, keepdims=True)) / spread * f64(layer.weight) + f64(layer.bias)


def perturbed(module, key):
    """So that no norm's scale is one and no offset zero."""
    arrays, static = eqx.partition(module, eqx.is_inexact_array)
    leaves, structure = jax.tree.flatten(arrays)
    rng = np.random.default_rng(int(jax.random.randint(key, (), 0, 1 << 30)))
    leaves = [leaf + jnp.asarray(0.3 * rng.normal(size=leaf.shape), leaf.dtype) for leaf in leaves]
    return eqx.combine(jax.tree.unflatten(structure, leaves), static)


def inputs(*shape):
    return np.random.default_rng(0).normal(size=shape)


def test_residual_network(getkey):
    model = make(lambda k: architectures.ResidualNetwork(5, 3, 4, 3, key=k), getkey())
    model = perturbed(model, getkey())
    z = inputs(5)
    x = affine(model.embed, z)
    for k in range(3):
        block = jax.tree.map(lambda leaf, k=k: leaf[k], eqx.filter(model.blocks, eqx.is_array))
        scaled = (x - x.mean()) / np.sqrt(x.var() + 1e-5) * f64(block.norm.weight) + f64(block.norm.bias)
        x = x + affine(block.outer, gelu(affine(block.inner, scaled))) / 3
    close(model(jnp.asarray(z)), affine(model.readout, x))


def test_gru_is_the_cell_of_equinox_applied_in_turn(getkey):
    model = make(lambda k: architectures.GRU(3, 4, 2, key=k), getkey())
    x, state = jnp.asarray(inputs(5, 3)), jnp.zeros(4)
    for row in x:
        state = model.cell(row, state)
    close(model(x), model.readout(state))


def test_state_space_model_is_the_flow_of_its_equation(getkey):
    """Between two elements the input is held, so that the state is an exact matrix exponential away."""
    model = make(lambda k: architectures.DiagonalStateSpace(3, 4, 2, 5, key=k), getkey())
    model = perturbed(model, getkey())
    x = inputs(6, 3)
    A = np.diag(-np.exp(f64(model.log_decay)) + 1j * f64(model.frequency))
    step = np.diag(np.exp(f64(model.log_step)))
    B = f64(model.input_weights[0]) + 1j * f64(model.input_weights[1])
    C = f64(model.output_weights[0]) + 1j * f64(model.output_weights[1])
    v = affine(model.embed, x)
    state, outputs = np.zeros(4, complex), []
    for row in v:
        generator = np.zeros((5, 5), complex)
        generator[:4, :4], generator[:4, 4] = step @ A, step @ B @ row
        state = (scipy.linalg.expm(generator) @ np.append(state, 1.0))[:4]
        y = (C @ state).real + f64(model.skip) * row
        content, gate = np.split(affine(model.gate, gelu(y)), 2)
        outputs.append(row + content * sigmoid(gate))
    close(model(jnp.asarray(x)), affine(model.readout, np.mean(outputs, axis=0)))


def test_state_space_model_forgets(getkey):
    model = make(lambda k: architectures.DiagonalStateSpace(3, 4, 2, 5, key=k), getkey())
    transition, _ = model.discretised()
    assert np.all(np.abs(transition) < 1)
    assert all(jnp.isrealobj(leaf) for leaf in jax.tree.leaves(eqx.filter(model, eqx.is_array)))


@pytest.mark.parametrize("n_tokens", [3, 20])
def test_transformer(getkey, n_tokens):
    """Both ways to form the attention, for few tokens and for many."""
    model = make(lambda k: architectures.Transformer(3, n_tokens, 4, 2, 5, 2, 6, key=k), getkey())
    model = perturbed(model, getkey())
    x = inputs(n_tokens, 3)
    state = affine(model.embed, x) + f64(model.positions)
    for k in range(2):
        block = jax.tree.map(lambda leaf, k=k: leaf[k] if eqx.is_array(leaf) else leaf, model.blocks)
        y = norm(block.attention_norm, state)
        mixed = []
        for head in range(2):
            rows = slice(2 * head, 2 * head + 2)
            q, key, v = (
                y @ f64(weights)[rows].T
                for weights in (block.attention.query, block.attention.key, block.attention.value)
            )
            mixed.append(softmax(q @ key.T / np.sqrt(2)) @ v)
        state = state + np.concatenate(mixed, axis=1) @ f64(block.attention.output).T
        y = norm(block.perceptron_norm, state)
        state = state + affine(block.outer, gelu(affine(block.inner, y)))
    close(model(jnp.asarray(x)), affine(model.readout, norm(model.norm, state).mean(axis=0)))


def test_transformer_without_positions_ignores_the_order(getkey):
    model = make(lambda k: architectures.Transformer(3, 4, 4, 2, 5, key=k), getkey())
    model = eqx.tree_at(lambda m: m.positions, model, jnp.zeros_like(model.positions))
    x = jnp.asarray(inputs(4, 3))
    close(model(x), model(x[::-1]))


def test_parameter_counts():
    """The sizes that have about 6,500 parameters on images of 8 by 8 and ten classes, counted by hand."""
    sizes = {
        "residual": (lambda k: architectures.ResidualNetwork(64, 10, 24, 4, key=k), 1560 + 4 * 1248 + 250),
        "gru": (lambda k: architectures.GRU(8, 41, 10, key=k), 3 * 41 * (8 + 41 + 1) + 41 + 420),
        "ssm": (
            lambda k: architectures.DiagonalStateSpace(8, 40, 10, 26, key=k),
            234 + 3 * 40 + 4 * 40 * 26 + 26 + 52 * 27 + 270,
        ),
        "transformer": (
            lambda k: architectures.Transformer(8, 8, 24, 4, 64, key=k),
            216 + 192 + 48 + 2304 + 48 + 1600 + 1560 + 48 + 250,
        ),
    }
    for name, (build, count) in sizes.items():
        module = eqx.filter_eval_shape(build, jax.random.key(0))
        assert sum(leaf.size for leaf in jax.tree.leaves(module) if hasattr(leaf, "size")) == count, name
        assert abs(count - 6501) < 650, name


def test_parameter_count_ignores_what_is_not_trained():
    assert architectures.parameter_count({"a": jnp.ones((2, 3)), "n": jnp.arange(4), "s": "x", "i": 3}) == 6


def cross_entropy(model, batch, key):
    del key
    x, y = batch
    logits = jax.nn.log_softmax(jax.vmap(model)(x))
    return -jnp.mean(logits[jnp.arange(len(y)), y])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "rate"),
    [
        (lambda k: architectures.ResidualNetwork(12, 2, 6, 2, key=k), 0.01),
        (lambda k: architectures.GRU(3, 8, 2, key=k), 0.02),
        (lambda k: architectures.DiagonalStateSpace(3, 6, 2, 6, key=k), 0.02),
        (lambda k: architectures.Transformer(3, 4, 8, 2, 8, 1, 2, key=k), 0.02),
    ],
)
def test_each_learns_which_half_of_the_sequence_is_larger(getkey, build, rate):
    x = np.random.default_rng(1).normal(size=(128, 4, 3))
    y = (x[:, :2].sum(axis=(1, 2)) > x[:, 2:].sum(axis=(1, 2))).astype(int)
    keys = jax.random.split(getkey(), 2)
    models = build_many(build, keys)
    rows = x.reshape(128, 12) if isinstance(models, architectures.ResidualNetwork) else x
    result = train_many(
        cross_entropy,
        models,
        (rows, y),
        keys=keys,
        shared_data=True,
        steps=200,
        learning_rate=rate,
        quick_compile=True,
    )
    assert max(result.history[-1]["loss"]) < 0.15


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda k: architectures.ResidualNetwork(4, 3, 5, 0, key=k), "`depth` must be at least 1, got 0"),
        (lambda k: architectures.GRU(0, 3, 5, key=k), "`in_size` must be at least 1"),
        (lambda k: architectures.DiagonalStateSpace(2, -1, 5, 3, key=k), "`state_size` must be at least 1"),
        (lambda k: architectures.Transformer(2, 3, 5, 2, 5, key=k), "multiple of `heads`, got 5 and 2"),
    ],
)
def test_sizes_that_cannot_be(build, message):
    with pytest.raises(ValueError, match=message):
        build(jax.random.key(0))
