"""Claims about training on one sample as a bulk that is local and free of data, and a boundary."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from hjpde._compilation import quick_jit
from hjpde._plotting import BLUE, GREEN, ORANGE, tidy
from hjpde.training import (
    BiasCoordinates,
    Perceptron,
    bias_interaction_graph,
    boundary_lagrangian,
    bulk_cell,
    bulk_lagrangian,
    energy_flow,
    interaction_graph,
    plot_bulk_and_boundary,
    plot_energy_flow,
    plot_interaction_graph,
    to_bias_coordinates,
    to_neuron_coordinates,
)

from ._claim import Check, Claim, Evidence, Setting
from ._sources import BULK_BOUNDARY

_WIDTHS = (2, 4, 3, 5, 2)
_DEPTH = len(_WIDTHS) - 1
_FRICTION = 3.0
_PERCEPTRON = Perceptron(jnp.tanh)


def _coordinates(rng: np.random.Generator, widths=_WIDTHS) -> BiasCoordinates:
    weights = tuple(jnp.asarray(0.7 * rng.normal(size=(n, m))) for m, n in itertools.pairwise(widths))
    return BiasCoordinates(weights, tuple(jnp.asarray(rng.normal(size=n)) for n in widths[1:]))


def _case(seed: int):
    """A state, its velocity, and a sample that moves: `x`, its velocity, `y`."""
    rng = np.random.default_rng(seed)
    return _coordinates(rng), _coordinates(rng), *rng.normal(size=(3, 2))


def _forward(state: BiasCoordinates, velocity: BiasCoordinates, x, x_velocity):
    """Neurons and their velocities, in numpy."""
    z, rates, h, rate = [], [], x, x_velocity
    for W, b, W_rate, b_rate in zip(*(map(np.asarray, t) for t in (*_lists(state), *_lists(velocity))), strict=True):
        z.append(W @ h + b)
        rates.append(W_rate @ h + W @ rate + b_rate)
        h = np.tanh(z[-1])
        rate = (1 - h**2) * rates[-1]
    return z, rates


def _lists(coordinates: BiasCoordinates):
    return coordinates.weights, coordinates.biases


def _costates(state: BiasCoordinates, z, y):
    """Backpropagation of the squared error, in numpy."""
    costates = [2 * (z[-1] - y)]
    for W, below in zip(reversed(state.weights[1:]), reversed(z[:-1]), strict=True):
        costates.append((1 - np.tanh(below) ** 2) * (np.asarray(W).T @ costates[-1]))
    return costates[::-1]


def _squares(arrays) -> float:
    return float(sum(np.sum(np.asarray(a) ** 2) for a in arrays))


@eqx.filter_jit
def _parts(state, velocity, x, x_velocity, y):
    q, v = jax.jvp(lambda q, x: to_neuron_coordinates(_PERCEPTRON, q, x), (state, x), (velocity, x_velocity))
    bulk, boundary = bulk_lagrangian(_PERCEPTRON, q, v), boundary_lagrangian(_PERCEPTRON, q, v, x, y, x_velocity)
    back = to_bias_coordinates(_PERCEPTRON, q, x)
    return bulk, boundary, back, sum(bulk_cell(_PERCEPTRON, m, q, v) for m in range(1, _DEPTH)), q, v


def _decompositions(count: int) -> np.ndarray:
    """Of random states: bulk, boundary, the whole in numpy, and half of |g0|^2; one row each."""
    rows = []
    for seed in range(count):
        state, velocity, x, x_velocity, y = _case(seed)
        bulk, boundary, *_ = _parts(state, velocity, x, x_velocity, y)
        z, _ = _forward(state, velocity, x, x_velocity)
        whole = _squares([*velocity.weights, *velocity.biases]) / 2 - np.sum((y - z[-1]) ** 2)
        drift = np.asarray(velocity.weights[0]) @ x + np.asarray(state.weights[0]) @ x_velocity
        rows.append([float(bulk), float(boundary), whole, drift @ drift / 2])
    return np.array(rows)


def _draw_sums(ax, rows):
    tidy(ax)
    bulk, boundary, whole, half = rows.T
    ax.plot(whole, bulk + boundary + half, "s", color=ORANGE, label="as on the slides, without 1/2")
    ax.plot(whole, bulk + boundary, "o", color=BLUE, label="with 1/2")
    ax.axline((0, 0), slope=1, color=GREEN, linestyle="--", label="equal")
    ax.set(xlabel="Lagrangian in weights and biases", ylabel="bulk + boundary")
    ax.legend(frameon=False)
    return ax


def _identity(setting: Setting) -> Evidence:
    rows = _decompositions(12)
    bulk, boundary, whole, _ = rows.T
    return Evidence(
        stated=(
            Check("largest |bulk + boundary − L|, relative", np.abs((bulk + boundary) / whole - 1).max(), 0.0, 1e-12),
        ),
        draw=lambda ax: _draw_sums(ax, rows),
        caption="Bulk and boundary add up to the Lagrangian in weights and biases at every random state.",
    )


def _half(setting: Setting) -> Evidence:
    rows = _decompositions(12)
    bulk, boundary, whole, half = rows.T
    # The slides' boundary begins with |g0|^2.
    slides = bulk + (boundary + half)
    return Evidence(
        stated=(Check("largest |bulk + boundary of the slides − L|", np.abs(slides - whole).max(), 0.0, 1e-12),),
        amended=(
            Check("excess of the slides over |g0|²/2, mean", np.mean((slides - whole) / half), 1.0, 1e-12),
            Check("largest |bulk + boundary − L| with 1/2", np.abs(bulk + boundary - whole).max(), 0.0, 1e-12),
        ),
        draw=lambda ax: _draw_sums(ax, rows),
        caption="Without the factor 1/2 before the first boundary term the sum lies above the Lagrangian by |g0|²/2.",
    )


def _one_sample(setting: Setting) -> Evidence:
    """How many of the neurons' directions biases can reach, at fixed weights, for 1 to 4 samples in a batch."""
    state, velocity, x, x_velocity, y = _case(0)
    back = _parts(state, velocity, x, x_velocity, y)[2]
    returned = max(np.abs(np.asarray(a) - np.asarray(b)).max() for a, b in zip(back.biases, state.biases, strict=True))
    widths, rng = _WIDTHS[1:], np.random.default_rng(1)
    batches = np.arange(1, 5)
    reached, sizes, volumes = [], [], []
    for count in batches:
        # Columns by complex steps: the derivative of all neurons of all samples by each bias.
        samples, columns = rng.normal(size=(count, 2)), []
        for layer, width in enumerate(widths):
            for unit in range(width):
                entry = []
                for sample in samples:
                    h = sample.astype(complex)
                    for m, (W, b) in enumerate(zip(*_lists(state), strict=True)):
                        bias = np.asarray(b) + 1e-30j * ((m == layer) * (np.arange(b.size) == unit))
                        z = np.asarray(W) @ h + bias
                        entry.append(z.imag / 1e-30)
                        h = np.tanh(z)
                columns.append(np.concatenate(entry))
        jacobian = np.array(columns).T
        reached.append(np.linalg.matrix_rank(jacobian))
        sizes.append(jacobian.shape[0])
        volumes.append(np.sqrt(np.linalg.det(jacobian.T @ jacobian)))

    def draw(ax):
        tidy(ax)
        ax.plot(batches, sizes, "s--", color=ORANGE, label="neurons")
        ax.plot(batches, reached, "o-", color=BLUE, label="directions that biases reach")
        ax.set(xlabel="samples in a batch", ylabel="number", xticks=batches, ylim=(0, None))
        ax.legend(frameon=False)
        return ax

    return Evidence(
        stated=(Check("neurons that biases cannot set, in a batch of 2", float(sizes[1] - reached[1]), 0.0, 0.0),),
        amended=(
            Check("neurons that biases cannot set, for one sample", float(sizes[0] - reached[0]), 0.0, 0.0),
            Check("volume that the map keeps, for one sample", volumes[0], 1.0, 1e-12),
            Check("largest change of a bias there and back, for one sample", returned, 0.0, 1e-13),
        ),
        draw=draw,
        caption="There are as many biases as neurons for one sample; each further one adds neurons and no biases.",
    )


