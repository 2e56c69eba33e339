"""The streaming log-sum-exp against mpmath, plain jax and closed forms: values, every derivative, masks, memory."""

import pathlib
from functools import partial

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hjpde import _log_sum_exp_rules, _streaming
from hjpde._log_sum_exp import (
    covariance_vector_product,
    gibbs_entropy,
    gibbs_mean,
    hessian_spectral_norm,
    hessian_vector_product,
    log_sum_exp,
    maximum,
)

needs_x64 = pytest.mark.skipif(jnp.result_type(float) != jnp.float64, reason="needs float64")
STATUS, CLEAR = pathlib.Path("/proc/self/status"), pathlib.Path("/proc/self/clear_refs")


def layer(seed, n_queries, n_neurons, dimension, dtype=None):
    rng = np.random.default_rng(seed)
    X, W = rng.uniform(-1, 1, (n_queries, dimension)), rng.normal(size=(n_neurons, dimension))
    b = -0.5 * (W**2).sum(1) + 0.1 * rng.normal(size=n_neurons)
    dtype = dtype or jnp.result_type(float)
    return jnp.asarray(X, dtype), jnp.asarray(W, dtype), jnp.asarray(b, dtype)


def plain(X, W, b, eps):
    return eps * jax.nn.logsumexp((X @ W.T + b[None, :]) / eps, axis=1)


def plain_entropy(X, W, b, eps):
    logs = jax.nn.log_softmax((X @ W.T + b[None, :]) / eps, axis=1)
    return -(jnp.exp(logs) * logs).sum(1)


def plain_mean(X, W, b, eps, V):
    return jax.nn.softmax((X @ W.T + b[None, :]) / eps, axis=1) @ V


def relative_error(actual, expected):
    pairs = zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True)
    return max(float(jnp.abs(a - e).max() / (jnp.abs(e).max() + 1e-300)) for a, e in pairs)


@pytest.fixture
def tiled(request, monkeypatch):
    """A layer that takes several tiles; the table is recomputed backwards, or kept if the parameter says so."""
    monkeypatch.setattr(_streaming, "_TILE_ELEMENTS", {"cpu": 500})
    kept = getattr(request, "param", "recomputed") == "kept"
    monkeypatch.setattr(_streaming, "_KEEP_BYTES", (1 << 27) if kept else 0)
    jax.clear_caches()
    yield (*layer(0, 37, 53 + kept, 3), jnp.asarray(0.2))
    jax.clear_caches()


# ---- Values ----------------------------------------------------------------------------------------------------


def reference(X, W, b, eps):
    """Value and gradient in 50 digits, and the scale S of the value's terms."""
    mpmath.mp.dps = 50
    rows = [[mpmath.mpf(float(w)) for w in row] for row in W]
    biases, eps = [mpmath.mpf(float(v)) for v in b], mpmath.mpf(float(eps))
    values, gradients, scales = [], [], []
    for point in X:
        x = [mpmath.mpf(float(v)) for v in point]
        z = [mpmath.fdot(row, x) + bias for row, bias in zip(rows, biases, strict=True)]
        top = max(z)
        p = [mpmath.exp((v - top) / eps) for v in z]
        total = mpmath.fsum(p)
        values.append(top + eps * mpmath.log(total))
        gradients.append([float(mpmath.fdot(p, column) / total) for column in zip(*rows, strict=True)])
        size = np.abs(np.asarray(W, float) * np.asarray(point, float)[None, :]).sum(1) + np.abs(np.asarray(b, float))
        scales.append(size.max() + float(eps) * np.log(len(b)))
    return values, np.array(gradients), np.array(scales)


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=needs_x64)])
@pytest.mark.parametrize("dimension", [1, 3, 100])
def test_value_and_gradient_against_50_digits(dimension, dtype):
    unit = float(np.finfo(dtype).eps) / 2
    for seed, viscosity in enumerate([1e-6, 1e-4, 1e-2, 0.3, 10.0, 1e3]):
        X, W, b = layer(seed, 2, 24, dimension, dtype)
        eps = jnp.asarray(viscosity, dtype)
        value, pullback = jax.vjp(lambda X, W=W, b=b, eps=eps: log_sum_exp(X, W, b, eps), X)
        (gradient,) = pullback(jnp.ones_like(value))
        assert value.dtype == gradient.dtype == np.dtype(dtype)
        values, gradients, scale = reference(X, W, b, eps)
        error = np.array([abs(float(mpmath.mpf(float(v)) - e)) for v, e in zip(value, values, strict=True)])
        assert np.all(error <= 8 * np.spacing(scale.astype(dtype)))
        largest = float(jnp.sqrt((W**2).sum(1)).max())
        bound = largest * np.minimum(2, 50 * unit * scale * (1 + 1 / viscosity))
        assert np.all(np.linalg.norm(np.asarray(gradient, float) - gradients, axis=1) <= bound)
        directions = jnp.asarray(np.random.default_rng(0).normal(size=(dimension, 16)), dtype)
        in_hull = gradient @ directions <= (W @ directions).max(0)[None, :] + 100 * unit * largest
        assert jnp.all(jnp.isfinite(gradient))
        assert jnp.all(in_hull)


