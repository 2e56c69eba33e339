"""What is measured on a network beside its flow."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, final

import equinox as eqx
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from hjpde._compilation import compiled_once
from hjpde._types import Scalar
from hjpde.architectures import (
    CostatePath,
    DepthFlow,
    NoisyNetwork,
    Transformer,
    continuous_costate,
    discrete_costate,
    drift_correction,
    refined_costate,
)
from hjpde.architectures._depth_flow import default_tolerance

_MAX_STATE = 512
"""Up to this many numbers in a state the Jacobian of a layer is formed."""

_MAX_ENTRIES = 4_000_000
"""Of all Jacobians together."""

_PLACES = (8, 16)
"""At most so many inputs and layers are looked at where a quantity is taken along the network."""

_LAYER_WEIGHTS = 1e-3
"""Values that cancel to less than this part of the state do not set the scale of rounding."""


def log_probability_of_the_decision(logits: Float[Array, " c"]) -> Scalar:
    """The logarithm of the largest class probability: what is read from a classifier."""
    return jnp.max(jax.nn.log_softmax(logits))


@final
@dataclasses.dataclass(frozen=True)
class Errors:
    """Of the refined networks; see `ComparisonReport`."""

    forward: np.ndarray
    gradient: np.ndarray
    parameter: np.ndarray
    flops: np.ndarray
    relative_gap: float
    state_size: int
    rounding: float
    gradient_rounding: float
    parameter_rounding: float


@final
@dataclasses.dataclass(frozen=True)
class Along:
    """Means along the network: the norms of the drift correction and of the velocity, and the least determinant."""

    drift: float
    speed: float
    min_determinant: float | None


def errors_of_refinement(
    flow: DepthFlow, X: Float[Array, "M ..."], refinements: Sequence[int], rtol: float | None
) -> Errors:
    """Values, gradients and final states of the flow, and of the network refined."""
    values, gradients, weights, ends, starts = _exact_pass(flow, X, rtol)
    tolerance = default_tolerance(X.dtype) if rtol is None else rtol
    forward, gradient, parameter = [], [], []
    relative_gap = math.nan
    for n in refinements:
        found = _network_pass(flow, X, jnp.asarray(n), max(refinements))
        forward.append(float(jnp.mean(jnp.abs(found[0] - values))))
        gradient.append(float(jnp.mean(_norms(found[1] - gradients))))
        parameter.append(float(jnp.linalg.norm(found[2] - weights)))
        if n == 1:
            relative_gap = _relative_gap(found[3], ends, starts)

    def rounding(scale: Any) -> float:
        return 50 * tolerance * (float(scale) or 1.0)

    state = float(jnp.mean(jnp.linalg.norm(ends, axis=1)))
    return Errors(
        forward=np.asarray(forward),
        gradient=np.asarray(gradient),
        parameter=np.asarray(parameter),
        flops=_operations_of_a_step(flow, X[0]) * flow.L(X[0]) * np.asarray(refinements),
        relative_gap=relative_gap,
        state_size=starts.shape[1],
        rounding=rounding(max(float(jnp.mean(jnp.abs(values))), _LAYER_WEIGHTS * state)),
        gradient_rounding=rounding(jnp.mean(_norms(gradients))),
        parameter_rounding=rounding(jnp.linalg.norm(weights)),
    )


def forward_errors(flow: DepthFlow, X: Float[Array, "M ..."], refinements: Sequence[int]) -> tuple[np.ndarray, float]:
    """The mean errors of the value alone, and the relative gap: see `ComparisonReport`."""
    values, ends, starts = _exact_forward(flow, X)
    errors, relative_gap = [], math.nan
    for n in refinements:
        found, states = _network_forward(flow, X, n)
        errors.append(float(jnp.mean(jnp.abs(found - values))))
        if n == 1:
            relative_gap = _relative_gap(states, ends, starts)
    return np.asarray(errors), relative_gap


def _relative_gap(states: Float[Array, "M d"], ends: Float[Array, "M d"], starts: Float[Array, "M d"]) -> float:
    """The distance of the network's final states from the flow's, over the way that the flow goes."""
    gap, way = (float(jnp.mean(jnp.linalg.norm(a, axis=1))) for a in (states - ends, ends - starts))
    return gap / way if way > 0 else (0.0 if gap == 0 else math.inf)


def observed_order(refinements: Sequence[int], errors: np.ndarray, rounding: float) -> float:
    """The slope over the last three errors above rounding: infinite if none is, NaN if fewer than two are."""
    above = [(n, error) for n, error in zip(refinements, errors, strict=True) if error > rounding]
    if not above:
        return math.inf
    if len(above) < 2 or not np.all(np.isfinite(errors)):
        return math.nan
    n, error = np.log(np.asarray(above[-3:])).T
    return float(-np.polyfit(n, error, 1)[0])


def residuals(flow: DepthFlow, X: Float[Array, "M ..."]) -> tuple[float, float]:
    """The own steps against the network's call, and the co-states against backpropagation through it."""
    _, gradients, weights, states, _ = _native_pass(flow, X)
    outputs, call_gradients, call_weights = _call_pass(flow, X)
    network = _relative(_finish(flow, X, states), outputs)
    return network, max(_relative(gradients, call_gradients), _relative(weights, call_weights))