def _local(setting: Setting) -> Evidence:
    state, velocity, x, x_velocity, y = _case(0)
    bulk, _, _, cells, q, v = _parts(state, velocity, x, x_velocity, y)
    graph = interaction_graph(_PERCEPTRON, q, v)
    whole = bias_interaction_graph(_PERCEPTRON, state, velocity, x, y)
    _, rates = _forward(state, velocity, x, x_velocity)
    kinetic = (_squares(velocity.weights) + _squares(rates)) / 2
    return Evidence(
        stated=(
            Check("couplings of the bulk beyond a cell of neighbouring layers", float(len(graph.violations)), 0.0, 0.0),
            Check("part of all pairs of variables that the bulk couples", graph.fraction, 0.5, 0.0, "at most"),
            Check("part of them coupled in weights and biases", whole.fraction, 1.0, 0.0),
            Check("bulk minus its cells and single layers", float(bulk - cells) - kinetic, 0.0, 1e-12),
        ),
        draw=lambda ax: plot_interaction_graph(graph, ax),
        caption="In weights and neurons only neighbouring layers are coupled; in weights and biases all of them are.",
    )


def _flow(step_size: float = 0.02):
    """Training of the small network on four random samples, one after the other."""
    rng = np.random.default_rng(3)
    X, Y = rng.normal(size=(2, 4, 2))
    setting = {"friction": _FRICTION, "step_size": step_size, "steps_per_sample": round(1.2 / step_size)}
    return energy_flow(_PERCEPTRON, _coordinates(rng), X, Y, **setting)


