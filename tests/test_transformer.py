"""The transformer as a splitting method: its flow, its co-state, its modified equation, its heads."""

import functools

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import xlogy

import hjpde
from hjpde import architectures
from hjpde._compilation import quick_jit

DOUBLE = jnp.result_type(float) == jnp.float64
TOLERANCE = 1e-12 if DOUBLE else 2e-5
needs_float64 = pytest.mark.skipif(not DOUBLE, reason="orders of convergence")
VARIANTS = {
    "sequential": {},
    "parallel": {"order": "parallel"},
    "strang": {"order": "strang"},
    "post": {"norm": "post", "activation": "exact-gelu"},
    "sphere": {"norm": "sphere", "activation": "relu"},
}


def close(one, other, tolerance=TOLERANCE):
    np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


def make(getkey, depth=2, **options):
    sizes = {"in_size": 3, "n_tokens": 4, "width": 4, "heads": 2, "hidden": 5, "depth": depth, "out_size": 2}
    return quick_jit(lambda k: architectures.Transformer(**sizes, key=k, **options), 0)(getkey())


def sequence(n=4, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(n, 3)))


def order(errors):
    """The slope over errors of which each has half the step of the one before."""
    return -np.polyfit(range(len(errors)), np.log2(errors), 1)[0]


@pytest.mark.parametrize("variant", VARIANTS)
def test_costate_is_the_gradient_and_the_steps_are_the_network(getkey, variant):
    model = make(getkey, causal=variant == "strang", **VARIANTS[variant])
    x = sequence()
    weights, static = eqx.partition(model, eqx.is_inexact_array)

    def both(weights, x):
        flow = hjpde.as_hamiltonian(eqx.combine(weights, static), lambda logits: jnp.tanh(logits[0]) + logits[1] ** 2)

        def value(weights, x):
            return flow.readout(eqx.combine(weights, static)(x))

        path = architectures.discrete_costate(flow, x)
        return flow.g(flow.native(x)), path, jax.value_and_grad(value, (0, 1))(weights, x)

    native, path, (value, (to_weights, to_input)) = quick_jit(both, 0)(weights, x)
    close(native, value)
    close(path.value, value)
    gradients = (path.parameter_gradient, path.input_gradient)
    tolerance = 1e-13 if DOUBLE else 1e-5
    whole = max(jnp.max(jnp.abs(leaf)) for leaf in jax.tree.leaves(to_weights))
    for one, other in zip(jax.tree.leaves(gradients), jax.tree.leaves((to_weights, to_input)), strict=True):
        assert jnp.max(jnp.abs(one - other)) <= tolerance * whole


@pytest.mark.slow
@needs_float64
@pytest.mark.parametrize(
    "variant, expected",
    [
        ("sequential", 1),
        ("strang", 2),
        pytest.param("parallel", 1, marks=pytest.mark.slow),
        pytest.param("sphere", 1, marks=pytest.mark.slow),
        pytest.param("post", 1, marks=pytest.mark.slow),
    ],
)
def test_order_against_the_flow(getkey, variant, expected):
    """Refined from 16 to 64 steps: states, and gradients with respect to the input."""
    options = VARIANTS[variant] | {"activation": "tanh"}
    flow = hjpde.as_hamiltonian(make(getkey, horizon=None if variant == "post" else 1.0, **options))
    assert flow.architecture.expected_order == expected
    x = sequence()

    @functools.partial(quick_jit, level=0)
    def exact(x):
        return flow.exact(x), jax.grad(lambda x: flow.g(flow.exact(x)))(x)

    states, gradient = exact(x)
    forward, backward = [], []
    for n in (8, 16, 32):

        def refined(x, n=n):
            return flow.native(x, n), jax.grad(lambda x: flow.g(flow.native(x, n)))(x)

        z, slope = quick_jit(refined, 0)(x)
        forward.append(float(jnp.max(jnp.abs(z - states))))
        backward.append(float(jnp.max(jnp.abs(slope - gradient))))
    assert order(forward) == pytest.approx(expected, abs=0.15)
    assert order(backward) == pytest.approx(expected, abs=0.15)


