r"""Full breaking of the replica symmetry of a Gaussian field: an order parameter with a continuous part.

On it $\hat x(q) = 1/(\beta\sqrt{\xi''(q)})$, so that `x` increases only where $1/\sqrt{\xi''}$ is concave.
"""

from typing import NamedTuple, final

import numpy as np
from scipy.integrate import quad

from hjpde._types import ScalarLike, known_number

from ._covariance_maps import CovarianceMap
from ._gaussian_field import FieldPhase, field_phase
from ._root import root_between

_LEVELS = 400


@final
class FullGroundState(NamedTuple):
    r"""A ground state whose order parameter is continuous from `overlap` to 1; `energy` is $\lim\frac1N\min H$."""

    energy: float
    overlap: float


def full_breaking(xi: CovarianceMap, beta: ScalarLike, levels: int = _LEVELS) -> FieldPhase | None:
    r"""The order parameter that is 0 below $q_0$, continuous on $[q_0, q_1]$ and 1 above.

    $q_0\,\xi''(q_0) = \xi'(q_0)$ and $\beta(1 - q_1)\sqrt{\xi''(q_1)} = 1$ are its ends.

    **Arguments:** `xi`; `beta`: not negative; `levels`: the number of steps that the continuous part is cut into; their
    free energy is above the limit by $O(1/\text{levels}^2)$.

    **Returns:** `None` if there is none: the ends do not exist or are out of order, or `x` would not increase.
    """
    beta = known_number(beta, "beta")
    q0 = first_overlap(xi)
    if q0 is None or not beta > 0:
        return None

    def excess(q: float) -> float:
        return float(beta**2 * (1 - q) ** 2 * xi.curvature(np.asarray(q)) - 1)

    if excess(q0) <= 0:
        return None
    q1 = root_between(excess, q0, 1 - 1e-13)
    q = np.linspace(q0, q1, levels + 1)
    hat = 1 / (beta * np.sqrt(xi.curvature(q)))
    x = -np.diff(hat) / np.diff(q)
    if not (x[0] >= 0 and x[-1] <= 1 and np.all(np.diff(x) >= -1e-9)):
        return None
    return field_phase(xi, beta, q, np.maximum.accumulate(np.maximum(x, 1e-300)))


def full_breaking_ground_state(xi: CovarianceMap) -> FullGroundState | None:
    r"""$-\lim\frac1N\min H = \frac12[\xi'(q_0)\chi_0 + q_0/\chi_0] + \int_{q_0}^1 \sqrt{\xi''}$ with
    $\chi_0 = \xi''(q_0)^{-1/2}$.

    **Returns:** `None` if the order parameter is not continuous up to 1: there is no $q_0$, or $1/\sqrt{\xi''}$ is not
    concave beyond it.
    """
    q0 = first_overlap(xi)
    if q0 is None:
        return None
    q = np.linspace(q0, 1, 402)[:-1]
    if np.any(np.diff(xi.curvature(np.maximum(q, 1e-12)) ** -0.5, 2) > 1e-12):
        return None
    chi = float(xi.curvature(np.array(q0))) ** -0.5

    # With 1 - q = t^2 an inverse square root at 1, as ReLU has, is smooth.
    def integrand(t: float) -> float:
        return 2 * t * float(xi.curvature(np.array(1 - t**2))) ** 0.5 if t > 0 else 0.0

    integral = quad(integrand, 0.0, np.sqrt(1 - q0), epsabs=1e-11, epsrel=1e-11)[0]
    start = 0.5 * (float(xi.slope(np.array(q0))) * chi + q0 / chi)
    return FullGroundState(-float(start + integral), q0)


def first_overlap(xi: CovarianceMap) -> float | None:
    r"""The first root of $q\,\xi''(q) = \xi'(q)$: 0 without a linear part, `None` if there is none before 1."""
    if float(xi.slope(np.array(0.0))) == 0:
        return 0.0 if float(xi.curvature(np.array(0.0))) > 0 else None

    def excess(q: float) -> float:
        return float(q * xi.curvature(np.asarray(q)) - xi.slope(np.asarray(q)))

    grid = 1 / (1 + np.exp(-np.linspace(-12, 20, 801)))
    above = np.flatnonzero(grid * xi.curvature(grid) > xi.slope(grid))
    return None if above.size == 0 else root_between(excess, float(grid[above[0] - 1]), float(grid[above[0]]))
