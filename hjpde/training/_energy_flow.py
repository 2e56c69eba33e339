"""Energy that flows through the layers of a network while it is trained on one sample after the other."""

from typing import TYPE_CHECKING, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hjpde._compilation import compiled_once
from hjpde._plotting import BLACK, BLUE, CYCLE, MARKERS, ORANGE, given_or_new, tidy
from hjpde._types import ArrayInput, ScalarLike, as_float_array, require_finite

from ._bulk_boundary import boundary_lagrangian, bulk_lagrangian, layer_costates
from ._conformal_symplectic import conformal_symplectic_step, require_form
from ._damped_dynamics import DampedDynamics, at_rest, positive_number
from ._neuron_coordinates import BiasCoordinates, Perceptron, to_neuron_coordinates

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def layer_energy(velocity: BiasCoordinates) -> Float[Array, " M"]:
    r"""$e_m = \tfrac12|\dot W^{(m)}|^2 + \tfrac12|\dot b^{(m)}|^2$ of all layers, shape `(M,)`, in units of `loss`."""
    pairs = zip(velocity.weights, velocity.biases, strict=True)
    return jnp.stack([(jnp.sum(W**2) + jnp.sum(b**2)) / 2 for W, b in pairs])


def layer_current(
    perceptron: Perceptron, state: BiasCoordinates, velocity: BiasCoordinates, x: ArrayInput, y: ArrayInput
) -> Float[Array, " M1"]:
    r"""$J_m = \delta^{(m)}\cdot\dot z^{(m)}$, the power that layer `m` takes from the one below; $J_0 = 0$ while the
    sample stays, and $J_M = d\ell/dt$ is what reaches the loss. The layers obey the continuity equation

    $$\frac{de_m}{dt} = -2\gamma e_m + J_m - J_{m+1}.$$

    **Arguments:**

    - `perceptron`: architecture and loss; once differentiable is enough. - `state`, `velocity`: weights and biases.
    - `x`, `y`: one sample, `x` of shape `(n_0,)`.

    **Returns:** shape `(M + 1,)`, in units of the loss per unit of time.

    **Raises:** `ValueError` as `to_neuron_coordinates`.
    """
    position, rate = jax.jvp(lambda q: to_neuron_coordinates(perceptron, q, x), (state,), (velocity,))
    pairs = zip(layer_costates(perceptron, position, y), rate.neurons, strict=True)
    currents = [delta @ z for delta, z in pairs]
    return jnp.stack([jnp.zeros_like(currents[0]), *currents])


@final
class EnergyFlow(eqx.Module):
    r"""Energies and currents of `M` layers along training on `S` samples, `K` steps on each; made by `energy_flow`.

    A row holds the `K + 1` times of one sample: its last column and the first of the next row are the same moment,
    before and after the sample is switched. Then velocities and energies go on as they were, while neurons, currents
    and loss jump.

    - `times`: shape `(S, K+1)`. - `friction`: $\gamma$.
    - `energies`: $e_m$, shape `(S, K+1, M)`. - `currents`: $J_0 .. J_M$, shape `(S, K+1, M+1)`.
    - `rates`: $de_m/dt = \dot\theta_m\cdot\ddot\theta_m$ with $\ddot\theta$ from the equation of motion, whose force is
      the gradient of the loss through the whole network, shape `(S, K+1, M)`.
    - `losses`: $\ell$; `bulk`, `boundary`: the parts of the Lagrangian; shape `(S, K+1)`.
    """

    times: Float[Array, "S K1"]
    friction: Float[Array, ""]
    energies: Float[Array, "S K1 M"]
    currents: Float[Array, "S K1 M1"]
    rates: Float[Array, "S K1 M"]
    losses: Float[Array, "S K1"]
    bulk: Float[Array, "S K1"]
    boundary: Float[Array, "S K1"]

    @property
    def residual(self) -> Float[Array, "S K1 M"]:
        r"""$de_m/dt + 2\gamma e_m - J_m + J_{m+1}$: 0 but for rounding."""
        return self.rates + 2 * self.friction * self.energies - self.currents[..., :-1] + self.currents[..., 1:]

    @property
    def jumps(self) -> Float[Array, " switches"]:
        """What each switch of the sample adds to the loss."""
        return self.losses[1:, 0] - self.losses[:-1, -1]

    @property
    def dissipated(self) -> Float[Array, " M"]:
        """What friction took from each layer, by the trapezoidal rule."""
        return 2 * self.friction * jnp.trapezoid(self.energies, self.times[..., None], axis=1).sum(0)


def energy_flow(
    perceptron: Perceptron,
    state: BiasCoordinates,
    X: ArrayInput,
    Y: ArrayInput,
    *,
    friction: ScalarLike,
    step_size: ScalarLike,
    steps_per_sample: int,
    velocity: BiasCoordinates | None = None,
    form: str = "strang",
) -> EnergyFlow:
    r"""Trains on one sample after the other, and follows the energy through the layers.

    **Arguments:**

    - `perceptron`: architecture and loss. - `state`: weights and biases at the start, whose dtype is kept.
    - `X`: the samples in the order of their use, shape `(S, n_0)`. - `Y`: their targets, shape `(S, ...)`.
    - `friction`: $\gamma > 0$. - `step_size`: $h > 0$, in units of time. - `steps_per_sample`: `K`, at least 1.
    - `velocity`: at the start; at rest by default.
    - `form`: of the step, as for `conformal_symplectic_step`.

    **Raises:** `ValueError` if an argument is out of range or shapes disagree.
    """
    X, Y = as_float_array(X, "X"), jnp.asarray(Y)
    if X.ndim != 2 or X.shape[0] == 0 or X.shape[1] != state.weights[0].shape[1]:
        raise ValueError(f"`X` must have shape (S, {state.weights[0].shape[1]}), S at least 1, got {X.shape}.")
    if Y.shape[:1] != X.shape[:1]:
        raise ValueError(f"`Y` must hold one target to each of {X.shape[0]} samples, got shape {Y.shape}.")
    require_finite(X, "X")
    if steps_per_sample < 1:
        raise ValueError(f"`steps_per_sample` must be at least 1, got {steps_per_sample}.")
    require_form(form)
    velocity = at_rest(state) if velocity is None else velocity
    dtype = state.weights[0].dtype
    h, friction = jnp.asarray(positive_number(step_size, "step_size"), dtype), positive_number(friction, "friction")
    columns = _energy_flow(perceptron, state, velocity, X.astype(dtype), Y, friction, h, steps_per_sample, form)
    steps = np.arange(X.shape[0])[:, None] * steps_per_sample + np.arange(steps_per_sample + 1)
    return EnergyFlow(h * jnp.asarray(steps, dtype), jnp.asarray(friction, dtype), *columns)