def _relative(found: Array, expected: Array) -> float:
    """The largest difference over the largest entry; 0 for arrays without entries."""
    if expected.size == 0:
        return 0.0
    largest = float(jnp.max(jnp.abs(expected)))
    difference = float(jnp.max(jnp.abs(found - expected)))
    return difference / largest if largest > 0 else difference


def along_the_network(flow: DepthFlow, X: Float[Array, "M ..."]) -> Along:
    """Looks at some layers of some inputs."""
    depth = flow.L(X[0])
    places = jnp.asarray(np.unique(np.linspace(0, depth - 1, min(depth, _PLACES[1])).round().astype(int)))
    drift, speed = _along(flow, X[: _PLACES[0]], places)
    network, size = flow.architecture, _state_size(flow, X[0])
    z = network.start(X[0])
    layer = jax.tree.map(lambda leaf: leaf[0], network.layers(X[0]))
    least = None
    # A state that is held on a constraint has no determinant of its own.
    if size <= _MAX_STATE and network.settle(z, layer) is z:
        few = X[: max(1, min(_PLACES[0], _MAX_ENTRIES // (size**2 * len(places))))]
        least = _least_determinant(np.asarray(_jacobians(flow, few, places)))
    return Along(float(jnp.mean(drift)), float(jnp.mean(speed)), least)


def _state_size(flow: DepthFlow, x: Float[Array, "..."]) -> int:
    shapes = jax.tree.leaves(eqx.filter_eval_shape(flow.architecture.start, x))
    return sum(math.prod(leaf.shape) for leaf in shapes)


def measured_viscosity(
    flow: DepthFlow, x: Float[Array, "..."], samples: int, key: PRNGKeyArray
) -> tuple[np.ndarray, np.ndarray | None]:
    r"""$\mathrm{Cov}(\Phi_h)/2h$ of the first layer from samples, and in closed form."""
    network = flow.architecture
    z = network.start(x)
    layer = jax.tree.map(lambda leaf: leaf[0], network.layers(x))
    size = jax.flatten_util.ravel_pytree(z)[0].size
    if not isinstance(network, NoisyNetwork):
        return np.zeros((size, size)), None
    h = network.layer_time
    stepped = np.asarray(_noisy_steps(network, z, layer, jax.random.split(key, samples)), np.float64)
    covariance = np.atleast_2d(np.cov(stepped.T))
    return covariance / (2 * h), np.asarray(network.viscosity(jnp.zeros((), x.dtype), z, h, layer))


def roughness(flow: DepthFlow) -> float:
    r"""$L \max_k |\theta_{k+1} - \theta_k|$ over the entries of all weights that differ from layer to layer."""
    network = flow.architecture
    if network.layer_count is None:
        return 0.0
    leaves = jax.tree.leaves(eqx.filter(network.layers(None), eqx.is_inexact_array))
    steps = [float(jnp.max(jnp.abs(jnp.diff(leaf, axis=0)))) for leaf in leaves if leaf.shape[0] > 1 and leaf.size]
    return network.layer_count * max(steps, default=0.0)


@compiled_once
def network_outputs(network: Any, X: Float[Array, "M ..."]) -> Array:
    """The network at many inputs."""
    return jax.vmap(network)(X)


@compiled_once
def mean_head_entropies(network: Transformer, X: Float[Array, "M n d"]) -> Float[Array, "depth heads"]:
    """The entropy of each head as a Gibbs measure, in nats, mean over the tokens of many inputs."""
    return jnp.mean(jax.vmap(network.head_entropies)(X), axis=0)


@compiled_once
def _exact_forward(flow: DepthFlow, X: Float[Array, "M ..."]) -> tuple[Array, Array, Array]:
    ends = jax.vmap(flow.exact)(X)
    return jax.vmap(flow.g)(ends), _rows(ends), _rows(jax.vmap(flow.architecture.start)(X))


@compiled_once
def _network_forward(flow: DepthFlow, X: Float[Array, "M ..."], n: int) -> tuple[Array, Array]:
    ends = jax.vmap(lambda x: flow.native(x, n))(X)
    return jax.vmap(flow.g)(ends), _rows(ends)


def _rows(states: Any) -> Float[Array, "M d"]:
    return jax.vmap(lambda state: jax.flatten_util.ravel_pytree(state)[0])(states)


@compiled_once
def _exact_pass(flow: DepthFlow, X: Float[Array, "M ..."], rtol: float | None) -> tuple[Array, ...]:
    return _laid_out(jax.vmap(lambda x: continuous_costate(flow, x, rtol))(X))


@compiled_once
def _network_pass(flow: DepthFlow, X: Float[Array, "M ..."], n: Array, most: int) -> tuple[Array, ...]:
    return _laid_out(jax.vmap(lambda x: refined_costate(flow, x, n, most))(X))


@compiled_once
def _native_pass(flow: DepthFlow, X: Float[Array, "M ..."]) -> tuple[Array, ...]:
    return _laid_out(jax.vmap(lambda x: discrete_costate(flow, x))(X))


def _laid_out(paths: CostatePath) -> tuple[Array, ...]:
    """Values, input gradients, the mean's gradient in all weights in a row, final and first states in rows."""
    mean_gradient = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), paths.parameter_gradient)
    weights = jax.flatten_util.ravel_pytree(mean_gradient)[0]
    ends, starts = (_rows(jax.tree.map(lambda leaf, i=i: leaf[:, i], paths.states)) for i in (-1, 0))
    return paths.value, paths.input_gradient, weights, ends, starts


@compiled_once
def _call_pass(flow: DepthFlow, X: Float[Array, "M ..."]) -> tuple[Array, ...]:
    """Outputs of the network itself, its values, and their gradients by backpropagation."""
    weights, rest = eqx.partition(flow.architecture, eqx.is_inexact_array)

    def values(weights: Any, X: Float[Array, "M ..."]) -> tuple[Array, Array]:
        outputs = jax.vmap(eqx.combine(weights, rest))(X)
        return jnp.mean(jax.vmap(flow.readout)(outputs)), outputs

    (_, outputs), (to_weights, to_inputs) = jax.value_and_grad(values, (0, 1), has_aux=True)(weights, X)
    return outputs, to_inputs * X.shape[0], jax.flatten_util.ravel_pytree(to_weights)[0]


@compiled_once
def _finish(flow: DepthFlow, X: Float[Array, "M ..."], states: Float[Array, "M d"]) -> Array:
    def one(x: Float[Array, "..."], row: Float[Array, " d"]) -> Array:
        restore = jax.flatten_util.ravel_pytree(flow.architecture.start(x))[1]
        return flow.architecture.finish(restore(row))

    return jax.vmap(one)(X, states)


@compiled_once
def _along(flow: DepthFlow, X: Float[Array, "M ..."], places: Array) -> tuple[Array, Array]:
    """The norms of the drift correction and of the velocity at the left ends of some layers, shape `(M, K)` each."""
    network, h = flow.architecture, flow.architecture.layer_time

    def at_layer(s: Array, z: Any, layer: Any) -> tuple[Array, Array]:
        drift = drift_correction(network, s, z, jnp.asarray(h, s.dtype), layer)
        return _length(drift), _length(network.velocity(s, z, layer))

    return jax.vmap(lambda x: jax.lax.map(lambda held: at_layer(*held), _held_at(flow, x, places)))(X)


@compiled_once
def _noisy_steps(network: NoisyNetwork, z: Any, layer: Any, keys: Array) -> Float[Array, "K d"]:
    """First steps from one state, one a key."""
    zero = jnp.zeros((), jnp.result_type(*jax.tree.leaves(z)))

    def one(key: PRNGKeyArray) -> Float[Array, " d"]:
        return jax.flatten_util.ravel_pytree(network.noisy_step(zero, z, network.layer_time, layer, key))[0]

    return jax.vmap(one)(keys)


@compiled_once
def _jacobians(flow: DepthFlow, X: Float[Array, "M ..."], places: Array) -> Float[Array, "M K d d"]:
    r"""$D\Phi$ of some layers."""
    network, h = flow.architecture, flow.architecture.layer_time

    def at_layer(s: Array, z: Any, layer: Any) -> Float[Array, "d d"]:
        row, restore = jax.flatten_util.ravel_pytree(z)
        return jax.jacfwd(lambda row: jax.flatten_util.ravel_pytree(network.step(s, restore(row), h, layer))[0])(row)

    return jax.vmap(lambda x: jax.lax.map(lambda held: at_layer(*held), _held_at(flow, x, places)))(X)


def _held_at(flow: DepthFlow, x: Float[Array, "..."], places: Array) -> tuple[Array, Any, Any]:
    """Depth, state and what the layer holds, at the left ends of some layers."""
    states, layers = _states(flow, x), flow.architecture.layers(x)
    chosen = jax.tree.map(lambda leaf: leaf[places], (states, layers))
    return places.astype(x.dtype) * flow.architecture.layer_time, *chosen


def _least_determinant(matrices: np.ndarray) -> float:
    """The least determinant; 0 for one of whose sign rounding decides.

    By numpy, as LAPACK inside a compiled loop may wait for ever for the threads that the loop itself occupies.
    """
    matrices = matrices.reshape(-1, *matrices.shape[-2:])
    values = np.linalg.svd(matrices, compute_uv=False)
    singular = values[:, -1] <= matrices.shape[-1] * np.finfo(matrices.dtype).eps * values[:, 0]
    return float(np.min(np.where(singular, 0.0, np.linalg.det(matrices))))


def _states(flow: DepthFlow, x: Float[Array, "..."]) -> Any:
    """The states at the left ends of the layers."""
    network, h = flow.architecture, flow.architecture.layer_time

    def forward(z: Any, held: Any) -> tuple[Any, Any]:
        index, layer = held
        return network.step(index * h, z, h, layer), z

    held = (jnp.arange(flow.L(x), dtype=x.dtype), network.layers(x))
    return jax.lax.scan(forward, network.start(x), held)[1]


def _operations_of_a_step(flow: DepthFlow, x: Float[Array, "..."]) -> float:
    """XLA's count for one step forward and back; NaN where it gives none."""
    network, h = flow.architecture, flow.architecture.layer_time
    layer = jax.tree.map(lambda leaf: leaf[0], network.layers(x))

    def there_and_back(z: Any, p: Any, layer: Any) -> Any:
        stepped, pull_back = jax.vjp(lambda z, layer: network.step(jnp.zeros((), x.dtype), z, h, layer), z, layer)
        return stepped, pull_back(p)

    z = network.start(x)
    cost = jax.jit(there_and_back).lower(z, z, layer).compile().cost_analysis()
    cost = cost[0] if isinstance(cost, list) else cost
    return float((cost or {}).get("flops", math.nan))


def _norms(values: Float[Array, "M ..."]) -> Float[Array, " M"]:
    return jnp.linalg.norm(values.reshape(values.shape[0], -1), axis=1)


def _length(state: Any) -> Array:
    return jnp.linalg.norm(jax.flatten_util.ravel_pytree(state)[0])
