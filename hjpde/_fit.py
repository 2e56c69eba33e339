"""The second verb: fit initial data to observations."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, overload

from jaxtyping import PRNGKeyArray

from hjpde._domain import Domain
from hjpde._fit_atoms import Augment, Observations, fit_atoms
from hjpde._fitted import Fitted
from hjpde._observations import Samples
from hjpde._training_step import TrainingState
from hjpde._types import ScalarLike
from hjpde.architectures import DepthFlow
from hjpde.hamiltonians import AbstractHamiltonian
from hjpde.inverse._fit_datum import fit_datum
from hjpde.inverse._recovered import Recovered, RecoveryState
from hjpde.solvers import AbstractSolver


@overload
def fit(
    observations: Observations,
    *,
    initial_data: None = None,
    hamiltonian: AbstractHamiltonian | None = None,
    viscosity: ScalarLike | None = None,
    n_atoms: int | None = None,
    metric: str = "features",
    difference: bool = False,
    train_viscosity: bool = False,
    optimiser: str = "adam",
    steps: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    label_smoothing: float = 0.05,
    augment: Augment | None = None,
    validation_fraction: float = 0.1,
    patience: int | None = None,
    key: PRNGKeyArray | None = None,
    state: TrainingState | None = None,
    until: int | None = None,
    progress: bool = False,
) -> Fitted: ...
@overload
def fit(
    observations: Samples,
    *,
    initial_data: Callable,
    hamiltonian: AbstractHamiltonian | DepthFlow | None = None,
    viscosity: Any = 0.0,
    solver: AbstractSolver | None = None,
    domain: Domain | None = None,
    unknown: Sequence[str] = ("initial_data",),
    noise: ScalarLike | None = None,
    regularisation: ScalarLike | None = None,
    steps: int | None = None,
    stages: int = 20,
    state: RecoveryState | None = None,
    until: int | None = None,
    progress: bool = False,
) -> Recovered: ...


def fit(observations: Observations, *, initial_data: Callable | None = None, **options: Any) -> Fitted | Recovered:
    r"""Fits initial data to observations of a solution: point masses, or any datum through any solver.

    **Without `initial_data`** point masses $(y_j, g_j)$, and where it is a gauge the time `t`, are fitted to `Samples`,
    a `Regression` or a `Classification`. The solution is that of
    $u_t + p^\top A p = \varepsilon\,\mathrm{tr}(A D^2 u)$. A single one is semiconcave, $D^2 u \le A^{-1}/2t$;
    `difference=True` fits the difference of two, which can be any continuous function. In a classification each class
    owns atoms, and its probability is their Gibbs mass. Atoms start at the centres of k-means; positions, heights and
    $\log t$ are trained, in coordinates in which the data have unit scale.

    - `hamiltonian`: `Quadratic(A)`. `None` is $|p|^2$ for samples; for the others, where `A` is a gauge, it is
      taken from the data, by `metric`.
    - `viscosity`: the temperature $\varepsilon > 0$, in units of `u`. `None` is a quarter of the targets' spread in a
      regression, and 1 in a classification, where heights are log-odds. Samples need it.
    - `n_atoms`: how many, in a classification for each class; by default 32 in a regression, a quarter of the rows but
      32 to 128 for samples, and 10 in a classification (50 beyond 20,000 rows).
    - `metric`: without a `hamiltonian`, `"features"` makes `A` the diagonal of the features' variances,
      `"common"` their mean times the identity (for images).
    - `difference`: whether to fit the difference of two solutions, of `n_atoms` each.
    - `train_viscosity`: whether $\varepsilon$ is trained too.
    - `optimiser`: `"adam"` with a cosine schedule, or `"lbfgs"` on all rows.
    - `steps`: by default 1,500, and 200 for L-BFGS.
    - `batch_size`: rows in a step of Adam; `None` takes all of up to 2,048 in a regression and of up to 256 in a
      classification, and 256 or 128 beyond.
    - `learning_rate`: Adam's, at the start; by default 0.01, and 0.02 in a classification.
    - `label_smoothing`: in a classification, the probability in $[0, 1)$ with which a label is taken to be wrong; by
      default 0.05.
    - `augment`: in a classification, `augment(key, X)` moves the rows of each batch, in units of the data, to where
      their labels stay what they are (shifted images, noise); `None`: rows are as they were observed.
    - `validation_fraction`: the part of the rows that is kept apart, in $[0, 1)$, by default 0.1; the parameters with
      the best score on it are returned. With fewer than 5 such rows there is none.
    - `patience`: how many of the 30 scores of a run may pass without improvement before it stops; `None`: all.
    - `key`: a jax key; `None` is `jax.random.key(0)`.

    **With `initial_data`** it is an inverse problem for `Samples`: the datum given is where one starts, and it (or
    other parts of the problem) is moved until the solution meets the samples. Its unknowns are the arrays of a module,
    such as a network or a `LogSumExp`, or the values of a `solvers.GridValues`, which move by smooth fields. The
    regularised Gauss-Newton iteration lowers the weight of a penalty until the residual is down to the noise. Without
    viscosity, values on a grid that were observed without noise at all nodes of a `solvers.GridHopfLax` come from its
    backward operator: the least datum that gives them. `Recovered.summary` says what the observations leave open.

    - `hamiltonian`: any member of `hjpde.hamiltonians`; `None` is $|p|^2$. A network's own, of `hjpde.as_hamiltonian`,
      makes the readout at its end the datum: samples at `t` = its depth, and at the states that it starts from.
    - `viscosity`: `N`, as for `hjpde.InitialValueProblem`; by default 0.
    - `solver`: a member of `hjpde.solvers`; `None` takes the most exact one.
    - `domain`: the problem's `hjpde.Domain`, or `None`.
    - `unknown`: what is recovered, of "initial_data" (the default), "hamiltonian" and "viscosity".
    - `noise`: the standard deviation of the observations' errors, in units of `u`, by which the weight of the penalty
      is chosen; `None` if they have none.
    - `regularisation`: that weight itself, at least 0.
    - `steps`: Gauss-Newton steps at each weight, by default 4, or 100 where there is one weight only.
    - `stages`: at most so many weights are tried, by default 20.

    **For both:**

    - `state`: `state` of an earlier result with the same arguments, to go on from there: the result is that of a run
      that never stopped, bit for bit.
    - `until`: a step, or a stage, at which to stop for now.
    - `progress`: whether to show a bar on standard error. An interruption keeps what was reached.

    **Returns:** a `hjpde.Fitted`, or a `hjpde.Recovered`.

    **Raises:** `ValueError` for a mistake in the arguments, naming it; `FloatingPointError` if the loss, or the
    solution at the samples, is not finite.
    """
    method = fit_atoms if initial_data is None else fit_datum
    known = set(inspect.signature(method).parameters) - {"observations", "initial_data"}
    for name in options:
        if name not in known:
            where = "without" if initial_data is None else "with"
            raise ValueError(
                f"`{name}` is no argument of a fit {where} `initial_data`; those are {', '.join(sorted(known))}."
            )
    if initial_data is None:
        return fit_atoms(observations, **options)
    return fit_datum(observations, initial_data, **options)
