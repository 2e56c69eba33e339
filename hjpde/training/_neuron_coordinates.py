"""A multilayer perceptron seen by one sample, in weights and biases or in weights and neurons."""

import functools
from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hjpde._types import ArrayInput, Scalar, as_float_array, require_finite

READOUTS = ("linear", "activated")


def squared_error(output: ArrayInput, target: ArrayInput) -> Scalar:
    r"""$\ell(Z, Y) = \sum_i (Y_i - Z_i)^2$, the sources' loss of one sample."""
    return jnp.sum((jnp.asarray(target) - jnp.asarray(output)) ** 2)


@final
class BiasCoordinates(eqx.Module):
    r"""Weights and biases of `M` layers; also their velocities, accelerations or gradients.

    - `weights`: $W^{(m)}$, `m = 0 .. M-1`, shapes `(n_{m+1}, n_m)`.
    - `biases`: $b^{(m)}$, shapes `(n_{m+1},)`.
    """

    weights: tuple[Float[Array, "..."], ...]
    biases: tuple[Float[Array, "..."], ...]


@final
class NeuronCoordinates(eqx.Module):
    r"""Weights and neurons of `M` layers; also their velocities, accelerations or momenta.

    - `weights`: $W^{(m)}$, `m = 0 .. M-1`, shapes `(n_{m+1}, n_m)`.
    - `neurons`: $z^{(m)}$, `m = 1 .. M`, before the activation, shapes `(n_m,)`.
    """

    weights: tuple[Float[Array, "..."], ...]
    neurons: tuple[Float[Array, "..."], ...]


@final
class Perceptron(eqx.Module):
    r"""How a multilayer perceptron is built and judged: $z^{(m+1)} = W^{(m)}h^{(m)} + b^{(m)}$ with $h^{(0)} = X$ and
    $h^{(m)} = \sigma(z^{(m)})$, and a loss $\ell(Z, Y)$ of its output. Depth and widths are those of its coordinates.
    """

    activation: Callable[[Any], Any] = eqx.field(static=True)
    loss: Callable[[Any, Any], Any] = eqx.field(static=True)
    readout: str = eqx.field(static=True)

    def __init__(
        self,
        activation: Callable[[Any], Any] = jnp.tanh,
        loss: Callable[[Any, Any], Any] = squared_error,
        readout: str = "linear",
    ):
        r"""**Arguments:**

        - `activation`: $\sigma$, entry by entry.
        - `loss`: $\ell(Z, Y)$ of one sample, a scalar.
        - `readout`: the output is $Z = z^{(M)}$ if `"linear"`, and $Z = \sigma(z^{(M)})$ if `"activated"`.

        **Raises:** `ValueError` if `readout` is neither.
        """
        if readout not in READOUTS:
            raise ValueError(f"`readout` must be one of {READOUTS}, got {readout!r}.")
        self.activation, self.loss, self.readout = activation, loss, readout

    @staticmethod
    def from_mlp(
        mlp: eqx.nn.MLP, loss: Callable[[Any, Any], Any] = squared_error
    ) -> tuple["Perceptron", BiasCoordinates]:
        """A perceptron of Equinox, and where its parameters stand.

        **Raises:** `ValueError` if it has no biases, or its last layer another activation than the rest or none.
        """
        if any(layer.bias is None for layer in mlp.layers):
            raise ValueError("`mlp` must have a bias in every layer: neurons take their place.")
        z = jnp.linspace(-2, 2, 9)
        last = mlp.final_activation(z)
        linear = bool(jnp.all(last == z))
        if not linear and not bool(jnp.all(last == mlp.activation(z))):
            raise ValueError("`mlp` must end without an activation or with that of its other layers, got another one.")
        weights, biases = (tuple(getattr(layer, name) for layer in mlp.layers) for name in ("weight", "bias"))
        return Perceptron(mlp.activation, loss, READOUTS[not linear]), BiasCoordinates(weights, biases)

    def output(self, last: Float[Array, " n"]) -> Float[Array, " n"]:
        """`Z` from the last neurons."""
        return last if self.readout == "linear" else self.activation(last)

    def cost(self, state: BiasCoordinates, x: ArrayInput, y: ArrayInput) -> Scalar:
        r"""$\ell(Z(W, b, X), Y)$, the potential of training on one sample."""
        return self.loss(self.output(to_neuron_coordinates(self, state, x).neurons[-1]), y)


