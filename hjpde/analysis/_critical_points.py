r"""All critical points of the entropy along a segment, each with a proof."""

import dataclasses
from typing import NamedTuple, final

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import root_scalar

from hjpde._types import ArrayInput, ScalarLike, as_float_array, positive_scalar, require_finite
from hjpde.initial_data import LogSumExp

from ._entropy_landscape import Crossings, LogEntropy, active_neurons

_FIRST_CELLS = 64
_NARROWEST = 1e-9
_PAIRS_AT_ONCE = 1 << 21
_ROUNDOFF = float(np.finfo(float).eps)


@final
@dataclasses.dataclass(frozen=True)
class SegmentCriticalPoints:
    """The critical points of the entropy along a segment; made by `critical_points_on_segment`.

    - `layer`, `start`, `end`, `viscosity`: what was asked.
    - `s`: where they are, in units of the segment: `x = start + s (end - start)`, increasing, shape `(K,)`.
    - `radii`: how far the true ones may be from these, in the same units.
    - `is_minimum`: whether each is a minimum along the segment; the others are maxima.
    - `entropies`: in nats.
    - `unresolved`: intervals of `s` in which nothing could be decided, shape `(U, 2)`: near a fold, for instance.
    """

    layer: LogSumExp
    start: Float[np.ndarray, " d"]
    end: Float[np.ndarray, " d"]
    viscosity: float
    s: Float[np.ndarray, " K"]
    radii: Float[np.ndarray, " K"]
    is_minimum: np.ndarray
    entropies: Float[np.ndarray, " K"]
    unresolved: Float[np.ndarray, "U 2"]

    @property
    def certified(self) -> bool:
        """Whether it is proven that there are these critical points and no others."""
        return self.unresolved.size == 0

    @property
    def positions(self) -> Float[np.ndarray, "K d"]:
        return self.start + self.s[:, None] * (self.end - self.start)


def critical_points_on_segment(
    layer: LogSumExp, start: ArrayInput, end: ArrayInput, viscosity: ScalarLike | None = None
) -> SegmentCriticalPoints:
    r"""All critical points of $s \mapsto H(\pi(x(s)))$ for $x(s) = a + s(b - a)$, $0 \le s \le 1$, with a proof.

    They are the zeros of $\varphi(s) = s - E_\omega[s_{jk}]$ (see `Crossings`). **Proof of completeness.** Let $\omega$
    be the law of pairs at the centre of a cell $|s - c| \le r$, and $a, u$ the crossings and slopes of the pairs minus
    their means there. By Jensen's inequality the law at `s` is at most $\omega\, e^{r|u|/\varepsilon}$, hence
    $|E_s[g]| \le [g] := E_\omega[|g|\, e^{r|u|/\varepsilon}]$ for every `g`, and

    $$|\varphi''| \le K := \bigl([au^2] + [a][u^2] + 2[u][au] + 2[a][u]^2\bigr) / \varepsilon^2$$

    in the cell, since $-\varepsilon^2\varphi''$ is the joint cumulant $\kappa_s(a, u, u)$. By Taylor's theorem there is

    - no zero if $|\varphi(c)| > r|\varphi'(c)| + r^2K/2$;
    - at most one if $|\varphi'(c)| > rK$, and then exactly one if $\varphi$ changes sign over the cell.

    Cells of which neither is true are halved; those that stay undecided at a width of 1e-9 are reported. All
    inequalities leave room for the rounding errors of float64, in which all is computed. The scores along the segment
    are taken as they are in float64: the proof is about those.

    The cost grows with $N^2$ (all pairs of neurons) and with $1/\varepsilon$ (cells).

    **Arguments:**

    - `layer`: the layer, with `N` neurons of which at least two are not masked.
    - `start`, `end`: $a$ and $b$, shape `(d,)`.
    - `viscosity`: $\varepsilon > 0$ in place of the layer's own; weights and biases stay.

    **Returns:** a `SegmentCriticalPoints`, to be drawn by `plot_critical_points`.

    **Raises:** `ValueError` if a shape is wrong, a number is not finite, `viscosity` is not positive, the end points
    are equal, or all neurons have the same slope along the segment (the entropy is then constant).
    """
    start, end, crossings = line_through(layer, start, end)
    viscosity = known_viscosity(layer, viscosity)
    cells = _decided_cells(crossings, viscosity)
    roots, unresolved = _roots(crossings, viscosity, cells)
    s = np.array([root.s for root in roots])
    weights, biases = active_neurons(layer)
    points = start + s[:, None] * (end - start)
    return SegmentCriticalPoints(
        layer=layer,
        start=start,
        end=end,
        viscosity=viscosity,
        s=s,
        radii=np.array([root.radius for root in roots]),
        is_minimum=np.array([root.falls for root in roots], bool),
        entropies=np.exp(LogEntropy(weights, biases, viscosity)(points)[0]),
        unresolved=unresolved,
    )


