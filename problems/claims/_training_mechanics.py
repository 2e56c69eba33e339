"""Claims about training as mechanics: the action, the viscous limit and its order, the expanding space."""

import numpy as np
from scipy.integrate import simpson, solve_ivp

from hjpde._plotting import BLUE, GREEN, ORANGE, tidy
from hjpde.training import DampedDynamics, DeSitter, high_viscosity_limit, plot_de_sitter, plot_high_viscosity

from ._claim import Check, Claim, Evidence, Setting
from ._sources import BULK_BOUNDARY, SYNAPTIC

_START = np.array([0.4, -0.8])


def _cost(w):
    return w[0] ** 4 / 4 - w[0] ** 2 / 2 + 0.3 * w[0] * w[1] + w[1] ** 2


def _gradient(w):
    return np.array([w[0] ** 3 - w[0] + 0.3 * w[1], 2 * w[1] + 0.3 * w[0]])


def _solution(friction: float, times: np.ndarray, velocity: np.ndarray) -> np.ndarray:
    """Positions and velocities of w'' + friction w' + grad C = 0 at some times, shape `(4, T)`."""

    def field(t, y):
        return np.concatenate([y[2:], -friction * y[2:] - _gradient(y[:2])])

    start = np.concatenate([_START, velocity])
    options = {"method": "DOP853", "rtol": 1e-12, "atol": 1e-13}
    return solve_ivp(field, (times[0], times[-1]), start, t_eval=times, **options).y


def _action(setting: Setting) -> Evidence:
    """The action of the solution among paths with the same ends, and its derivative by the last of them."""
    friction, times = 1.2, np.linspace(0, 2, 2001)
    path = _solution(friction, times, np.array([0.7, 0.2]))
    bump, ramp = (np.sin(np.pi * times / 2), np.pi / 2 * np.cos(np.pi * times / 2)), (times / 2, np.full(2001, 0.5))

    def action(direction, shape, weighted=True):
        w, v = (old + np.outer(direction, change) for old, change in zip((path[:2], path[2:]), shape, strict=True))
        weight = np.exp(friction * times) if weighted else 1.0
        return float(np.asarray(simpson(weight * ((v**2).sum(0) / 2 - _cost(w)), x=times)))

    def derivative(direction, *options):
        """By the five-point formula, which is exact for a quartic polynomial of the amplitude, as here."""
        at = {k: action(k * direction / 4, *options) for k in (-2, -1, 1, 2)}
        return (8 * (at[1] - at[-1]) - (at[2] - at[-2])) / 3

    directions, amplitudes = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, -2.0]]), np.linspace(-0.3, 0.3, 13)
    variations, unweighted = (max(abs(derivative(d, bump, weighted)) for d in directions) for weighted in (True, False))
    ends = [derivative(e, ramp) for e in np.eye(2)]
    momentum = np.exp(friction * times[-1]) * path[2:, -1]
    curves = {weighted: [action(a * np.ones(2), bump, weighted) for a in amplitudes] for weighted in (True, False)}

    def draw(ax):
        tidy(ax)
        for weighted, style, colour, name in ((True, "o-", BLUE, "with the weight"), (False, "s--", ORANGE, "without")):
            curve = np.array(curves[weighted]) - curves[weighted][6]
            ax.plot(amplitudes, curve, style, color=colour, markersize=4, label=name)
        ax.set(xlabel="amplitude of a bump added to the trajectory", ylabel="action − action of the trajectory")
        ax.legend(frameon=False)
        return ax

    return Evidence(
        stated=(
            Check(
                "largest first variation of the action in three directions",
                variations,
                0.0,
                1e-9,
            ),
            Check("derivative by the end against the momentum e^γt W'", np.abs(ends - momentum).max(), 0.0, 1e-9),
            Check("the same variation without the weight e^γt", unweighted, 0.1, 0.0, "at least"),
        ),
        draw=draw,
        caption="Trajectories with friction are where the weighted action is level; without the weight it slopes.",
        notes="The tolerances are those of the quadrature and of the trajectory.",
    )


def _limit(dynamics_start: str = "slow"):
    dynamics = DampedDynamics(lambda t, w: _cost(w), 1.0)
    return high_viscosity_limit(dynamics, _START, [0.1, 0.05, 0.025], slow_time=1.5, start=dynamics_start)