@needs_float64
@pytest.mark.parametrize(
    "variant",
    ["sequential", pytest.param("parallel", marks=pytest.mark.slow), pytest.param("sphere", marks=pytest.mark.slow)],
)
def test_steps_follow_their_modified_flow(getkey, variant):
    """To second order, without any viscosity; the commutator of the splitting is in the measured velocity."""
    model = make(getkey, horizon=1.0, **(VARIANTS[variant] | {"activation": "tanh"}))
    flow, x = hjpde.as_hamiltonian(model), sequence()
    errors = []
    for n in (8, 16, 32):

        def gap(x, n=n):
            h = model.layer_time / n

            def modified(s, z, layer):
                return architectures.modified_velocity(model, s, z, h, layer)

            def through(z, layer):
                solution = diffrax.diffeqsolve(
                    diffrax.ODETerm(modified),
                    diffrax.Dopri8(),
                    0.0,
                    model.layer_time,
                    None,
                    z,
                    args=layer,
                    stepsize_controller=diffrax.PIDController(rtol=1e-10, atol=1e-12),
                )
                assert solution.ys is not None
                return solution.ys[-1], None

            z, _ = jax.lax.scan(through, model.start(x), model.layers(x))
            return jnp.max(jnp.abs(flow.native(x, n) - z))

        errors.append(float(quick_jit(gap, 0)(x)))
    assert order(errors) >= 1.8


def test_the_modified_velocity_of_a_sequential_block_is_that_of_lie_trotter(getkey):
    r"""$F - \frac h2 (A'A + B'B + A'B - B'A)$, the first part being the attention."""
    model = make(getkey, activation="tanh")
    z = model.start(sequence())
    layer = jax.tree.map(lambda leaf: leaf[0], model.layers(None))
    block = model.block(layer)

    @jax.jit
    def both(z, h):
        a, b = block.attend(z), block.perceive(z)

        def along(field, v):
            return jax.jvp(field, (z,), (v,))[1]

        written = a + b - h / 2 * (along(block.attend, a + b) + along(block.perceive, b) - along(block.perceive, a))
        return written, architectures.modified_velocity(model, 0.0, z, h, layer)

    hs = [0.02, 0.01] if DOUBLE else [0.4, 0.2]
    gaps = [float(jnp.max(jnp.abs(jnp.subtract(*both(z, h))))) for h in hs]
    # What is left is of second order in h.
    assert np.log2(gaps[0] / gaps[1]) == pytest.approx(2, abs=0.1 if DOUBLE else 0.5)


def test_post_norm_written_out(getkey):
    model = make(getkey, **VARIANTS["post"])
    encoder = architectures.TransformerEncoder(model.blocks)
    encoder = eqx.tree_at(lambda e: e.blocks.attention_norm.weight, encoder, jnp.full((2, 4), 1.3))
    x = np.random.default_rng(1).normal(size=(4, 4))
    z = x
    for k in range(2):
        block = jax.tree.map(lambda leaf, k=k: leaf[k] if eqx.is_array(leaf) else leaf, encoder.blocks)
        z = jax.vmap(block.attention_norm)(z + np.asarray(block.attention(jnp.asarray(z))))
        hidden = jax.nn.gelu(jax.vmap(block.inner)(z), approximate=False)
        z = np.asarray(jax.vmap(block.perceptron_norm)(z + jax.vmap(block.outer)(hidden)))
    close(encoder(jnp.asarray(x)), z)
    assert encoder.layer_time == 1.0
    assert encoder.layer_count == 2


def test_on_the_sphere_tokens_stay_on_it(getkey):
    model = make(getkey, **VARIANTS["sphere"])
    flow, x = hjpde.as_hamiltonian(model), sequence()
    layer = jax.tree.map(lambda leaf: leaf[0], model.layers(x))
    z = flow.native(x, 3)
    velocity = model.velocity(0.0, z, layer)
    close(z.mean(axis=1), 0)
    close((z**2).mean(axis=1), 1)
    close(velocity.sum(axis=1), 0)
    close((z * velocity).sum(axis=1), 0)
    assert float(jnp.max(jnp.abs(velocity))) > 0.1