def line_through(
    layer: LogSumExp, start: ArrayInput, end: ArrayInput
) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, " d"], Crossings]:
    """The end points in float64, and the crossings of the layer's scores on the line through them."""
    points = []
    for name, given in (("start", start), ("end", end)):
        point = as_float_array(given, name, 1)
        if point.shape != (layer.dim,):
            raise ValueError(f"`{name}` must have shape ({layer.dim},) as the layer's points, got {point.shape}.")
        require_finite(point, name)
        points.append(np.asarray(given, float))
    a, b = points
    if np.array_equal(a, b):
        raise ValueError(f"`start` and `end` must differ, got {a} twice.")
    weights, biases = active_neurons(layer)
    return a, b, Crossings.of(weights @ (b - a), weights @ a + biases)


def known_viscosity(layer: LogSumExp, viscosity: ScalarLike | None) -> float:
    """The viscosity in float64: the layer's own for `None`."""
    if viscosity is None:
        return float(layer.viscosity)
    positive_scalar(viscosity, "viscosity", layer.weights.dtype)
    return float(np.asarray(viscosity))


class _Cells(NamedTuple):
    """Cells of the segment in order. `sign`: of $\\varphi$ where it has no zero; `trend`: of $\\varphi'$ where it is
    monotone; both 0 where nothing is known. `steepness`: a lower bound of $|\\varphi'|$ where it is monotone."""

    left: Float[np.ndarray, " C"]
    right: Float[np.ndarray, " C"]
    sign: Int[np.ndarray, " C"]
    trend: Int[np.ndarray, " C"]
    steepness: Float[np.ndarray, " C"]


class _Root(NamedTuple):
    s: float
    radius: float
    falls: bool


def _decided_cells(crossings: Crossings, viscosity: float) -> _Cells:
    # A width that is no fraction of the segment keeps zeros of symmetric layers off the cells' ends.
    width = 1 / (_FIRST_CELLS - 0.382)
    edges = np.append(np.arange(_FIRST_CELLS) * width, 1.0)
    left, right = edges[:-1], edges[1:]
    decided = []
    while left.size:
        sign, trend, steepness = _tests(crossings, viscosity, left, right)
        done = (sign != 0) | (trend != 0) | (right - left <= _NARROWEST)
        decided.append(_Cells(left[done], right[done], sign[done], trend[done], steepness[done]))
        left, right = left[~done], right[~done]
        middle = (left + right) / 2
        left, right = np.concatenate([left, middle]), np.concatenate([middle, right])
    joined = _Cells(*(np.concatenate(columns) for columns in zip(*decided, strict=True)))
    order = np.argsort(joined.left)
    return _Cells(*(column[order] for column in joined))


