"""The square of the limits of many neurons and of no viscosity: both orders, and the error between."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, final

import numpy as np
from jaxtyping import ArrayLike

from hjpde._plotting import BLACK, given_or_new, tidy
from hjpde._types import ArrayInput

from ._quadrature_layer import heights_at, layer_values, quadrature_grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@final
class CommutativeSquare(NamedTuple):
    r"""Distances, in the largest value over some points, of layers from the inviscid solution $f_0$.

    - `viscosities`: $\varepsilon$, shape `(E,)`.
    - `counts`: numbers of neurons $N$, shape `(K,)`.
    - `errors`: $\sup |f^N_\varepsilon - f_0|$, shape `(E, K)`.
    - `wide`: $\sup |f^\infty_\varepsilon - f_0|$, shape `(E,)`: first many neurons; then it remains to lower
      $\varepsilon$.
    - `cold`: $\sup |f^N_0 - f_0|$, shape `(K,)`: first no viscosity; then it remains to add neurons.
    - `bounds`: what `errors` cannot exceed if the datum has the Lipschitz constant given, shape `(E, K)`, or `None`.
    """

    viscosities: np.ndarray
    counts: np.ndarray
    errors: np.ndarray
    wide: np.ndarray
    cold: np.ndarray
    bounds: np.ndarray | None


def commutative_square(
    datum: Callable[..., ArrayLike],
    points: ArrayInput,
    limit: ArrayInput,
    viscosities: Sequence[float],
    counts: Sequence[int],
    *,
    fine_count: int,
    half_width: float = 2.0,
    t: float = 1.0,
    weighted: bool = True,
    lipschitz: float | None = None,
) -> CommutativeSquare:
    r"""Layers on midpoints against $f_0(x) = \max_y\, x \cdot y/2t - g(y) - |y|^2/4t$ over viscosities and widths.

    With quadrature weights the square closes: if $|\nabla_y z| \le \Lambda$ for the scores
    $z(y) = x \cdot y/2t - g(y) - |y|^2/4t$ on the box $\Omega$ of side $|\Omega|^{1/d} > h + \varepsilon$, then

    $$|f^N_\varepsilon - f_0| \le \Lambda\sqrt d\,(h + \varepsilon) + \varepsilon d \log(1/\varepsilon) +
    \varepsilon \bigl|\log|\Omega|\bigr|, \qquad \varepsilon < 1.$$

    Above: the sum is at most $|\Omega| e^{f_0/\varepsilon}$. Below: the midpoints within $h + \varepsilon$ of the
    maximiser in each coordinate have weights of at least $\varepsilon^d$ in all, and scores of at least
    $f_0 - \Lambda\sqrt d\,(h + \varepsilon)$. Plain sums exceed $f_0$ by another $\varepsilon\log(N/|\Omega|)$ and the
    limit of many neurons does not exist.

    **Arguments:**

    - `datum`: $g(y)$ at one point of shape `(d,)`.
    - `points`: where the distance is taken, shape `(M, d)`.
    - `limit`: $f_0$ there, shape `(M,)`.
    - `viscosities`: positive.
    - `counts`: midpoints in each direction.
    - `fine_count`: midpoints in each direction that stand for infinitely many; $h \ll \varepsilon$ is wanted.
    - `half_width`: the box $\Omega = [-L, L]^d$.
    - `t`: the time.
    - `weighted`: with weights $|\Omega|/N$, or a plain sum.
    - `lipschitz`: a Lipschitz constant of `datum` on $\Omega$, for `bounds`; taken with weights only.

    **Raises:** `ValueError` if shapes disagree or a viscosity is not positive.
    """
    X, exact, eps = np.asarray(points, float), np.asarray(limit, float), np.asarray(viscosities, float)
    if X.ndim != 2 or exact.shape != X.shape[:1]:
        raise ValueError(f"`points` must have shape (M, d) and `limit` (M,), got {X.shape} and {exact.shape}.")
    if eps.ndim != 1 or eps.size == 0 or not np.all(eps > 0):
        raise ValueError(f"`viscosities` must be positive, got {viscosities}.")
    d = X.shape[1]
    lower, upper = np.full(d, -half_width), np.full(d, half_width)

    def distances(count: int, temperatures: np.ndarray) -> list[float]:
        nodes, weights = quadrature_grid(lower, upper, count)
        heights, w = heights_at(datum, nodes), weights if weighted else None
        return [float(np.abs(layer_values(X, nodes, heights, w, t, e) - exact).max()) for e in temperatures]

    table = np.array([distances(n, np.append(eps, 0.0)) for n in counts]).T
    bounds = None
    if weighted and lipschitz is not None:
        steepest = lipschitz + (np.linalg.norm(X, axis=1).max() + np.sqrt(d) * half_width) / (2 * t)
        h, e = 2 * half_width / np.asarray(counts, float), eps[:, None]
        bounds = steepest * np.sqrt(d) * (h + e) - e * d * np.log(e) + e * abs(d * np.log(2 * half_width))
    return CommutativeSquare(
        eps, np.asarray(counts) ** d, table[:-1], np.array(distances(fine_count, eps)), table[-1], bounds
    )


def plot_commutative_square(square: CommutativeSquare, ax: "Axes | None" = None) -> "Axes":
    r"""The error over $(\varepsilon, N)$ as a map with level lines; dark is close to the limit.

    **Arguments:** `square`, of `commutative_square` with at least two viscosities and widths; `ax`: axes of
    matplotlib, or `None` for new ones.
    """
    ax = given_or_new(ax, 5.6, 4.2)
    logs = np.log10(square.errors)
    mesh = ax.pcolormesh(square.counts, square.viscosities, logs, shading="nearest", cmap="cividis")
    ax.contour(square.counts, square.viscosities, logs, colors=BLACK, linewidths=0.6, linestyles="-")
    ax.figure.colorbar(mesh, ax=ax, label="log₁₀ sup |f − f₀|")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("number of neurons N  (→ many)")
    ax.set_ylabel("viscosity ε  (↓ none)")
    tidy(ax)
    ax.grid(False)
    return ax
