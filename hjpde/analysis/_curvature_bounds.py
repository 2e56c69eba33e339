"""Bounds on the curvature of a layer: the source's, a sharper one that holds everywhere, and a local one."""

from typing import TYPE_CHECKING, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from hjpde._compilation import compiled_once
from hjpde._log_sum_exp import gibbs_mean, hessian_spectral_norm, log_sum_exp
from hjpde._plotting import BLUE, GREEN, ORANGE, PINK, given_or_new, tidy
from hjpde._types import ArrayInput, Point, Scalar, ScalarLike, as_float_array, require_finite
from hjpde.initial_data import LogSumExp

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_HEAVIEST = 256
"""In more dimensions than this, so many neurons count exactly and the others by their trace."""


@final
class CurvatureBounds(eqx.Module):
    r"""What `curvature_bounds` returns; all but the radius in units of `f` per squared unit of `x`.

    - `measured`: $\|\nabla^2 f(x)\|_2$ at each point, shape `(M,)`.
    - `local`: a bound on $\|\nabla^2 f\|_2$ over the ball around each point, shape `(M,)`.
    - `diameter`: $\mathrm{diam}(W)^2/4\varepsilon$, a bound everywhere.
    - `row_norm`: $\max_j |W_j|^2/\varepsilon$, the source's bound; it depends on where the slopes are centred.
    - `radius`: that of each ball, shape `(M,)`.
    - `viscosity`: the temperature.
    """

    measured: Float[Array, " M"]
    local: Float[Array, " M"]
    diameter: Scalar
    row_norm: Scalar
    radius: Float[Array, " M"]
    viscosity: Scalar


def curvature_bounds(
    layer: LogSumExp, X: ArrayInput, radius: ScalarLike, *, key: PRNGKeyArray, steps: int = 48
) -> CurvatureBounds:
    r"""The norm of a layer's Hessian at `M` points, and three bounds on it.

    With the Gibbs weights $\pi$ the Hessian is $\nabla^2 f = \mathrm{Cov}_\pi(W)/\varepsilon$. Along a unit vector
    `v` it is the variance of the numbers $W_j \cdot v$, which lie in an interval no longer than $\mathrm{diam}(W)$:
    Popoviciu's inequality gives $\mathrm{diam}(W)^2/4\varepsilon$. As a second moment it is at most
    $\max_j |W_j|^2/\varepsilon$.

    **The local bound.** Let $m = \sum_j \pi_j W_j$ at `x`, $V_j = W_j - m$ and $|\delta| \le r$. At $x + \delta$ the
    weights are

    $$\pi_j^\delta = \frac{\pi_j\, e^{V_j \cdot \delta/\varepsilon}}{\sum_k \pi_k\, e^{V_k \cdot \delta/\varepsilon}}
    \le \pi_j\, e^{V_j \cdot \delta/\varepsilon} \le \pi_j\, e^{r |V_j|/\varepsilon},$$

    because by Jensen's inequality the denominator is at least $e^{\sum_k \pi_k V_k \cdot \delta/\varepsilon} = 1$. A
    covariance is at most the second moment about any other point, so that

    $$\|\nabla^2 f(x + \delta)\|_2 \le \frac1\varepsilon \min\Bigl(\frac{\mathrm{diam}(W)^2}{4},\;
    \lambda_{\max} \sum_j \pi_j\, e^{r|V_j|/\varepsilon}\, V_j V_j^\top\Bigr).$$

    At $r = 0$ it is the norm itself. Beyond 256 dimensions the largest eigenvalue is that of the 256 heaviest terms
    plus the trace of the others, which is no less (Weyl).

    **Arguments:**

    - `layer`: the layer; its bounds need float64 where the slopes differ by more than 1e3 times the temperature.
    - `X`: the points, shape `(M, d)`.
    - `radius`: $r \ge 0$, in units of `x`, one or shape `(M,)`.
    - `key`: a jax key, for the start of Lanczos' iteration.
    - `steps`: Hessian-vector products a point, of which no more than `d` are made.

    **Returns:** a `CurvatureBounds`, in the wider of the dtypes of `X` and `layer`.

    **Raises:** `ValueError` if a shape is another one, a number is NaN or infinite, `radius` is negative, or all
    neurons are masked.

    ??? cite "References"

        T. Popoviciu, *Sur les équations algébriques ayant toutes leurs racines réelles*, Mathematica 9 (1935).

        J. M. A. Minoza, E. F. Legara and C. Monterola, *The Hamilton-Jacobi Theory of Deep Learning*,
        arXiv 2605.28983, 2026, Corollary 8.2: the bound by $\max_j |W_j|^2$.
    """
    points = as_float_array(X, "X", 2)
    if points.shape[1] != layer.dim or points.shape[0] < 1:
        raise ValueError(f"`X` must have shape (M, {layer.dim}) with M >= 1, got {points.shape}.")
    require_finite(points, "X")
    points = points.astype(jnp.result_type(points, layer.weights))
    radii = as_float_array(radius, "radius").astype(points.dtype)
    require_finite(radii, "radius")
    if radii.shape not in ((), points.shape[:1]) or np.any(np.asarray(radii) < 0):
        raise ValueError(f"`radius` must be at least 0 and of shape () or ({points.shape[0]},), got {radius}.")
    active = np.isfinite(np.asarray(layer.biases))
    if not active.any():
        raise ValueError("`layer` must have a neuron that is not masked, all biases are -inf.")
    W, b = layer.weights[active].astype(points.dtype), layer.biases[active].astype(points.dtype)
    viscosity = layer.viscosity.astype(points.dtype)
    radii = jnp.broadcast_to(radii, points.shape[:1])
    squared = squared_diameter(W)
    return CurvatureBounds(
        measured=hessian_spectral_norm(points, W, b, viscosity, key=key, steps=steps),
        local=_local_bounds(points, radii, W, b, viscosity, squared),
        diameter=squared / (4 * viscosity),
        row_norm=jnp.max(jnp.sum(W**2, axis=1)) / viscosity,
        radius=radii,
        viscosity=viscosity,
    )


