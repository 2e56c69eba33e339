r"""Branches of critical points of the entropy along a segment as the viscosity varies, and where they end or cross."""

import dataclasses
from collections.abc import Callable
from typing import final

import numpy as np
from jaxtyping import Float

from hjpde._types import ArrayInput, ScalarLike, positive_scalar
from hjpde.initial_data import LogSumExp

from ._arclength import Curve, End, Kind, Path, singular_points
from ._critical_points import critical_points_on_segment, line_through
from ._entropy_landscape import Jet, LogEntropy, active_neurons


@final
@dataclasses.dataclass(frozen=True)
class SingularPoint:
    r"""Where critical points meet: $\varphi = \varphi_s = 0$; made by `entropy_branches`.

    - `kind`: `fold` if $\varphi_\varepsilon \ne 0 \ne \varphi_{ss}$: a minimum and a maximum annihilate. Else two
      branches cross, as $\varphi_\varepsilon = 0$: a `pitchfork` if $\varphi_{ss} = 0 \ne \varphi_{sss}$, else
      `transcritical`. `degenerate` if even these vanish.
    - `s`, `viscosity`: where; `position`: $x(s)$, shape `(d,)`; `entropy`: in nats.
    - `lost_upwards`: whether the viscosity has to rise to lose critical points here, rather than to fall.
    - `spread`: `c` in the law that the outermost of the points that meet are $c\,|\varepsilon - \varepsilon_c|^{1/2}$
      apart near $\varepsilon_c$: $2\,|2\varphi_\varepsilon/\varphi_{ss}|^{1/2}$ at a fold,
      $2\,|6\varphi_{s\varepsilon}/\varphi_{sss}|^{1/2}$ at a pitchfork; NaN at others.
    """

    kind: Kind
    s: float
    viscosity: float
    position: Float[np.ndarray, " d"]
    entropy: float
    lost_upwards: bool
    spread: float


@final
@dataclasses.dataclass(frozen=True)
class Branch:
    """A curve of critical points; made by `entropy_branches`.

    - `s`, `viscosities`, `entropies`: along the curve, shape `(P,)`.
    - `is_minimum`: which of these points are minima of the entropy along the segment.
    - `ends`: why it ends on either side: at the range's `viscosity`, the `segment`'s end, `closed` onto itself, or
      `stalled` where no step was short enough.
    """

    s: Float[np.ndarray, " P"]
    viscosities: Float[np.ndarray, " P"]
    entropies: Float[np.ndarray, " P"]
    is_minimum: np.ndarray
    ends: tuple[End, End]

    def at(self, viscosity: float) -> Float[np.ndarray, " K"]:
        """Where the branch passes a viscosity, by linear interpolation of its points."""
        lowest, highest = self.viscosities.min(), self.viscosities.max()
        # The range's ends went through a logarithm.
        viscosity = next((edge for edge in (lowest, highest) if np.isclose(edge, viscosity, 1e-12, 0)), viscosity)
        above = self.viscosities >= viscosity if viscosity == highest else self.viscosities > viscosity
        i = np.flatnonzero(above[1:] != above[:-1])
        share = (viscosity - self.viscosities[i]) / (self.viscosities[i + 1] - self.viscosities[i])
        return self.s[i] + share * (self.s[i + 1] - self.s[i])


@final
@dataclasses.dataclass(frozen=True)
class EntropyBranches:
    """All branches found, and the points where they meet; made by `entropy_branches`.

    - `layer`, `start`, `end`, `viscosities`: what was asked.
    - `branches`, `singular_points`: the latter by increasing viscosity.
    """

    layer: LogSumExp
    start: Float[np.ndarray, " d"]
    end: Float[np.ndarray, " d"]
    viscosities: tuple[float, float]
    branches: tuple[Branch, ...]
    singular_points: tuple[SingularPoint, ...]

    def count(self, viscosity: float) -> int:
        """How many critical points the branches have at a viscosity."""
        return sum(branch.at(viscosity).size for branch in self.branches)