def _order(setting: Setting) -> Evidence:
    limit = _limit()
    eta = limit.learning_rates
    closed = [abs((-1 + np.sqrt(1 - 4 * e**2)) / (2 * e**2) + 1) for e in eta]
    of_a_root = np.polyfit(np.log(eta), np.log(closed), 1)[0]
    return Evidence(
        stated=(Check("order in η of what inertia adds to gradient flow", limit.orders["inertial"], 1.0, 0.1),),
        amended=(
            Check("order in η of what inertia adds, for η up to 0.1", limit.orders["inertial"], 2.0, 0.1),
            Check("the same of the slow root of a quadratic cost, in closed form", of_a_root, 2.0, 0.1),
            Check("order after the correction −η² Hess C grad C", limit.orders["corrected"], 4.0, 0.2),
            Check("order of the error of gradient descent, which is Euler's", limit.orders["discrete"], 1.0, 0.1),
        ),
        draw=lambda ax: plot_high_viscosity(limit, ax),
        caption="What inertia adds falls as η²; the first-order error of gradient descent comes from its finite step.",
    )


def _fixed_time(setting: Setting) -> Evidence:
    def distance(eta, t):
        end = _solution(1 / eta, np.array([0.0, t]), -eta * _gradient(_START))[:2, -1]
        return np.linalg.norm(end - (_START - eta * t * _gradient(_START)))

    etas, rates = np.array([0.02, 0.01, 0.005]), np.array([0.2, 0.1, 0.05])
    fixed, slow = [distance(eta, 1.0) for eta in etas], [distance(eta, 1.5 / eta) for eta in rates]
    order = np.polyfit(np.log(etas), np.log(fixed), 1)[0]

    def draw(ax):
        tidy(ax)
        ax.loglog(etas, fixed, "o-", color=BLUE, label=f"at t = 1: order {order:.2f}")
        ax.loglog(rates, slow, "s--", color=ORANGE, label="at ηt = 1.5, in training")
        ax.set(xlabel="learning rate η = 1/γ", ylabel="distance from W₀ + ηW₁")
        ax.legend(frameon=False)
        return ax

    return Evidence(
        stated=(Check("distance from W₀ + ηW₁ in training, at ηt = 1.5 and η = 0.05", float(slow[-1]), 0.0, 0.05),),
        amended=(Check("order of the distance at the fixed time t = 1", order, 2.0, 0.1),),
        draw=draw,
        caption="The expansion about resting weights is right while they hardly move, and no description of training.",
    )


def _de_sitter(setting: Setting) -> Evidence:
    friction, t, h = 1.7, 0.4, 1e-30
    volumes, hubbles, curvatures = [], [], []
    for d in (1, 2, 3):
        space = DeSitter(friction, d)
        metric = np.asarray(space.metric(t))
        volumes.append(abs(np.sqrt(-np.linalg.det(metric)) / np.exp(friction * t) - 1))
        hubbles.append(abs(np.log(metric[1, 1]) / (2 * t) / (friction / d) - 1))
        # Friedmann's formula for a scale factor a, whose derivatives are taken apart from the class.
        a = lambda s, d=d: np.exp(friction / d * s)  # noqa: E731
        first = np.imag(a(t + 1j * h)) / h
        second = (a(t + 1e-4) - 2 * a(t) + a(t - 1e-4)) / 1e-8
        ricci = 2 * d * second / a(t) + d * (d - 1) * (first / a(t)) ** 2
        curvatures.append(abs(float(space.ricci_scalar) / ricci - 1))
    return Evidence(
        stated=(
            Check("√−g against e^γt in 1 to 3 dimensions, relative", max(volumes), 0.0, 1e-13),
            Check("Hubble's parameter of the metric against γ/d, relative", max(hubbles), 0.0, 1e-13),
            Check("curvature d(d+1)H² against Friedmann's formula, relative", max(curvatures), 0.0, 1e-6),
        ),
        draw=lambda ax: plot_de_sitter(friction, ax=ax),
        caption="The weight of the action is the growth of volumes in every dimension; lengths grow as its d-th root.",
    )