def _data(setting: Setting) -> Evidence:
    state, velocity, x, _, y = _case(0)
    still = np.zeros(2)
    # The same weights and neurons under another sample: its biases follow, and the whole minus the boundary in numpy.
    z, rates = _forward(state, velocity, x, still)
    bulks = []
    for other in (x, x + 1.0, -2 * x):
        inputs, drifts = [other, *(np.tanh(a) for a in z[:-1])], []
        for m in range(_DEPTH):
            W, W_rate = np.asarray(state.weights[m]), np.asarray(velocity.weights[m])
            below = still if m == 0 else (1 - inputs[m] ** 2) * rates[m - 1]
            drifts.append(W_rate @ inputs[m] + W @ below)
        bias_rates = [rate - g for rate, g in zip(rates, drifts, strict=True)]
        kinetic = (_squares(velocity.weights) + _squares(bias_rates)) / 2
        bulks.append(kinetic - (drifts[0] @ drifts[0] / 2 - rates[0] @ drifts[0]))
    function = float(_parts(state, velocity, x, still, y)[0])
    flow = _flow()
    along = float(np.abs(np.asarray(flow.bulk[1:, 0] - flow.bulk[:-1, -1])).max())
    return Evidence(
        stated=(
            Check("change of the bulk for new samples at fixed weights and neurons", np.ptp(bulks), 0.0, 1e-12),
            Check("largest jump of the bulk in training where the sample is switched", along, 0.0, 1e-6),
        ),
        amended=(
            Check("change of the bulk for new samples at fixed weights and neurons", np.ptp(bulks), 0.0, 1e-12),
            Check("that bulk against the formula without data", bulks[0] - function, 0.0, 1e-12),
        ),
        draw=lambda ax: plot_bulk_and_boundary(flow, ax),
        caption="As a function the bulk has no data; in training its value jumps with the sample, as the neurons do.",
    )


def _backpropagation(setting: Setting) -> Evidence:
    """Over random states, in numpy but for the force: the gradient of the loss by automatic differentiation."""
    force = quick_jit(eqx.filter_grad(lambda q, x, y: -_PERCEPTRON.cost(q, x, y)), 0)
    interior, boundary, weights = [], [], []
    for seed in range(8):
        state, velocity, x, _, y = _case(seed)
        z, _ = _forward(state, velocity, x, np.zeros(2))
        pushed = force(state, x, y)
        # pi = b'' + gamma b' = -grad, by the equation of motion.
        pi = [np.asarray(b) for b in pushed.biases]
        for m in range(_DEPTH - 1):
            slope = 1 - np.tanh(z[m]) ** 2
            interior.append(np.abs(pi[m] - slope * (np.asarray(state.weights[m + 1]).T @ pi[m + 1])).max())
        boundary.append(np.abs(pi[-1] - 2 * (y - z[-1])).max())
        for m, delta in enumerate(_costates(state, z, y)):
            h = x if m == 0 else np.tanh(z[m - 1])
            weights.append(np.abs(np.asarray(pushed.weights[m]) + np.outer(delta, h)).max())

    def draw(ax):
        tidy(ax)
        ax.semilogy(np.reshape(interior, (8, -1)).max(1) + 1e-17, "o-", color=BLUE, label="inside: πₘ − σ′ Wᵀ πₘ₊₁")
        ax.semilogy(np.array(boundary) + 1e-17, "s--", color=ORANGE, label="at the end: π + ∂ℓ/∂z")
        ax.set(xlabel="random state", ylabel="residual", ylim=(5e-18, 1e-12))
        ax.legend(frameon=False)
        return ax

    return Evidence(
        stated=(
            Check("largest residual of the interior equation", max(interior), 0.0, 1e-12),
            Check("largest residual of the condition at the loss", max(boundary), 0.0, 1e-12),
            Check("forces on the weights against −δ hᵀ, largest difference", max(weights), 0.0, 1e-12),
        ),
        draw=draw,
        caption="The equation of a neuron inside is the recursion of backpropagation; the loss enters at the end.",
    )


