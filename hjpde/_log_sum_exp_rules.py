r"""The log-sum-exp, its Gibbs moments and their derivative rules, streamed over tiles.

With $\pi_j(x) = \exp((W_j \cdot x + b_j - f(x)) / \varepsilon)$, $f$ the log-sum-exp, everything is a moment of
$\pi$: $\nabla f = E[W]$, $\nabla^2 f = \mathrm{Cov}(W) / \varepsilon$, $\partial f / \partial b = \pi$, and
$\partial f / \partial \varepsilon$ is the entropy of $\pi$. The rules say so, each in terms of functions that have such
a rule themselves; a tangent is a loop over tiles, linear in the perturbation, that recomputes $\pi$ when transposed.
So derivatives of every order stream. Arguments are arrays of one dtype: `X` `(M, d)`, `weights` `(N, d)`, `biases`
`(N,)`, `viscosity` `()`, `values` `(N, k)`.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jax.custom_derivatives import SymbolicZero

from ._streaming import exp2, keeps_table, logits, matmul, over_rows, row_max, tile_rows

_LOG2E = math.log2(math.e)
# Below this, exp is 0 in float64 too: the floor under logits keeps 0 * inf out of all moments.
_LOGIT_FLOOR = -1100.0
# Up to this dimension the covariance is formed for all directions at once, in one pass.
_FORMED_COVARIANCE = 8
# More columns than this are not copied to append the column of ones that yields the normaliser.
_APPEND_ONES = 64
# A call with so few queries and so many neurons is one that `jax.vmap` should merge with its siblings.
_MERGED_QUERIES, _MERGED_NEURONS = 32, 256


# ---- One pass over the table ---------------------------------------------------------------------------------


def _unmasked(biases):
    """The biases with a large finite number for `-inf`, so that no derivative meets an infinity."""
    return jnp.where(jnp.isneginf(biases), jnp.finfo(biases.dtype).min / 4, biases)


def _table(x, weights, biases, viscosity):
    """The Gibbs weights of a tile, not normalised: `p`, `gap` and `shift` with $p = \\exp(gap / \\varepsilon)$, where
    `gap` are the logits less `shift`, a constant of each row. `biases` are finite; masked, `p` is exactly 0.
    """
    z = logits(x, weights, biases)
    peak = jax.lax.stop_gradient(row_max(z))
    shift = jnp.where(peak < jnp.finfo(z.dtype).min / 8, 0.0, peak)
    gap = jnp.maximum(z - shift[:, None], _LOGIT_FLOOR * viscosity)
    return exp2(gap * (_LOG2E / viscosity)), gap, shift


def _row_sum(table):
    """Sums of rows, kept as a column: a matrix product, as a reduction vectorises badly on a CPU."""
    return matmul(table, jnp.ones((table.shape[1], 1), table.dtype))


def _safe(total):
    """The normaliser, or 1 where all neurons are masked."""
    return jnp.where(total == 0, 1.0, total)


def _moments(X, weights, biases, viscosity, values, *, entropy, lanes):
    """The value, the mean of `values` (or `None`) and the entropy (or `None`), each over `M` queries.

    Also right when differentiated as it stands, but then it keeps the whole table.
    """
    biases = _unmasked(biases)
    columns = jnp.ones((weights.shape[0], 1), X.dtype)
    append = False
    if values is not None and values.shape[1] <= _APPEND_ONES:
        append = True
        columns = jnp.concatenate([values, columns], axis=1)

    def tile(x):
        p, gap, shift = _table(x, weights, biases, viscosity)
        sums = matmul(p, columns)
        total = sums[:, -1:]
        log_total = jnp.log(_safe(total[:, 0]))
        value = jnp.where(total[:, 0] == 0, -jnp.inf, shift + viscosity * log_total)
        mean = disorder = None
        if values is not None:
            mean = (sums[:, :-1] if append else matmul(p, values)) / _safe(total)
        if entropy:
            disorder = log_total - (_row_sum(p * gap) / (_safe(total) * viscosity))[:, 0]
        return value, mean, disorder

    return over_rows(tile, tile_rows(X.shape[0], weights.shape, X.dtype, lanes), X)


def batched_over_queries(function):
    """`function(X, weights, *rest, lanes=1)` such that `jax.vmap` over `X` alone merges the batch into the queries.

    A one-point call under `jax.vmap` would otherwise hold all its rows of the table at once.
    """
    merged = custom_vmap(partial(function, lanes=1))

    @merged.def_vmap
    def _rule(axis_size, in_batched, X, *rest):
        if in_batched[0] and not any(jax.tree.leaves(in_batched[1:])):
            out = merged(X.reshape(-1, X.shape[-1]), *rest)
            out = jax.tree.map(lambda a: a.reshape(axis_size, X.shape[1], *a.shape[1:]), out)
        else:
            axes = jax.tree.map(lambda batched: 0 if batched else None, tuple(in_batched))
            out = jax.vmap(partial(function, lanes=axis_size), axes)(X, *rest)
        return out, jax.tree.map(lambda _: True, out)

    # `custom_vmap` has no reverse mode, which a second derivative through a loop can ask for (see below): only the
    # calls that gain from it take it.
    def call(X, weights, *rest):
        few = X.shape[0] <= _MERGED_QUERIES and weights.shape[0] > _MERGED_NEURONS
        return (merged if few else partial(function, lanes=1))(X, weights, *rest)

    return call


_moments_pass = batched_over_queries(partial(_moments, entropy=False))
_entropy_pass = batched_over_queries(partial(_moments, entropy=True))


# ---- Tangents: loops over tiles that are linear in the perturbation ------------------------------------------


def _centred_perturbation(p, gap, total, x, dx, weights, viscosity, dweights, dbiases, dviscosity):
    """The perturbation of the logits over the viscosity, less its mean; `None` stands for no perturbation."""
    terms = []
    if dx is not None:
        terms.append(matmul(dx, weights.T))
    if dweights is not None:
        terms.append(matmul(x, dweights.T))
    if dbiases is not None:
        terms.append(jnp.broadcast_to(dbiases[None, :], p.shape))
    if dviscosity is not None:
        terms.append(gap * (-dviscosity / viscosity))
    change = sum(terms[1:], terms[0]) / viscosity
    return change - _row_sum(p * change) / total


def _tangent_loop(tile, X, dX, weights):
    """`tile` over the queries; backwards it recomputes its table unless the whole of it is small."""
    rows = tile_rows(X.shape[0], weights.shape, X.dtype)
    if not keeps_table(X.shape[0], weights.shape[0], X.dtype):
        tile = jax.checkpoint(tile, prevent_cse=X.shape[0] <= rows)
    return over_rows(tile, rows, (X, dX))


def _expected_change(p, total, x, dweights, dbiases):
    """$E[\\dot W x + \\dot b]$ in a tile."""
    change = jnp.zeros(x.shape[0], x.dtype)
    if dweights is not None:
        change += ((x / total) * matmul(p, dweights)).sum(1)
    if dbiases is not None:
        change += (matmul(p, dbiases[:, None]) / total)[:, 0]
    return change


def _value_tangent(X, weights, biases, viscosity, dweights, dbiases):
    """$E[\\dot W x + \\dot b]$."""
    biases = _unmasked(biases)

    def tile(arrays):
        x, _ = arrays
        p, _, _ = _table(x, weights, biases, viscosity)
        return _expected_change(p, _safe(_row_sum(p)), x, dweights, dbiases)

    return _tangent_loop(tile, X, None, weights)


def _value_and_tangent(primals, tangents):
    """The value with its tangent from one table, which transposition keeps: for tables that are small."""
    X, weights, biases, viscosity = primals
    dX, dweights, dbiases, dviscosity = tangents
    biases = _unmasked(biases)

    def tile(arrays):
        x, dx = arrays
        p, gap, shift = _table(x, weights, biases, viscosity)
        total = _row_sum(p)
        divisor = _safe(total)
        log_total = jnp.log(divisor[:, 0])
        value = jnp.where(total[:, 0] == 0, -jnp.inf, shift + viscosity * log_total)
        change = _expected_change(p, divisor, x, dweights, dbiases)
        if dx is not None:
            change += (matmul(p, weights) / divisor * dx).sum(1)
        if dviscosity is not None:
            change += (log_total - (_row_sum(p * gap) / (divisor * viscosity))[:, 0]) * dviscosity
        return value, change

    return _tangent_loop(tile, X, dX, weights)


def _mean_tangent(primals, values, tangents, dvalues):
    """$\\mathrm{Cov}(V, \\dot z) / \\varepsilon + E[\\dot V]$, `z` the logits."""
    X, weights, biases, viscosity = primals
    dX, *dparameters = tangents
    biases = _unmasked(biases)

    def tile(arrays):
        x, dx = arrays
        p, gap, _ = _table(x, weights, biases, viscosity)
        total = _safe(_row_sum(p))
        out = 0.0
        if dx is not None or any(d is not None for d in dparameters):
            change = _centred_perturbation(p, gap, total, x, dx, weights, viscosity, *dparameters)
            out += matmul(p * change, values)
        if dvalues is not None:
            out += matmul(p, dvalues)
        return out / total

    return _tangent_loop(tile, X, dX, weights)


def _entropy_tangent(primals, tangents):
    """$-\\mathrm{Cov}(\\log \\pi, \\dot z) / \\varepsilon$, `z` the logits."""
    X, weights, biases, viscosity = primals
    dX, *dparameters = tangents
    biases = _unmasked(biases)

    def tile(arrays):
        x, dx = arrays
        p, gap, _ = _table(x, weights, biases, viscosity)
        total = _safe(_row_sum(p))
        change = _centred_perturbation(p, gap, total, x, dx, weights, viscosity, *dparameters)
        return -(_row_sum(p * change * gap) / (total * viscosity))[:, 0]

    return _tangent_loop(tile, X, dX, weights)


def _value_change(primals, tangents, gradient):
    X, weights, biases, viscosity = primals
    dX, dweights, dbiases, dviscosity = tangents
    change = jnp.zeros(X.shape[0], X.dtype)
    if dX is not None:
        change += (gradient * dX).sum(1)
    if dweights is not None or dbiases is not None:
        change += _value_tangent(X, weights, biases, viscosity, dweights, dbiases)
    if dviscosity is not None:
        change += stream_entropy(*primals) * dviscosity
    return change


# ---- The functions, and their rules ---------------------------------------------------------------------------
#
# In the backward pass of a user's loop jax may drop a `custom_jvp` rule; a second derivative then goes through
# `_moments` itself, which is right, though it keeps the table.


@jax.custom_jvp
def _value(X, weights, biases, viscosity):
    """The log-sum-exp, `(M,)`."""
    return _moments_pass(X, weights, biases, viscosity, None)[0]


@jax.custom_jvp
def _value_and_gradient(X, weights, biases, viscosity):
    """The log-sum-exp and its gradient in `X`, `(M,)` and `(M, d)`, in one pass."""
    return _moments_pass(X, weights, biases, viscosity, weights)[:2]


@jax.custom_jvp
def _mean(X, weights, biases, viscosity, values):
    """The Gibbs mean of `values`, `(M, k)`."""
    return _moments_pass(X, weights, biases, viscosity, values)[1]


@jax.custom_jvp
def _entropy(X, weights, biases, viscosity):
    """The entropy of the Gibbs weights, `(M,)`."""
    return _entropy_pass(X, weights, biases, viscosity, None)[2]


stream_value = jax.jit(_value)
stream_value_and_gradient = jax.jit(_value_and_gradient)
stream_mean = jax.jit(_mean)
stream_entropy = jax.jit(_entropy)


def stream_covariance(X, weights, biases, viscosity):
    """The covariance of the weights' rows, `(M, d, d)`, from the means of their products about a fixed centre."""
    dimension = weights.shape[1]
    upper = [(k, l) for k in range(dimension) for l in range(k, dimension)]
    centred = weights - jax.lax.stop_gradient(weights.mean(0))[None, :]
    products = jnp.stack([centred[:, k] * centred[:, l] for k, l in upper], axis=1)
    means = stream_mean(X, weights, biases, viscosity, jnp.concatenate([centred, products], axis=1))
    first, second = means[:, :dimension], means[:, dimension:]
    where = {pair: i for i, pair in enumerate(upper)}
    order = jnp.asarray([where[min(k, l), max(k, l)] for k in range(dimension) for l in range(dimension)])
    return second[:, order].reshape(-1, dimension, dimension) - first[:, :, None] * first[:, None, :]


