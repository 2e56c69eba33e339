"""The right half of the main job's table: each trained network beside its flow, and beside the fitted operator."""

import dataclasses
from typing import Any, final

import jax.numpy as jnp
import numpy as np

from hjpde._atom_model import AtomModel
from hjpde._demo_models import SIDE, Split, Trained, seed_of
from hjpde._network_measures import (
    forward_errors,
    log_probability_of_the_decision,
    mean_head_entropies,
    observed_order,
    residuals,
    roughness,
)
from hjpde._operator_gap import classifier_gap
from hjpde.architectures import Transformer, as_hamiltonian

_INPUTS = 64
_REFINEMENTS = (4, 8, 16)
_ROUNDING = 1e-4


@final
@dataclasses.dataclass(frozen=True)
class NetworkMeasures:
    """One number a seed, shape `(seeds,)` each: see `hjpde.ComparisonReport` and `OperatorGap` for their meaning.

    `head_entropies` are those of a transformer, in nats, shape `(depth, heads)`, means over seeds and inputs.
    """

    native_gap: np.ndarray
    relative_gap: np.ndarray
    order: np.ndarray
    costate_residual: np.ndarray
    roughness: np.ndarray
    operator_gap: np.ndarray
    operator_gap_95: np.ndarray
    operator_gradient_gap: np.ndarray
    operator_gradient_gap_95: np.ndarray
    equal_decisions: np.ndarray
    head_entropies: np.ndarray | None

    def means(self) -> dict[str, Any]:
        """Means over the seeds, as `hjpde demo --json` prints them; entropies as they are."""
        found = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name == "head_entropies":
                found[field.name] = None if value is None else value.tolist()
            else:
                found[field.name] = float(np.mean(value))
        return found


def measure_network(one: Trained, atoms: AtomModel, split: Split) -> NetworkMeasures:
    """Compares a trained network of each seed with its flow and with the atoms of that seed, on the test images.

    The flow's distance is measured on the first 64 images, in the log-probability of the class decided for; the gap to
    the fitted operator on all of them.
    """
    shape = (SIDE, SIDE) if one.contestant.rows else (SIDE * SIDE,)
    rows: list[dict[str, float]] = []
    entropies = []
    for seed in range(len(split.seeds)):
        network, fitted = seed_of(one.models, seed), seed_of(atoms, seed)
        X = jnp.asarray(split.X_test[seed]).reshape(-1, *shape)
        flow = as_hamiltonian(network, log_probability_of_the_decision)
        errors, relative_gap = forward_errors(flow, X[:_INPUTS], (1, *_REFINEMENTS))
        gaps = classifier_gap(network, fitted, X)
        rows.append(
            {
                "native_gap": float(errors[0]),
                "relative_gap": relative_gap,
                "order": observed_order(_REFINEMENTS, errors[1:], _ROUNDING),
                "costate_residual": residuals(flow, X[:_INPUTS])[1],
                "roughness": roughness(flow),
                **gaps.summary(),
            }
        )
        if isinstance(network, Transformer):
            entropies.append(np.asarray(mean_head_entropies(network, X)))
    columns = {name: np.asarray([row[name] for row in rows]) for name in rows[0]}
    return NetworkMeasures(**columns, head_entropies=np.mean(entropies, axis=0) if entropies else None)
