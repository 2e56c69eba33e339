r"""Which symmetry the replicas of a Gaussian field break, and at which temperatures."""

from typing import Literal, NamedTuple, final

import numpy as np
from scipy.optimize import minimize_scalar

from hjpde._types import ArrayInput, ScalarLike, known_number

from ._covariance_maps import CovarianceMap
from ._full_breaking import first_overlap, full_breaking
from ._gaussian_field import FieldPhase, field_breaking, field_replica_symmetric
from ._root import root_between

Phase = Literal["replica symmetric", "one step", "several steps", "full"]


def field_replicon(xi: CovarianceMap, phase: FieldPhase) -> float:
    r"""$\beta^2(1 - q)^2\xi''(q)$ at the highest overlap: by de Almeida and Thouless, stable if at most 1."""
    q = phase.overlaps[-1]
    return float(phase.beta**2 * (1 - q) ** 2 * xi.curvature(q))


@final
class CriticalPoint(NamedTuple):
    """Where an overlap first solves a condition: the `overlap`, and the inverse temperature `beta`."""

    overlap: float
    beta: float


def almeida_thouless(xi: CovarianceMap) -> CriticalPoint | None:
    r"""Where the replica-symmetric saddle loses local stability on cooling: the first root of $q\,\xi'' = \xi'$.

    **Returns:** `None` if it is stable down to temperature 0. Symmetry may break before, with a jump
    (`optimality_gap`).
    """

    q = first_overlap(xi)
    if q is None:
        return None
    # At q = 0 the condition is that of its limit, beta^2 xi''(0) = 1.
    ratio = q / xi.slope(np.array(q)) if q > 0 else 1 / xi.curvature(np.array(0.0))
    return CriticalPoint(q, float(np.sqrt(ratio) / (1 - q)))


def zero_temperature_ratio(xi: CovarianceMap) -> float:
    r"""$\xi''(1)/\xi'(1)$: the ground state is replica symmetric if and only if this is at most 1."""
    return float(xi.curvature(np.array(1.0)) / xi.slope(np.array(1.0)))


def optimality_gap(xi: CovarianceMap, phase: FieldPhase, points: int = 4001) -> float:
    r"""By how much an order parameter fails to be the global minimiser: 0 if and only if it is (Talagrand).

    The function $g(u) = \int_0^u [\beta^2\xi'(s) - \int_0^s \hat x^{-2}]\,ds$ must be largest wherever `x` has
    mass; the gap is its maximum less its least value there.

    **Arguments:** `xi`; `phase`: the order parameter; `points`: where `g` is looked at between 0 and 1.

    ??? cite "References"

        M. Talagrand, *Free energy of the spherical mean field model*, Probab. Theory Relat. Fields 134, 2006.
    """
    ends = np.concatenate([[0.0], phase.overlaps])
    levels = np.concatenate([[0.0], phase.levels, [1.0]])
    hat = np.concatenate([1 - phase.overlaps[-1:], np.diff(ends)[::-1] * levels[-2::-1]]).cumsum()[::-1]
    # Integrals of 1/hat^2 and of that, in closed form on each segment.
    inner, outer, widths = [0.0], [0.0], np.diff(ends)
    for i, width in enumerate(widths):
        once, twice = _segment(levels[i], hat[i], width)
        outer.append(outer[-1] + inner[-1] * width + float(twice))
        inner.append(inner[-1] + float(once))
    u = np.union1d(np.linspace(0, 1, points)[:-1], phase.overlaps)
    i = np.clip(np.searchsorted(ends, u, side="right") - 1, 0, len(ends) - 1)
    _, twice = _segment(levels[i], hat[i], u - ends[i])
    g = phase.beta**2 * (xi.value(u) - xi.value(np.array(0.0)))
    g = g - (np.array(outer)[i] + np.array(inner)[i] * (u - ends[i]) + twice)
    return float(g.max() - g[np.searchsorted(u, phase.overlaps)].min())