@needs_x64
@given(st.integers(0, 10**6), st.floats(-6, 3))
def test_bounds_and_shift(seed, exponent):
    eps = 10.0**exponent
    X, W, b = layer(seed, 4, 9, 2)
    value, (top, winner) = log_sum_exp(X, W, b, eps), maximum(X, W, b)
    slack = 1e-13 * (1 + eps)
    assert jnp.all(value >= top - slack)
    assert jnp.all(value <= top + eps * jnp.log(9) + slack)
    np.testing.assert_allclose(log_sum_exp(X, W, b + 3.0, eps), value + 3.0, atol=20 * slack)
    entropy = gibbs_entropy(X, W, b, eps)
    assert jnp.all(entropy >= -1e-13)
    assert jnp.all(entropy <= jnp.log(9) + 1e-13)
    np.testing.assert_array_equal(winner, (X @ W.T + b[None, :]).argmax(1))


def test_entropy_is_log_n_for_equal_neurons():
    X, W, b = layer(0, 3, 7, 2)
    same = jnp.broadcast_to(W[:1], W.shape), jnp.broadcast_to(b[:1], b.shape)
    np.testing.assert_allclose(gibbs_entropy(X, *same, 0.1), np.log(7), rtol=1e-6)


def test_one_neuron_is_affine():
    X, W, b = layer(0, 3, 1, 2)
    np.testing.assert_allclose(log_sum_exp(X, W, b, 1e-6), X @ W[0] + b[0], rtol=1e-6)
    np.testing.assert_array_equal(gibbs_entropy(X, W, b, 1e-6), 0.0)
    gradient = jax.grad(lambda X: log_sum_exp(X, W, b, 1e3).sum())(X)
    np.testing.assert_array_equal(gradient, jnp.broadcast_to(W, X.shape))


@pytest.mark.slow
@needs_x64
def test_moments_against_plain_jax(tiled, getkey):
    X, W, b, eps = tiled
    assert relative_error(log_sum_exp(X, W, b, eps), plain(X, W, b, eps)) < 1e-14
    assert relative_error(gibbs_entropy(X, W, b, eps), plain_entropy(X, W, b, eps)) < 1e-13
    for width in (2, 70):
        V = jax.random.normal(getkey(), (W.shape[0], width))
        assert relative_error(gibbs_mean(X, W, b, eps, V), plain_mean(X, W, b, eps, V)) < 1e-13


# ---- Derivatives -----------------------------------------------------------------------------------------------

ORDERS = (
    jax.grad,
    jax.hessian,
    lambda f: jax.jacrev(jax.jacrev(f)),
    lambda f: jax.jacfwd(jax.jacfwd(f)),
    lambda f: jax.jacfwd(jax.jacrev(jax.jacrev(f))),
)


