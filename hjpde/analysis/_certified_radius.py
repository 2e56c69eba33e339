"""How far each point may be moved before the class of a Gibbs classifier can change, with proof."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from hjpde._compilation import compiled_once
from hjpde._plotting import CYCLE, given_or_new, tidy
from hjpde._types import ArrayInput, Point, Scalar

from ._gibbs_classifier import GibbsClassifier

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CERTIFICATES = ("row_norm", "diameter", "local", "slopes", "scores")
"""The certificates: from three bounds on the Hessian, from the slopes alone, from the scores."""

LINE_STYLES: dict[str, Any] = dict(zip(CERTIFICATES, (":", "--", "-.", (0, (3, 1, 1, 1, 1, 1)), "-"), strict=True))
TITLES = {
    "row_norm": "max |W|² / ε",
    "diameter": "diam(W)² / 4ε",
    "local": "local curvature",
    "slopes": "slopes",
    "scores": "scores",
}

_OCTAVES = (-20, 40)
_BISECTIONS = 32


@final
class CertifiedRadii(eqx.Module):
    """What `certified_radius` returns.

    - `radii`: by the name of the certificate, the radius at each point, shape `(M,)`, in units of `x`.
    - `predicted`: the class that is certified, shape `(M,)`.
    - `margins`: by how much its score leads, shape `(M,)`.
    """

    radii: dict[str, Float[Array, " M"]]
    predicted: Int[Array, " M"]
    margins: Float[Array, " M"]

    @property
    def best(self) -> Float[Array, " M"]:
        """The largest radius at each point: each is a proof."""
        return jnp.max(jnp.stack(list(self.radii.values())), axis=0)


def certified_radius(
    classifier: GibbsClassifier, X: ArrayInput, certificates: Sequence[str] = CERTIFICATES
) -> CertifiedRadii:
    r"""Radii of balls around `M` points within which the predicted class cannot change.

    Let `c` be the class predicted at `x`, $m_k = s_c - s_k$ the margins, $G_k = \nabla s_k$, $|\delta| = r$. As $s_c$
    is convex, $s_c(x + \delta) \ge s_c + G_c \cdot \delta$. The class stays if for each other `k` an upper bound on
    $s_k(x + \delta)$ stays below that:

    - `"row_norm"`: $r|G_c - G_k| + \tfrac{r^2}{\varepsilon}\max_j|W_j|^2 \le m_k$: what follows from the source's bound
      on the remainder of a tangent alone, for both scores and over all neurons.
    - `"diameter"`: $r|G_c - G_k| + \tfrac{r^2}{8\varepsilon}\mathrm{diam}(W_k)^2 \le m_k$, Popoviciu's, of class `k`.
    - `"local"`: the same with $\varepsilon \log\bigl(1 + \tfrac{r^2}{2\varepsilon^2}\lambda_k(r)\bigr)$ in place of the
      square where that is less. Here $\lambda_k(r) = \|\sum_j \pi_j e^{r|V_j|/\varepsilon} V_j V_j^\top\|_F$, with
      $V_j = W_j - G_k$ and the Gibbs weights of class `k`. For $s_k(x + \delta) - s_k - G_k \cdot \delta = \varepsilon
      \log\sum_j \pi_j e^{V_j \cdot \delta/\varepsilon}$, the $V_j$ have mean 0, and
      $e^a \le 1 + a + \tfrac{a^2}{2} e^{|a|}$.
    - `"slopes"`: $r \max_{i \in c,\, j \in k}|W_i - W_j| \le m_k$; gradients of scores are means of slopes.
    - `"scores"`: $\varepsilon\log\sum_{j \in k} e^{(z_j + r|W_j - G_c|)/\varepsilon} \le s_c$, as
      $z_j(x + \delta) - G_c \cdot \delta \le z_j + r|W_j - G_c|$. It needs no curvature.

    All left sides grow with `r`. Roots without a closed form are bracketed and bisected, and the lower end is returned.
    Before, each margin is lowered by a bound on the rounding error of its scores,
    $(d + 8)\,u\,(\max_j(|W_j||x| + |b_j|) + \varepsilon\log K)$ with the roundoff `u`; in float32 this may cost a
    visible part of the radius.

    **Arguments:**

    - `classifier`: the classifier.
    - `X`: the points, shape `(M, d)`. The dtype is the wider one of theirs and the classifier's.
    - `certificates`: which of `CERTIFICATES`. `"local"` takes `O(C K^2)` memory and time a point, the others
      `O(C K d)`; points are walked in blocks.

    **Returns:** a `CertifiedRadii`; a radius is 0 where the margin is lost in rounding.

    **Raises:** `ValueError` if a shape is another one, a number is NaN or infinite, or a certificate unknown.

    ??? cite "References"

        M. Hein and M. Andriushchenko, *Formal Guarantees on the Robustness of a Classifier against Adversarial
        Manipulation*, NeurIPS 2017, Theorem 2.1: margins over slopes.

        J. M. A. Minoza, E. F. Legara and C. Monterola, *The Hamilton-Jacobi Theory of Deep Learning*,
        arXiv 2605.28983, 2026, Corollary 8.2: the curvature behind `"row_norm"`.
    """
    points, names = classifier.points(X), tuple(certificates)
    unknown = [name for name in names if name not in CERTIFICATES]
    if unknown or not names:
        raise ValueError(f"`certificates` must be of {', '.join(CERTIFICATES)}, got {', '.join(names) or 'none'}.")
    radii, predicted, margins = _certify(classifier, points, names)
    return CertifiedRadii(dict(zip(names, radii, strict=True)), predicted, margins)


@final
class _Slopes(eqx.Module):
    """What does not depend on the point; slopes are centred, which spares digits of distances."""

    weights: Float[Array, "C K d"]
    gram: Float[Array, "C K K"]
    squares: Float[Array, "C K"]
    largest: Scalar
    diameters: Float[Array, " C"]
    between: Float[Array, "C C"]
    slack: Scalar

    def __init__(self, classifier: GibbsClassifier, dtype: jnp.dtype):
        W, active = classifier.weights.astype(dtype), jnp.isfinite(classifier.biases)
        self.largest = jnp.max(jnp.sum(W**2, axis=2))
        count = jnp.sum(active)
        W = jnp.where(active[..., None], W - jnp.sum(W, axis=(0, 1))[None, None] / count, 0)
        self.weights, self.gram = W, jnp.einsum("ckd,cjd->ckj", W, W)
        self.squares = jnp.sum(W**2, axis=2)
        self.slack = 4 * (W.shape[2] + 8) * jnp.finfo(dtype).eps * jnp.max(self.squares)

        def farthest(c: Array) -> Float[Array, " C"]:
            products = jnp.einsum("id,kjd->ikj", W[c], W)
            squared = self.squares[c][:, None, None] + self.squares[None] - 2 * products
            pairs = active[c][:, None, None] & active[None]
            return jnp.max(jnp.where(pairs, squared, 0), axis=(0, 2))

        squared = jax.lax.map(farthest, jnp.arange(len(W))) + self.slack
        self.between = jnp.sqrt(squared)
        self.diameters = jnp.diagonal(squared)

    def distances(self, centres: Float[Array, "C d"]) -> Float[Array, "C K"]:
        """From each slope to a point of its class, rounded upwards."""
        products = jnp.einsum("ckd,cd->ck", self.weights, centres)
        squared = self.squares - 2 * products + jnp.sum(centres**2, axis=1)[:, None]
        return jnp.sqrt(jnp.maximum(squared, 0) + self.slack)


@compiled_once
def _certify(
    classifier: GibbsClassifier, X: Float[Array, "M d"], names: tuple[str, ...]
) -> tuple[list[Float[Array, " M"]], Int[Array, " M"], Float[Array, " M"]]:
    slopes = _Slopes(classifier, X.dtype)
    block = max(1, (1 << 22) // (slopes.gram.size if "local" in names else slopes.squares.size))
    return jax.lax.map(lambda x: _certify_point(classifier, slopes, x, names), X, batch_size=block)


def _certify_point(
    classifier: GibbsClassifier, slopes: _Slopes, x: Point, names: tuple[str, ...]
) -> tuple[list[Scalar], Int[Array, ""], Scalar]:
    eps = classifier.viscosity.astype(x.dtype)
    b = classifier.biases.astype(x.dtype)
    z = classifier.weights.astype(x.dtype) @ x + b
    scores = eps * jax.nn.logsumexp(z / eps, axis=1)
    c = jnp.argmax(scores)
    others = jnp.arange(len(scores)) != c
    magnitude = jnp.sqrt(slopes.largest) * jnp.linalg.norm(x) + jnp.max(jnp.where(b > -jnp.inf, jnp.abs(b), 0))
    magnitude = magnitude + eps * jnp.log(float(b.shape[1]))
    rounding = (x.shape[0] + 8) * jnp.finfo(x.dtype).eps * magnitude
    margins = scores[c] - scores
    safe = jnp.where(others, margins - rounding, jnp.inf)
    gibbs = jnp.exp((z - scores[:, None]) / eps)
    gradients = jnp.einsum("ck,ckd->cd", gibbs, slopes.weights)
    turns = jnp.linalg.norm(gradients[c][None] - gradients, axis=1)
    from_slopes = jnp.maximum(jnp.min(safe / slopes.between[c]), 0)

    def by_curvature(curvature: Float[Array, " C"]) -> Scalar:
        m = jnp.where(others, jnp.maximum(safe, 0), 1.0)
        root = 2 * m / (turns + jnp.sqrt(turns**2 + 2 * curvature * m))
        return jnp.min(jnp.where(others, root, jnp.inf)) * (1 - 8 * jnp.finfo(x.dtype).eps)

    def locally() -> Scalar:
        upper = _local_growth(slopes, gradients, gibbs, eps)
        return _largest_radius(lambda r: jnp.all(r * turns + upper(r) <= safe), from_slopes)

    def by_scores() -> Scalar:
        distances = slopes.distances(jnp.broadcast_to(gradients[c][None], gradients.shape))
        rises = lambda r: eps * jax.nn.logsumexp((z + r * distances) / eps, axis=1) - scores  # noqa: E731
        return _largest_radius(lambda r: jnp.all(jnp.where(others, rises(r) <= safe, True)), from_slopes)

    methods: dict[str, Callable[[], Scalar]] = {
        "row_norm": lambda: by_curvature(jnp.broadcast_to(2 * slopes.largest / eps, turns.shape)),
        "diameter": lambda: by_curvature(slopes.diameters / (4 * eps)),
        "local": locally,
        "slopes": lambda: from_slopes,
        "scores": by_scores,
    }
    return [methods[name]() for name in names], c, jnp.min(jnp.where(others, margins, jnp.inf))


def _local_growth(
    slopes: _Slopes, gradients: Float[Array, "C d"], gibbs: Float[Array, "C K"], eps: Scalar
) -> Callable[[Scalar], Float[Array, " C"]]:
    """By how much each score may exceed its tangent at the distance `r`: the lesser of two bounds."""
    along = jnp.einsum("ckd,cd->ck", slopes.weights, gradients)
    products = slopes.gram - along[:, :, None] - along[:, None, :] + jnp.sum(gradients**2, axis=1)[:, None, None]
    products = products**2
    distances = slopes.distances(gradients)

    def growth(r: Scalar) -> Float[Array, " C"]:
        logs = jnp.log(gibbs) + r * distances / eps
        # The largest weight is taken out: for small temperatures it overflows.
        top = jnp.max(logs, axis=1)
        weights = jnp.exp(logs - top[:, None])
        moment = jnp.sqrt(jnp.einsum("ci,cij,cj->c", weights, products, weights))
        second = eps * jnp.logaddexp(0, jnp.log(r**2 * moment / (2 * eps**2)) + top)
        return jnp.minimum(second, r**2 * slopes.diameters / (8 * eps))

    return growth


def _largest_radius(holds: Callable[[Scalar], Bool[Array, ""]], scale: Scalar) -> Scalar:
    """The largest radius at which a condition holds, which fails for all larger ones, rounded downwards.

    It is looked for from 2^-20 to 2^40 times a scale, by bisection of the exponent.
    """

    def halve(_: Array, bracket: tuple[Scalar, Scalar]) -> tuple[Scalar, Scalar]:
        low, high = bracket
        middle = (low + high) / 2
        good = holds(scale * jnp.exp2(middle))
        return jnp.where(good, middle, low), jnp.where(good, high, middle)

    low, high = (jnp.asarray(end, scale.dtype) for end in _OCTAVES)
    low, _ = jax.lax.fori_loop(0, _BISECTIONS, halve, (low, high))
    radius = scale * jnp.exp2(low)
    return jnp.where(holds(radius), radius, 0)


def plot_certified_radius(result: CertifiedRadii, ax: "Axes | None" = None) -> "Axes":
    """The share of points with at least a radius, one line a certificate."""
    axes = given_or_new(ax, 6.4, 4.0)
    tidy(axes)
    for colour, (name, radii) in zip(CYCLE, result.radii.items(), strict=False):
        ordered = np.sort(np.asarray(radii))
        share = 100 * (1 - np.arange(len(ordered)) / len(ordered))
        label = f"{TITLES[name]}, median {np.median(ordered):.3g}"
        axes.step(ordered, share, where="pre", color=colour, linestyle=LINE_STYLES[name], linewidth=1.8, label=label)
    axes.set_ylim(0, 103)
    axes.set_xlim(left=0)
    axes.set_xlabel("certified radius [units of x]")
    axes.set_ylabel("points with at least that radius [%]")
    axes.legend(frameon=False, fontsize=8)
    return axes