def test_entropies_of_the_heads(getkey):
    model = make(getkey)
    x = sequence()
    flow = hjpde.as_hamiltonian(model)
    expected, z = [], model.start(x)
    for k in range(2):
        block = jax.tree.map(lambda leaf, k=k: leaf[k] if eqx.is_array(leaf) else leaf, model.blocks)
        normed = jax.vmap(block.attention_norm)(z)
        attention = block.attention
        q, key = (np.asarray(normed @ w.T).reshape(4, 2, 2) for w in (attention.query, attention.key))
        scores = np.exp(np.einsum("ihd,jhd->hij", q, key) / np.sqrt(2))
        gibbs = scores / scores.sum(axis=-1, keepdims=True)
        expected.append(-xlogy(gibbs, gibbs).sum(axis=-1).mean(axis=-1))
        z = model.step(k, z, 1.0, eqx.filter(block, eqx.is_array))
    close(model.head_entropies(x), np.stack(expected))
    close(z, flow.native(x))
    # Without queries all tokens are read alike, and a causal head sees i of them at the i-th.
    blind = eqx.tree_at(lambda m: m.blocks.attention.query, make(getkey, causal=True), jnp.zeros((2, 4, 4)))
    close(blind.head_entropies(x), np.full((2, 2), np.log([1, 2, 3, 4]).mean()))


def test_a_causal_transformer_does_not_look_ahead(getkey):
    encoder = architectures.TransformerEncoder(make(getkey, causal=True).blocks)
    x = jnp.asarray(np.random.default_rng(2).normal(size=(4, 4)))
    changed = x.at[3].add(1.0)
    one, other = encoder(x), encoder(changed)
    close(one[:3], other[:3])
    assert float(jnp.max(jnp.abs(one[3] - other[3]))) > 0.1


def test_a_deeper_transformer_over_the_same_horizon_adds_less(getkey):
    """With one set of weights in all blocks, twice the depth is the network refined twice."""
    shallow = make(getkey, depth=1, horizon=1.0)
    deep = eqx.tree_at(
        lambda e: e.blocks,
        architectures.TransformerEncoder(shallow.blocks, horizon=1.0),
        jax.tree.map(lambda leaf: jnp.repeat(leaf, 2, axis=0) if eqx.is_array(leaf) else leaf, shallow.blocks),
    )
    x = sequence()
    close(hjpde.as_hamiltonian(shallow).native(x, 2), deep(shallow.start(x)))


@pytest.mark.parametrize("variant", VARIANTS)
def test_keeps_float32(getkey, variant):
    model = make(getkey, **VARIANTS[variant])
    model = jax.tree.map(lambda leaf: leaf.astype(jnp.float32) if eqx.is_inexact_array(leaf) else leaf, model)
    x = sequence().astype(jnp.float32)

    def everything(model, x):
        flow = hjpde.as_hamiltonian(model)
        return model(x), flow.native(x, 2), model.head_entropies(x), flow.exact(x)

    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(eqx.filter_eval_shape(everything, model, x)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": "lie"}, "`order` must be one of sequential, parallel, strang, got 'lie'"),
        ({"norm": "none"}, "`norm` must be one of pre, post, sphere"),
        ({"norm": "post", "order": "strang"}, "`order` must be sequential unless"),
        ({"activation": "softplus"}, "`activation` must be one of"),
        ({"horizon": 0.0}, "`horizon` must be positive and finite, got 0.0"),
    ],
)
def test_transformers_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        architectures.Transformer(3, 4, 4, 2, 5, key=jax.random.key(0), **options)


def test_an_encoder_needs_stacked_blocks(getkey):
    blocks = make(getkey).blocks
    one = jax.tree.map(lambda leaf: leaf[0] if eqx.is_array(leaf) else leaf, blocks)
    with pytest.raises(ValueError, match="`blocks` must be a `TransformerBlock` with a leading axis"):
        architectures.TransformerEncoder(one)
    with pytest.raises(ValueError, match="`horizon` must be positive"):
        architectures.TransformerEncoder(blocks, horizon=float("nan"))
