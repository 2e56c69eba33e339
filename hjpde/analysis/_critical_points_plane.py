"""Critical points of the entropy in a rectangle of the plane: minima, saddles and maxima."""

import dataclasses
import math
from typing import final

import numpy as np
from jaxtyping import Float, Int

from hjpde._types import ArrayInput, ScalarLike, as_float_array, require_finite
from hjpde.initial_data import LogSumExp

from ._critical_points import known_viscosity
from ._entropy_landscape import LogEntropy, active_neurons

KINDS = ("minimum", "saddle", "maximum")
"""Named by the index: the number of directions in which the entropy falls."""

_ITERATIONS = 60
_ROUNDS = 8
_STEP_CONVERGED = 1e-9
_MERGED = 1e-6
_TURN = np.pi / 4


@final
@dataclasses.dataclass(frozen=True)
class PlaneCriticalPoints:
    """The critical points of the entropy found in a rectangle; made by `critical_points_in_plane`.

    - `layer`, `lower`, `upper`, `viscosity`: what was asked.
    - `positions`: the points, ordered by index and entropy, shape `(K, 2)`.
    - `indices`: how many eigenvalues of the Hessian are negative: 0 for a minimum, 1 for a saddle, 2 for a maximum.
    - `entropies`: in nats.
    - `unresolved`: where the gradient vanishes to rounding but no point can be told, shape `(U, 2)`.
    - `degree`: how often the gradient turns around along the boundary, or `None` if it could not be followed.
    """

    layer: LogSumExp
    lower: Float[np.ndarray, "2"]
    upper: Float[np.ndarray, "2"]
    viscosity: float
    positions: Float[np.ndarray, "K 2"]
    indices: Int[np.ndarray, " K"]
    entropies: Float[np.ndarray, " K"]
    unresolved: Float[np.ndarray, "U 2"]
    degree: int | None

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(KINDS[index] for index in self.indices)

    @property
    def counts(self) -> tuple[int, int, int]:
        """How many minima, saddles and maxima."""
        minima, saddles, maxima = np.bincount(self.indices, minlength=3).tolist()
        return minima, saddles, maxima

    @property
    def balanced(self) -> bool:
        """Whether minima - saddles + maxima is the degree on the boundary, as Poincaré and Hopf's theorem asks.

        False means that points are missing. True is strong evidence that none is, but no proof: a saddle and an
        extremum may be missing together.
        """
        minima, saddles, maxima = self.counts
        return self.unresolved.size == 0 and minima - saddles + maxima == self.degree


def critical_points_in_plane(
    layer: LogSumExp,
    lower: ArrayInput,
    upper: ArrayInput,
    viscosity: ScalarLike | None = None,
    *,
    n_starts: int = 32,
) -> PlaneCriticalPoints:
    r"""The critical points of $x \mapsto H(\pi(x))$ in a rectangle, by deflated Newton iteration on $\nabla \log H$.

    $\log H$ has the critical points of $H$, with the same index, and is not flat where the entropy is exponentially
    small inside the cell of one neuron. Along the edge of two cells it is $\log\log 2$ but for an exponentially small
    part: at a low viscosity, points there are reported as unresolved.

    All starts of a grid are iterated at once; points found are divided out by the factor
    $\prod_r (1 + \ell^2/|x - r|^2)$, which leaves the other zeros and repels from these, and the starts are used again
    until nothing new comes. A point is resolved, and counted, if the rounding error of the gradient over the smallest
    eigenvalue of the Hessian is below 1e-6 of the rectangle.

    The degree of the gradient along the boundary, which is the sum of the signs of $\det\nabla^2 H$ over all critical
    points inside, tells when some are missing: see `PlaneCriticalPoints.balanced`.

    **Arguments:**

    - `layer`: the layer, in two dimensions, with at least two neurons that are not masked.
    - `lower`, `upper`: opposite corners, shape `(2,)`.
    - `viscosity`: $\varepsilon > 0$ in place of the layer's own; weights and biases stay.
    - `n_starts`: starts along each side, at least 2. They should be denser than the neurons' cells.

    **Returns:** a `PlaneCriticalPoints`, to be drawn by `plot_critical_points_in_plane`.

    **Raises:** `ValueError` if the layer is not two-dimensional, `lower` is not below `upper`, a number is not finite,
    `viscosity` is not positive, or there are too few starts.

    ??? cite "References"

        P. E. Farrell, A. Birkisson and S. W. Funke, *Deflation techniques for finding distinct solutions of nonlinear
        partial differential equations*, SIAM J. Sci. Comput. 37 (2015), Section 2.
    """
    lower, upper = _rectangle(layer, lower, upper)
    viscosity = known_viscosity(layer, viscosity)
    if n_starts < 2:
        raise ValueError(f"`n_starts` must be at least 2, got {n_starts}.")
    log_entropy = LogEntropy(*active_neurons(layer), viscosity)
    found, unresolved = _all_zeros(log_entropy, lower, upper, n_starts)
    value, _, hessian = log_entropy(found)
    indices = (np.linalg.eigvalsh(hessian) < 0).sum(1)
    order = np.lexsort((value, indices))
    return PlaneCriticalPoints(
        layer=layer,
        lower=lower,
        upper=upper,
        viscosity=viscosity,
        positions=found[order],
        indices=indices[order],
        entropies=np.exp(value[order]),
        unresolved=unresolved,
        degree=_degree(log_entropy, lower, upper),
    )


