"""The third verb: compare a network with the Hamilton-Jacobi problem that it discretises."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from hjpde._compare_layer import compare_layer
from hjpde._comparison import ComparisonReport
from hjpde._fitted import Fitted
from hjpde._network_measures import (
    along_the_network,
    errors_of_refinement,
    measured_viscosity,
    observed_order,
    residuals,
    roughness,
)
from hjpde._operator_gap import operator_gap
from hjpde._types import ArrayInput, as_float_array, require_finite
from hjpde.architectures import AbstractArchitecture, DepthFlow, as_hamiltonian, parameter_count
from hjpde.initial_data import LogSumExp

_SAMPLES = 4096


def compare(
    architecture: Any,
    x: ArrayInput,
    *,
    readout: Callable | None = None,
    fitted: Fitted | None = None,
    n_refine: Sequence[int] = (1, 2, 4, 8, 16),
    key: PRNGKeyArray | None = None,
    rtol: float | None = None,
) -> ComparisonReport:
    r"""Measures how far a network is a discretisation of the Hamilton-Jacobi problem that it stands for.

    The network is refined, `n` steps of its own in place of each layer's one, and its value and its derivatives in the
    inputs and in the weights are compared with those of the flow $\dot z = F(s, z)$ and of the co-state
    $\dot p = -DF^\top p$. An order tells that the refined networks converge; the gap at $n = 1$ tells whether the
    network itself is near. A `hjpde.LogSumExp` is compared with the viscous equation that it solves, at the times
    $t = 1/n$.

    **Arguments:**

    - `architecture`: what `hjpde.as_hamiltonian` takes, or a `hjpde.LogSumExp`.
    - `x`: one input of the network, or several along a leading axis; the report holds means over them.
    - `readout`: the scalar that is read from the output, see `hjpde.as_hamiltonian`; with respect to it the
      derivatives are taken.
    - `fitted`: of `hjpde.fit` on the same data, to be compared with the network as well: its value or its class
      probabilities, and their derivatives in the input. A network with several outputs is taken for a classifier with
      those logits.
    - `n_refine`: increasing numbers of steps a layer, the first of them 1.
    - `key`: for the samples of a network with noise; by default `jax.random.key(0)`.
    - `rtol`: the relative tolerance of the flow, see `hjpde.architectures.DepthFlow.exact`.

    **Returns:** a `ComparisonReport`: see its docstring, `verdict`, `table()` and `plot()`.

    **Raises:** `TypeError` for a module that is not registered; `ValueError` if `x` has another shape, is not finite or
    empty, a weight is not finite, `n_refine` is not increasing from 1, or `fitted` does not match the network.
    """
    refinements = _refinements(n_refine)
    inputs = as_float_array(x, "x")
    require_finite(inputs, "x")
    if isinstance(architecture, LogSumExp):
        report = compare_layer(architecture, _batched(inputs, 1, "LogSumExp"), refinements)
        return report if fitted is None else _with_operator(report, architecture, inputs, fitted)
    flow = as_hamiltonian(architecture, readout)
    network = flow.architecture
    name = type(architecture if not isinstance(architecture, DepthFlow) else network).__name__
    X = _batched(inputs, network.input_ndim, name)
    _require_finite_weights(network)
    _require_taken(network, X[0], name)
    errors = errors_of_refinement(flow, X, refinements, rtol)
    along = along_the_network(flow, X)
    network_residual, costate_residual = residuals(flow, X)
    measured, predicted = measured_viscosity(flow, X[0], _SAMPLES, jax.random.key(0) if key is None else key)
    report = ComparisonReport(
        architecture=name,
        scheme=network.scheme,
        expected_order=network.expected_order,
        depth=flow.L(X[0]),
        state_size=errors.state_size,
        parameters=parameter_count(network),
        inputs=X.shape[0],
        n=refinements,
        forward_error=errors.forward,
        gradient_error=errors.gradient,
        parameter_error=errors.parameter,
        flops=errors.flops,
        forward_order=observed_order(refinements, errors.forward, errors.rounding),
        gradient_order=observed_order(refinements, errors.gradient, errors.gradient_rounding),
        parameter_order=observed_order(refinements, errors.parameter, errors.parameter_rounding),
        network_residual=network_residual,
        costate_residual=costate_residual,
        native_gap=float(errors.forward[0]),
        relative_gap=errors.relative_gap,
        effective_viscosity=measured,
        predicted_viscosity=predicted,
        drift_correction=along.drift,
        mean_speed=along.speed,
        roughness=roughness(flow),
        min_determinant=along.min_determinant,
        rounding=errors.rounding,
        layer_time=network.layer_time,
    )
    return report if fitted is None else _with_operator(report, architecture, X, fitted)


def _with_operator(report: ComparisonReport, network: Any, X: Array, fitted: Fitted) -> ComparisonReport:
    call = network.architecture if isinstance(network, DepthFlow) else network
    return dataclasses.replace(report, operator=operator_gap(call, X, fitted))


def _refinements(n_refine: Sequence[int]) -> tuple[int, ...]:
    counts = tuple(n_refine)
    whole = all(isinstance(n, int | np.integer) and not isinstance(n, bool) for n in counts)
    if not counts or not whole or counts[0] != 1 or any(a >= b for a, b in itertools.pairwise(counts)):
        raise ValueError(f"`n_refine` must be increasing whole numbers that start with 1, got {counts}.")
    return tuple(int(n) for n in counts)


def _batched(x: Float[Array, "..."], ndim: int, name: str) -> Float[Array, "M ..."]:
    if x.ndim not in (ndim, ndim + 1):
        raise ValueError(
            f"`x` must have {ndim} axes for one input of {name}, or {ndim + 1} for several, got shape {x.shape}."
        )
    if x.size == 0:
        raise ValueError(f"`x` must not be empty, got shape {x.shape}.")
    return x if x.ndim == ndim + 1 else x[None]


def _require_taken(network: AbstractArchitecture, x: Float[Array, "..."], name: str) -> None:
    def one_step(x: Float[Array, "..."]) -> Any:
        layer = jax.tree.map(lambda leaf: leaf[0], network.layers(x))
        return network.finish(network.step(0.0, network.start(x), network.layer_time, layer))

    try:
        eqx.filter_eval_shape(one_step, x)
    except (TypeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(f"`x`: {name} does not take an input of shape {x.shape}: {reason}") from error


def _require_finite_weights(network: Any) -> None:
    for path, leaf in jax.tree_util.tree_leaves_with_path(eqx.filter(network, eqx.is_inexact_array)):
        if not np.all(np.isfinite(np.asarray(leaf))):
            where = jax.tree_util.keystr(path)
            raise ValueError(f"`architecture`: the weights {where} hold NaN or infinite entries.")
