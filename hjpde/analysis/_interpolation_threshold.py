"""Width swept through the interpolation threshold: test error, curvature and near-shocks side by side."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
from jaxtyping import Array, ArrayLike

from hjpde._plotting import BLACK, CYCLE, MARKERS, given_or_new, tidy

from ._generalisation import values_of
from ._layer_training import Examples, MaskedLayers, drawn_layers, examples, train_layers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Two neurons that share a point as 7 : 1 have 7/16 of the curvature that they have where they tie.
_SHARED = 1 / 8


@final
class Correlation(NamedTuple):
    """Spearman's rank correlation with a bootstrap interval."""

    value: float
    low: float
    high: float


@final
class InterpolationSweep(NamedTuple):
    r"""Trained differences of two layers over their width, one row a seed.

    - `parameters`: numbers of trained parameters, shape `(K,)`; the threshold is where they are `samples`.
    - `samples`: the number of samples $n$.
    - `train_error`, `test_error`: root mean square errors against the noisy and the true target, shape `(seeds, K)`.
    - `curvature`: the largest $\|\nabla^2 f\|_2$ over the test points, shape `(seeds, K)`.
    - `shock_density`: the share of test points at which the second neuron of either layer has a Gibbs weight of at
      least 1/8, shape `(seeds, K)`.
    - `error_with_curvature`, `error_with_shocks`: rank correlation of the test error with either, over all widths.
    """

    parameters: np.ndarray
    samples: int
    train_error: np.ndarray
    test_error: np.ndarray
    curvature: np.ndarray
    shock_density: np.ndarray
    error_with_curvature: Correlation
    error_with_shocks: Correlation


@eqx.filter_jit
def _measures(models: MaskedLayers, data: Examples, X: Array, y: Array) -> Array:
    """Train error, test error, largest curvature and density of near-shocks, one row a model."""

    def one(model_and_data: tuple[MaskedLayers, Examples]) -> Array:
        model, seen = model_and_data
        bend = jnp.linalg.norm(jax.vmap(jax.hessian(model))(X), ord=2, axis=(1, 2))
        shares = jnp.sort(jax.nn.softmax(jax.vmap(model.logits)(X), axis=-1), axis=-1)
        shocks = jnp.any(shares[..., -2] >= _SHARED, axis=-1)
        train = jnp.sqrt(jnp.mean((jax.vmap(model)(seen.X) - seen.y) ** 2))
        test = jnp.sqrt(jnp.mean((jax.vmap(model)(X) - y) ** 2))
        return jnp.stack([train, test, bend.max(), shocks.mean()])

    return jax.lax.map(one, (models, data))