@pytest.mark.slow
@needs_x64
def test_derivatives_in_x_of_one_point_calls(tiled):
    X, W, b, eps = tiled
    X = X[:5]

    @partial(jax.jit, static_argnums=0)
    def all_orders(f, X):
        return [jax.vmap(order(lambda x: f(x[None], W, b, eps)[0]))(X) for order in ORDERS]

    ours, theirs = all_orders(log_sum_exp, X), all_orders(plain, X)
    assert relative_error(ours, theirs) < 1e-12
    summed = jax.grad(lambda X: jax.vmap(lambda x: log_sum_exp(x[None], W, b, eps)[0])(X).sum())(X)
    assert relative_error(summed, plain_mean(X, W, b, eps, W)) < 1e-13


def weigh(tree):
    """A scalar in which every entry of every leaf has its own coefficient."""
    return sum((jnp.cos(jnp.arange(a.size, dtype=a.dtype)).reshape(a.shape) * a).sum() for a in jax.tree.leaves(tree))


FUNCTIONS = {
    "value": (log_sum_exp, plain),
    "entropy": (gibbs_entropy, plain_entropy),
    "mean": (
        lambda X, W, b, e: gibbs_mean(X, W, b, e, jnp.sin(W)),
        lambda X, W, b, e: plain_mean(X, W, b, e, jnp.sin(W)),
    ),
}


@pytest.mark.slow
@needs_x64
@pytest.mark.parametrize(
    ("name", "tiled"),
    [("value", "recomputed"), ("value", "kept"), ("entropy", "recomputed"), ("mean", "recomputed")],
    indirect=["tiled"],
)
def test_derivatives_in_all_arguments(name, tiled):
    # Gradient, its reverse derivative (all mixed second derivatives), and the forward one.
    def derivatives(f, *arguments):
        def gradient(*a):
            return jax.grad(lambda *a: weigh(jnp.sin(f(*a))), (0, 1, 2, 3))(*a)

        directions = jax.tree.map(jnp.cos, arguments)
        mixed = jax.grad(lambda *a: weigh(gradient(*a)), (0, 1, 2, 3))(*arguments)
        return jax.jvp(gradient, arguments, directions), mixed

    ours, theirs = (jax.jit(derivatives, static_argnums=0)(f, *tiled) for f in FUNCTIONS[name])
    assert relative_error(ours, theirs) < 1e-11


@needs_x64
@pytest.mark.parametrize("argument", range(4))
def test_gradient_against_finite_differences(argument, getkey):
    arguments = [*layer(1, 11, 13, 3), jnp.asarray(0.3)]
    direction = jax.random.normal(getkey(), arguments[argument].shape)

    def along(h):
        moved = list(arguments)
        moved[argument] = moved[argument] + h * direction
        return log_sum_exp(*moved).sum()

    slope = (along(1e-5) - along(-1e-5)) / 2e-5
    np.testing.assert_allclose(jax.grad(along)(0.0), slope, rtol=1e-7)
    np.testing.assert_allclose(jax.jvp(along, (0.0,), (1.0,))[1], slope, rtol=1e-7)


@needs_x64
def test_only_the_perturbed_argument_costs():
    X, W, b = layer(0, 40_000, 5000, 2)

    def equations(argument):
        f = jax.grad(lambda X, W, b: log_sum_exp(X, W, b, 0.1).sum(), argument)
        return str(jax.make_jaxpr(f)(X, W, b)).count("scan[")

    assert equations(0) == 1
    assert equations(1) == equations(2) == 2


@pytest.mark.slow
@needs_x64
def test_second_reverse_derivative_through_a_loop():
    X, W, b = layer(3, 6, 20, 2)

    def loop(f, W):
        def step(carry, x):
            y = f(x[None] * carry, W, b, 0.3)[0]
            return 0.9 * carry + 0.01 * y, y

        return jax.lax.scan(step, jnp.asarray(1.0), X)[1].sum()

    ours, theirs = (jax.grad(lambda W, f=f: jnp.sin(jax.grad(loop, 1)(f, W)).sum())(W) for f in (log_sum_exp, plain))
    assert relative_error(ours, theirs) < 1e-12