def entropy_branches(
    layer: LogSumExp,
    start: ArrayInput,
    end: ArrayInput,
    lowest: ScalarLike,
    highest: ScalarLike,
    *,
    n_sections: int = 7,
) -> EntropyBranches:
    r"""Follows every critical point of the entropy along a segment while the viscosity varies.

    Weights and biases stay as they are. At `n_sections` viscosities all critical points are certified (see
    `critical_points_on_segment`); from those not yet on a branch the curve $\varphi(s, \varepsilon) = 0$ is followed
    both ways by pseudo-arclength continuation in $(s, \log\varepsilon)$, through folds. A curve that has no point at
    any of the sections, because it is born and ends between two of them, is not seen.

    Singular points are located by Newton's method: folds solve $\varphi = \varphi_s = 0$; where branches cross, the
    level set of $\varphi$ has a saddle, so that $\varphi_s = \varphi_\varepsilon = 0$ and $\varphi = 0$. The latter is
    what symmetry forces and what breaking it destroys: a perturbed pitchfork is a fold beside a curve without one.

    **Arguments:**

    - `layer`, `start`, `end`: as for `critical_points_on_segment`.
    - `lowest`, `highest`: the range of the viscosity, positive and increasing.
    - `n_sections`: at least 1, spaced evenly in $\log\varepsilon$ from `lowest` on.

    **Returns:** an `EntropyBranches`, to be drawn by `plot_entropy_branches`.

    **Raises:** `ValueError` as `critical_points_on_segment`, or if the range or `n_sections` is wrong.

    ??? cite "References"

        H. B. Keller, *Numerical solution of bifurcation and nonlinear eigenvalue problems*, in P. Rabinowitz (ed.),
        *Applications of Bifurcation Theory*, Academic Press, 1977.

        M. Golubitsky and D. G. Schaeffer, *Singularities and Groups in Bifurcation Theory I*, Springer, 1985, II.9
        (recognition of folds, pitchforks and transcritical points).
    """
    for name, value in (("lowest", lowest), ("highest", highest)):
        positive_scalar(value, name, layer.weights.dtype)
    lowest, highest = float(np.asarray(lowest)), float(np.asarray(highest))
    if not lowest < highest:
        raise ValueError(f"`lowest` must be below `highest`, got {lowest:g} and {highest:g}.")
    if n_sections < 1:
        raise ValueError(f"`n_sections` must be at least 1, got {n_sections}.")
    start, end, crossings = line_through(layer, start, end)
    weights, biases = active_neurons(layer)

    def entropy(s, viscosity):
        x = start + s * (end - start)
        return float(np.exp(LogEntropy(weights, biases, viscosity)(x[None])[0][0]))

    curve = Curve(crossings, np.log(lowest), np.log(highest))
    paths: list[Path] = []
    for viscosity in np.geomspace(lowest, highest, n_sections, endpoint=n_sections == 1):
        certified = critical_points_on_segment(layer, start, end, viscosity)
        for s, radius in zip(certified.s, certified.radii, strict=True):
            if not any(curve.passes(path, s, np.log(viscosity), radius) for path in paths):
                paths.append(curve.path_through(s, np.log(viscosity)))
    singular = [
        SingularPoint(
            kind, s, e, start + s * (end - start), entropy(s, e), *_unfolding(kind, crossings.jet(np.array(s), e))
        )
        for kind, s, e in singular_points(curve, paths)
    ]
    return EntropyBranches(
        layer=layer,
        start=start,
        end=end,
        viscosities=(lowest, highest),
        branches=tuple(_branch(path, entropy) for path in paths),
        singular_points=tuple(sorted(singular, key=lambda point: point.viscosity)),
    )


def _branch(path: Path, entropy: Callable[[float, float], float]) -> Branch:
    s, viscosities = path.points[:, 0], np.exp(path.points[:, 1])
    return Branch(
        s=s,
        viscosities=viscosities,
        entropies=np.array([entropy(*point) for point in zip(s, viscosities, strict=True)]),
        is_minimum=path.slopes < 0,
        ends=path.ends,
    )


def _unfolding(kind: Kind, jet: Jet) -> tuple[bool, float]:
    """Whether points are lost as the viscosity rises, and the constant of the square root."""
    if kind == "fold":
        square = -2 * float(jet.de / jet.dss)
    elif kind == "pitchfork":
        square = -6 * float(jet.dse / jet.dsss)
    else:
        return False, float("nan")
    return square < 0, 2 * abs(square) ** 0.5
