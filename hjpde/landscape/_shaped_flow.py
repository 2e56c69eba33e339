r"""The correlation of two inputs along the depth of a network whose ReLU is shaped: a flow in $t = l/L$."""

import numpy as np
from scipy.integrate import solve_ivp

from hjpde._types import ArrayInput, ScalarLike, known_number

from ._covariance_maps import CovarianceMap


def shaped_relu_covariance(difference: ScalarLike, time: ScalarLike = 1.0) -> CovarianceMap:
    r"""$\xi(q) = c(t)$ of infinitely many shaped ReLU layers, slopes $1 + c_\pm/\sqrt L$ and variance held at 1.

    $$\dot c = a(c), \qquad a(c) = \frac{(c_+ - c_-)^2}{2\pi}\bigl(\sqrt{1 - c^2} - c\arccos c\bigr), \qquad c(0) = q;$$

    derivatives by $q$ follow the variational equations $\dot c' = a'(c)\,c'$ and
    $\dot c'' = a'(c)\,c'' + a''(c)\,c'^2$. At $q = 1$ the curvature is infinite.

    **Arguments:** `difference`: $c_+ - c_-$, finite; `time`: the depth in units of `L`, positive.

    **Raises:** `ValueError` if `difference` is not finite or `time` not positive.

    ??? cite "References"

        M. Li, M. Nica, D. Roy, *The neural covariance SDE*, NeurIPS 2022, for the limit; the flow is derived here.
    """
    difference, time = known_number(difference, "difference"), known_number(time, "time")
    if not np.isfinite(difference):
        raise ValueError(f"`difference` must be finite, got {difference}.")
    if not (np.isfinite(time) and time > 0):
        raise ValueError(f"`time` must be positive, got {time}.")
    strength = difference**2 / (2 * np.pi)

    def rate(_t: float, flat: np.ndarray) -> np.ndarray:
        c, slope, bend = flat.reshape(3, -1)
        c = np.clip(c, -1.0, 1.0)
        # Of what starts at 1 nothing moves, and the curvature stays what it is.
        sine = np.sqrt((1 - c) * (1 + c))
        a = strength * (sine - c * np.arccos(c))
        da, dda = -strength * np.arccos(c), np.divide(strength, sine, out=np.zeros_like(c), where=sine > 0)
        return np.concatenate([a, da * slope, da * bend + dda * slope**2])

    def flow(q: ArrayInput) -> np.ndarray:
        q = np.asarray(q, float)
        start = np.concatenate([q.ravel(), np.ones(q.size), np.zeros(q.size)])
        found = solve_ivp(rate, (0.0, time), start, rtol=1e-10, atol=1e-12)
        return found.y[:, -1].reshape(3, *q.shape)

    def curvature(q: ArrayInput) -> np.ndarray:
        return np.where(np.abs(q) < 1, flow(q)[2], np.inf if difference else 0.0)

    return CovarianceMap(lambda q: flow(q)[0], lambda q: flow(q)[1], curvature, "shaped ReLU")