def interpolation_sweep(
    target: Callable[..., ArrayLike],
    dim: int,
    widths: Sequence[int],
    *,
    samples: int = 40,
    noise: float = 0.3,
    viscosity: float = 0.1,
    seeds: int = 3,
    steps: int = 3000,
    learning_rate: float = 0.03,
    half_width: float = 2.0,
    seed: int = 0,
) -> InterpolationSweep:
    r"""Does the test error at and beyond the interpolation threshold follow the near-shocks?

    The source reads double descent as near-shocks: curvature $\mathrm{Var}_\pi(W)/\varepsilon$ that peaks where
    neurons tie. A rank correlation of the test error with the largest curvature, and with how much of the space is
    near a tie, puts a number to it.

    **Arguments:**

    - `target`: the function of one point of shape `(d,)`, a scalar.
    - `dim`: $d$; inputs are uniform on $[-L, L]^d$.
    - `widths`: neurons `N` of each of the two layers, at least three different and 2; $2N(d+1)$ parameters.
    - `samples`: $n$.
    - `noise`: the standard deviation of the noise on the samples.
    - `viscosity`: $\varepsilon$, the same for all widths.
    - `seeds`: independent draws of data and initial weights.
    - `steps`, `learning_rate`: of Adam, on all samples; many, since the threshold shows when training fits the noise.
    - `half_width`: $L$.
    - `seed`: of the draws.

    **Raises:** `ValueError` for fewer than three widths, a width below 2 or no seed.

    ??? cite "References"

        M. Belkin, D. Hsu, S. Ma and S. Mandal, *Reconciling modern machine-learning practice and the classical
        bias-variance trade-off*, PNAS 116 (2019).
    """
    if len(set(widths)) < 3 or min(widths) < 2 or seeds < 1:
        raise ValueError(f"`widths` must hold three different numbers above 1, got {list(widths)}; seeds {seeds}.")
    rng = np.random.default_rng(seed)
    models = drawn_layers(list(widths) * seeds, [viscosity] * len(widths) * seeds, dim, 2, rng, scale=1.0)
    draws = []
    for _ in range(seeds):
        X = rng.uniform(-half_width, half_width, (samples, dim))
        draws += [examples(X, values_of(target, X) + noise * rng.normal(size=samples), samples)] * len(widths)
    data = jax.tree.map(lambda *parts: jnp.stack(parts), *draws)
    trained = train_layers(models, data, steps=steps, learning_rate=learning_rate)
    X = rng.uniform(-half_width, half_width, (400, dim))
    table = np.asarray(_measures(trained, data, jnp.asarray(X, float), jnp.asarray(values_of(target, X), float)), float)
    train, test, bend, shocks = np.moveaxis(table.reshape(seeds, len(widths), 4), -1, 0)
    return InterpolationSweep(
        2 * np.asarray(widths) * (dim + 1),
        samples,
        train,
        test,
        bend,
        shocks,
        _rank_correlation(test, bend, rng),
        _rank_correlation(test, shocks, rng),
    )


def _rank_correlation(a: np.ndarray, b: np.ndarray, rng: np.random.Generator, draws: int = 400) -> Correlation:
    """Spearman's correlation of all entries, with a 95 % interval by drawing entries anew."""

    def spearman(rows: np.ndarray) -> float:
        result: Any = scipy.stats.spearmanr(a.ravel()[rows], b.ravel()[rows])
        return float(np.nan_to_num(result.statistic))

    sample = [spearman(rng.integers(0, a.size, a.size)) for _ in range(draws)]
    low, high = np.quantile(sample, [0.025, 0.975])
    return Correlation(spearman(np.arange(a.size)), float(low), float(high))


def plot_interpolation_sweep(sweep: InterpolationSweep, ax: "Axes | None" = None) -> "Axes":
    """Test and training error, and curvature and near-shocks, over the number of parameters; means of the seeds.

    **Arguments:** `sweep`, of `interpolation_sweep`; `ax`: axes of matplotlib, or `None` for new ones.
    """
    ax = given_or_new(ax)
    curves = {
        "test error": sweep.test_error,
        "training error": sweep.train_error,
        "largest curvature / 100": sweep.curvature / 100,
        "share of near-shocks": sweep.shock_density,
    }
    for k, (name, rows) in enumerate(curves.items()):
        colour, marker = CYCLE[k % len(CYCLE)], MARKERS[k % len(MARKERS)]
        ax.plot(sweep.parameters, rows.mean(axis=0), marker + "-", color=colour, markersize=4, label=name)
    ax.axvline(sweep.samples, color=BLACK, linestyle="--", linewidth=1, label="parameters = samples")
    ax.set_xscale("log")
    ax.set_yscale("log")
    # Of less than two decades matplotlib would write all minor ticks, over each other.
    ticks = np.outer(10.0 ** np.arange(9), [1, 2, 5]).ravel()
    ticks = ticks[(ticks >= sweep.parameters.min()) & (ticks <= sweep.parameters.max())]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.set_xlabel("number of parameters")
    ax.set_ylabel("error, curvature, share")
    ax.legend(frameon=False, fontsize=7)
    tidy(ax, "both")
    return ax
