"""Claims about the landscape of a random network over its inputs: replica theory."""

import numpy as np
from scipy.special import gammaln, ive

from hjpde._plotting import BLUE, CYCLE, GREEN, MARKERS, ORANGE, tidy
from hjpde.landscape import (
    RandomNetwork,
    almeida_thouless,
    entropy_curve,
    field_breaking,
    full_breaking_ground_state,
    ground_state,
    layer_covariance,
    optimality_gap,
    parisi_breaking,
    plot_entropy_curve,
    replica_symmetric,
    shaped_relu,
    shaped_relu_covariance,
    zero_temperature_ratio,
)

from ._claim import Check, Claim, Evidence, Setting
from ._sources import RANDOM_NETWORKS

_SHAPED = 1.5
"""$c_+ - c_-$ of shaped ReLU."""


def _linear(setting: Setting) -> Evidence:
    widths, beta = (2.0, 0.5, 1.0), 1.0
    found = replica_symmetric(RandomNetwork(widths, "linear"), beta)
    t = (np.sqrt(1 + 4 * beta**2) - 1) / (2 * beta)
    growth = 1 + np.concatenate([[0.0], np.cumsum(1 / np.array(widths))])
    # Over inputs a linear network is one random vector: its partition function in N dimensions is a Bessel function.
    sizes = np.array([50, 100, 200, 400])
    k, nu = beta * sizes, sizes / 2 - 1
    finite = (gammaln(sizes / 2) + nu * np.log(2 / k) + np.log(ive(nu, k)) + k) / sizes
    slope, limit = np.polyfit(1 / sizes, finite, 1)

    def draw(ax):
        ax.plot(1 / sizes, finite, "o", color=BLUE, label="N dimensions, exact")
        ax.plot([0, 0.02], [limit, limit + 0.02 * slope], "--", color=ORANGE, label="line through them")
        ax.plot([0], [found.free_energy], "s", color=GREEN, label="saddle of three layers")
        ax.set(xlabel="1/N", ylabel="free energy per input")
        ax.legend(frameon=False)
        tidy(ax, "both")
        return ax

    return Evidence(
        stated=(
            Check("free energy of the saddle", found.free_energy, beta * t + 0.5 * np.log(1 - t**2), 1e-8),
            Check("largest error of an overlap", float(np.abs(found.overlaps - t**2 * growth).max()), 0.0, 1e-8),
            # The line through four sizes misses the next order, 1/N^2.
            Check("free energy, from finite N", float(limit), found.free_energy, 5e-5),
        ),
        draw=draw,
        caption="The saddle of a linear network of unequal widths is the closed form, and the limit of exact values.",
    )


def _entropy(setting: Setting) -> Evidence:
    network = RandomNetwork([1.0, 1.0], "tanh", 1.5)
    betas = np.linspace(0.5, 6, 12)
    curve = entropy_curve(network, betas)
    d = 1e-3
    slopes = [
        (replica_symmetric(network, b + d).free_energy - replica_symmetric(network, b - d).free_energy) / (2 * d)
        for b in (1.0, 3.0)
    ]
    by_slope = np.abs(np.interp((1.0, 3.0), curve.betas, curve.energies) + slopes).max()
    legendre = np.abs(curve.at_energy(curve.energies) - curve.entropies).max()

    def draw(ax):
        return plot_entropy_curve(curve, ax)

    return Evidence(
        stated=(
            Check("largest |e + dF/dβ|", float(by_slope), 0.0, 1e-5),
            # The grid of the transform is spaced by 6/4000, and F'' is at most 1.
            Check("largest difference to the Legendre transform", float(legendre), 0.0, 1e-5),
        ),
        draw=draw,
        caption="Entropy of the inputs at a given energy, two layers of tanh, σ_w = 1.5, widths equal to the input.",
    )


