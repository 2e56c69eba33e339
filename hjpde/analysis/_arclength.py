r"""The curve $\varphi(s, \varepsilon) = 0$ followed by pseudo-arclength continuation, and its singular points."""

import dataclasses
from collections.abc import Callable
from typing import Literal, NamedTuple, final

import numpy as np
from jaxtyping import Float

from ._entropy_landscape import Crossings

End = Literal["viscosity", "segment", "closed", "stalled"]
Kind = Literal["fold", "pitchfork", "transcritical", "degenerate"]

_FIRST_STEP, _LONGEST_STEP, _SHORTEST_STEP = 0.01, 0.04, 1e-8
_MOST_STEPS = 20_000
_SMALLEST_COSINE = np.cos(0.2)
_NEWTON_STEPS = 30
_CONVERGED = 1e-13
_NEGLIGIBLE = 1e-9
_SAME = 1e-6


class Path(NamedTuple):
    r"""Points $(s, \log\varepsilon)$ of the curve, shape `(P, 2)`, with unit tangents, and $\varphi_s$ at each."""

    points: Float[np.ndarray, "P 2"]
    tangents: Float[np.ndarray, "P 2"]
    slopes: Float[np.ndarray, " P"]
    ends: tuple[End, End]


@final
@dataclasses.dataclass(frozen=True)
class Curve:
    r"""The zeros of $\varphi$ in $0 \le s \le 1$ and a range of $\log\varepsilon$."""

    crossings: Crossings
    lowest: float
    highest: float

    def linearised(self, point: Float[np.ndarray, "2"]) -> tuple[float, Float[np.ndarray, "2"]]:
        r"""$\varphi$ and $(\varphi_s, \varphi_{\log\varepsilon})$."""
        viscosity = float(np.exp(point[1]))
        jet = self.crossings.jet(np.array(point[0]), viscosity)
        return float(jet.value), np.array([jet.ds, viscosity * jet.de])

    def path_through(self, s: float, log_viscosity: float) -> Path:
        """The curve through one of its points, followed both ways until it leaves the rectangle or closes."""
        start = np.array([s, log_viscosity])
        tangent = _tangent(self.linearised(start)[1])
        points, end = self._follow(start, tangent)
        beginning = end
        if end != "closed":
            behind, beginning = self._follow(start, -tangent)
            points = [*reversed(behind[1:]), *points]
        gradients = np.array([self.linearised(point)[1] for point in points])
        tangents = np.array([_tangent(gradient) for gradient in gradients])
        for i in range(1, len(points)):
            tangents[i] *= np.copysign(1, tangents[i] @ tangents[i - 1])
        return Path(np.array(points), tangents, gradients[:, 0], (beginning, end))

    def passes(self, path: Path, s: float, log_viscosity: float, radius: float) -> bool:
        """Whether a path goes through a point, which is known to some radius in `s`."""
        points = path.points
        above = points[:, 1] > log_viscosity
        for i in np.flatnonzero(above[1:] != above[:-1]):
            share = (log_viscosity - points[i, 1]) / (points[i + 1, 1] - points[i, 1])
            landed = self._on_line(points[i] + share * (points[i + 1] - points[i]), axis=0)
            if landed is not None and abs(landed[0] - s) <= _SAME + radius:
                return True
        return False

    def _follow(self, start: np.ndarray, tangent: np.ndarray) -> tuple[list[np.ndarray], End]:
        points, first_tangent, step = [start], tangent, _FIRST_STEP
        while len(points) < _MOST_STEPS and step > _SHORTEST_STEP:
            point = self._corrected(points[-1] + step * tangent, tangent, step)
            following = None if point is None else _tangent(self.linearised(point)[1])
            if point is None or following is None or abs(following @ tangent) < _SMALLEST_COSINE:
                step /= 2
                continue
            left = self._exit(points[-1], point)
            if left is not None:
                return [*points, *left[0]], left[1]
            tangent = following * np.copysign(1, following @ tangent)
            points.append(point)
            if len(points) > 4 and np.hypot(*(point - start)) < step and tangent @ first_tangent > 0:
                return [*points, start], "closed"
            step = min(1.3 * step, _LONGEST_STEP)
        return points, "stalled"

    def _exit(self, before: np.ndarray, after: np.ndarray) -> tuple[list[np.ndarray], End] | None:
        """Where and how the curve leaves the rectangle between two of its points, if it does."""
        for axis, low, high in ((1, self.lowest, self.highest), (0, 0.0, 1.0)):
            if low <= after[axis] <= high:
                continue
            bound = low if after[axis] < low else high
            guess = before + (bound - before[axis]) / (after[axis] - before[axis]) * (after - before)
            guess[axis] = bound
            last = self._on_line(guess, axis=1 - axis)
            if last is None:
                return [], "stalled"
            return [last], "viscosity" if axis == 1 else "segment"
        return None

    def _corrected(self, predicted: np.ndarray, tangent: np.ndarray, step: float) -> np.ndarray | None:
        """The point of the curve on the normal to the tangent through the prediction, if it is near."""

        def system(point):
            value, gradient = self.linearised(point)
            return np.array([value, tangent @ (point - predicted)]), np.stack([gradient, tangent])

        return newton(system, predicted, within=step / 4)

    def _on_line(self, guess: np.ndarray, axis: int) -> np.ndarray | None:
        """The point of the curve near a guess when only one coordinate may move."""

        fixed = np.eye(2)[1 - axis]

        def system(point):
            value, gradient = self.linearised(point)
            return np.array([value, fixed @ (point - guess)]), np.stack([gradient, fixed])

        return newton(system, guess, within=_LONGEST_STEP)


