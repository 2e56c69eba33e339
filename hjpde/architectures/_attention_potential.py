"""One read of an attention as a gradient of a log-sum-exp: its potential, the lift to any values, and its atoms."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._types import Scalar, ScalarLike, positive_scalar


def attention_potential(
    q: Float[Array, " k"],
    keys: Float[Array, "N k"],
    biases: Float[Array, " N"] | None = None,
    temperature: ScalarLike | None = None,
) -> Scalar:
    r"""$f(q) = \varepsilon \log \sum_j \exp((q \cdot k_j + b_j)/\varepsilon)$, with $\varepsilon = \sqrt k$ by default.

    Its gradient is the read whose values are the keys, and its weights are those of the softmax. It is
    `hjpde.LogSumExp(keys, biases, temperature)`, so $|q|^2/4t - f(q)$ is, up to a constant in `q`, the solution of
    $u_t + |\nabla u|^2 = \varepsilon\,\Delta u$ at time `t` from the atoms of `attention_atoms`.

    **Arguments:**

    - `q`: one query.
    - `keys`: the keys $k_j$.
    - `biases`: $b_j$, by default 0; $\varepsilon$ times what is added to the scores after they were divided by
      $\varepsilon$, and $-\infty$ for a key that is masked.
    - `temperature`: $\varepsilon > 0$.

    **Raises:** `ValueError` if `temperature` is known and not positive.
    """
    temperature = _temperature(keys, temperature)
    return temperature * jax.nn.logsumexp(_scores(q, keys, biases) / temperature)


def lifted_potential(
    q: Float[Array, " k"],
    eta: Float[Array, " v"],
    keys: Float[Array, "N k"],
    values: Float[Array, "N v"],
    biases: Float[Array, " N"] | None = None,
    temperature: ScalarLike | None = None,
) -> Scalar:
    r"""$\varepsilon \log \sum_j \exp((q \cdot k_j + \eta \cdot v_j + b_j)/\varepsilon)$, for any values $v_j$.

    Its derivative in $\eta$ at 0 is the read $\sum_j \pi_j v_j$. It is a log-sum-exp with the slopes $(k_j, v_j)$ on
    queries and sources together, so every softmax read is the gradient of one, whatever its values are.

    **Arguments:**

    - `q`: one query.
    - `eta`: the source, of the shape of a value; 0 for the read.
    - `keys`, `values`: $k_j$ and $v_j$.
    - `biases`, `temperature`: as for `attention_potential`.

    **Raises:** `ValueError` if `temperature` is known and not positive.
    """
    temperature = _temperature(keys, temperature)
    return temperature * jax.nn.logsumexp((_scores(q, keys, biases) + values @ eta) / temperature)


def attention_atoms(
    keys: Float[Array, "N k"], biases: Float[Array, " N"] | None = None, t: ScalarLike = 0.5
) -> tuple[Float[Array, "N k"], Float[Array, " N"]]:
    r"""Positions $y_j = 2tk_j$ and heights $g_j = -|y_j|^2/4t - b_j$ of the atoms that a read averages.

    For $u(t, \cdot)$ grown from them, $f + u = |q|^2/4t$ for every $t > 0$ (without the constant that normalises the
    heat kernel), and the read of the positions is the foot point: $\sum_j \pi_j y_j = q - 2t\,\nabla u(t, q)$. A
    masked key is an atom of infinite height; a relative bias tilts the heights; a rotation turns the atoms. At equal
    heights the Gibbs measure is a Gaussian posterior, which needs keys of equal length.

    **Arguments:**

    - `keys`: the keys $k_j$.
    - `biases`: $b_j$, by default 0, as for `attention_potential`.
    - `t`: positive; a gauge.

    **Returns:** `(positions, heights)`, which `hjpde.Atoms` takes.

    **Raises:** `ValueError` if `t` is known and not positive.
    """
    t = positive_scalar(t, "t", keys.dtype)
    positions = 2 * t * keys
    heights = -t * jnp.sum(keys**2, axis=-1)
    return positions, heights if biases is None else heights - biases


def _temperature(keys: Float[Array, "N k"], temperature: ScalarLike | None) -> Scalar:
    given = math.sqrt(keys.shape[1]) if temperature is None else temperature
    return positive_scalar(given, "temperature", keys.dtype)


def _scores(q: Float[Array, " k"], keys: Float[Array, "N k"], biases: Float[Array, " N"] | None) -> Float[Array, " N"]:
    scores = keys @ q
    return scores if biases is None else scores + biases
