"""A fitted solution operator against a network: values and input gradients on the same data."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float

from hjpde._atom_model import AtomModel
from hjpde._comparison import OperatorGap
from hjpde._compilation import compiled_once
from hjpde._fitted import Coordinates, Fitted

_BATCH = 256


def operator_gap(network: Any, X: Float[Array, "M ..."], fitted: Fitted) -> OperatorGap:
    """Compares a network with the fitted solution operator at each input.

    **Arguments:**

    - `network`: a function of one input: logits in the order of `fitted.classes`, or a single number.
    - `X`: inputs of the network; the fitted operator takes each laid out in a row.
    - `fitted`: a `Fitted` classification or regression.

    **Raises:** `ValueError` if the kinds, the numbers of classes or the dimensions do not match.
    """
    shape = eqx.filter_eval_shape(network, X[0]).shape
    size, d = int(np.prod(shape)), fitted.coordinates.centre.shape[0]
    if X[0].size != d:
        raise ValueError(f"`fitted` takes points of {d} numbers, an input of the network has {X[0].size}.")
    if fitted.kind == "samples":
        raise ValueError("`fitted` must be a fit of a `Regression` or a `Classification`: samples have times.")
    classes = fitted.classes.size if fitted.kind == "classification" else 1
    if size != classes:
        raise ValueError(f"`fitted` has {classes} outputs ({fitted.kind}), the network has {size}.")
    if fitted.kind == "classification":
        return classifier_gap(network, fitted.models[0], X, fitted.coordinates)
    return _gap(eqx.Partial(_output, network), eqx.Partial(_value, fitted.models, fitted.coordinates), X, False)


def classifier_gap(
    network: Any, atoms: AtomModel, X: Float[Array, "M ..."], coordinates: Coordinates | None = None
) -> OperatorGap:
    """The gap between the class probabilities of a network and those of fitted atoms.

    **Arguments:**

    - `network`: takes one input as it stands in `X`, and returns logits.
    - `atoms`: take it laid out in a row.
    - `X`: the inputs.
    - `coordinates`: those of the atoms, if they are not those of `X`.
    """
    return _gap(eqx.Partial(_softmax, network), eqx.Partial(_probabilities, atoms, coordinates), X, True)


def _gap(network: Callable, operator: Callable, X: Float[Array, "M ..."], classification: bool) -> OperatorGap:
    values, derivatives = map(np.asarray, _with_derivatives(network, X))
    fitted_values, fitted_derivatives = map(np.asarray, _with_derivatives(operator, X.reshape(X.shape[0], -1)))
    gap = np.abs(fitted_values - values).sum(axis=1)
    difference = fitted_derivatives - derivatives.reshape(fitted_derivatives.shape)
    norms = np.linalg.norm(difference.reshape(len(difference), -1), axis=1)
    scale = np.linalg.norm(derivatives.reshape(len(difference), -1), axis=1).mean()
    gradient_gap = norms / scale if scale > 0 else norms
    if not classification:
        return OperatorGap(gap, gradient_gap, None)
    return OperatorGap(gap / 2, gradient_gap, values.argmax(axis=1) == fitted_values.argmax(axis=1))


# The functions are arguments, so that networks of one kind, such as those of several seeds, share a program.
@compiled_once
def _with_derivatives(function: Callable, X: Float[Array, "M ..."]) -> tuple[Array, Array]:
    """Values `(M, C)` and derivatives `(M, C, ...)`, a batch at a time."""
    return jax.lax.map(lambda x: (function(x), jax.jacrev(function)(x)), X, batch_size=_BATCH)


def _output(network: Any, x: Float[Array, "..."]) -> Float[Array, " 1"]:
    return network(x).reshape(1)


def _softmax(network: Any, x: Float[Array, "..."]) -> Float[Array, " C"]:
    return jax.nn.softmax(network(x).ravel())


def _probabilities(atoms: AtomModel, coordinates: Coordinates | None, x: Float[Array, " d"]) -> Float[Array, " C"]:
    return atoms.streamed_probabilities(_unit(coordinates, x))[0]


def _value(models: tuple[AtomModel, ...], coordinates: Coordinates, x: Float[Array, " d"]) -> Float[Array, " 1"]:
    first, *second = [model.streamed_values(_unit(coordinates, x)) for model in models]
    return coordinates.mean + coordinates.scale * (first - second[0] if second else first)


def _unit(coordinates: Coordinates | None, x: Float[Array, " d"]) -> Float[Array, "1 d"]:
    """The point in the units of the training."""
    return x[None] if coordinates is None else coordinates.points(x[None].astype(coordinates.centre.dtype))
