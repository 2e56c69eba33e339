"""How the error of trained layers falls with their width, with the viscosity tied to it, fixed, and trained."""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike

from ._generalisation import values_of
from ._layer_training import drawn_layers, examples, root_mean_square_errors, train_layers
from ._rates import RateFit, fit_rate


def width_scaling(
    target: Callable[..., ArrayLike],
    dim: int,
    widths: Sequence[int],
    *,
    fixed_viscosity: float = 0.1,
    narrow_width: int = 2,
    samples: int = 128,
    seeds: int = 2,
    steps: int = 800,
    learning_rate: float = 0.02,
    half_width: float = 2.0,
    seed: int = 0,
) -> dict[str, RateFit]:
    r"""The scaling exponent of layers fitted to noise-free samples, taken apart from that of the viscosity.

    If $\varepsilon = N^{-1/d}$ is tied to the width, the error falls at least as the viscosity allows, whatever the
    neurons do. Four rows tell the two apart:

    - `tied`: $\varepsilon = N^{-1/d}$, as in the source;
    - `fixed`: one $\varepsilon$ for all widths;
    - `trained`: $\varepsilon$ starts at $N^{-1/d}$ and is learnt;
    - `narrow`: a network of `narrow_width` neurons at the viscosities of `tied`. Where it falls as `tied` does, the
      exponent is that of the viscosity.

    **Arguments:**

    - `target`: the function of one point of shape `(d,)`, a scalar.
    - `dim`: $d$; inputs are uniform on $[-L, L]^d$.
    - `widths`: numbers of neurons, at least three different.
    - `fixed_viscosity`: $\varepsilon$ of `fixed`.
    - `narrow_width`: neurons of `narrow`.
    - `samples`: points of training; a fifth as many, at least 200, test.
    - `seeds`: starts, of which the best counts, as in the source.
    - `steps`, `learning_rate`: of Adam, on all samples.
    - `half_width`: $L$.
    - `seed`: of the draws.

    **Returns:** for each row the fit of the best root mean square error against $N$.

    **Raises:** `ValueError` for fewer than three widths or a width or count below 1.
    """
    if len(set(widths)) < 3 or min(*widths, narrow_width, seeds) < 1:
        raise ValueError(f"`widths` must hold three different positive numbers, got {list(widths)}.")
    if not fixed_viscosity > 0:
        raise ValueError(f"`fixed_viscosity` must be positive, got {fixed_viscosity:g}.")
    rng = np.random.default_rng(seed)
    tied = [n ** (-1 / dim) for n in widths]
    rows = {
        "tied": (list(widths), tied),
        "fixed": (list(widths), [fixed_viscosity] * len(widths)),
        "trained": (list(widths), tied),
        "narrow": ([narrow_width] * len(widths), tied),
    }
    models = drawn_layers(
        [n for counts, _ in rows.values() for n in counts * seeds],
        [e for _, viscosities in rows.values() for e in viscosities * seeds],
        dim,
        1,
        rng,
        learn_viscosity=[name == "trained" for name in rows for _ in range(seeds * len(widths))],
    )
    X = rng.uniform(-half_width, half_width, (samples, dim))
    data = examples(X, values_of(target, X), samples)
    trained = train_layers(models, data, steps=steps, learning_rate=learning_rate, shared_data=True)
    X = rng.uniform(-half_width, half_width, (max(200, samples // 5), dim))
    errors = root_mean_square_errors(trained, jnp.asarray(X, float), jnp.asarray(values_of(target, X), float))
    best = np.asarray(errors, float).reshape(len(rows), seeds, len(widths)).min(axis=1)
    return {name: fit_rate(widths, row) for name, row in zip(rows, best, strict=True)}