@needs_x64
def test_forward_over_reverse_through_a_loop_of_merged_calls(getkey):
    X, W, b = layer(3, 6, 300, 2)
    assert len(X) <= _log_sum_exp_rules._MERGED_QUERIES
    assert len(W) > _log_sum_exp_rules._MERGED_NEURONS

    def loop(f, X):
        def step(carry, x):
            y = f(x[None] * carry, W, b, 0.3)[0]
            return 0.9 * carry + 0.01 * y, y

        return jax.lax.scan(step, jnp.asarray(1.0), X)[1].sum()

    direction = jax.random.normal(getkey(), X.shape)
    ours, theirs = (jax.jvp(jax.grad(partial(loop, f)), (X,), (direction,)) for f in (log_sum_exp, plain))
    assert relative_error(ours, theirs) < 1e-12


@pytest.mark.slow
def test_batched_parameters(getkey):
    X, _, b = layer(0, 5, 300, 2)
    W = jax.random.normal(getkey(), (3, 300, 2))
    ours = jax.vmap(lambda W: log_sum_exp(X, W, b, 0.5))(W)
    assert relative_error(ours, jax.vmap(lambda W: plain(X, W, b, 0.5))(W)) < 1e-5
    ours = jax.vmap(jax.vmap(lambda x, e: log_sum_exp(x[None], W[0], b, e)[0], (0, None)), (None, 0))
    theirs = jnp.stack([plain(X, W[0], b, e) for e in (0.5, 2.0)])
    assert relative_error(ours(X, jnp.array([0.5, 2.0])), theirs) < 1e-5


# ---- Masks and extreme viscosities -----------------------------------------------------------------------------


@pytest.mark.slow
@needs_x64
def test_masked_neurons_are_exact(tiled):
    X, W, b, eps = tiled
    keep = np.arange(W.shape[0]) % 3 > 0

    @partial(jax.jit, static_argnums=0)
    def derivatives(functions, W, b):
        def gradient(*a):
            return jax.grad(lambda *a: sum(jnp.sin(f(*a)).sum() for f in functions), (0, 1, 2, 3))(*a)

        second = jax.grad(lambda *a: sum(g.sum() for g in gradient(*a)), (0, 1, 2, 3))
        return gradient(X, W, b, eps), second(X, W, b, eps)

    masked = derivatives((log_sum_exp, gibbs_entropy), W, jnp.where(keep, b, -jnp.inf))
    expected = derivatives((plain, plain_entropy), W[keep], b[keep])
    for ours, theirs in zip(masked, expected, strict=True):
        assert jnp.all(ours[1][~keep] == 0)
        assert jnp.all(ours[2][~keep] == 0)
        assert relative_error((ours[0], ours[1][keep], ours[2][keep], ours[3]), theirs) < 1e-11


def test_all_neurons_masked():
    X, W, b = layer(0, 4, 6, 2)
    b = jnp.full_like(b, -jnp.inf)
    assert jnp.all(log_sum_exp(X, W, b, 0.1) == -jnp.inf)
    assert jnp.all(gibbs_entropy(X, W, b, 0.1) == 0)
    for argument in range(4):
        gradient = jax.grad(lambda *a: log_sum_exp(*a).sum(), argument)(X, W, b, jnp.asarray(0.1, X.dtype))
        assert jnp.all(gradient == 0)


@pytest.mark.parametrize("viscosity", [1e-6, 1e-3, 1e3])
def test_everything_is_finite_in_float32(viscosity):
    X, W, b = layer(2, 6, 40, 3, "float32")
    W = W.at[1].set(W[0])
    b = b.at[1].set(b[0]).at[5].set(-jnp.inf).at[6].set(-1e30)
    eps = jnp.asarray(viscosity, "float32")

    def gradient(*a):
        return jax.grad(lambda *a: log_sum_exp(*a).sum(), (0, 1, 2, 3))(*a)

    second = jax.jit(jax.grad(lambda *a: sum(g.sum() for g in gradient(*a)), (0, 1, 2, 3)))
    point = jax.vmap(jax.hessian(lambda x: log_sum_exp(x[None], W, b, eps)[0]))
    for result in (gradient(X, W, b, eps), second(X, W, b, eps), point(X)):
        assert all(a.dtype == jnp.float32 and jnp.all(jnp.isfinite(a)) for a in jax.tree.leaves(result))


