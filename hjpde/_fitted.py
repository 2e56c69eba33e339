"""What `hjpde.fit` returns: the fitted problem, its layer, and how the training went."""

from typing import Any, Literal, final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hjpde._atom_model import AtomModel
from hjpde._problem import InitialValueProblem
from hjpde._training_step import TrainingState
from hjpde._types import ArrayInput, Scalar, ScalarLike, as_float_array, positive_scalar, require_finite
from hjpde.hamiltonians import Quadratic
from hjpde.initial_data import Atoms, LogSumExp

Kind = Literal["samples", "regression", "classification"]


class Coordinates(eqx.Module):
    """The affine map between a user's units and those of the training, $x = \\bar x + L x'$, $u = \\bar u + s u'$.

    $A = LL^\\top$ is the Hamiltonian's matrix in the user's units; in those of the training it is the identity.
    """

    centre: Float[Array, " d"]
    root: Float[Array, "d d"]
    mean: Scalar
    scale: Scalar

    def points(self, X: Float[Array, "M d"]) -> Float[Array, "M d"]:
        """The points in units of the training."""
        return (X - self.centre[None]) @ jnp.linalg.inv(self.root).T

    @property
    def A(self) -> Float[Array, "d d"]:
        return self.root @ self.root.T


@final
class Fitted(eqx.Module):
    """A fitted initial-value problem, or two of them whose solutions' difference was fitted."""

    models: tuple[AtomModel, ...]
    coordinates: Coordinates
    state: TrainingState
    kind: Kind = eqx.field(static=True)
    _classes: tuple[Any, ...] = eqx.field(static=True)
    parameters: int = eqx.field(static=True)
    train_seconds: float = eqx.field(static=True)
    stopped_early: bool = eqx.field(static=True)
    interrupted: bool = eqx.field(static=True)

    def __init__(
        self,
        models: tuple[AtomModel, ...],
        coordinates: Coordinates,
        state: TrainingState,
        kind: Kind,
        classes: tuple[Any, ...],
        parameters: int,
        train_seconds: float,
        stopped_early: bool,
        interrupted: bool,
    ):
        """Made by `hjpde.fit`.

        - `models`: the trained atoms, in the units of the training.
        - `coordinates`: the map to the user's units.
        - `state`: to be given to `hjpde.fit` to go on.
        - `kind`: what was observed; `classes`: the labels of a classification.
        - `parameters`: how many numbers were trained; `train_seconds`: wall time, with compilation.
        - `stopped_early`: whether patience ran out; `interrupted`: whether the user stopped it.
        """
        self.models, self.coordinates, self.state = models, coordinates, state
        self.kind, self._classes, self.parameters = kind, classes, parameters
        self.train_seconds, self.stopped_early, self.interrupted = train_seconds, stopped_early, interrupted

    @property
    def history(self) -> list[dict[str, Any]]:
        """One dictionary a chunk of steps: `step`, `loss` and, with a validation set, `validation`.

        Losses are in units of the training: a mean squared error over the targets' variance, or nats.
        """
        return list(self.state.history)

    @property
    def classes(self) -> np.ndarray:
        """The labels of a classification, sorted, shape `(C,)`."""
        return np.asarray(self._classes)

    @property
    def viscosity(self) -> Scalar:
        r"""The temperature $\varepsilon$ of the first solution, in units of `u`."""
        return self._viscosity(self.models[0])

    @property
    def time(self) -> Scalar:
        """The time `t` at which the first solution is read; for samples, the one that the training started from."""
        return self._time(self.models[0])

    @property
    def times(self) -> tuple[Scalar, ...]:
        """The time of each solution: those of a difference have one each."""
        return tuple(self._time(model) for model in self.models)

    @property
    def problem(self) -> InitialValueProblem:
        """The fitted problem (the first of a difference): `hjpde.solve` takes it."""
        return self.problems[0]

    @property
    def problems(self) -> tuple[InitialValueProblem, ...]:
        """The fitted problem, or the two of a difference."""
        return tuple(self._problem(model, i == 0) for i, model in enumerate(self.models))

    @property
    def layer(self) -> LogSumExp:
        r"""The fitted layer (the first of a difference): $x^\top A^{-1}x/(4t)$ minus the solution without constant."""
        return self.layers[0]

    @property
    def layers(self) -> tuple[LogSumExp, ...]:
        """The fitted layer, or the two of a difference."""
        return tuple(
            LogSumExp.from_atoms(self._atoms(problem), time, self._viscosity(model), self.coordinates.A)
            for problem, time, model in zip(self.problems, self.times, self.models, strict=True)
        )

    @property
    def atom_classes(self) -> Int[np.ndarray, " N"]:
        """The index into `classes` of each atom of `problem`, and so of each neuron of `layer`."""
        mask = np.asarray(self.models[0].mask)
        return np.nonzero(mask)[0]

    def predict(self, X: ArrayInput, t: ScalarLike | None = None) -> Any:
        """The fitted value at each row of `X`, or the most probable label.

        **Arguments:**

        - `X`: points, shape `(M, d)`.
        - `t`: the time, for a fit of `Samples` alone.

        **Returns:** an array of shape `(M,)`; of labels it is a numpy array.

        **Raises:** `ValueError` if the shape is another one, a number is NaN or infinite, or `t` is missing or not
        wanted.
        """
        if self.kind == "classification":
            if t is not None:
                raise ValueError("`t` must be None: a classification is read at the time that was trained.")
            return self.classes[np.asarray(jnp.argmax(self.predict_proba(X), axis=1))]
        if (t is None) == (self.kind == "samples"):
            raise ValueError(f"`t` must be {'given: the samples had times' if t is None else 'None: it is a gauge'}.")
        points, rows = self._points(X)
        total = _values(self.models, points, None if t is None else self._unit_time(t))
        return (self.coordinates.mean + self.coordinates.scale * total)[:rows]

    def predict_proba(self, X: ArrayInput) -> Float[Array, "M C"]:
        """The probability of each class at each row of `X`: the Gibbs mass of its atoms.

        **Raises:** `ValueError` if this is no classification, or as in `predict`.
        """
        if self.kind != "classification":
            raise ValueError(f"`predict_proba` needs a classification, this is a fit of kind {self.kind}.")
        points, rows = self._points(X)
        return _probabilities(self.models[0], points)[:rows]

    def _points(self, X: ArrayInput) -> tuple[Float[Array, "P d"], int]:
        """The points in units of the training, padded to a power of two, and how many there are.

        Padding shares compiled functions, and makes a row's value independent of how many others come with it.
        """
        points, d = as_float_array(X, "X"), self.coordinates.centre.shape[0]
        if points.ndim != 2 or points.shape[1] != d:
            raise ValueError(f"`X` must have shape (M, {d}), got {points.shape}.")
        require_finite(points, "X")
        rows = points.shape[0]
        size = max(256, 1 << max(rows - 1, 0).bit_length())
        points = self.coordinates.points(points.astype(self.coordinates.centre.dtype))
        return jnp.pad(points, ((0, size - rows), (0, 0))), rows

    def _unit_time(self, t: ScalarLike) -> Scalar:
        return positive_scalar(t, "t", self.coordinates.centre.dtype) * self.coordinates.scale

    def _viscosity(self, model: AtomModel) -> Scalar:
        return self.coordinates.scale * jnp.exp(model.log_viscosity)

    def _time(self, model: AtomModel) -> Scalar:
        return jnp.exp(model.log_time) / self.coordinates.scale

    def _problem(self, model: AtomModel, first: bool) -> InitialValueProblem:
        units, mask = self.coordinates, np.asarray(model.mask)
        viscosity, A = self._viscosity(model), units.A
        positions = units.centre[None] + model.positions[mask] @ units.root.T
        heights = units.scale * model.heights[mask] + (units.mean if first else 0)
        # The training's heights are those of the solution without its constant, or in the training's units.
        constant = jnp.linalg.slogdet(units.root)[1] * viscosity
        if self.kind != "samples":
            d = positions.shape[1]
            constant = constant + viscosity * d / 2 * jnp.log(4 * jnp.pi * viscosity * self._time(model))
        return InitialValueProblem(Atoms(positions, heights - constant), Quadratic(A), viscosity * A)

    def _atoms(self, problem: InitialValueProblem) -> Atoms:
        assert isinstance(problem.initial_data, Atoms)
        return problem.initial_data


@eqx.filter_jit
def _values(models: tuple[AtomModel, ...], points: Float[Array, "M d"], t: Scalar | None) -> Float[Array, " M"]:
    """The solution, or the difference of two, in units of the training; with its constant where a time is given."""

    def value(model: AtomModel) -> Float[Array, " M"]:
        if t is None:
            return model.streamed_values(points)
        viscosity, d = jnp.exp(model.log_viscosity), points.shape[1]
        at_t = eqx.tree_at(lambda m: m.log_time, model, jnp.log(t))
        return at_t.streamed_values(points) + viscosity * d / 2 * jnp.log(4 * jnp.pi * viscosity * t)

    first, *second = [value(model) for model in models]
    return first - second[0] if second else first


@eqx.filter_jit
def _probabilities(model: AtomModel, points: Float[Array, "M d"]) -> Float[Array, "M C"]:
    return model.streamed_probabilities(points)