def _sin(setting: Setting) -> Evidence:
    wide = layer_covariance("sin", 1.5)
    q = np.linspace(0.05, 1, 96)
    bend = np.diff(wide.curvature(q) ** -0.5, 2)
    one = field_breaking(wide, 8.0)
    gap = optimality_gap(wide, one)
    network, beta = RandomNetwork([1.0], "sin"), 8.0
    replicon = replica_symmetric(network, beta).replicon
    phases = [parisi_breaking(network, beta, k) for k in range(4 if setting.full else 3)]
    gains = -np.diff([phase.free_energy for phase in phases])
    checks = [
        Check("proportional widths: replicon", replicon, 1.0, 0.0, "at least"),
        Check("gain of one step", float(gains[0]), 8.65e-4, 3e-6),
        Check("gain of a second step", float(gains[1]), 1e-6, 0.0, "at least"),
        Check("levels spread apart by", float(np.ptp(phases[2].levels)), 0.05, 0.0, "at least"),
    ]
    if setting.full:
        checks.append(Check("gain of a third step", float(gains[2]), 1e-8, 0.0, "at least"))

    def draw(ax):
        for k, phase in enumerate(phases):
            q = np.concatenate([[0.6], phase.overlaps, [0.9]])
            x = np.concatenate([[0.0], phase.levels, [1.0, 1.0]])
            style = ("-", "--", "-.", ":")[k]
            ax.step(q, x, style, where="post", color=CYCLE[k], label=f"{k} steps")
        ax.set(xlabel="overlap q of two inputs", ylabel="P(overlap ≤ q)")
        ax.legend(frameon=False)
        tidy(ax, "both")
        return ax

    return Evidence(
        stated=(
            Check("Gaussian field: largest bend of 1/√ξ'', to be concave", float(bend.max()), 0.0, 0.0, "at most"),
            Check("Gaussian field: optimality gap of one step", gap, 1e-4, 0.0, "at least"),
        ),
        amended=tuple(checks),
        draw=draw,
        caption="One hidden sin layer as wide as the input at β = 8: every further step lowers the free energy, and "
        "its levels spread.",
        notes="Gains that go on are consistent with full breaking; few steps cannot prove it.",
    )


def _shallow(setting: Setting) -> Evidence:
    betas = np.array([4.0, 13.0, 16.0, 32.0])
    networks = {
        "ReLU, σ_w = √2": RandomNetwork([1.0], "relu", 2**0.5),
        "tanh, σ_w = 1": RandomNetwork([1.0], "tanh", 1.0),
        "tanh, σ_w = 2": RandomNetwork([1.0], "tanh", 2.0),
    }

    # Half the resolution gives replicons to about 1 %; closed forms afford more.
    curves = {
        name: np.array(
            [
                replica_symmetric(network, b, resolution=1.0 if network.activation.slopes else 0.5).replicon
                for b in betas
            ]
        )
        for name, network in networks.items()
    }
    relu = curves["ReLU, σ_w = √2"]
    coldest = replica_symmetric(networks["tanh, σ_w = 2"], 64.0, resolution=0.35).replicon
    onset = float(np.interp(1.0, relu[-3:-1], betas[-3:-1]))

    def draw(ax):
        for i, (name, curve) in enumerate(curves.items()):
            ax.loglog(1 / betas, curve, MARKERS[i] + ("-", "--", "-.")[i], color=CYCLE[i], label=name)
        ax.axhline(1.0, color="#666666", linewidth=1, linestyle=":")
        ax.set(xlabel="temperature T = 1/β", ylabel="replicon (stable below 1)")
        ax.legend(frameon=False)
        tidy(ax, "both")
        return ax

    return Evidence(
        stated=(
            Check("ReLU, β = 32: replicon", float(relu[-1]), 1.0, 0.0, "at most"),
            Check("tanh, σ_w = 2, β = 64: replicon", coldest, 1.0, 0.0, "at most"),
        ),
        amended=(
            Check("ReLU, β ≤ 13: replicon", float(relu[:2].max()), 1.0, 0.0, "at most"),
            Check("tanh, σ_w = 1, β ≤ 32: replicon", float(curves["tanh, σ_w = 1"].max()), 1.0, 0.0, "at most"),
            Check("tanh, σ_w = 2, β ≤ 32: replicon", float(curves["tanh, σ_w = 2"].max()), 1.0, 0.0, "at most"),
        ),
        draw=draw,
        caption="One hidden layer as wide as the input: on cooling, the replicon grows like β and passes 1.",
        notes=f"For ReLU it does so at β = {onset:.1f}.",
    )