def to_neuron_coordinates(perceptron: Perceptron, state: BiasCoordinates, x: ArrayInput) -> NeuronCoordinates:
    r"""$(W, b) \to (W, z)$ for one sample: a forward pass. Its Jacobian has determinant 1.

    Velocities follow by `jax.jvp`; see `neuron_motion`.

    **Arguments:**

    - `perceptron`: how the layers are joined.
    - `state`: weights and biases.
    - `x`: the sample `X`, shape `(n_0,)`.

    **Raises:** `ValueError` if shapes disagree, or `x` is not one sample: for several there are several neurons to one
    bias, and the map is not one-to-one.
    """
    h = one_sample(x, state.weights, "x")
    _require_layers(state.weights, state.biases, "biases")
    neurons = []
    for W, b in zip(state.weights, state.biases, strict=True):
        neurons.append(W @ h + b)
        h = perceptron.activation(neurons[-1])
    return NeuronCoordinates(state.weights, tuple(neurons))


def to_bias_coordinates(perceptron: Perceptron, state: NeuronCoordinates, x: ArrayInput) -> BiasCoordinates:
    r"""$(W, z) \to (W, b)$: $b^{(m)} = z^{(m+1)} - W^{(m)}h^{(m)}$, all layers at once.

    **Arguments:** and **Raises:** as for `to_neuron_coordinates`.
    """
    h = one_sample(x, state.weights, "x")
    _require_layers(state.weights, state.neurons, "neurons")
    inputs = (h, *(perceptron.activation(z) for z in state.neurons[:-1]))
    biases = (z - W @ h for W, z, h in zip(state.weights, state.neurons, inputs, strict=True))
    return BiasCoordinates(state.weights, tuple(biases))


def neuron_motion(
    perceptron: Perceptron,
    state: BiasCoordinates,
    velocity: BiasCoordinates,
    acceleration: BiasCoordinates,
    x: ArrayInput,
) -> tuple[NeuronCoordinates, NeuronCoordinates, NeuronCoordinates]:
    """State, velocity and acceleration in weights and neurons, from those in weights and biases, while a sample stays.

    **Raises:** `ValueError` as `to_neuron_coordinates`, or if the activation has kinks, as its slope is differentiated.
    """
    require_smooth(perceptron.activation)

    def lifted(state):
        return to_neuron_coordinates(perceptron, state, x)

    def rate(state, velocity):
        return jax.jvp(lifted, (state,), (velocity,))

    (position, first), (_, second) = jax.jvp(rate, (state, velocity), (velocity, acceleration))
    return position, first, second


def one_sample(x: ArrayInput, weights: tuple[Array, ...], name: str) -> Float[Array, " n0"]:
    """`x` as the input of the first layer, or a `ValueError`."""
    array = as_float_array(x, name)
    if array.ndim != 1:
        raise ValueError(
            f"`{name}` must be one sample, of shape ({weights[0].shape[1]},): only then is there one neuron to each "
            f"bias. Got shape {array.shape}; take the samples one after the other."
        )
    if array.shape[0] != weights[0].shape[1]:
        raise ValueError(f"`{name}` must have shape ({weights[0].shape[1]},) as the first weights, got {array.shape}.")
    require_finite(array, name)
    return array.astype(weights[0].dtype)


def require_smooth(activation: Callable[[Any], Any]) -> None:
    """Raises a `ValueError` if the slope of an activation jumps, as that of ReLU does."""
    if _has_kinks(activation):
        raise ValueError(
            "`activation` must have a second derivative, which enters here; its slope jumps. Take a smooth one, such "
            "as tanh, softplus or gelu."
        )


@functools.cache
def _has_kinks(activation: Callable[[Any], Any]) -> bool:
    """Whether the slope changes by more than its derivative accounts for between neighbours on a fine grid."""
    with jax.ensure_compile_time_eval():
        z = jnp.linspace(-8, 8, 4002)
        slope, bend = (np.asarray(jax.vmap(f)(z)) for f in (jax.grad(activation), jax.grad(jax.grad(activation))))
    unexplained = np.diff(slope) - np.diff(np.asarray(z)) * (bend[1:] + bend[:-1]) / 2
    return bool(np.abs(unexplained).max() > 0.01 * np.abs(slope).max())


def _require_layers(weights: tuple[Array, ...], others: tuple[Array, ...], name: str) -> None:
    shapes, wanted = [array.shape for array in others], [W.shape[:1] for W in weights]
    widths = [W.shape[1:] for W in weights[1:]]
    if not weights or shapes != wanted or widths != wanted[:-1]:
        raise ValueError(
            f"`weights` must fit one another and `{name}` have shapes {wanted}, got weights "
            f"{[W.shape for W in weights]} and {name} {shapes}."
        )