def _covariance(setting: Setting) -> Evidence:
    """One wave on a line: with the gradients of training, which do not stretch, and with those of de Sitter space."""
    friction, mass, times = 1.0, 0.3, np.linspace(0, 4, 81)

    def amplitude(k, covariant):
        def field(t, y):
            stretch = np.exp(-2 * friction * t) if covariant else 1.0
            return [y[1], -friction * y[1] - (mass**2 + k**2 * stretch) * y[0]]

        return solve_ivp(field, (0, 4), [1.0, 0.0], t_eval=times, method="DOP853", rtol=1e-11, atol=1e-12).y[0]

    waves = {k: [amplitude(k, covariant) for covariant in (False, True)] for k in (0.0, 2.0)}
    gaps = {k: np.abs(a - b).max() for k, (a, b) in waves.items()}
    s = (-friction + np.array([1, -1]) * np.sqrt(friction**2 - 4 * mass**2)) / 2
    exact = (s[1] * np.exp(s[0] * times) - s[0] * np.exp(s[1] * times)) / (s[1] - s[0])

    def draw(ax):
        tidy(ax)
        ax.plot(times, waves[2.0][0], "-", color=BLUE, label="k = 2, as in training")
        ax.plot(times, waves[2.0][1], "--", color=ORANGE, label="k = 2, covariant")
        ax.plot(times, waves[0.0][0], ":", color=GREEN, label="k = 0, both")
        ax.set(xlabel="time t", ylabel="amplitude of the wave")
        ax.legend(frameon=False)
        return ax

    uniform = np.abs(waves[0.0][1] - exact).max()
    return Evidence(
        stated=(Check("largest difference to a field in de Sitter space, wave number 2", gaps[2.0], 0.0, 1e-6),),
        amended=(Check("a uniform field in de Sitter space against training's", uniform, 0.0, 1e-9),),
        draw=draw,
        caption="A uniform field decays alike in both; a wave is stretched by de Sitter space and not by training.",
    )


MECHANICS = (
    Claim(
        name="training.action-with-friction",
        source=f"{BULK_BOUNDARY}, slides, Lagrangian approach",
        statement="$W'' + γW' + ∂C/∂W = 0$ follows from the action $S = ∫ e^{γt} (W'^2/2 - C) dt$.",
        computed="The first variation of the action of a trajectory by quadrature, and its derivative by the end.",
        measure=_action,
        recorded="holds",
    ),
    Claim(
        name="training.inertia-is-of-first-order",
        source=f"{BULK_BOUNDARY}, back-up slides, high viscosity limit",
        statement="Gradient descent is the high-viscosity limit of training with inertia, which corrects it at the "
        "first order in $η = 1/γ$.",
        computed="Distances from gradient flow at a fixed $ηt$, by implicit integration, over three learning rates.",
        measure=_order,
        recorded="fails",
        instead="The order is $η²$: $dθ/dτ = -∇C - η² ∇²C ∇C + O(η⁴)$. First order is the step of gradient descent.",
    ),
    Claim(
        name="training.expansion-in-the-learning-rate",
        source=f"{BULK_BOUNDARY}, back-up slides, high viscosity limit",
        statement="In training, $W = W_0 + ηW_1 + O(η²)$ with $W_0$ constant and $W_1' = -∂C/∂W(W_0)$.",
        computed="The distance of the solution from both terms at the fixed time 1 and at the fixed $ηt = 1.5$.",
        measure=_fixed_time,
        recorded="conditional",
        condition="The time is of order one, in which the weights move by order η; training takes times of order 1/η.",
    ),
    Claim(
        name="training.de-sitter-volume",
        source=f"{SYNAPTIC}, slides, gradient descent as the de Sitter dynamics",
        statement="The weight of the action is the volume factor of de Sitter space, $√-g = e^{γt}$, with $H = γ/d$.",
        computed="The determinant of the metric in 1 to 3 dimensions, and the curvature by Friedmann's formula.",
        measure=_de_sitter,
        recorded="holds",
    ),
    Claim(
        name="training.de-sitter-field",
        source=f"{SYNAPTIC}, slides, gradient descent as the de Sitter dynamics",
        statement="Gradient descent is the dynamics of a field in de Sitter space.",
        computed="One wave with gradients as in training and with $e^{-2Ht}$ before them, as covariance asks.",
        measure=_covariance,
        recorded="conditional",
        condition="The field is uniform: the volume factor is that of de Sitter space, gradients are not stretched.",
    ),
)
