"""Attention as velocity and as reads of Gibbs measures: against equinox, closed solutions, and what is exact."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp

import hjpde
from hjpde import architectures
from hjpde._compilation import quick_jit

DOUBLE = jnp.result_type(float) == jnp.float64
TOLERANCE = 1e-12 if DOUBLE else 1e-5
N, WIDTH, HEADS = 5, 6, 2
POSITIONS = {
    "none": lambda: None,
    "table": lambda: architectures.RelativeBias(np.random.default_rng(7).normal(size=(HEADS, 5))),
    "distance": lambda: architectures.DistanceBias(HEADS),
    "rotary": lambda: architectures.Rotary(),
}


def close(one, other, tolerance=TOLERANCE):
    np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


def tokens(n=N, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(n, WIDTH)))


def make(getkey, **options):
    build = quick_jit(lambda k: architectures.Attention(WIDTH, HEADS, key=k, **options), 0)
    return build(getkey())


def softmax(scores):
    return np.exp(scores - logsumexp(scores, axis=-1, keepdims=True))


@pytest.mark.parametrize("n", [5, 20])
def test_a_read_is_that_of_equinox(getkey, n):
    module = eqx.nn.MultiheadAttention(
        HEADS, WIDTH, qk_size=4, use_query_bias=True, use_value_bias=True, use_output_bias=True, key=getkey()
    )
    x = tokens(n)
    expected = module(x, x, x)
    mask = jnp.tril(jnp.ones((n, n), bool))
    attention = architectures.Attention.from_equinox(module)
    tight = 1e-14 if DOUBLE else 1e-6
    close(attention(x), x + expected, tight)
    close(architectures.Attention.from_equinox(module, residual=False)(x), expected, tight)
    causal = architectures.Attention.from_equinox(module, residual=False, causal=True)
    close(causal(x), module(x, x, x, mask=mask), tight)
    flow = hjpde.as_hamiltonian(module)
    close(flow.F(0.0, x), expected, tight)
    close(flow.H(0.0, x, x), jnp.sum(x * expected), TOLERANCE)


def test_rotations_are_those_of_equinox():
    rows = np.random.default_rng(0).normal(size=(7, 3, 8))
    theirs = jax.vmap(eqx.nn.RotaryPositionalEmbedding(8), in_axes=1, out_axes=1)(jnp.asarray(rows))
    close(architectures.Rotary().rotate(jnp.asarray(rows)), theirs)


@pytest.mark.slow
@pytest.mark.parametrize("positions, n", [("table", 5), ("table", 20), ("distance", 5), ("rotary", 5)])
def test_positions_written_out(getkey, positions, n):
    options = {"head_size": 4} if positions == "rotary" else {}
    model = make(getkey, positions=POSITIONS[positions](), causal=positions == "distance", **options)
    x = tokens(n)
    weights = model.blocks.attention
    plain = [np.asarray(x @ w[0].T, np.float64).reshape(n, HEADS, -1) for w in (weights.query, weights.key)]
    size = plain[0].shape[-1]
    scores = np.zeros((HEADS, n, n))
    for h in range(HEADS):
        for i in range(n):
            for j in range(n):
                a, b = plain[0][i, h], plain[1][j, h]
                if positions == "rotary":
                    # The offset alone counts: each plane as a complex number.
                    turn = np.exp(1j * (i - j) * 10_000.0 ** (-np.arange(0, size, 2) / size))
                    a, b = (v[: size // 2] + 1j * v[size // 2 :] for v in (a, b))
                    scores[h, i, j] = (a * turn * b.conj()).real.sum() / math.sqrt(size)
                else:
                    scores[h, i, j] = a @ b / math.sqrt(size)
                if positions == "table":
                    scores[h, i, j] += POSITIONS["table"]().table[h, np.clip(j - i, -2, 2) + 2]
                if positions == "distance":
                    scores[h, i, j] += -np.inf if j > i else -(2.0 ** (-8 * (h + 1) / HEADS)) * (i - j)
    gibbs = softmax(scores)
    close(model.gibbs(x), gibbs)
    values = np.asarray(x @ weights.value[0].T, np.float64).reshape(n, HEADS, -1)
    mixed = np.einsum("hij,jhd->ihd", gibbs, values).reshape(n, -1)
    close(model(x), x + mixed @ np.asarray(weights.output[0]).T)
    with np.errstate(divide="ignore", invalid="ignore"):
        close(model.entropy(x), -np.nansum(gibbs * np.log(gibbs), axis=-1))


@pytest.mark.parametrize("positions", ["none", "table", "rotary"])
def test_every_read_is_a_gradient_of_a_lifted_log_sum_exp(getkey, positions):
    """And with the keys as values, of the log-sum-exp itself; causal masks included."""
    model = make(getkey, positions=POSITIONS[positions](), causal=True, head_size=4)
    x = tokens()
    queries, keys, values, biases = model.reads(x)
    gibbs = model.gibbs(x)

    @jax.jit
    def derivatives(q, keys, values, biases):
        lifted = jax.grad(lambda eta: architectures.lifted_potential(q, eta, keys, values, biases))
        return lifted(jnp.zeros(4)), jax.grad(architectures.attention_potential)(q, keys, biases)

    read, mean = jax.vmap(jax.vmap(derivatives, (0, None, None, 0)))(queries, keys, values, biases)
    close(read, jnp.einsum("hij,hjv->hiv", gibbs, values))
    close(mean, jnp.einsum("hij,hjk->hik", gibbs, keys))
    mixed = read.transpose(1, 0, 2).reshape(N, -1) @ model.blocks.attention.output[0].T
    close(model(x) - x, mixed)


@pytest.mark.parametrize("t", [0.1, 0.5, 2.0])
def test_atoms_are_those_of_a_layer_and_reads_are_foot_points(getkey, t):
    model = make(getkey, positions=POSITIONS["table"](), causal=True)
    x = tokens()
    queries, keys, _, biases = model.reads(x)
    positions, heights = model.atoms(x, t)
    temperature = math.sqrt(keys.shape[-1])
    i, h = 3, 1
    assert np.all(heights[h, i, i + 1 :] == np.inf)
    q = queries[h, i]
    layer = hjpde.LogSumExp(keys[h], biases[h, i], temperature)
    close(layer(q), architectures.attention_potential(q, keys[h], biases[h, i]))
    atoms = layer.atoms(t)
    close(positions[h], atoms.positions)
    close(heights[h, i, : i + 1], atoms.heights[: i + 1])

    def grown(q):
        powers = -(heights[h, i] + jnp.sum((q[None] - positions[h]) ** 2, axis=1) / (4 * t)) / temperature
        return -temperature * jax.nn.logsumexp(powers)

    close(layer(q) + grown(q), q @ q / (4 * t), TOLERANCE * 10)
    close(q - 2 * t * jax.grad(grown)(q), model.gibbs(x)[h, i] @ positions[h])


@pytest.mark.parametrize("normalised", [True, False])
def test_a_read_belongs_to_a_solution_only_with_the_normaliser(getkey, normalised):
    model = make(getkey, head_size=4)
    x = tokens()
    (positions, heights), q = model.atoms(x), model.reads(x)[0][0, 0]
    y, g, temperature, size = positions[0], heights[0, 0], 2.0, 4

    def u(t, q):
        powers = -(g + jnp.sum((q[None] - y) ** 2, axis=1) / (4 * t)) / temperature
        constant = size / 2 * temperature * jnp.log(4 * jnp.pi * temperature * t) if normalised else 0.0
        return constant - temperature * jax.nn.logsumexp(powers)

    @jax.jit
    def residual(t, q):
        slope = jax.grad(u, 1)(t, q)
        return jax.grad(u)(t, q) + slope @ slope - temperature * jnp.trace(jax.hessian(u, 1)(t, q))

    for t in (0.3, 0.7):
        close(residual(t, q), 0.0 if normalised else -size * temperature / (2 * t), 1e-11 if DOUBLE else 1e-4)


def test_heads_together_are_one_gibbs_measure_the_product(getkey):
    model = make(getkey)
    x = tokens(4)
    forms = np.asarray(model.score_geometry().forms, np.float64)
    atoms, point = np.asarray(x, np.float64), np.asarray(x[2], np.float64)
    temperature = math.sqrt(WIDTH // HEADS)
    moved = np.einsum("hab,jb->hja", forms, atoms)
    composite = (moved[0][:, None] + moved[1][None]).reshape(-1, WIDTH)
    gibbs = model.gibbs(x)[:, 2]
    close(softmax(composite @ point / temperature), np.outer(gibbs[0], gibbs[1]).ravel())


def test_score_geometry(getkey):
    definite = np.array([[2.0, 0.5], [0.5, 1.0]])
    rotation = np.array([[0.0, 1.0], [-1.0, 0.0]])
    saddle = np.diag([1.0, -3.0])
    geometry = architectures.ScoreGeometry(jnp.asarray(np.stack([definite, rotation, saddle, saddle + rotation])))
    close(geometry.symmetric_share, [1, 0, 1, 10 / 12])
    close(geometry.antisymmetric_share, [0, 1, 0, 2 / 12])
    np.testing.assert_array_equal(geometry.signature, [[2, 0, 0], [0, 0, 2], [1, 1, 0], [1, 1, 0]])
    np.testing.assert_array_equal(geometry.is_metric, [True, False, False, False])
    model = make(getkey, head_size=2)
    # A form of rank 2 in general position has a symmetric part of rank 4, with two eigenvalues of each sign.
    np.testing.assert_array_equal(model.score_geometry().signature, [[2, 2, 2]] * 2)


def test_the_potential_of_any_form_moves_the_atoms(getkey):
    model = make(getkey)
    x = tokens()
    form = model.score_geometry().forms[0]
    temperature = math.sqrt(WIDTH // HEADS)
    gradient = jax.grad(lambda z: architectures.attention_potential(z, x @ form.T, temperature=temperature))(x[1])
    close(gradient, form @ (model.gibbs(x)[0, 1] @ x))


def test_hopfield_descends_the_solution_to_its_foot_points():
    rng = np.random.default_rng(3)
    patterns, beta = rng.normal(size=(6, 4)), 0.3
    network = architectures.Hopfield(patterns, beta, depth=5)
    x = jnp.asarray(rng.normal(size=4))
    solution = hjpde.solve(
        hjpde.InitialValueProblem(hjpde.Atoms(*network.atoms()), hjpde.Quadratic(), viscosity=1 / beta), 0.5
    )
    normaliser = 4 / (2 * beta) * math.log(4 * math.pi / beta * 0.5)
    close(network.energy(x), solution(0.5, x) - normaliser)
    close(network.update(x), x - solution.gradient(0.5, x))
    scores = beta * patterns @ np.asarray(x)
    close(network.update(x), np.exp(scores) @ patterns / np.exp(scores).sum())
    z, energies = x, [network.energy(x)]
    for _ in range(5):
        z = network.step(0.0, z, 1.0, None)
        energies.append(network.energy(z))
    assert np.all(np.diff(energies) < 0)
    close(network(x), z)
    damped = [network.energy(network.step(0.0, x, h, None)) for h in (0.25, 0.5, 1.5, 1.9)]
    assert max(damped) < energies[0]


def test_layers_with_one_set_of_weights(getkey):
    shared = make(getkey, depth=3, shared=True, norm=True, biases=True, out_size=2)
    x = tokens()
    z = x
    layer = jax.tree.map(lambda leaf: leaf[2], shared.layers(x))
    for _ in range(3):
        z = shared.step(0.0, z, 1 / 3, layer)
    close(shared(x), shared.readout(z.mean(axis=0)))
    separate = architectures.parameter_count(make(getkey, depth=3)) // 3
    assert architectures.parameter_count(make(getkey, depth=3, shared=True)) == separate == 4 * WIDTH**2


def test_costate_is_the_gradient(getkey):
    model = make(getkey, depth=3, shared=True, norm=True, positions=POSITIONS["table"](), causal=True, out_size=2)
    flow = hjpde.as_hamiltonian(model)
    x = tokens()
    path = eqx.filter_jit(architectures.discrete_costate)(flow, x)
    weights, static = eqx.partition(model, eqx.is_inexact_array)

    @jax.jit
    def gradients(weights, x):
        return jax.grad(lambda weights, x: jnp.sum(eqx.combine(weights, static)(x)), (0, 1))(weights, x)

    to_weights, to_input = gradients(weights, x)
    tolerance = 1e-13 if DOUBLE else 1e-5
    for one, other in zip(
        jax.tree.leaves((path.parameter_gradient, path.input_gradient)),
        jax.tree.leaves((to_weights, to_input)),
        strict=True,
    ):
        assert jnp.max(jnp.abs(one - other)) <= tolerance * jnp.maximum(jnp.max(jnp.abs(other)), 1)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_keeps_the_dtype(getkey, dtype):
    if dtype == jnp.float64 and not DOUBLE:
        pytest.skip("needs x64")
    model = make(getkey, positions=POSITIONS["rotary"](), head_size=4, causal=True, depth=2)
    model = jax.tree.map(lambda leaf: leaf.astype(dtype) if eqx.is_inexact_array(leaf) else leaf, model)
    x = tokens().astype(dtype)
    hopfield = architectures.Hopfield(x, 2.0)

    def everything(model, hopfield, x):
        native = hjpde.as_hamiltonian(model).native(x, 2)
        reads = (model(x), model.gibbs(x), model.atoms(x), model.reads(x), native)
        return reads, hopfield(x[0]), hopfield.energy(x[0])

    shapes = jax.tree.leaves(eqx.filter_eval_shape(everything, model, hopfield, x))
    assert len(shapes) == 11
    assert all(leaf.dtype == dtype for leaf in shapes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 4}, "`width` must be a multiple of `heads`, got 6 and 4"),
        ({"depth": 0}, "`depth` must be at least 1"),
        ({"horizon": -1.0}, "`horizon` must be positive"),
        ({"head_size": 3, "positions": architectures.Rotary()}, "`positions`: .* even size, got 3"),
        ({"heads": 3, "positions": architectures.DistanceBias(2)}, "`positions`: the `slopes` must be for 3 heads"),
    ],
)
def test_attentions_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        architectures.Attention(**{"width": WIDTH, "heads": HEADS, "key": jax.random.key(0), **options})


def test_mistakes_are_named(getkey):
    model = make(getkey)
    with pytest.raises(ValueError, match=r"`x` must have shape \(n, 6\), got \(5, 4\)"):
        model(jnp.zeros((5, 4)))
    with pytest.raises(ValueError, match="`layer` must be below the depth 1, got 1"):
        model.gibbs(tokens(), layer=1)
    with pytest.raises(ValueError, match="`attention` must map tokens to tokens of one size"):
        architectures.Attention.from_equinox(eqx.nn.MultiheadAttention(1, 4, output_size=3, key=getkey()))
    with pytest.raises(ValueError, match=r"`table` must have shape \(heads, 2 m \+ 1\), got \(2, 4\)"):
        architectures.RelativeBias(np.zeros((2, 4)))
    with pytest.raises(ValueError, match="`beta` must be positive"):
        architectures.Hopfield(np.ones((2, 3)), beta=0.0)
    with pytest.raises(ValueError, match="`patterns` must have shape"):
        architectures.Hopfield(np.ones((0, 3)))
