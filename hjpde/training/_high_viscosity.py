r"""The limit of large friction: how fast training with inertia becomes gradient flow, and gradient descent too."""

from typing import TYPE_CHECKING, Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PyTree
from scipy.integrate import solve_ivp

from hjpde._plotting import BLACK, BLUE, ORANGE, given_or_new, tidy
from hjpde._types import ArrayInput, ScalarLike, as_float_array

from ._damped_dynamics import DampedDynamics, at_rest, moved, positive_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def slow_velocity(dynamics: DampedDynamics, t: ScalarLike, theta: PyTree, corrections: int = 1) -> PyTree:
    r"""The velocity in slow time $\tau = \eta t$, $\eta = 1/\gamma$, once inertia has died away,

    $$\frac{d\theta}{d\tau} = -\nabla C - \eta^2\,\nabla^2 C\,\nabla C + O(\eta^4),$$

    of a cost that does not depend on time. The correction is of order $\eta^2$, not $\eta$.

    **Arguments:**

    - `dynamics`, `t`, `theta`: cost and friction, and where.
    - `corrections`: 0 for gradient flow, 1 for the equation above.

    **Raises:** `ValueError` if `corrections` is neither.
    """
    if corrections not in (0, 1):
        raise ValueError(f"`corrections` must be 0 or 1, got {corrections}.")
    force = jax.tree.map(jnp.negative, dynamics.gradient(t, theta))
    if not corrections:
        return force
    # The derivative of grad C along -grad C is minus the term that is wanted.
    parameters, rest = eqx.partition(theta, eqx.is_inexact_array)
    slope = jax.jvp(lambda q: dynamics.gradient(t, eqx.combine(q, rest)), (parameters,), (force,))[1]
    return moved(force, 1 / dynamics.friction**2, slope)


@final
class HighViscosity(eqx.Module):
    r"""Distances from gradient flow at a slow time $\tau = \eta t$; made by `high_viscosity_limit`.

    - `learning_rates`: $\eta = 1/\gamma$, shape `(n,)`.
    - `inertial`: $|\theta - \theta_\text{flow}|$ of $\ddot\theta + \gamma\dot\theta + \nabla C = 0$, shape `(n,)`.
    - `corrected`: the same against the flow with the correction of `slow_velocity`.
    - `discrete`: the same of gradient descent with step $\eta$; its error is Euler's, not that of inertia.
    """

    learning_rates: Float[np.ndarray, " n"]
    inertial: Float[np.ndarray, " n"]
    corrected: Float[np.ndarray, " n"]
    discrete: Float[np.ndarray, " n"]

    @property
    def orders(self) -> dict[str, float]:
        r"""The slopes of the logarithms of the distances by that of $\eta$."""
        names = ("inertial", "corrected", "discrete")
        x = np.log(self.learning_rates)
        return {name: float(np.polyfit(x, np.log(getattr(self, name)), 1)[0]) for name in names}


def high_viscosity_limit(
    dynamics: DampedDynamics,
    theta: ArrayInput,
    learning_rates: ArrayInput,
    *,
    slow_time: float = 1.0,
    start: str = "slow",
    tolerance: float = 1e-11,
) -> HighViscosity:
    r"""How training with inertia, and gradient descent, approach gradient flow as $\eta = 1/\gamma \to 0$.

    By adaptive implicit integration in slow time, to a tolerance; it needs float64 and is meant for small models: the
    Jacobian is formed.

    **Arguments:**

    - `dynamics`: the cost; the friction is that of each learning rate instead.
    - `theta`: the start, flat, shape `(d,)`; `jax.flatten_util.ravel_pytree` makes a model so.
    - `learning_rates`: at least two different, positive; gradient descent takes the nearest step that fits.
    - `slow_time`: $\tau > 0$, in units of $\eta t$.
    - `start`: with $\dot\theta$ on the slow motion, `-eta grad C` and its correction (`"slow"`), or at `"rest"`. At
      rest the corrected flow is off at order $\eta^2$ too, by the way not gone while velocity is built up.
    - `tolerance`: of the integration.

    **Raises:** `ValueError` if an argument is out of range.
    """
    rates = np.asarray(learning_rates, float)
    if rates.ndim != 1 or np.unique(rates).size < 2 or not np.all(np.isfinite(rates) & (rates > 0)):
        raise ValueError(f"`learning_rates` must hold at least two different positive numbers, got {learning_rates}.")
    if start not in ("slow", "rest"):
        raise ValueError(f"`start` must be 'slow' or 'rest', got {start!r}.")
    theta = as_float_array(theta, "theta", 1)
    at_rest(theta)
    tau = positive_number(slow_time, "slow_time")
    with_eta = jax.jit(lambda eta, q: _slow_field(dynamics, eta, q))
    hessian = jax.jit(lambda q: jax.hessian(lambda q: dynamics.cost(0.0, q))(q))
    first, d = np.asarray(theta), theta.shape[0]

    def integrated(field, y, jacobian=None):
        options: Any = {"method": "DOP853"} if jacobian is None else {"method": "Radau", "jac": jacobian}
        return solve_ivp(field, (0, tau), y, rtol=tolerance, atol=tolerance, **options).y[:d, -1]

    flow = integrated(lambda s, q: np.asarray(with_eta(0.0, q)), first)
    columns = []
    for eta in rates:
        velocity = np.asarray(with_eta(eta, first)) if start == "slow" else np.zeros(d)

        def field(s, y, eta=eta):
            return np.concatenate([y[d:], (np.asarray(with_eta(0.0, y[:d])) - y[d:]) / eta**2])

        def jacobian(s, y, eta=eta):
            curvature = np.asarray(hessian(y[:d]))
            return np.block([[np.zeros((d, d)), np.eye(d)], [-curvature / eta**2, -np.eye(d) / eta**2]])

        inertial = integrated(field, np.concatenate([first, velocity]), jacobian)
        corrected = integrated(lambda s, q, eta=eta: np.asarray(with_eta(eta, q)), first)
        steps, descended = max(1, round(tau / eta)), first
        for _ in range(steps):
            descended = descended + tau / steps * np.asarray(with_eta(0.0, descended))
        columns.append(
            [np.linalg.norm(inertial - flow), np.linalg.norm(inertial - corrected), np.linalg.norm(descended - flow)]
        )
    return HighViscosity(rates, *np.array(columns).T)


def plot_high_viscosity(limit: HighViscosity, ax: "Axes | None" = None) -> "Axes":
    """The distances from gradient flow against the learning rate, with their orders.

    **Arguments:** `limit`; `ax`: axes of matplotlib, or `None` for new ones.
    """
    ax = given_or_new(ax)
    tidy(ax)
    orders = limit.orders
    styles = {
        "discrete": ("s--", ORANGE, "gradient descent"),
        "inertial": ("o-", BLUE, "with inertia"),
        "corrected": ("^:", BLACK, "with inertia, from the corrected flow"),
    }
    for name, (style, colour, words) in styles.items():
        label = f"{words}: order {orders[name]:.2f}"
        ax.loglog(limit.learning_rates, getattr(limit, name), style, color=colour, markersize=5, label=label)
    ax.set(xlabel="learning rate η = 1/γ", ylabel="distance at a fixed ηt")
    ax.legend(frameon=False, fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return ax


def _slow_field(dynamics, eta, q):
    """`slow_velocity` for any `eta`, 0 among them."""
    gradient = jax.grad(lambda q: dynamics.cost(0.0, q))
    force = -gradient(q)
    return force + eta**2 * jax.jvp(gradient, (q,), (force,))[1]