def squared_diameter(W: Float[Array, "N d"]) -> Scalar:
    """The largest squared distance of two rows, rounded upwards; the table is walked row by row."""
    centred = W - jnp.mean(W, axis=0)[None]
    squares = jnp.sum(centred**2, axis=1)
    farthest = jax.lax.map(lambda w: jnp.max(squares - 2 * centred @ w + w @ w), centred, batch_size=256)
    slack = 4 * (W.shape[1] + 8) * jnp.finfo(W.dtype).eps * jnp.max(squares)
    return jnp.maximum(jnp.max(farthest), 0) + jnp.where(W.shape[0] > 1, slack, 0)


@compiled_once
def _local_bounds(
    X: Float[Array, "M d"],
    radii: Float[Array, " M"],
    W: Float[Array, "N d"],
    b: Float[Array, " N"],
    viscosity: Scalar,
    squared_diameter: Scalar,
) -> Float[Array, " M"]:
    values, means = log_sum_exp(X, W, b, viscosity), gibbs_mean(X, W, b, viscosity, W)

    def one(point: tuple[Point, Scalar, Scalar, Point]) -> Scalar:
        x, radius, value, mean = point
        V = W - mean[None]
        squares = jnp.sum(V**2, axis=1)
        # A term above this alone exceeds Popoviciu's bound, and would overflow for small temperatures.
        most = jnp.log(squared_diameter / 4) - jnp.log(jnp.where(squares > 0, squares, 1))
        logs = (W @ x + b - value + radius * jnp.sqrt(squares)) / viscosity
        return jnp.minimum(_largest_eigenvalue(jnp.exp(jnp.minimum(logs, most)), V), squared_diameter / 4) / viscosity

    return jax.lax.map(one, (X, radii, values, means))


def _largest_eigenvalue(weights: Float[Array, " N"], V: Float[Array, "N d"]) -> Scalar:
    r"""That of $\sum_j w_j V_j V_j^\top$, or more."""
    N, d = V.shape
    if d <= _HEAVIEST:
        matrix, rest = jnp.einsum("j,ja,jb->ab", weights, V, V), 0.0
    else:
        traces = weights * jnp.sum(V**2, axis=1)
        heaviest, chosen = jax.lax.top_k(traces, min(_HEAVIEST, N))
        rows = jnp.sqrt(weights[chosen])[:, None] * V[chosen]
        matrix, rest = rows @ rows.T, jnp.maximum(jnp.sum(traces) - jnp.sum(heaviest), 0)
    slack = 8 * len(matrix) * jnp.finfo(V.dtype).eps * jnp.trace(matrix)
    return jnp.linalg.eigvalsh(matrix)[-1] + rest + slack


def plot_curvature_bounds(result: CurvatureBounds, ax: "Axes | None" = None) -> "Axes":
    """The points in order of their measured norm: it, and the three bounds above it."""
    axes = given_or_new(ax, 6.4, 4.0)
    tidy(axes)
    order = np.argsort(np.asarray(result.measured))
    share = np.linspace(0, 100, len(order))
    axes.plot(share, np.asarray(result.measured)[order], color=BLUE, linewidth=2.2, label="measured at the point")
    radius = f"{float(jnp.min(result.radius)):.3g}"
    if float(jnp.max(result.radius)) > float(jnp.min(result.radius)):
        radius += f" to {float(jnp.max(result.radius)):.3g}"
    local = np.asarray(result.local)[order]
    axes.plot(share, local, ".", color=ORANGE, markersize=4, label=f"local bound, ball of radius {radius}")
    axes.axhline(float(result.diameter), color=GREEN, linestyle="--", linewidth=1.5, label="diam(W)² / 4ε")
    axes.axhline(float(result.row_norm), color=PINK, linestyle=":", linewidth=1.8, label="max |W|² / ε")
    axes.set_yscale("log")
    axes.set_xlabel("points in order of their curvature [%]")
    axes.set_ylabel("norm of the Hessian")
    axes.legend(frameon=False, fontsize=8)
    return axes