def _rectangle(layer: LogSumExp, lower: ArrayInput, upper: ArrayInput) -> tuple[np.ndarray, np.ndarray]:
    if layer.dim != 2:
        raise ValueError(f"`layer` must act on the plane, got a layer of dimension {layer.dim}.")
    corners = []
    for name, given in (("lower", lower), ("upper", upper)):
        corner = as_float_array(given, name, 1)
        if corner.shape != (2,):
            raise ValueError(f"`{name}` must have shape (2,), got {corner.shape}.")
        require_finite(corner, name)
        corners.append(np.asarray(given, float))
    if not np.all(corners[0] < corners[1]):
        raise ValueError(f"`lower` must be below `upper`, got {corners[0]} and {corners[1]}.")
    return corners[0], corners[1]


def _all_zeros(
    log_entropy: LogEntropy, lower: Float[np.ndarray, "2"], upper: Float[np.ndarray, "2"], n_starts: int
) -> tuple[Float[np.ndarray, "K 2"], Float[np.ndarray, "U 2"]]:
    """The zeros, and one point a cell of the grid where rounding hides them."""
    cell = (upper - lower) / n_starts
    axes = [low + width * (np.arange(n_starts) + 0.5) for low, width in zip(lower, cell, strict=True)]
    starts = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
    reach, merged = float(np.hypot(*cell)), _MERGED * math.dist(lower, upper)
    found, hidden = np.empty((0, 2)), np.empty((0, 2))
    for _ in range(_ROUNDS):
        arrived = _deflated_newton(log_entropy, starts, found, lower, upper, reach)
        resolved = _uncertainty(log_entropy, arrived) < merged
        hidden = np.concatenate([hidden, _distinct(arrived[~resolved], hidden, reach)])
        new = _distinct(arrived[resolved], found, merged)
        if not new.size:
            break
        found = np.concatenate([found, new])
    return found, hidden


def _deflated_newton(
    log_entropy: LogEntropy,
    starts: Float[np.ndarray, "S 2"],
    found: Float[np.ndarray, "K 2"],
    lower: Float[np.ndarray, "2"],
    upper: Float[np.ndarray, "2"],
    reach: float,
) -> Float[np.ndarray, "A 2"]:
    """Where the starts arrive; steps longer than `reach` are cut, and starts that leave the rectangle are dropped."""
    X, arrived = starts, []
    for _ in range(_ITERATIONS):
        _, gradient, hessian = log_entropy(X)
        eigenvalues, axes = np.linalg.eigh(hessian)
        eigenvalues = np.where(np.abs(eigenvalues) > np.finfo(float).tiny, eigenvalues, np.finfo(float).tiny)
        step = np.einsum("mij,mj,mkj,mk->mi", axes, 1 / eigenvalues, axes, gradient)
        length = np.hypot(*step.T)
        converged = length < _STEP_CONVERGED * reach
        arrived.append((X - step)[converged])
        X, step = X[~converged], step[~converged]
        # The step of M F is that of F times a number, by Sherman and Morrison.
        away = X[:, None] - found
        square = (away**2).sum(2)
        push = -2 * reach**2 * (away / (square * (square + reach**2))[:, :, None]).sum(1)
        step = step / (1 + (push * step).sum(1))[:, None]
        length = np.hypot(*step.T)[:, None]
        X = X - step * np.minimum(1, reach / np.maximum(length, np.finfo(float).tiny))
        X = X[np.all((lower <= X) & (upper >= X), axis=1)]
    return np.concatenate(arrived)


def _distinct(points: np.ndarray, known: np.ndarray, distance: float) -> np.ndarray:
    """Those of the points that are neither known nor repeated."""
    _, representatives = np.unique(np.round(points / distance), axis=0, return_index=True)
    kept = list(known)
    for point in points[representatives]:
        if all(math.dist(point, other) > distance for other in kept):
            kept.append(point)
    return np.array(kept[len(known) :]).reshape(-1, 2)


def _uncertainty(log_entropy: LogEntropy, X: Float[np.ndarray, "K 2"]) -> Float[np.ndarray, " K"]:
    """How far rounding may move a zero of the gradient: its error over the smallest eigenvalue of the Hessian."""
    scores = np.abs(X) @ np.abs(log_entropy.weights.T) + np.abs(log_entropy.biases)
    roundoff = np.finfo(float).eps * scores.max(1, initial=0) / log_entropy.viscosity
    error = 8 * roundoff * np.ptp(log_entropy.weights, axis=0).max() / log_entropy.viscosity
    eigenvalues = np.linalg.eigvalsh(log_entropy(X)[2])
    return error / np.maximum(np.abs(eigenvalues).min(1, initial=np.inf), np.finfo(float).tiny)


def _degree(log_entropy: LogEntropy, lower: np.ndarray, upper: np.ndarray, rounds: int = 24) -> int | None:
    """Turns of the gradient along the boundary; sides are refined until no two neighbours differ by over 45 degrees."""
    corners = np.array([lower, [upper[0], lower[1]], upper, [lower[0], upper[1]], lower])

    def angles(t):
        side = np.minimum(t.astype(int), 3)
        points = corners[side] + (t - side)[:, None] * (corners[side + 1] - corners[side])
        gradient = log_entropy(points)[1]
        return np.arctan2(gradient[:, 1], gradient[:, 0])

    t = np.linspace(0, 4, 257)
    angle = angles(t)
    for _ in range(rounds):
        turn = np.angle(np.exp(1j * np.diff(angle)))
        wide = np.abs(turn) > _TURN
        if not wide.any():
            return round(float(turn.sum()) / (2 * np.pi))
        middle = (t[:-1] + t[1:])[wide] / 2
        t, angle = np.concatenate([t, middle]), np.concatenate([angle, angles(middle)])
        order = np.argsort(t)
        t, angle = t[order], angle[order]
    return None
