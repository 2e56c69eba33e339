r"""Free energies of a Gaussian field on the sphere, covariance $N\xi(q)$, by the Crisanti-Sommers functional.

The order parameter is the distribution function `x` of the overlap of two inputs, with jumps
at $q_0 \le \dots \le q_k$ between the levels $0 < m_1 < \dots < m_k < 1$, and $\hat x(q) = \int_q^1 x$.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, final

import numpy as np
from scipy.optimize import minimize

from hjpde._plotting import BLUE, given_or_new, tidy
from hjpde._types import ArrayInput, ScalarLike, known_number

from ._covariance_maps import CovarianceMap
from ._root import root_between

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@final
class FieldPhase(NamedTuple):
    r"""A minimiser of a free energy over inputs on the sphere among order parameters of some steps.

    - `beta`: the inverse temperature.
    - `free_energy`: $F = \lim\frac1N E\log Z$, for a field less that of the constant $\xi(0)$.
    - `energy`, `entropy`: $e = -F'(\beta)$, for a field $-\beta\int_0^1 \xi'(q)x(q)\,dq$, and $s = F + \beta e$.
    - `overlaps`: $q_0 \le \dots \le q_k$, where `x` jumps.
    - `levels`: $m_1 \le \dots \le m_k$ between them; `x` is 0 below $q_0$ and 1 above $q_k$.
    """

    beta: float
    free_energy: float
    energy: float
    entropy: float
    overlaps: np.ndarray
    levels: np.ndarray


@final
class GroundState(NamedTuple):
    r"""The ground state of a Gaussian field among order parameters of some steps.

    - `energy`: $\lim \frac1N \min H$, negative.
    - `overlaps`: breakpoints $q_0 \le \dots \le q_{k-1}$ of $\chi = \lim\beta\hat x$, constant below the first.
    - `slopes`: $-\chi'$ beyond each of them, up to the next or to 1.
    - `susceptibility`: $\chi(1)$.
    """

    energy: float
    overlaps: np.ndarray
    slopes: np.ndarray
    susceptibility: float


def free_energy_functional(xi: CovarianceMap, beta: ScalarLike, overlaps: ArrayInput, levels: ArrayInput) -> float:
    r"""The Crisanti-Sommers functional, whose least value over order parameters is the free energy,

    $$\tfrac12\Bigl\{\beta^2\!\int_0^1\! \xi'(q)x(q)\,dq + \int_0^{q_k}\!\frac{dq}{\hat x(q)} + \log(1 - q_k)\Bigr\}.$$

    **Arguments:** `xi`; `beta`; `overlaps`: $q_0 \le \dots \le q_k$ in $[0, 1)$; `levels`: $m_1 \le \dots \le m_k$ in
    $(0, 1]$.

    **Raises:** `ValueError` if they are not of that order and number.
    """
    q, m, beta = np.asarray(overlaps, float), np.asarray(levels, float), _inverse_temperature(beta)
    ordered = np.all(np.diff(q) >= 0) and np.all(np.diff(m) >= 0)
    if not (q.ndim == m.ndim == 1 and q.size == m.size + 1 and ordered and q[0] >= 0 and q[-1] < 1):
        raise ValueError("`overlaps` must be k + 1 increasing numbers in [0, 1) and `levels` k increasing ones.")
    if m.size and not (m[0] > 0 and m[-1] <= 1):
        raise ValueError(f"`levels` must be in (0, 1], got {m}.")
    return _functional(xi, beta, q, m)


def _functional(xi: CovarianceMap, beta: float, q: np.ndarray, m: np.ndarray) -> float:
    c = _integrals(q, m)
    entropic = np.log(c[-1]) + q[0] / c[0] + np.sum(np.log(c[:-1] / c[1:]) / m)
    return 0.5 * float(beta**2 * _work(xi, q, m) + entropic)


def _integrals(q: np.ndarray, m: np.ndarray) -> np.ndarray:
    r"""$\hat x$ at the overlaps."""
    return 1 - q[-1] + np.append(np.cumsum((m * np.diff(q))[::-1])[::-1], 0.0)


def _work(xi: CovarianceMap, q: np.ndarray, m: np.ndarray) -> float:
    r"""$\int_0^1 \xi'(q)x(q)\,dq$."""
    values = xi.value(np.append(q, 1.0))
    return float(np.append(m, 1.0) @ np.diff(values))


def field_phase(xi: CovarianceMap, beta: ScalarLike, overlaps: ArrayInput, levels: ArrayInput) -> FieldPhase:
    """The free energy, energy and entropy that an order parameter gives; arguments as of `free_energy_functional`."""
    q, m, beta = np.asarray(overlaps, float), np.asarray(levels, float), _inverse_temperature(beta)
    value = free_energy_functional(xi, beta, q, m)
    energy = -beta * _work(xi, q, m)
    return FieldPhase(beta, value, energy, value + beta * energy, q, m)


def field_replica_symmetric(xi: CovarianceMap, beta: ScalarLike) -> FieldPhase:
    r"""The replica-symmetric free energy: of the roots of $q/(1 - q)^2 = \beta^2\xi'(q)$, the one of least value.

    **Arguments:** `xi`; `beta`: finite and not negative.

    **Raises:** `ValueError` if `beta` is negative or not finite.
    """
    beta = _inverse_temperature(beta)

    def excess(q: float) -> float:
        return float(q - (1 - q) ** 2 * beta**2 * xi.slope(np.asarray(q)))

    # Uniform in log((1 - q)/q): roots crowd at both ends.
    grid = np.append(0.0, 1 / (1 + np.exp(-np.linspace(-16, 16, 641))))
    values = grid - (1 - grid) ** 2 * beta**2 * xi.slope(grid)
    roots = [float(q) for q, value in zip(grid, values, strict=True) if value == 0]
    for low, high, below, above in zip(grid[:-1], grid[1:], values[:-1], values[1:], strict=True):
        if below * above < 0:
            roots.append(root_between(excess, low, high))
    phases = [field_phase(xi, beta, np.array([q]), np.array([])) for q in roots]
    return min(phases, key=lambda phase: phase.free_energy)


def field_breaking(xi: CovarianceMap, beta: ScalarLike, steps: int = 1) -> FieldPhase:
    r"""The least free energy among order parameters of `steps` steps; the limit of many steps is the exact one.

    **Arguments:** `xi`; `beta`: finite and not negative; `steps`: `k`, 0 is `field_replica_symmetric`.

    **Raises:** `ValueError` if `beta` or `steps` is out of range.
    """
    _require_steps(steps)
    beta = _inverse_temperature(beta)
    symmetric = field_replica_symmetric(xi, beta)
    if steps == 0 or beta == 0:
        return symmetric

    def unpack(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return partition(p[: steps + 1]), partition(p[steps + 1 :])

    def value(p: np.ndarray) -> float:
        return _functional(xi, beta, *unpack(p))

    found = minimise_from(value, random_starts(2 * steps + 1))
    phase = field_phase(xi, beta, *unpack(found))
    return min(phase, symmetric, key=lambda phase: phase.free_energy)


def ground_state(xi: CovarianceMap, steps: int = 1) -> GroundState:
    r"""The ground state among order parameters of `steps` steps, by the functional of Chen and Sen,

    $$-\lim\frac1N\min H = \inf_\chi \tfrac12\Bigl\{\xi'(0)\chi(0) + \int_0^1 \xi''\chi\,dq
    + \int_0^1 \frac{dq}{\chi}\Bigr\},$$

    over decreasing concave positive $\chi$. Without a step it is $\sqrt{\xi'(1)}$, exact where
    $\xi''(1) \le \xi'(1)$.

    **Arguments:** `xi`; `steps`: not negative.

    **Raises:** `ValueError` if `steps` is negative.

    ??? cite "References"

        W.-K. Chen, A. Sen, *Parisi formula, disorder chaos and fluctuation for the ground state energy in the spherical
        mixed p-spin models*, Commun. Math. Phys. 350, 2017.
    """
    _require_steps(steps)
    slope = float(xi.slope(np.array(1.0)))
    if steps == 0:
        return GroundState(-np.sqrt(slope), np.array([]), np.array([]), 1 / np.sqrt(slope))

    def unpack(p: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        p = np.clip(p, -30, 30)
        return partition(p[:steps]), np.cumsum(np.exp(p[steps:-1])), float(np.exp(p[-1]))

    def value(p: np.ndarray) -> float:
        q, u, last = unpack(p)
        ends = np.append(q, 1.0)
        chi = last + np.append(np.cumsum((u * np.diff(ends))[::-1])[::-1], 0.0)
        # xi'(0) chi(0) + int xi'' chi, by parts on each segment.
        linear = xi.slope(np.array(1.0)) * last + u @ np.diff(xi.value(ends))
        return 0.5 * float(linear + q[0] / chi[0] + np.sum(np.log(chi[:-1] / chi[1:]) / u))

    found = minimise_from(value, random_starts(2 * steps + 1))
    q, u, last = unpack(found)
    return GroundState(-value(found), q, u, last)


def partition(logits: np.ndarray) -> np.ndarray:
    """Increasing numbers in (0, 1) from numbers without constraint: ends of the shares of a softmax."""
    shares = np.exp(np.clip(np.append(logits, 0.0), -30, 30))
    return np.cumsum(shares)[:-1] / shares.sum()


def random_starts(size: int, count: int = 6) -> list[np.ndarray]:
    """Points to start a minimisation from, always the same ones."""
    return list(np.random.default_rng(0).normal(size=(count, size)))


def minimise_from(value: Callable[[np.ndarray], float], starts: list[np.ndarray]) -> np.ndarray:
    """The best of the local minima that BFGS reaches."""
    options = {"gtol": 1e-7, "maxiter": 500}
    found = [minimize(value, start, method="BFGS", options=options) for start in starts]
    best = min(found, key=lambda result: result.fun).x
    # Valleys are flat: central differences follow them further.
    return minimize(value, best, method="BFGS", jac="3-point", options=options | {"gtol": 1e-8}).x


def plot_field_phase(phase: FieldPhase, ax: "Axes | None" = None) -> "Axes":
    r"""The distribution function of the overlap.

    **Arguments:** `phase`; `ax`: axes of matplotlib, or `None` for new ones.
    """
    ax = given_or_new(ax)
    q = np.concatenate([[0.0], phase.overlaps, [1.0]])
    ax.step(q, np.concatenate([[0.0], phase.levels, [1.0, 1.0]]), "-", where="post", color=BLUE)
    ax.set(xlabel="overlap q of two inputs", ylabel="P(overlap ≤ q)", ylim=(-0.02, 1.05))
    ax.set_title(f"β = {phase.beta:g}, F = {phase.free_energy:.5f}")
    tidy(ax, "both")
    return ax


def _inverse_temperature(beta: ScalarLike) -> float:
    number = known_number(beta, "beta")
    if not (np.isfinite(number) and number >= 0):
        raise ValueError(f"`beta` must be a finite inverse temperature >= 0, got {number:g}.")
    return number


def _require_steps(steps: int) -> None:
    if steps < 0:
        raise ValueError(f"`steps` must not be negative, got {steps}.")
