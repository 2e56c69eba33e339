"""Layers of several widths trained side by side in one program: masked to one shape, seeds stacked."""

from collections.abc import Sequence
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from hjpde._training_loop import train_many


@final
class MaskedLayers(eqx.Module):
    r"""One log-sum-exp layer, or the difference $f_1 - f_2$ of two, of a width that a mask sets.

    - `weights`, `biases`: of one or two layers.
    - `log_viscosity`: $\log\varepsilon$, one for both.
    - `present`: which neurons exist.
    - `viscosity_learns`: whether training moves $\varepsilon$.
    """

    weights: Float[Array, "*seeds K N d"]
    biases: Float[Array, "*seeds K N"]
    log_viscosity: Float[Array, "*seeds"]
    present: Bool[Array, "*seeds N"]
    viscosity_learns: Bool[Array, "*seeds"]

    @property
    def viscosity(self) -> Float[Array, ""]:
        """The viscosity, of gradient zero where it does not learn."""
        fixed = jax.lax.stop_gradient(self.log_viscosity)
        return jnp.exp(jnp.where(self.viscosity_learns, self.log_viscosity, fixed))

    def logits(self, x: Float[Array, " d"]) -> Float[Array, "K N"]:
        r"""$z_j(x)/\varepsilon$, and $-\infty$ for neurons that do not exist."""
        return jnp.where(self.present[None], (self.weights @ x + self.biases) / self.viscosity, -jnp.inf)

    def __call__(self, x: Float[Array, " d"]) -> Float[Array, ""]:
        values = self.viscosity * jax.nn.logsumexp(self.logits(x), axis=1)
        return values[0] if values.shape[0] == 1 else values[0] - values[1]


@final
class Examples(NamedTuple):
    """Inputs, targets, and weights that are 0 for rows that only fill the shape."""

    X: Array
    y: Array
    weights: Array


def weighted_square_error(model: MaskedLayers, data: Examples, key: PRNGKeyArray) -> Array:
    """The mean square error over the rows with weight."""
    del key
    errors = jax.vmap(model)(data.X) - data.y
    return jnp.sum(data.weights * errors**2) / jnp.sum(data.weights)


def examples(X: np.ndarray, y: np.ndarray, rows: int) -> Examples:
    """Data filled up to a number of rows."""
    missing = rows - len(X)
    padded = np.pad(X, ((0, missing), (0, 0))), np.pad(y, (0, missing)), np.pad(np.ones(len(X)), (0, missing))
    return Examples(*(jnp.asarray(part, float) for part in padded))


def drawn_layers(
    widths: Sequence[int],
    viscosities: Sequence[float],
    dim: int,
    layers: int,
    rng: np.random.Generator,
    *,
    scale: float = 0.5,
    learn_viscosity: Sequence[bool] | bool = False,
) -> MaskedLayers:
    r"""Stacked models with $W \sim N(0, (s/\sqrt d)^2)$ and $b \sim N(0, 0.3^2)$, as the source draws them."""
    most = max(widths)
    shape = len(widths), layers, most
    return MaskedLayers(
        jnp.asarray(rng.normal(0, scale / np.sqrt(dim), (*shape, dim)), float),
        jnp.asarray(rng.normal(0, 0.3, shape), float),
        jnp.asarray(np.log(viscosities), float),
        jnp.asarray(np.arange(most) < np.asarray(widths)[:, None]),
        jnp.asarray(np.broadcast_to(learn_viscosity, len(widths))),
    )


def train_layers(
    models: MaskedLayers,
    data: Examples,
    *,
    steps: int,
    learning_rate: float,
    shared_data: bool = False,
) -> MaskedLayers:
    """Stacked models trained by Adam on all their data at once, one program for all widths."""
    return train_many(
        weighted_square_error,
        models,
        data,
        keys=jax.random.split(jax.random.key(0), models.weights.shape[0]),
        shared_data=shared_data,
        steps=steps,
        chunk=steps,
        learning_rate=learning_rate,
        quick_compile=True,
    ).model


@eqx.filter_jit
def root_mean_square_errors(models: MaskedLayers, X: Array, y: Array) -> Array:
    """One for each of the stacked models, on common points."""
    return jax.lax.map(lambda model: jnp.sqrt(jnp.mean((jax.vmap(model)(X) - y) ** 2)), models)
