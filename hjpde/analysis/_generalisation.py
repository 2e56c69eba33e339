"""How the error of trained layers falls with the number of noisy samples."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike

from ._layer_training import drawn_layers, examples, root_mean_square_errors, train_layers
from ._rates import RateFit, fit_rate

_TEST_POINTS = 1000


def values_of(target: Callable[..., ArrayLike], X: np.ndarray) -> np.ndarray:
    """A function of one point at the rows of `X`."""
    return np.asarray(jax.vmap(target)(jnp.asarray(X, float)), float)


def generalisation_rate(
    target: Callable[..., ArrayLike],
    dim: int,
    sizes: Sequence[int],
    *,
    layers: int = 1,
    noise: float = 0.3,
    repeats: int = 4,
    half_width: float = 2.0,
    steps: int = 600,
    seed: int = 0,
) -> RateFit:
    r"""The exponent of the root mean square error against the true target in the number `n` of samples.

    Layers of $N = n^{d/(d+2)}$ neurons at $\varepsilon = n^{-1/(d+2)}$, which balances the error of approximation
    $N^{-1/d}$ with that of estimation $\sqrt{N/n}$; for Lipschitz targets that gives the minimax rate
    $n^{-1/(d+2)}$. One layer is convex and reaches it for convex targets only, and faster; for the whole class take the
    difference of two.

    **Arguments:**

    - `target`: the function of one point of shape `(d,)`, a scalar.
    - `dim`: $d$; inputs are uniform on $[-L, L]^d$.
    - `sizes`: numbers of samples, at least three different.
    - `layers`: 1, or 2 for the difference.
    - `noise`: the standard deviation of the Gaussian noise on the samples.
    - `repeats`: independent draws of data and initial weights for each size.
    - `half_width`: $L$.
    - `steps`: of Adam on all samples.
    - `seed`: of the draws.

    **Returns:** the fit over all repeats, with `errors` of shape `(repeats, n)`.

    **Raises:** `ValueError` if `layers` is neither 1 nor 2, or `sizes` are too few.

    ??? cite "References"

        C. J. Stone, *Optimal global rates of convergence for nonparametric regression*, Ann. Statist. 10 (1982).
    """
    if layers not in (1, 2):
        raise ValueError(f"`layers` must be 1 or 2, got {layers}.")
    if len(set(sizes)) < 3 or min(sizes) < 2 or repeats < 1:
        raise ValueError(f"`sizes` must hold three different numbers above 1, got {list(sizes)}, repeats {repeats}.")
    rng = np.random.default_rng(seed)
    draws = [n for n in sizes for _ in range(repeats)]
    widths = [max(2, round(n ** (dim / (dim + 2)))) for n in draws]
    models = drawn_layers(widths, [n ** (-1 / (dim + 2)) for n in draws], dim, layers, rng, scale=1.0)
    data = []
    for n in draws:
        X = rng.uniform(-half_width, half_width, (n, dim))
        data.append(examples(X, values_of(target, X) + noise * rng.normal(size=n), max(sizes)))
    stacked = jax.tree.map(lambda *parts: jnp.stack(parts), *data)
    trained = train_layers(models, stacked, steps=steps, learning_rate=0.03)
    X = rng.uniform(-half_width, half_width, (_TEST_POINTS, dim))
    errors = root_mean_square_errors(trained, jnp.asarray(X, float), jnp.asarray(values_of(target, X), float))
    return fit_rate(sizes, np.asarray(errors).reshape(len(sizes), repeats).T)