def singular_points(curve: Curve, paths: list[Path]) -> list[tuple[Kind, float, float]]:
    """Kind, parameter and viscosity of each point of the paths where they turn back or cross, without repetition."""
    found: list[tuple[Kind, float, float]] = []
    for path in paths:
        turns = np.signbit(path.tangents[1:, 1]) != np.signbit(path.tangents[:-1, 1])
        folds = np.signbit(path.slopes[1:]) != np.signbit(path.slopes[:-1])
        for i in np.flatnonzero(turns | folds):
            before, after = path.points[i], path.points[i + 1]
            point = _singular_point_near(curve, (before + after) / 2, 4 * float(np.hypot(*(after - before))))
            if point is not None and not any(
                abs(point[1] - s) + abs(np.log(point[2] / viscosity)) < _SAME for _, s, viscosity in found
            ):
                found.append(point)
    return found


def _singular_point_near(curve: Curve, guess: np.ndarray, within: float) -> tuple[Kind, float, float] | None:
    def crossing(point):
        jet = curve.crossings.jet(np.array(point[0]), float(point[1]))
        return np.array([jet.ds, jet.de]), np.array([[jet.dss, jet.dse], [jet.dse, jet.dee]])

    def fold(point):
        jet = curve.crossings.jet(np.array(point[0]), float(point[1]))
        return np.array([jet.value, jet.ds]), np.array([[jet.ds, jet.de], [jet.dss, jet.dse]])

    guess = np.array([guess[0], np.exp(guess[1])])
    within = within * max(1.0, float(guess[1]))
    for system in (crossing, fold):
        point = newton(system, guess, within)
        if point is None:
            continue
        jet = curve.crossings.jet(np.array(point[0]), float(point[1]))
        if abs(jet.value) <= _NEGLIGIBLE:
            bent = abs(jet.dss) > _SAME * abs(jet.dsss)
            if system is fold:
                kind: Kind = "fold" if bent else "degenerate"
            elif jet.dse == 0 or (not bent and jet.dsss == 0):
                kind = "degenerate"
            else:
                kind = "transcritical" if bent else "pitchfork"
            return kind, float(point[0]), float(point[1])
    return None


def newton(
    system: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], start: np.ndarray, within: float
) -> np.ndarray | None:
    """The zero of two equations in two unknowns near a start, or `None` if there is none in the given distance."""
    point = start
    for _ in range(_NEWTON_STEPS):
        residual, jacobian = system(point)
        try:
            step = np.linalg.solve(jacobian, residual)
        except np.linalg.LinAlgError:
            return None
        point = point - step
        if not np.hypot(*(point - start)) <= within:
            return None
        if np.hypot(*step) < _CONVERGED:
            return point
    return None


def _tangent(gradient: Float[np.ndarray, "2"]) -> Float[np.ndarray, "2"]:
    return np.array([-gradient[1], gradient[0]]) / np.hypot(*gradient)