# ---- Curvature -------------------------------------------------------------------------------------------------


def dense_covariance(X, W, b, eps):
    p = jax.nn.softmax((X @ W.T + b[None, :]) / eps, axis=1)
    centred = W[None] - (p @ W)[:, None, :]
    return jnp.einsum("mj,mjk,mjl->mkl", p, centred, centred)


@pytest.mark.slow
@needs_x64
@pytest.mark.parametrize("dimension", [3, pytest.param(12, marks=pytest.mark.slow)])
def test_curvature(dimension, getkey):
    X, W, b = layer(4, 9, 31, dimension)
    eps, vectors = 0.4, jax.random.normal(getkey(), X.shape)
    covariance = dense_covariance(X, W, b, eps)
    expected = jnp.einsum("mkl,ml->mk", covariance, vectors)
    assert relative_error(covariance_vector_product(X, W, b, eps, vectors), expected) < 1e-12
    product = hessian_vector_product(X, W, b, eps, vectors)
    assert relative_error(product, expected / eps) < 1e-12
    ahead, behind = (gibbs_mean(X + h * vectors, W, b, eps, W) for h in (1e-6, -1e-6))
    assert relative_error(product, (ahead - behind) / 2e-6) < 1e-8
    transposed = jax.grad(lambda v: weigh(hessian_vector_product(X, W, b, eps, v)))(vectors)
    assert relative_error(transposed, jnp.einsum("mkl,ml->mk", covariance, jax.grad(weigh)(vectors)) / eps) < 1e-12
    largest = jnp.linalg.eigvalsh(covariance / eps)[:, -1]
    assert relative_error(hessian_spectral_norm(X, W, b, eps, key=getkey()), largest) < 1e-12
    if dimension == 12:
        few = hessian_spectral_norm(X, W, b, eps, key=getkey(), steps=6)
        assert jnp.all(few <= largest * (1 + 1e-12))
        assert jnp.all(few >= 0.9 * largest)
        assert jnp.all(hessian_spectral_norm(X, W, b, eps, key=getkey(), steps=1) <= largest)


@needs_x64
def test_curvature_is_uninterested_in_a_common_slope(getkey):
    X, W, b = layer(4, 9, 31, 2)
    vectors = jax.random.normal(getkey(), X.shape)
    shifted = covariance_vector_product(X, W + 1e4, b - 1e4 * 0, 50.0, vectors)
    assert relative_error(shifted, covariance_vector_product(X, W, b, 50.0, vectors)) < 1e-6


def test_maximum_and_its_gradient():
    X, W, b = layer(5, 50, 17, 3)
    value, winner = maximum(X, W, b)
    z = X @ W.T + b[None, :]
    np.testing.assert_allclose(value, z.max(1), rtol=1e-5)
    np.testing.assert_array_equal(winner, z.argmax(1))
    gradient = jax.grad(lambda X: maximum(X, W, b)[0].sum())(X)
    np.testing.assert_array_equal(gradient, W[winner])
    _, tied = maximum(X, jnp.zeros_like(W), jnp.zeros_like(b))
    assert jnp.all(tied == 0)