def _segment(level: ArrayInput, hat: ArrayInput, width: ArrayInput) -> tuple[np.ndarray, np.ndarray]:
    r"""$\int dt/\hat x^2$ and its integral over a segment on which $\hat x = $ `hat` $- $ `level` $t$."""
    level, hat, width = np.asarray(level), np.asarray(hat), np.asarray(width)
    m = np.where(level > 0, level, 1.0)
    after = hat - level * width
    once = np.where(level > 0, (1 / after - 1 / hat) / m, width / hat**2)
    twice = np.where(level > 0, np.log(hat / after) / m**2 - width / (m * hat), width**2 / (2 * hat**2))
    return once, twice


def classify(xi: CovarianceMap, beta: ScalarLike, tolerance: float = 1e-6) -> Phase:
    r"""The phase of a Gaussian field: the simplest order parameter that passes `optimality_gap`.

    **Arguments:**

    - `xi`, `beta`.
    - `tolerance`: of the gap, in units of $1 + \beta^2(\xi(1) - \xi(0))$; the minimisers are known to about 1e-8.

    **Returns:** `"replica symmetric"`, `"one step"`, `"full"` (a continuous part that reaches its last overlap), or
    `"several steps"` for all else.

    **Raises:** `ValueError` if `beta` is negative or not finite.
    """
    beta = known_number(beta, "beta")
    allowed = tolerance * (1 + beta**2 * float(xi.value(np.array(1.0)) - xi.value(np.array(0.0))))
    symmetric = field_replica_symmetric(xi, beta)
    if field_replicon(xi, symmetric) <= 1 + tolerance and optimality_gap(xi, symmetric) <= allowed:
        return "replica symmetric"
    # Close to its onset a continuous part is hard to tell from a step by its gap, and easy by its existence.
    full = full_breaking(xi, beta)
    if full is not None and optimality_gap(xi, full) <= allowed:
        return "full"
    return "one step" if optimality_gap(xi, field_breaking(xi, beta)) <= allowed else "several steps"


@final
class Thresholds(NamedTuple):
    r"""Temperatures of a field without linear part at which its landscape changes.

    - `dynamic`: $T_d$, below which inputs are trapped in exponentially many states, with overlap `dynamic_overlap`.
    - `static`: $T_s$, below which a few states dominate, with overlap `static_overlap`.
    """

    dynamic: float
    dynamic_overlap: float
    static: float
    static_overlap: float


def complexity_thresholds(xi: CovarianceMap) -> Thresholds:
    r"""Where the complexity of states appears and where it vanishes, for $\xi'(0) = \xi''(0) = 0$.

    $T_d^{-2} = \min_q q/((1 - q)\xi'(q))$; at $T_s$, $\beta^2\xi(q) = -\log(1 - q) - q$ and
    $\beta^2\xi'(q) = q/(1 - q)$ hold together.

    **Raises:** `ValueError` if $\xi$ has a linear or a quadratic part, so that its transition need not be a jump.
    """
    if float(xi.slope(np.array(0.0))) > 1e-12 or float(xi.curvature(np.array(0.0))) > 1e-12:
        raise ValueError("`xi` must have no linear and no quadratic part for its transition to be a jump.")
    offset = float(xi.value(np.array(0.0)))

    def square(q: float) -> float:
        return q / ((1 - q) * float(xi.slope(np.asarray(q))))

    def excess(q: float) -> float:
        return -np.log1p(-q) - q - square(q) * (float(xi.value(np.asarray(q))) - offset)

    found = minimize_scalar(square, bounds=(1e-6, 1 - 1e-9), method="bounded", options={"xatol": 1e-12})
    q_d = float(found.x)  # pyright: ignore[reportAttributeAccessIssue]
    q_s = root_between(excess, q_d, 1 - 1e-12)
    return Thresholds(square(q_d) ** -0.5, q_d, square(q_s) ** -0.5, q_s)
