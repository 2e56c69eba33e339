"""Where the energy of training goes: the balance along a trajectory, and the action of the trajectory."""

from typing import TYPE_CHECKING, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hjpde._plotting import BLACK, BLUE, GREEN, ORANGE, given_or_new, tidy
from hjpde._types import Scalar

from ._conformal_symplectic import Trajectory
from ._damped_dynamics import DampedDynamics, squared_norm

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@final
class EnergyBalance(eqx.Module):
    r"""The energy of training and what became of it; all arrays have shape `(T,)` and the units of the cost.

    - `times`: those of the trajectory.
    - `kinetic`: $\tfrac12|\dot\theta|^2$. - `cost`: $C$.
    - `dissipated`: $\int\gamma|\dot\theta|^2\,dt$ since the start, by the trapezoidal rule.
    - `injected`: $\int\partial_t C\,dt$ since the start; 0 for a cost that does not depend on time.
    """

    times: Float[Array, " T"]
    kinetic: Float[Array, " T"]
    cost: Float[Array, " T"]
    dissipated: Float[Array, " T"]
    injected: Float[Array, " T"]

    @property
    def defect(self) -> Float[Array, " T"]:
        """What the balance does not account for, $E(t) - E(0) + $ dissipated $-$ injected: 0 for exact solutions."""
        energy = self.kinetic + self.cost
        return energy - energy[0] + self.dissipated - self.injected

    @property
    def relative_defect(self) -> Scalar:
        """The largest defect as a part of the energy that was dissipated."""
        return jnp.max(jnp.abs(self.defect)) / self.dissipated[-1]


@eqx.filter_jit
def energy_balance(dynamics: DampedDynamics, trajectory: Trajectory) -> EnergyBalance:
    r"""The balance $\frac{d}{dt}\bigl(\tfrac12|\dot\theta|^2 + C\bigr) = -\gamma|\dot\theta|^2 + \partial_t C$ along a
    trajectory.

    The defect falls with the step: at order 1 for heavy ball, at order 2 for Strang's form.

    **Arguments:**

    - `dynamics`: those that made the trajectory.
    - `trajectory`: from `simulate`.
    """
    kinetic = jax.vmap(squared_norm)(trajectory.velocities) / 2
    cost = _along(dynamics.cost, trajectory)
    t, rate = trajectory.times, 2 * dynamics.friction.astype(kinetic.dtype) * kinetic
    injected = _along(dynamics.injected, trajectory)
    return EnergyBalance(t, kinetic, cost, _integrals(t, rate), _integrals(t, injected))


@eqx.filter_jit
def action(dynamics: DampedDynamics, trajectory: Trajectory) -> Scalar:
    r"""$S = \int e^{\gamma t}\bigl(\tfrac12|\dot\theta|^2 - C\bigr)\,dt$ along a trajectory, by the trapezoidal rule.

    Solutions make it stationary among all paths with the same ends. The weight overflows where $\gamma t$ exceeds the
    range of the dtype (709 in float64, 88 in float32).

    **Arguments:** as for `energy_balance`.

    **Returns:** a scalar in units of the cost times those of time.
    """
    kinetic = jax.vmap(squared_norm)(trajectory.velocities) / 2
    weight = jnp.exp(dynamics.friction.astype(trajectory.times.dtype) * trajectory.times)
    return jnp.trapezoid(weight * (kinetic - _along(dynamics.cost, trajectory)), trajectory.times)


def plot_energy_balance(balance: EnergyBalance, ax: "Axes | None" = None) -> "Axes":
    """Kinetic energy, cost and dissipated energy over time, stacked: their sum stays where it was.

    **Arguments:** `balance`; `ax`: axes of matplotlib, or `None` for new ones.
    """
    ax = given_or_new(ax)
    tidy(ax)
    parts = (balance.cost, balance.kinetic, balance.dissipated)
    layers = ax.stackplot(
        balance.times, *parts, colors=(BLUE, ORANGE, GREEN), alpha=0.55, labels=("cost", "kinetic", "dissipated")
    )
    for layer, hatch in zip(layers, ("", "///", "..."), strict=True):
        layer.set(hatch=hatch, edgecolor="white", linewidth=0)
    total = balance.kinetic[0] + balance.cost[0] + balance.injected
    ax.plot(balance.times, total, color=BLACK, linestyle="--", linewidth=1.2, label="put in")
    ax.set(xlabel="time t", ylabel="energy [units of the cost]", xlim=(balance.times[0], balance.times[-1]))
    ax.legend(frameon=False)
    return ax


def _along(function, trajectory: Trajectory) -> Float[Array, " T"]:
    """A function of time and parameters at every recorded state."""
    moving, rest = eqx.partition(trajectory.positions, eqx.is_inexact_array)
    return jax.vmap(lambda t, parameters: function(t, eqx.combine(parameters, rest)))(trajectory.times, moving)


def _integrals(t: Float[Array, " T"], rate: Float[Array, " T"]) -> Float[Array, " T"]:
    """From the first time to each, by the trapezoidal rule."""
    pieces = jnp.diff(t) * (rate[1:] + rate[:-1]) / 2
    return jnp.concatenate([jnp.zeros_like(rate[:1]), jnp.cumsum(pieces)])
