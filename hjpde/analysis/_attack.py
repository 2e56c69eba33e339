"""The search for a point nearby that a Gibbs classifier takes for another class."""

from functools import partial
from typing import TYPE_CHECKING, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from hjpde._compilation import compiled_once
from hjpde._plotting import BLUE, ORANGE, given_or_new, tidy
from hjpde._types import ArrayInput, Point, Scalar, as_float_array, require_finite

from ._gibbs_classifier import GibbsClassifier

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BLOCK = 256


@final
class Attack(eqx.Module):
    """What `attack` returns.

    - `points`: the worst points found, shape `(M, d)`.
    - `margins`: by how much the attacked class still leads there, shape `(M,)`; below 0 it does not.
    - `start_margins`: the same where the attack began.
    - `radius`: of the ball that each was sought in, shape `(M,)`.
    """

    points: Float[Array, "M d"]
    margins: Float[Array, " M"]
    start_margins: Float[Array, " M"]
    radius: Float[Array, " M"]

    @property
    def broken(self) -> Bool[Array, " M"]:
        """Whether another class has a higher score at the point found."""
        return self.margins < 0


def attack(
    classifier: GibbsClassifier,
    X: ArrayInput,
    radius: ArrayInput,
    labels: ArrayInput | None = None,
    *,
    key: PRNGKeyArray,
    steps: int = 40,
    box: tuple[float, float] | None = None,
) -> Attack:
    r"""Lowers the lead of a class, $\min_{k \ne c} (s_c - s_k)$, within the ball of each point, by projected gradients.

    Steps along the normalised gradient shrink from half the radius to nothing; after each the point is brought back to
    the ball, and the worst one is kept. The start is a random point inside, for the gradient may vanish at the centre.
    What is found is an upper bound on the distance of the decision's boundary, as a certificate is a lower one.

    **Arguments:**

    - `classifier`: the classifier.
    - `X`: the points, shape `(M, d)`.
    - `radius`: of each ball, at least 0, one or shape `(M,)`, in units of `x`.
    - `labels`: the classes that are attacked, shape `(M,)`; `None`: those predicted.
    - `key`: a jax key, for the starts.
    - `steps`: at least 1.
    - `box`: the lowest and the highest value that a coordinate may take, such as (0, 1) for pixels, or `None`.

    **Returns:** an `Attack`.

    **Raises:** `ValueError` if a shape is another one, a number is NaN or infinite, a radius is negative, `steps` is
    below 1, a label is no class, or a point lies outside the box.

    ??? cite "References"

        A. Madry et al., *Towards Deep Learning Models Resistant to Adversarial Attacks*, ICLR 2018, Section 2.1.
    """
    points = classifier.points(X)
    radii = as_float_array(radius, "radius").astype(points.dtype)
    require_finite(radii, "radius")
    if radii.shape not in ((), points.shape[:1]) or np.any(np.asarray(radii) < 0):
        raise ValueError(f"`radius` must be at least 0, of shape () or ({len(points)},), got shape {radii.shape}.")
    if steps < 1:
        raise ValueError(f"`steps` must be at least 1, got {steps}.")
    owners = classifier.predict(points) if labels is None else checked_labels(labels, classifier, len(points))
    if box is not None:
        outside = np.asarray((points < box[0]) | (points > box[1]))
        if outside.any():
            raise ValueError(f"`X` must lie in the box {box}, {int(outside.any(axis=1).sum())} points do not.")
    radii = jnp.broadcast_to(radii, points.shape[:1])
    low, high = (-jnp.inf, jnp.inf) if box is None else box
    worst, margins, start = _attack(
        classifier,
        (points, radii, owners, jax.random.split(key, len(points))),
        (jnp.asarray(low, points.dtype), jnp.asarray(high, points.dtype)),
        steps,
    )
    return Attack(worst, margins, start, radii)


