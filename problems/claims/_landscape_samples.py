"""Claims about random networks as energies of their inputs that samples of finite networks decide."""

import jax
import numpy as np

from hjpde._plotting import BLUE, ORANGE, tidy
from hjpde.landscape import (
    RandomNetwork,
    compare_with_samples,
    draw_network,
    langevin,
    overlap_distribution,
    plot_comparison,
    plot_overlap_distribution,
    plot_thermodynamic_integral,
    replica_symmetric,
    sample,
    temper,
    thermal_averages,
    thermodynamic_integration,
)

from ._claim import Check, Claim, Evidence, Setting

_SOURCE = "M. Winer, B. Hanin, Deep Neural Nets as Hamiltonians, arXiv 2503.23982, abstract"
_KEY = jax.random.key(8)
_ERRORS = 3.0


def _within_errors(what: str, measured: float, expected: float, error: float) -> Check:
    return Check(what, float(measured), float(expected), _ERRORS * float(error))


def _which_limit(setting: Setting) -> Evidence:
    network, beta = RandomNetwork(1.0, "tanh"), 4.0
    if setting.full:
        found = compare_with_samples(network, beta, (100, 200), key=_KEY, samples=32, steps=12_000)
    else:
        found = compare_with_samples(network, beta, (60,), key=_KEY, samples=32, steps=1500, move=langevin())

    def checks(theory: np.ndarray) -> tuple[Check, ...]:
        return tuple(
            _within_errors(
                f"{what} of {found.dimensions[-1]:g} inputs", found.measured[-1, i], theory[i], found.errors[-1, i]
            )
            for i, what in enumerate(("energy per input", "overlap"))
        )

    return Evidence(
        stated=checks(found.wide),
        amended=checks(found.proportional),
        draw=lambda ax: plot_comparison(found, ax, "overlap"),
        caption="Sampled inputs of tanh networks are less alike than those of the Gaussian field, and as alike as the "
        "saddle with an overlap and a dual for every layer says.",
        notes="Tolerances are three standard errors over networks.",
    )


def _deep_linear(setting: Setting) -> Evidence:
    depth, N = 3, 100 if setting.full else 50
    energies = draw_network(RandomNetwork([1.0] * depth, "linear"), N, 32, key=_KEY)
    found = thermal_averages(sample(energies, 1.0, key=_KEY, steps=6000 if setting.full else 1500, move=langevin()))
    # Closed form: q_0 = t^2, and each layer adds q_0 to both.
    t = (np.sqrt(5) - 1) / 2
    overlaps, diagonals = (np.arange(depth + 1) + 1) * t**2, 1 + np.arange(depth + 1) * t**2

    def draw(ax):
        tidy(ax)
        l = np.arange(depth + 1)
        ax.plot(l, diagonals, "--", color=ORANGE, label="mean square, theory")
        ax.plot(l, overlaps, ":", color=BLUE, label="overlap, theory")
        ax.errorbar(l, found.diagonals, found.diagonal_errors, fmt="s", color=ORANGE, label="mean square, samples")
        ax.errorbar(l, found.overlaps, found.overlap_errors, fmt="o", color=BLUE, label="overlap, samples")
        ax.set(xlabel="layer", ylabel="of activations, per neuron", xticks=l)
        ax.legend(frameon=False)
        return ax

    return Evidence(
        stated=(
            _within_errors("energy per input", found.energy, -t, found.energy_error),
            *(
                _within_errors(f"{what} in layer {l}", values[l], theory[l], errors[l])
                for what, values, errors, theory in (
                    ("overlap", found.overlaps, found.overlap_errors, overlaps),
                    ("mean square", found.diagonals, found.diagonal_errors, diagonals),
                )
                for l in range(0 if what == "overlap" else 1, depth + 1)
            ),
        ),
        draw=draw,
        caption="The choice of inputs of low energy raises overlaps and norms of linear layers, by the same amount a "
        "layer.",
        notes=f"{N} inputs, 32 networks of three layers, β = 1.",
    )