def _continuity(setting: Setting) -> Evidence:
    steps = np.array([0.04, 0.02])
    flows = [_flow(h) for h in steps]
    flow, differences = flows[-1], []
    for one in flows:
        t, e, currents, loss = (np.asarray(a) for a in (one.times, one.energies, one.currents, one.losses))
        expected = (-2 * _FRICTION * e - currents[..., 1:] + currents[..., :-1])[:, 1:-1]
        twice = (t[:, 2:] - t[:, :-2])[..., None]
        slopes, power = (e[:, 2:] - e[:, :-2]) / twice, (loss[:, 2:] - loss[:, :-2]) / twice[..., 0]
        differences.append([np.abs(slopes - expected).max(), np.abs(power - currents[:, 1:-1, -1]).max()])
    of_energies, of_loss = np.log(np.divide(*differences)) / np.log(steps[0] / steps[1])
    energies = np.asarray(flow.energies)
    jump = np.abs(energies[1:, 0] - energies[:-1, -1]).max()
    return Evidence(
        stated=(
            Check("largest residual of the continuity equation", np.abs(np.asarray(flow.residual)).max(), 0.0, 1e-10),
            Check("order at which finite differences of the energies agree", of_energies, 2.0, 0.2),
            Check("order at which those of the loss agree with the last current", of_loss, 2.0, 0.2),
            Check("jump of a layer's energy at a switch", jump, 0.0, 1e-12),
        ),
        draw=lambda ax: plot_energy_flow(flow, ax),
        caption="Energy enters at the loss, flows down through the layers and is lost to friction in each of them.",
        notes="The authors' second version announces such an equation in its abstract; this form is derived here. "
        "Orders are between two steps, whose next term leaves an error of a tenth.",
    )


BULK_AND_BOUNDARY = (
    Claim(
        name="training.bulk-and-boundary",
        source=f"{BULK_BOUNDARY}, slides, bulk-boundary decomposition",
        statement="In weights and neurons the Lagrangian of training is a sum, $L = L_{bulk} + L_{boundary}$.",
        computed="Both parts (the first boundary term with 1/2) against kinetic energy minus loss in numpy.",
        measure=_identity,
        recorded="holds",
    ),
    Claim(
        name="training.boundary-of-the-slides",
        source=f"{BULK_BOUNDARY}, slides, bulk-boundary decomposition",
        statement="The first boundary term is $Σ_i [Σ_j ∂_t(W^{(0)}_{ij} X_j)]²$, without 1/2.",
        computed="The sum with that term against kinetic energy minus loss.",
        measure=_half,
        recorded="fails",
        instead="The term has the factor 1/2, as that of the bulk; without it the sum exceeds L by half the square.",
    ),
    Claim(
        name="training.neurons-for-biases",
        source=f"{BULK_BOUNDARY}, slides, change of variables",
        statement="There is a one-to-one correspondence between neurons $z^{(m+1)}$ and biases $b^{(m)}$ in training.",
        computed="The rank of the neurons' derivative by the biases, by complex steps, for 1 to 4 samples a step.",
        measure=_one_sample,
        recorded="conditional",
        condition="Each step of training uses a single sample; B of them have B neurons to each bias.",
    ),
    Claim(
        name="training.bulk-is-local",
        source=f"{BULK_BOUNDARY}, slides, implications",
        statement="Interaction is restricted to nearby layers, and the bulk is a sum over terms of the same form.",
        computed="The blocks of the Hessians in weights and neurons, and in weights and biases; the sum of the cells.",
        measure=_local,
        recorded="holds",
    ),
    Claim(
        name="training.bulk-knows-no-data",
        source=f"{BULK_BOUNDARY}, slides, implications",
        statement="$L_{bulk}$ does not couple to the training data and encodes the architecture.",
        computed="Kinetic energy minus boundary terms under three samples, and the bulk along a training.",
        measure=_data,
        recorded="conditional",
        condition="As a function of weights, neurons and their velocities; in training its value follows the data.",
    ),
    Claim(
        name="training.interior-is-backpropagation",
        source=f"{BULK_BOUNDARY}, what follows from its Lagrangian",
        statement="Inside the bulk the equation of a neuron is backpropagation, $π_m = σ'(z_m) W_m^T π_{m+1}$ with "
        "$π = b'' + γb'$, and the loss is its end condition.",
        computed="The recursion in numpy on forces that are gradients by automatic differentiation.",
        measure=_backpropagation,
        recorded="holds",
    ),
    Claim(
        name="training.energy-continuity",
        source=f"{BULK_BOUNDARY}, second version, announced in its abstract",
        statement="The energy of layers obeys a continuity equation, $de_m/dt = -2γe_m + J_m - J_{m+1}$, "
        "$J_m = ∂ℓ/∂z_m · z_m'$.",
        computed="Along training on one sample after the other: from the equations of motion, and by differences.",
        measure=_continuity,
        recorded="holds",
    ),
)