def checked_labels(labels: ArrayInput, classifier: GibbsClassifier, rows: int) -> Int[Array, " M"]:
    """`labels` as class indices, one a row, or a `ValueError`."""
    owners = np.asarray(labels)
    if owners.shape != (rows,) or owners.dtype.kind not in "iu":
        raise ValueError(f"`labels` must be integers of shape ({rows},), got {owners.dtype} of shape {owners.shape}.")
    if rows and not 0 <= owners.min() <= owners.max() < classifier.n_classes:
        raise ValueError(
            f"`labels` must lie from 0 to {classifier.n_classes - 1}, got {owners.min()} to {owners.max()}."
        )
    return jnp.asarray(owners, int)


@compiled_once
def _attack(
    classifier: GibbsClassifier,
    rows: tuple[Float[Array, "M d"], Float[Array, " M"], Int[Array, " M"], Array],
    box: tuple[Scalar, Scalar],
    steps: int,
) -> tuple[Float[Array, "M d"], Float[Array, " M"], Float[Array, " M"]]:
    return jax.lax.map(partial(_attack_point, classifier, box, steps), rows, batch_size=_BLOCK)


def _lead(classifier: GibbsClassifier, x: Point, owner: Int[Array, ""]) -> Scalar:
    """By how much the score of a class leads the best other one."""
    scores = classifier.scores(x[None])[0]
    others = jnp.where(jnp.arange(len(scores)) == owner, -jnp.inf, scores)
    return scores[owner] - jnp.max(others)


def _attack_point(
    classifier: GibbsClassifier,
    box: tuple[Scalar, Scalar],
    steps: int,
    row: tuple[Point, Scalar, Int[Array, ""], Array],
) -> tuple[Point, Scalar, Scalar]:
    x, radius, owner, key = row

    def inside(delta: Point) -> Point:
        """The nearest point of the ball, then of the box, as a displacement; the box holds `x`, so both stay true."""
        length = jnp.linalg.norm(delta)
        delta = delta * jnp.where(length > radius, radius / length * (1 - 8 * jnp.finfo(x.dtype).eps), 1)
        return jnp.clip(x + delta, *box) - x

    def step(carry: tuple[Point, Point, Scalar], rate: Scalar) -> tuple[tuple[Point, Point, Scalar], None]:
        delta, worst, least = carry
        gradient = jax.grad(lambda delta: _lead(classifier, x + delta, owner))(delta)
        size = jnp.linalg.norm(gradient)
        delta = inside(delta - rate * radius * gradient / jnp.where(size > 0, size, 1))
        lead = _lead(classifier, x + delta, owner)
        better = lead < least
        return (delta, jnp.where(better, delta, worst), jnp.where(better, lead, least)), None

    first = jax.random.normal(key, x.shape, x.dtype)
    first = inside(0.1 * radius * first / jnp.linalg.norm(first))
    start = _lead(classifier, x, owner)
    rates = jnp.linspace(0.5, 0.0, steps, endpoint=False, dtype=x.dtype)
    (_, worst, least), _ = jax.lax.scan(step, (first, jnp.zeros_like(x), start), rates)
    return x + worst, least, start


def plot_attack(result: Attack, ax: "Axes | None" = None) -> "Axes":
    """The lead of each point before and after the attack; below the line another class has won."""
    axes = given_or_new(ax, 5.0, 4.0)
    tidy(axes, "both")
    start, end, broken = (np.asarray(values) for values in (result.start_margins, result.margins, result.broken))
    for chosen, colour, marker, label in ((~broken, BLUE, "o", "kept"), (broken, ORANGE, "x", "broken")):
        axes.plot(start[chosen], end[chosen], marker, color=colour, markersize=4, label=f"{label}: {chosen.sum()}")
    axes.axhline(0, color="#666666", linewidth=1.2, linestyle="--")
    axes.set_xlabel("lead of the class before [units of ε]")
    axes.set_ylabel("lead after the attack [units of ε]")
    axes.legend(frameon=False, fontsize=9)
    return axes
