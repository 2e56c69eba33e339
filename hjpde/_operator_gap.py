"""A fitted solution operator against a network: values and input gradients on the same data."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float

from hjpde._comparison import OperatorGap
from hjpde._compilation import quick_jit
from hjpde._fitted import Fitted

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
        return classifier_gap(lambda x: jax.nn.softmax(network(x).ravel()), _probabilities(fitted), X)
    return _gap(lambda x: network(x).reshape(1), _value(fitted), X, classification=False)


def classifier_gap(network: Callable, operator: Callable, X: Float[Array, "M ..."]) -> OperatorGap:
    """The gap between two functions that return the probabilities of the same classes.

    **Arguments:**

    - `network`: takes one input as it stands in `X`.
    - `operator`: takes it laid out in a row.
    - `X`: the inputs.
    """
    return _gap(network, operator, X, classification=True)


def _gap(network: Callable, operator: Callable, X: Float[Array, "M ..."], classification: bool) -> OperatorGap:
    values, derivatives = _with_derivatives(network, X)
    fitted_values, fitted_derivatives = _with_derivatives(operator, X.reshape(X.shape[0], -1))
    gap = np.abs(fitted_values - values).sum(axis=1)
    difference = fitted_derivatives - derivatives.reshape(fitted_derivatives.shape)
    norms = np.linalg.norm(difference.reshape(len(difference), -1), axis=1)
    scale = np.linalg.norm(derivatives.reshape(len(difference), -1), axis=1).mean()
    gradient_gap = norms / scale if scale > 0 else norms
    if not classification:
        return OperatorGap(gap, gradient_gap, None)
    return OperatorGap(gap / 2, gradient_gap, values.argmax(axis=1) == fitted_values.argmax(axis=1))


def _with_derivatives(function: Callable, X: Float[Array, "M ..."]) -> tuple[np.ndarray, np.ndarray]:
    """Values `(M, C)` and derivatives `(M, C, ...)`, a batch at a time."""

    def over(X: Float[Array, "M ..."]) -> tuple[Array, Array]:
        return jax.lax.map(lambda x: (function(x), jax.jacrev(function)(x)), X, batch_size=_BATCH)

    values, derivatives = quick_jit(over, 1)(X)
    return np.asarray(values), np.asarray(derivatives)


def _probabilities(fitted: Fitted) -> Callable:
    model, units = fitted.models[0], fitted.coordinates
    return lambda x: model.streamed_probabilities(units.points(x[None].astype(units.centre.dtype)))[0]


def _value(fitted: Fitted) -> Callable:
    units = fitted.coordinates

    def value(x: Float[Array, " d"]) -> Float[Array, " 1"]:
        first, *second = [
            model.streamed_values(units.points(x[None].astype(units.centre.dtype))) for model in fitted.models
        ]
        return units.mean + units.scale * (first - second[0] if second else first)

    return value