def covariance_product(X, weights, biases, viscosity, vectors):
    """The covariance of the weights' rows times a vector of each query, `(M, d)`."""
    primals = (X, weights, biases, viscosity)
    if weights.shape[1] <= _FORMED_COVARIANCE:
        return jnp.einsum("mkl,ml->mk", stream_covariance(*primals), vectors)
    return _mean_tangent(primals, weights, (vectors * viscosity, None, None, None), None)


def _given(tangents):
    return [None if isinstance(tangent, SymbolicZero) else tangent for tangent in tangents]


def _value_rule(primals, tangents):
    tangents = _given(tangents)
    X, weights = primals[:2]
    in_parameters = any(tangent is not None for tangent in tangents[1:])
    if in_parameters and keeps_table(X.shape[0], weights.shape[0], X.dtype):
        return _value_and_tangent(primals, tangents)
    if tangents[0] is None:
        value, gradient = stream_value(*primals), None
    else:
        value, gradient = stream_value_and_gradient(*primals)
    return value, _value_change(primals, tangents, gradient)


def _value_and_gradient_rule(primals, tangents):
    tangents = _given(tangents)
    value, gradient = stream_value_and_gradient(*primals)
    change = _value_change(primals, tangents, gradient)
    if all(d is None for d in tangents[1:]) and primals[1].shape[1] <= _FORMED_COVARIANCE:
        hessian = stream_covariance(*primals) / primals[3]
        return (value, gradient), (change, jnp.einsum("mkl,ml->mk", hessian, tangents[0]))
    return (value, gradient), (change, _mean_tangent(primals, primals[1], tangents, tangents[1]))


def _mean_rule(primals, tangents):
    *tangents, dvalues = _given(tangents)
    return stream_mean(*primals), _mean_tangent(primals[:4], primals[4], tangents, dvalues)


def _entropy_rule(primals, tangents):
    return stream_entropy(*primals), _entropy_tangent(primals, _given(tangents))


_value.defjvp(_value_rule, symbolic_zeros=True)
_value_and_gradient.defjvp(_value_and_gradient_rule, symbolic_zeros=True)
_mean.defjvp(_mean_rule, symbolic_zeros=True)
_entropy.defjvp(_entropy_rule, symbolic_zeros=True)
