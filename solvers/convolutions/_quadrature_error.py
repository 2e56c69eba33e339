"""How far a sum over nodes is from the Hopf-Cole integral."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hjpde._types import Scalar

from ._gaussian_sum import log_gaussian_sum


def quadrature_error(
    g: Float[Array, "..."], kappas: Float[Array, " d"], epsilon: Scalar, periodic: Sequence[bool]
) -> Scalar:
    r"""The error in `u` of the trapezoidal rule for a Gaussian as narrow as the integrand may be, summed over the axes.

    Near its maximum the integrand is $e^{-q (k - o)^2}$ with $q = (\kappa + \tfrac12 \delta^2 g)/\varepsilon$, for
    the largest second difference $\delta^2 g$, and the sum over the nodes is known. The maximum lies anywhere between
    the nodes, but for short times no further than $o = \delta g/2\kappa$ from one.

    **Arguments:**

    - `g`: the datum at the nodes.
    - `kappas`: $\Delta x^2/(4At)$ for each axis, in units of `g`.
    - `epsilon`: the temperature.
    - `periodic`: whether each axis is periodic.
    """
    g = jax.lax.stop_gradient(g)
    measured = [_bend_and_slope(g, axis, wraps) for axis, wraps in enumerate(periodic)]
    bends, slopes = (jnp.stack(measures) for measures in zip(*measured, strict=True))
    furthest = jnp.minimum(slopes / (2 * kappas), 0.5)
    at_nodes, between = (
        jnp.abs(_log_excess((kappas + bends / 2) / epsilon, offset) - _log_excess(kappas / epsilon, 0 * offset))
        for offset in (jnp.zeros_like(furthest), furthest)
    )
    return epsilon * jnp.sum(jnp.maximum(at_nodes, between))


def _bend_and_slope(g: Float[Array, "..."], axis: int, wraps: bool) -> tuple[Scalar, Scalar]:
    """The largest second difference, at least 0, and the largest first."""
    first = jnp.roll(g, -1, axis) - g if wraps else jnp.diff(g, axis=axis)
    second = first - jnp.roll(first, 1, axis) if wraps else jnp.diff(first, axis=axis)
    return jnp.maximum(jnp.max(second), 0), jnp.max(jnp.abs(first))


def _log_excess(q: Float[Array, " d"], offset: Float[Array, " d"]) -> Float[Array, " d"]:
    r"""The logarithm of $\sum_k e^{-q(k + o)^2}$ over $\int e^{-qy^2} dy$."""
    return jax.vmap(log_gaussian_sum)(q, offset) - jnp.log(np.pi / q) / 2
