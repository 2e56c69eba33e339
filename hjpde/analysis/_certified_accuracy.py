"""What part of a test set is classified rightly, and provably stays so within a radius."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, final

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from hjpde._plotting import BLACK, CYCLE, given_or_new, tidy
from hjpde._types import ArrayInput, as_float_array, require_finite

from ._attack import attack, checked_labels
from ._certified_radius import CERTIFICATES, LINE_STYLES, TITLES, CertifiedRadii, certified_radius
from ._gibbs_classifier import GibbsClassifier

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@final
class CertifiedAccuracy(eqx.Module):
    """What `certified_accuracy` returns.

    - `radius`: the radii, shape `(R,)`.
    - `certified`: by the name of the certificate, the certified accuracy at each radius, shape `(R,)`.
    - `attacked`: what an attack leaves at each radius, shape `(R,)`, or `None`: no certificate can be better.
    - `accuracy`: that without any perturbation.
    - `certificates`: the radii of the points.
    """

    radius: Float[np.ndarray, " R"]
    certified: dict[str, Float[np.ndarray, " R"]]
    attacked: Float[np.ndarray, " R"] | None
    accuracy: float
    certificates: CertifiedRadii

    def table(self) -> list[dict[str, float | str]]:
        """One row a certificate: its `name`, the `median` radius, and the accuracy at each radius."""
        rows: list[dict[str, float | str]] = []
        for name, accuracies in self.certified.items():
            median = float(np.median(np.asarray(self.certificates.radii[name])))
            at = {f"r = {r:g}": float(value) for r, value in zip(self.radius, accuracies, strict=True)}
            rows.append({"name": name, "median": median, **at})
        return rows


def certified_accuracy(
    classifier: GibbsClassifier,
    X: ArrayInput,
    labels: ArrayInput,
    radius: ArrayInput = (0.5, 1.0),
    certificates: Sequence[str] = CERTIFICATES,
    *,
    key: PRNGKeyArray | None = None,
    steps: int = 40,
) -> CertifiedAccuracy:
    r"""The part of a test set whose class is right and certified at a radius,
    $\frac1M \#\{i : \hat c(x_i) = c_i,\ r_i \ge r\}$.

    **Arguments:**

    - `classifier`: the classifier.
    - `X`, `labels`: the test set, shapes `(M, d)` and `(M,)`; classes are integers from 0.
    - `radius`: radii `r` at least 0, shape `(R,)`, in units of `x`.
    - `certificates`: as in `certified_radius`.
    - `key`: a jax key for an attack at each radius, which bounds all curves from above; `None`: no attack.
    - `steps`: of the attack.

    **Returns:** a `CertifiedAccuracy`.

    **Raises:** `ValueError` as `certified_radius` and `attack`, if there is no point, or a radius is negative.
    """
    points = classifier.points(X)
    owners = np.asarray(checked_labels(labels, classifier, len(points)))
    if not len(points):
        raise ValueError("`X` must hold at least one point, got none.")
    radii = as_float_array(radius, "radius", 1)
    require_finite(radii, "radius")
    if len(radii) < 1 or np.any(np.asarray(radii) < 0):
        raise ValueError(f"`radius` must hold at least one radius, all at least 0, got {np.asarray(radii).tolist()}.")
    grid = np.asarray(radii)
    result = certified_radius(classifier, points, certificates)
    right = np.asarray(result.predicted) == owners
    certified = {
        name: np.asarray([np.mean(right & (np.asarray(values) >= r)) for r in grid])
        for name, values in result.radii.items()
    }
    attacked = None
    if key is not None:
        keys = jax.random.split(key, len(grid))
        found = [attack(classifier, points, r, owners, key=k, steps=steps) for r, k in zip(grid, keys, strict=True)]
        attacked = np.asarray([np.mean(right & ~np.asarray(one.broken)) for one in found])
    return CertifiedAccuracy(grid, certified, attacked, float(np.mean(right)), result)


def plot_certified_accuracy(result: CertifiedAccuracy, ax: "Axes | None" = None) -> "Axes":
    """Certified accuracy over the radius, one line a certificate; no certificate can pass the attack's line."""
    axes = given_or_new(ax, 6.4, 4.0)
    tidy(axes)
    order = np.argsort(result.radius)
    radius = np.concatenate([[0.0], result.radius[order]])
    for colour, (name, values) in zip(CYCLE, result.certified.items(), strict=False):
        percent = 100 * np.concatenate([[result.accuracy], values[order]])
        axes.plot(radius, percent, color=colour, linestyle=LINE_STYLES[name], linewidth=1.8, label=TITLES[name])
    if result.attacked is not None:
        percent = 100 * np.concatenate([[result.accuracy], result.attacked[order]])
        axes.plot(radius, percent, "x", color=BLACK, markersize=5, label="left by an attack")
    axes.set_ylim(0, 103)
    axes.set_xlim(left=0)
    axes.set_xlabel("radius [units of x]")
    axes.set_ylabel("certified accuracy [%]")
    axes.legend(frameon=False, fontsize=8)
    return axes