# ---- What is refused, and edges ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((np.zeros(2), np.zeros((3, 2)), np.zeros(3), 1.0), "`X`"),
        ((np.zeros((4, 3)), np.zeros((3, 2)), np.zeros(3), 1.0), "`X`"),
        ((np.zeros((4, 2)), np.zeros(3), np.zeros(3), 1.0), "`weights`"),
        ((np.zeros((4, 2)), np.zeros((0, 2)), np.zeros(0), 1.0), "`weights`"),
        ((np.zeros((4, 2)), np.zeros((3, 2)), np.zeros(2), 1.0), "`biases`"),
        ((np.zeros((4, 2)), np.zeros((3, 2)), np.zeros((3, 1)), 1.0), "`biases`"),
        ((np.zeros((4, 2)), np.zeros((3, 2)), np.zeros(3), np.ones(1)), "`viscosity`"),
        ((np.zeros((4, 2)), np.zeros((3, 2)), np.zeros(3), 0.0), "`viscosity`"),
        ((np.zeros((4, 2)), np.zeros((3, 2)), np.zeros(3), -1.0), "`viscosity`"),
        ((np.zeros((4, 2)), np.zeros((3, 2)), np.zeros(3), float("nan")), "`viscosity`"),
        ((np.zeros((4, 2)), np.zeros((3, 2)) * 1j, np.zeros(3), 1.0), "`weights`"),
    ],
)
def test_wrong_arguments(arguments, name):
    with pytest.raises(ValueError, match=name):
        log_sum_exp(*arguments)


def test_wrong_vectors_values_and_steps(getkey):
    arguments = (*layer(0, 4, 3, 2), 1.0)
    with pytest.raises(ValueError, match="`values`"):
        gibbs_mean(*arguments, np.zeros((4, 1)))
    for product in (covariance_vector_product, hessian_vector_product):
        with pytest.raises(ValueError, match="`vectors`"):
            product(*arguments, np.zeros((3, 2)))
    with pytest.raises(ValueError, match="`steps`"):
        hessian_spectral_norm(*arguments, key=getkey(), steps=0)


def test_no_queries(getkey):
    X, W, b = layer(0, 0, 3, 2)
    assert log_sum_exp(X, W, b, 1.0).shape == gibbs_entropy(X, W, b, 1.0).shape == (0,)
    assert gibbs_mean(X, W, b, 1.0, W[:, :1]).shape == (0, 1)
    assert covariance_vector_product(X, W, b, 1.0, X).shape == (0, 2)
    assert hessian_spectral_norm(X, W, b, 1.0, key=getkey()).shape == (0,)
    assert [a.shape for a in maximum(X, W, b)] == [(0,), (0,)]


def test_dtypes():
    X, W, b = np.zeros((2, 1), "float32"), np.ones((3, 1), "float32"), np.zeros(3, "float32")
    assert log_sum_exp(X, W, b, np.float64(2.0)).dtype == jnp.float32
    assert log_sum_exp(X.astype(int), W.astype(int), b.astype(int), 2).dtype == jnp.result_type(float)
    assert log_sum_exp(X, W, b.astype("float16"), 2.0).dtype == jnp.float32
    half = log_sum_exp(X.astype("float16"), W.astype("float16"), b.astype("float16"), 2.0)
    assert half.dtype == jnp.float16
    np.testing.assert_allclose(half, 2 * np.log(3), rtol=1e-3)


# ---- Memory ----------------------------------------------------------------------------------------------------


def resident_growth(compiled, *arguments):
    """Peak resident memory during a call beyond what was resident before, in MB, and the outputs' size."""

    def peak():
        return next(int(line.split()[1]) for line in STATUS.read_text().splitlines() if "VmHWM" in line) / 1024

    CLEAR.write_text("5")
    before = peak()
    out = jax.block_until_ready(compiled(*arguments))
    return peak() - before - sum(a.nbytes for a in jax.tree.leaves(out)) / 2**20


@pytest.mark.skipif(not CLEAR.exists(), reason="needs Linux's account of resident memory")
def test_resident_memory():
    X, W, b = layer(0, 40_000, 10_000, 2, "float32")

    def one(x):
        return log_sum_exp(x[None], W, b, 0.1)[0]

    gradient = jax.grad(lambda X: log_sum_exp(X, W, b, 0.1).sum())
    for f in (lambda X: log_sum_exp(X, W, b, 0.1), gradient, jax.vmap(jax.value_and_grad(one))):
        assert resident_growth(jax.jit(f).lower(X).compile(), X) < 16
    few = X[:4000]
    assert resident_growth(jax.jit(jax.vmap(jax.hessian(one))).lower(few).compile(), few) < 16