def _shaped(setting: Setting) -> Evidence:
    xi = shaped_relu_covariance(_SHAPED)
    onset = almeida_thouless(xi)
    assert onset is not None
    depths = (2, 5, 10, 20) if setting.full else (2, 5)
    betas = np.array([1.0, 2.0, 4.0, 8.0])

    def replicons(depth, width):
        """At `beta` of the field that wide layers tend to."""
        network = RandomNetwork([width] * depth, shaped_relu(depth, -_SHAPED / 2, _SHAPED / 2))
        return np.array([replica_symmetric(network, b / width**0.5, resolution=0.5).replicon for b in betas])

    narrow = np.array([replicons(depth, 1.0) for depth in depths])
    wide = np.array([replicons(depth, 4.0 * depth) for depth in depths])

    def draw(ax):
        for i, depth in enumerate(depths):
            ax.loglog(1 / betas, narrow[i], MARKERS[i] + "-", color=CYCLE[i], label=f"{depth} layers, α = 1")
            ax.loglog(1 / betas, wide[i], MARKERS[i] + "--", color=CYCLE[i], label=f"{depth} layers, α = 4L")
        ax.axhline(1.0, color="#666666", linewidth=1, linestyle=":")
        ax.set(xlabel="temperature T = √α/β", ylabel="replicon (stable below 1)")
        ax.legend(frameon=False)
        tidy(ax, "both")
        return ax

    return Evidence(
        stated=(Check("Gaussian field: temperature at which symmetry breaks", 1 / onset.beta, 0.0, 1e-3),),
        amended=(
            Check("widths of 4 L inputs, T ≥ 1/8: replicon", float(wide.max()), 1.0, 0.0, "at most"),
            Check("widths as the input, T ≥ 1/2: replicon", float(narrow[:, betas <= 2].max()), 1.0, 0.0, "at most"),
            Check("Gaussian field: β at which symmetry breaks", onset.beta, 8.0, 0.0, "at least"),
        ),
        draw=draw,
        caption="Shaped ReLU, slopes 1 ± 0.75/√L: symmetry lasts to low temperatures if widths grow with the depth.",
        notes="At widths as the input the replicon grows with the depth, and at T = 1/4 it is infinite for 20 layers.",
    )


def _range(setting: Setting) -> Evidence:
    sigma = 1.5
    maps = {name: layer_covariance(name, sigma) for name in ("linear", "tanh", "sin")}
    maps["ReLU"] = layer_covariance("relu", 2**0.5)
    ratios = {name: zero_temperature_ratio(xi) for name, xi in maps.items()}
    full = full_breaking_ground_state(maps["ReLU"])
    assert full is not None
    symmetric, one = (ground_state(maps["sin"], k).energy for k in (0, 1))
    thresholds = {"sin": 1.09530, "erf": 1.09868, "tanh": 1.20684}
    sigmas = np.linspace(0.4, 2, 33)
    curves = {
        name: np.array([zero_temperature_ratio(layer_covariance(name, s)) for s in sigmas]) for name in thresholds
    }
    crossings = {name: float(np.interp(1.0, curve, sigmas)) for name, curve in curves.items()}

    def draw(ax):
        for i, (name, curve) in enumerate(curves.items()):
            ax.plot(sigmas, curve, ("-", "--", "-.")[i], color=CYCLE[i], label=name)
        ax.axhline(1.0, color="#666666", linewidth=1, linestyle=":")
        ax.set(xlabel="standard deviation of weights σ_w", ylabel="ξ''(1)/ξ'(1) (symmetric below 1)")
        ax.legend(frameon=False)
        tidy(ax, "both")
        return ax

    return Evidence(
        stated=(
            Check("linear: ξ''(1)/ξ'(1), symmetric", ratios["linear"], 1.0, 0.0, "at most"),
            Check("sin, σ_w = 1.5: ground state, one step above none", one - symmetric, 1e-3, 0.0, "at least"),
            Check("ReLU: ground state, full breaking", full.energy, -0.991171, 1e-5),
            # Linear interpolation on steps of 0.05.
            *(
                Check(f"{name}: σ_w at which the ground state breaks", crossings[name], thresholds[name], 2e-3)
                for name in thresholds
            ),
        ),
        draw=draw,
        caption="Gaussian fields: whether the ground state is replica symmetric depends on activation and weights.",
    )


