"""Scikit-learn estimators: `HJRegressor` and `HJClassifier`."""

from typing import Any, Literal, final

import jax
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from hjpde._fit_atoms import fit_atoms
from hjpde._fitted import Fitted
from hjpde._observations import Classification, Regression

Metric = Literal["features", "common"]


class _HJEstimator(BaseEstimator):
    """What both share: the settings of `hjpde.fit`, and the conversion of the data."""

    n_atoms: int
    viscosity: float | None
    metric: Metric
    optimiser: Literal["adam", "lbfgs"]
    steps: int | None
    batch_size: int | None
    learning_rate: float | None
    train_viscosity: bool
    validation_fraction: float
    random_state: Any
    verbose: bool
    fitted_: Fitted
    n_iter_: int

    def _settings(self) -> dict[str, Any]:
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        names = ("n_atoms", "viscosity", "metric", "optimiser", "steps", "batch_size", "learning_rate")
        settings = {name: getattr(self, name) for name in (*names, "train_viscosity", "validation_fraction")}
        return {**settings, "key": jax.random.key(seed), "progress": bool(self.verbose)}

    def _points(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return np.asarray(validate_data(self, X, dtype=[np.float64, np.float32], reset=False))


@final
class HJRegressor(RegressorMixin, _HJEstimator):
    r"""Regression by the solution of a viscous Hamilton-Jacobi equation whose initial data are fitted.

    $u(x) = -\varepsilon \log \sum_j \exp(-(g_j + (x - y_j)^\top A^{-1}(x - y_j)/4t)/\varepsilon)$ with trained
    $y_j$, $g_j$ and `t`: a soft minimum of paraboloids, or (`difference=True`) the difference of two.

    After `fit`: `fitted_`, the `hjpde.Fitted` with the problem and the layer; `n_features_in_`; `n_iter_`, the steps.
    """

    def __init__(
        self,
        n_atoms: Any = 32,
        *,
        viscosity: Any = None,
        metric: Any = "features",
        difference: Any = False,
        optimiser: Any = "adam",
        steps: Any = None,
        batch_size: Any = None,
        learning_rate: Any = None,
        train_viscosity: Any = False,
        validation_fraction: Any = 0.1,
        random_state: Any = 0,
        verbose: Any = False,
    ):
        """The arguments are those of `hjpde.fit`, which checks them; `random_state` is a seed or a numpy state."""
        self.n_atoms, self.viscosity, self.metric, self.difference = n_atoms, viscosity, metric, difference
        self.optimiser, self.steps, self.batch_size, self.learning_rate = optimiser, steps, batch_size, learning_rate
        self.train_viscosity, self.validation_fraction = train_viscosity, validation_fraction
        self.random_state, self.verbose = random_state, verbose

    def fit(self, X: Any, y: Any) -> "HJRegressor":
        """Fits to points `X`, shape `(n, d)`, and targets `y`, shape `(n,)`.

        **Raises:** `ValueError` for NaN or infinity, wrong shapes, or fewer than two points.
        """
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32], y_numeric=True, ensure_min_samples=2)
        self.fitted_ = fit_atoms(Regression(X, y), difference=self.difference, **self._settings())
        self.n_iter_ = int(np.asarray(self.fitted_.state.step))
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The values at `X`, shape `(M,)`."""
        points = self._points(X)
        return np.asarray(self.fitted_.predict(points))


@final
class HJClassifier(ClassifierMixin, _HJEstimator):
    r"""Classification by a Gibbs measure over point masses, some for each class.

    $P(c \mid x) \propto \sum_{j \in c} \exp(-(g_j + (x - y_j)^\top A^{-1}(x - y_j)/4t)/\varepsilon)$.

    After `fit`: `classes_`; `fitted_`, the `hjpde.Fitted` with the problem and the layer; `n_features_in_`;
    `n_iter_`, the steps.
    """

    def __init__(
        self,
        n_atoms: Any = 10,
        *,
        viscosity: Any = None,
        metric: Any = "features",
        optimiser: Any = "adam",
        steps: Any = None,
        batch_size: Any = None,
        learning_rate: Any = None,
        label_smoothing: Any = 0.05,
        train_viscosity: Any = False,
        validation_fraction: Any = 0.1,
        random_state: Any = 0,
        verbose: Any = False,
    ):
        """As for `HJRegressor`; `n_atoms` counts the atoms of each class."""
        self.n_atoms, self.viscosity, self.metric = n_atoms, viscosity, metric
        self.optimiser, self.steps, self.batch_size, self.learning_rate = optimiser, steps, batch_size, learning_rate
        self.train_viscosity, self.validation_fraction = train_viscosity, validation_fraction
        self.label_smoothing = label_smoothing
        self.random_state, self.verbose = random_state, verbose

    def fit(self, X: Any, y: Any) -> "HJClassifier":
        """Fits to points `X`, shape `(n, d)`, and labels `y`, shape `(n,)`.

        **Raises:** `ValueError` for NaN or infinity, wrong shapes, or fewer than two classes.
        """
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32])
        check_classification_targets(y)
        self.classes_, indices = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError("`y` must hold at least two classes, got one class only.")
        self.fitted_ = fit_atoms(Classification(X, indices), label_smoothing=self.label_smoothing, **self._settings())
        self.n_iter_ = int(np.asarray(self.fitted_.state.step))
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class, in the order of `classes_`, shape `(M, C)`."""
        points = self._points(X)
        return np.asarray(self.fitted_.predict_proba(points))

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class, shape `(M,)`."""
        probabilities = self.predict_proba(X)
        return self.classes_[np.argmax(probabilities, axis=1)]