def _tests(
    crossings: Crossings, viscosity: float, left: Float[np.ndarray, " C"], right: Float[np.ndarray, " C"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The two tests of the proof, on many cells."""
    block = max(1, _PAIRS_AT_ONCE // crossings.crossings.size)
    parts = [
        _tests_of_block(crossings, viscosity, left[i : i + block], right[i : i + block])
        for i in range(0, left.size, block)
    ]
    sign, trend, steepness = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return sign, trend, steepness


def _tests_of_block(crossings, viscosity, left, right):
    c, r = (left + right) / 2, (right - left) / 2
    # The ends of the cell are exact, its centre is not.
    r = r + _ROUNDOFF
    log_weights = crossings.log_weights(c, viscosity)
    weights = np.exp(log_weights)
    middle = (weights * crossings.crossings).sum(1)
    a = crossings.crossings - middle[:, None]
    u = crossings.slopes - (weights * crossings.slopes).sum(1)[:, None]
    value, slope = c - middle, 1 - (weights * a * u).sum(1) / viscosity

    with np.errstate(over="ignore", invalid="ignore"):
        tilted = np.exp(log_weights + r[:, None] * np.abs(u) / viscosity)

        def bound(values):
            return (tilted * np.abs(values)).sum(1)

        of_a, of_u, of_au = bound(a), bound(u), bound(a * u)
        curvature = bound(a * u * u) + of_a * bound(u * u) + 2 * of_u * of_au + 2 * of_a * of_u**2
        curvature = curvature / viscosity**2

        rounding = _rounding(crossings, viscosity, c)
        size = bound(crossings.crossings)
        value_error = rounding * (size + 1)
        slope_error = rounding * (size * np.abs(crossings.slopes).max() / viscosity + 1)
        apart = np.abs(value) - r * np.abs(slope) - r**2 * curvature / 2 > value_error + r * slope_error
        steepness = np.abs(slope) - r * curvature - slope_error
    monotone = ~apart & (steepness > 0)
    return (
        np.where(apart, np.sign(value), 0).astype(int),
        np.where(monotone, np.sign(slope), 0).astype(int),
        np.where(monotone, steepness, np.inf),
    )


def _rounding(crossings: Crossings, viscosity: float, s: np.ndarray) -> np.ndarray:
    """A bound of the relative error of the pairs' weights in float64, and of sums over them."""
    size = np.abs(crossings.slopes).max() * np.abs(s) + np.abs(crossings.offsets).max()
    return 16 * _ROUNDOFF * (size / viscosity + np.abs(crossings.log_masses).max() + crossings.crossings.size + 4)


def _value_and_error(crossings: Crossings, viscosity: float, s: float) -> tuple[float, float]:
    """$\\varphi$ at a point, and a bound of its rounding error."""
    at = np.array([s])
    weights = np.exp(crossings.log_weights(at, viscosity))[0]
    size = (weights * np.abs(crossings.crossings)).sum() + 1
    value = s - (weights * crossings.crossings).sum()
    return float(value), float(_rounding(crossings, viscosity, at)[0] * size)


def _sure_sign(crossings: Crossings, viscosity: float, s: float) -> int:
    """The sign of $\\varphi$ at a point, 0 if it is less than its rounding error."""
    value, error = _value_and_error(crossings, viscosity, s)
    return int(np.sign(value)) if abs(value) > error else 0


def _roots(crossings: Crossings, viscosity: float, cells: _Cells) -> tuple[list[_Root], Float[np.ndarray, "U 2"]]:
    """One root for each run of monotone cells over which the sign changes, and the intervals left undecided."""
    roots, unresolved = [], []
    breaks = np.flatnonzero((np.diff(cells.trend) != 0) | (np.diff(cells.sign) != 0)) + 1
    for run in np.split(np.arange(cells.left.size), breaks):
        left, right = float(cells.left[run[0]]), float(cells.right[run[-1]])
        if cells.sign[run[0]] != 0:
            continue
        if cells.trend[run[0]] == 0:
            unresolved.append((left, right))
            continue
        before, after = _sure_sign(crossings, viscosity, left), _sure_sign(crossings, viscosity, right)
        if before == 0 or after == 0:
            unresolved.append((left, right))
        elif before != after:
            roots.append(_root(crossings, viscosity, left, right, float(cells.steepness[run].min()), before > 0))
    return roots, np.array(unresolved).reshape(-1, 2)


def _root(crossings: Crossings, viscosity: float, left: float, right: float, steepness: float, falls: bool) -> _Root:
    """The zero in a monotone run, and its distance from the true one by the mean value theorem."""

    def phi(s):
        return _value_and_error(crossings, viscosity, s)[0]

    s = float(root_scalar(phi, bracket=(left, right), xtol=4 * _ROUNDOFF, rtol=4 * _ROUNDOFF).root)
    value, error = _value_and_error(crossings, viscosity, s)
    return _Root(s, (abs(value) + error) / steepness, falls)