LANDSCAPE_THEORY = (
    Claim(
        "landscape.linear-networks-are-exact",
        f"{RANDOM_NETWORKS}, abstract",
        "For linear activations the saddle point equations are solved exactly: "
        "$F = \\beta t + \\frac12\\log(1 - t^2)$, $q_0 = t^2$.",
        "Forward and backward sweeps for widths 2, 1/2 and 1 against the closed form, and against the exact partition "
        "function in finite dimension.",
        _linear,
        "holds",
    ),
    Claim(
        "landscape.entropy-at-an-energy",
        f"{RANDOM_NETWORKS}, abstract",
        "The replica trick gives the entropy of the inputs at a given energy, $s(e) = \\min_\\beta[F + \\beta e]$.",
        "The energy as an average over the top layer against the slope of the free energy; the entropy against its "
        "Legendre transform.",
        _entropy,
        "holds",
    ),
    Claim(
        "landscape.sin-breaks-fully",
        f"{RANDOM_NETWORKS}, abstract",
        "At infinite width, landscapes of networks with sin activation show full replica symmetry breaking.",
        "Stated for widths beyond the input dimension, a Gaussian field: concavity of $1/\\sqrt{\\xi''}$ and "
        "Talagrand's test of one step. Amended: Parisi's equation of one hidden layer as wide as the input, by number "
        "of steps.",
        _sin,
        "conditional",
        condition="Widths grow in proportion to the input dimension. If they outgrow it, one hidden layer is replica "
        "symmetric or breaks by one step.",
    ),
    Claim(
        "landscape.shallow-networks-are-symmetric",
        f"{RANDOM_NETWORKS}, abstract",
        "Shallow tanh and ReLU networks are replica symmetric.",
        "The replicon of the symmetric saddle, one hidden layer as wide as the input, over temperatures.",
        _shallow,
        "conditional",
        condition="Temperatures above 1/13 for ReLU with $\\sigma_w = \\sqrt2$, and above 1/32 for tanh with "
        "$\\sigma_w$ of 1 and 2; below, the replicon passes 1.",
    ),
    Claim(
        "landscape.deep-shaped-networks-are-symmetric",
        f"{RANDOM_NETWORKS}, abstract",
        "Deep shaped networks are replica symmetric.",
        "Shaped ReLU of $c_\\pm = \\pm 0.75$: the onset of breaking of the Gaussian field at infinite depth, and the "
        "replicon of networks of 2 and 5 layers, in full up to 20, of widths as the input and of 4 L times that.",
        _shaped,
        "conditional",
        condition="Temperatures of 1/8 and above where widths are 4 L times the input, and of 1/2 and above where they "
        "are as the input, up to 20 layers.",
    ),
    Claim(
        "landscape.behaviours-are-rich",
        f"{RANDOM_NETWORKS}, abstract",
        "Even at infinite width there is a rich range of behaviours.",
        "Ground states of Gaussian fields: symmetric for linear networks, one step for sin, full breaking for ReLU, "
        "and the size of weights at which each activation breaks.",
        _range,
        "holds",
    ),
)