def _entropy(setting: Setting) -> Evidence:
    network = RandomNetwork(1.0, "tanh")
    N, samples, steps = (80, 24, 5000) if setting.full else (40, 24, 700)
    energies = draw_network(network, N, samples, key=_KEY)
    found = thermodynamic_integration(energies, np.linspace(0, 4, 9), key=_KEY, steps=steps, move=langevin())
    saddle = replica_symmetric(network, 4.0)
    error = found.entropy_error[-1]
    return Evidence(
        stated=(
            _within_errors("free energy", found.free_energy[-1], saddle.free_energy, found.free_energy_error[-1]),
            _within_errors("entropy", found.entropy[-1], saddle.entropy, error),
            _within_errors("the same from fluctuations", found.entropy_of_fluctuations[-1], saddle.entropy, error),
        ),
        draw=lambda ax: plot_thermodynamic_integral(found, ax),
        caption="Integrals over temperatures of the energy and of its fluctuations give the same entropy, that of the "
        "saddle.",
        notes=f"{N} inputs, {samples} networks; nine temperatures by Simpson's rule.",
    )


def _broad(setting: Setting) -> Evidence:
    beta, sigma = 8.0, 1.5
    N, samples, steps = (60, 16, 6000) if setting.full else (24, 24, 600)
    distributions, widths, replicons = {}, {}, {}
    for name in ("tanh", "sin"):
        network = RandomNetwork(1.0, name, sigma)
        energies = draw_network(network, N, samples, key=_KEY)
        found = temper(energies, np.geomspace(1.0, beta, 6), key=_KEY, steps=steps, move=langevin()).samples[-1]
        distributions[name] = overlap_distribution(found)
        # Within each network: at finite N each has a mean of its own.
        widths[name] = found.overlaps[..., 0].std(0)
        replicons[name] = replica_symmetric(network, beta).replicon
    difference = widths["sin"] - widths["tanh"]
    error = difference.std(ddof=1) / samples**0.5

    def draw(ax):
        for name, distribution in distributions.items():
            plot_overlap_distribution(distribution, ax, name)
        return ax

    return Evidence(
        stated=(
            Check("replicon of sin, above 1 if its symmetry breaks", replicons["sin"], 1.0, 0.0, "at least"),
            Check("replicon of tanh", replicons["tanh"], 1.0, 0.0, "at most"),
            Check("width of P(q) of sin beyond that of tanh", difference.mean(), _ERRORS * error, 0.0, "at least"),
        ),
        draw=draw,
        caption="At one temperature, overlaps of inputs of a sin network spread; those of a tanh network do less.",
        notes=f"{N} inputs, {samples} networks, σ_w = {sigma}, β = {beta:g}: widths {widths['sin'].mean():.3f} of "
        f"sin and {widths['tanh'].mean():.3f} of tanh.",
    )


LANDSCAPE_SAMPLES: tuple[Claim, ...] = (
    Claim(
        name="landscape.infinite-width",
        source=_SOURCE,
        statement="At infinite width, inputs of a random network at inverse temperature $β$ have the energy and the "
        "overlap that the theory of its Gaussian field says.",
        computed="Metropolis chains on tanh networks of one hidden layer, as wide as the input, at β = 4, against the "
        "Gaussian field of infinite width and against the saddle of proportional widths.",
        measure=_which_limit,
        recorded="conditional",
        condition="The input dimension grows with the widths, so that each layer keeps its own overlaps and duals; for "
        "widths much larger than the input the Gaussian field is right.",
    ),
    Claim(
        name="landscape.linear-layers-sampled",
        source=f"{_SOURCE} (linear activations)",
        statement="For linear activations the saddle is exact: $q_l = (l + 1)t^2$, $g_l = 1 + l t^2$, $e = -t$ with "
        "$t = (\\sqrt{1 + 4β^2} - 1)/(2β)$ at equal widths.",
        computed="Metropolis chains on networks of three linear layers at β = 1, all layers at once.",
        measure=_deep_linear,
        recorded="holds",
    ),
    Claim(
        name="landscape.entropy-sampled",
        source=f"{_SOURCE} (entropy at given energy)",
        statement="The entropy at a given energy is that of the saddle, $s = F + βe$.",
        computed="Thermodynamic integration over tempered chains of tanh networks to β = 4, from energies and, "
        "independently, from their fluctuations.",
        measure=_entropy,
        recorded="holds",
    ),
    Claim(
        name="landscape.sin-is-broader-than-tanh",
        source=f"{_SOURCE} (sin breaks the replica symmetry, shallow tanh does not)",
        statement="Below the instability of sin, overlaps $P(q)$ of sin networks are broader than those of tanh "
        "networks at the same temperature.",
        computed="Overlaps of tempered replicas of the same networks, their widths in each, and the replicons.",
        measure=_broad,
        recorded="holds",
    ),
)