@compiled_once
def _energy_flow(perceptron, state, velocity, X, Y, friction, h, steps, form):
    def on_sample(moving, sample):
        dynamics = DampedDynamics(lambda t, q: perceptron.cost(q, *sample), friction)

        def step(moving, _):
            state, velocity = conformal_symplectic_step(dynamics, 0.0, moving[0], moving[1], h, form)
            return (state, velocity), _measured(perceptron, dynamics, state, velocity, *sample)

        first = _measured(perceptron, dynamics, *moving, *sample)
        moving, later = jax.lax.scan(step, moving, None, length=steps)
        return moving, jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first, later)

    return jax.lax.scan(on_sample, (state, velocity), (X, Y))[1]


def _measured(perceptron, dynamics, state, velocity, x, y):
    """The columns of an `EnergyFlow` from `energies` on, at one state."""
    acceleration = dynamics.acceleration(0.0, state, velocity)
    products = jax.tree.map(lambda v, a: jnp.sum(v * a), velocity, acceleration)
    rates = jnp.stack([W + b for W, b in zip(products.weights, products.biases, strict=True)])
    q, v = jax.jvp(lambda q: to_neuron_coordinates(perceptron, q, x), (state,), (velocity,))
    return (
        layer_energy(velocity),
        layer_current(perceptron, state, velocity, x, y),
        rates,
        perceptron.cost(state, x, y),
        bulk_lagrangian(perceptron, q, v),
        boundary_lagrangian(perceptron, q, v, x, y),
    )


def plot_energy_flow(flow: EnergyFlow, ax: "Axes | None" = None) -> "Axes":
    """The energy of every layer over time on a logarithmic axis; dotted lines where the sample is switched.

    **Arguments:** `flow`; `ax`: axes of matplotlib, or `None` for new ones.
    """
    ax = _over_time(flow, flow.energies, "layer {}", ax)
    ax.set(yscale="log", ylabel="kinetic energy $e_m$ [units of the loss]")
    ax.legend(frameon=False, fontsize=9)
    return ax


def plot_layer_currents(flow: EnergyFlow, ax: "Axes | None" = None) -> "Axes":
    """The current into every layer and into the loss over time, with its jumps where the sample is switched.

    **Arguments:** `flow`; `ax`: axes of matplotlib, or `None` for new ones.
    """
    ax = _over_time(flow, flow.currents[..., 1:], "out of layer {}", ax)
    ax.axhline(0, color=BLACK, linewidth=0.8)
    ax.set(ylabel="current $J_{m+1}$ [loss / time]")
    ax.legend(frameon=False, fontsize=9)
    return ax


def plot_bulk_and_boundary(flow: EnergyFlow, ax: "Axes | None" = None) -> "Axes":
    """Both parts of the Lagrangian and their sum over time; all of them jump where the sample is switched.

    **Arguments:** `flow`; `ax`: axes of matplotlib, or `None` for new ones.
    """
    ax = given_or_new(ax)
    tidy(ax)
    parts = ((flow.bulk, BLUE, "-", "bulk"), (flow.boundary, ORANGE, "--", "boundary"))
    for values, colour, style, name in (*parts, (flow.bulk + flow.boundary, BLACK, ":", "sum, the Lagrangian")):
        ax.plot(_broken(flow.times), _broken(values), style, color=colour, label=name)
    ax.set(xlabel="time t", ylabel="Lagrangian [units of the loss]")
    ax.legend(frameon=False, fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    return ax


def _over_time(flow, values, name, ax):
    """One line a layer, broken at the switches, with markers that tell lines apart."""
    ax = given_or_new(ax, 7.2, 3.8)
    tidy(ax)
    times = _broken(flow.times)
    for t in flow.times[1:, 0]:
        ax.axvline(float(t), color="#999999", linestyle=":", linewidth=0.9, zorder=0)
    for m in range(values.shape[-1]):
        style = {"color": CYCLE[m % len(CYCLE)], "marker": MARKERS[m % len(MARKERS)], "markersize": 4}
        every = (m * 3, max(1, times.size // 14))
        ax.plot(times, _broken(values[..., m]), label=name.format(m), markevery=every, linewidth=1.4, **style)
    ax.set(xlabel="time t", xlim=(float(flow.times[0, 0]), float(flow.times[-1, -1])))
    return ax


def _broken(values: Float[Array, "S K1"]) -> np.ndarray:
    """The rows one after the other with a gap between, so that jumps are not joined."""
    rows = np.asarray(values)
    return np.concatenate([rows, np.full_like(rows[:, :1], np.nan)], axis=1).ravel()
