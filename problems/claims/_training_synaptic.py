"""Claims about the weights of a network as a field: couplings, locality, sources, and what the field predicts."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from hjpde._plotting import BLUE, GREEN, ORANGE, tidy
from hjpde.training import (
    LINEAR_IN_TARGETS,
    Locality,
    cost_locality,
    lattice_string,
    plot_lattice_string,
    plot_locality,
    plot_remainder,
    plot_staggered_mode,
    remainder_order,
    staggered_mode,
    synaptic_couplings,
)

from ._claim import Check, Claim, Evidence, Setting
from ._sources import SYNAPTIC

_R, _Q = 0.3, 0.9


def _cost(W1, W2, X, Y, orders=None):
    """Of the ring network, written out; weights on all sites, data on the sites of inputs and outputs.

    With `orders`, the sum of those terms of the cost that have these orders in the weights.
    """
    hidden = np.arange(2, len(W1), 4)
    field = np.zeros((len(X), len(W1)))
    field[:, ::4] = X
    u = sum(W1[hidden + t] * np.roll(field, -2 * t, 1)[:, hidden] for t in (1, -1))
    first = np.zeros_like(field)
    second = np.zeros_like(field)
    for s in (1, -1):
        first[:, (hidden + 2 * s) % len(W1)] += W2[hidden + s] * _R
        second[:, (hidden + 2 * s) % len(W1)] += W2[hidden + s] * _Q * u
    Z1, Z2 = first[:, ::4], second[:, ::4]
    terms = {0: Y**2, 1: -2 * Y * Z1, 2: Z1**2 - 2 * Y * Z2, 3: 2 * Z1 * Z2, 4: Z2**2}
    return sum(terms[k].sum() for k in (terms if orders is None else orders))


def _fields(x):
    """w1, w2, X and Y at some places."""
    X = np.stack([1 + 0.2 * np.sin(2 * x), 0.4 + 0.5 * np.cos(x)])
    Y = np.stack([0.8 + 0.1 * np.cos(3 * x), -0.3 + 0.6 * np.sin(x)])
    return 0.7 + 0.3 * np.cos(x), 0.5 + 0.4 * np.sin(x), X, Y


def _couplings(setting: Setting) -> Evidence:
    sizes = np.array([64, 128, 256, 512])
    spacings, grid = 2 * np.pi / sizes, np.arange(128) * 2 * np.pi / 128
    w1, w2, X, Y = _fields(grid)
    errors = {"as printed": [], "linear in Y negative": [], "without K₁": []}
    for n, a in zip(sizes, spacings, strict=True):
        x = np.arange(n) * a
        at_sites = _fields(x)
        network = _cost(at_sites[0], at_sites[1], at_sites[2][:, ::4], at_sites[3][:, ::4], (0, 1, 2))
        found = synaptic_couplings(X, Y, constant=_R, linear=_Q, spacing=a, scaling="source")
        linear = [getattr(found, name) for name in LINEAR_IN_TARGETS]
        printed = eqx.tree_at(lambda c: [getattr(c, name) for name in LINEAR_IN_TARGETS], found, [-v for v in linear])
        without = eqx.tree_at(lambda c: c.K1, found, jnp.zeros_like(found.K1))
        for name, couplings in zip(errors, (printed, found, without), strict=True):
            errors[name].append(abs(1 - float(couplings.cost(w1, w2)) / network))
    orders = {name: np.polyfit(np.log(spacings), np.log(values), 1)[0] for name, values in errors.items()}

    def draw(ax):
        tidy(ax, "both")
        for (name, values), style, colour in zip(
            errors.items(), ("s--", "o-", "^:"), (ORANGE, BLUE, GREEN), strict=True
        ):
            ax.loglog(spacings, values, style, color=colour, label=f"{name}, order {orders[name]:.2f}")
        ax.set_xticks(spacings, [f"{a:.3f}" for a in spacings])
        ax.minorticks_off()
        ax.set(xlabel="spacing of the sites a", ylabel="|network − integral| / network", ylim=(1e-8, 1e4))
        ax.legend(frameon=False, loc="upper left")
        return ax

    return Evidence(
        stated=(Check("relative difference with the signs as printed, 128 sites", errors["as printed"][1], 0.0, 1e-4),),
        amended=(
            Check("relative difference with negative signs, 128 sites", errors["linear in Y negative"][1], 0.0, 1e-5),
            Check("order in the spacing with negative signs", orders["linear in Y negative"], 4.0, 0.2),
            Check("order without K₁, which could not be read", orders["without K₁"], 2.0, 0.1),
        ),
        draw=draw,
        caption="With the printed signs network and integral disagree at every spacing; with the cost's own they "
        "agree to fourth order, and K₁ is needed for that.",
        notes="The geometry of the network and K₁ were found from the couplings that can be read; the source's figure "
        "was not seen, and the signs may have been lost in its transcription.",
    )


def _mass(setting: Setting) -> Evidence:
    sizes, samples, h = np.array([16, 32, 64, 128]), 2, 0.5
    spacings, measured = 2 * np.pi / sizes, []
    for n in sizes:
        zero = np.zeros(n)
        data = np.zeros((samples, n // 4))
        # Exact for a cost that is quadratic in the second layer; one weight of it sits on every second site.
        costs = [_cost(zero, np.full(n, v), data, data) for v in (-h, 0.0, h)]
        measured.append((costs[0] - 2 * costs[1] + costs[2]) / h**2 / (n / 2))
    printed = 8 * samples * _R**2 / spacings

    def draw(ax):
        tidy(ax)
        ax.loglog(spacings, printed, "s--", color=ORANGE, label="8 Nᵢr²/a, as printed")
        ax.loglog(spacings, measured, "o-", color=BLUE, label="curvature per weight")
        ax.set_xticks(spacings, [f"{a:.2f}" for a in spacings])
        ax.minorticks_off()
        ax.set(xlabel="spacing of the sites a", ylabel="squared mass of w₂ [1/time²]", ylim=(0.3, 60))
        ax.legend(frameon=False)
        return ax

    return Evidence(
        stated=(
            Check("curvature per weight over the printed mass, 128 sites", measured[-1] / printed[-1], 1.0, 1e-10),
        ),
        amended=tuple(
            Check(
                f"curvature per weight over a/2 times the printed mass, {n} sites", value / mass / (a / 2), 1.0, 1e-10
            )
            for n, a, value, mass in zip(sizes, spacings, measured, printed, strict=True)
        ),
        draw=draw,
        caption="The frequency at which a uniform weight swings does not depend on the spacing; the printed mass does.",
    )


def _locality(setting: Setting) -> Evidence:
    rng = np.random.default_rng(0)
    ranges, profile = {}, {}
    for n in (32, 48):
        weights, X, Y = rng.normal(size=2 * n), rng.normal(size=(1, n // 4)), rng.normal(size=(1, n // 4))
        sites = np.tile(np.arange(1, n, 2), 2)
        places = np.concatenate([np.arange(1, n, 2), n + np.arange(1, n, 2)])

        def cost(v, n=n, X=X, Y=Y):
            return _cost(v[:n], v[n:], X, Y)

        unit = np.eye(2 * n)[places]
        singles, base = [cost(weights + e) for e in unit], cost(weights)
        # Second differences of a polynomial: zero exactly where no product of the two weights occurs, for every step.
        mixed = np.array(
            [
                [cost(weights + e + f) - s - t + base for f, t in zip(unit, singles, strict=True)]
                for e, s in zip(unit, singles, strict=True)
            ]
        )
        apart = np.abs(sites[:, None] - sites[None])
        apart, layer, acts = np.minimum(apart, n - apart), np.repeat([1, 2], n // 2), np.abs(mixed) > 1e-9
        for a, b in ((1, 1), (1, 2), (2, 2)):
            block = (layer[:, None] == a) & (layer[None] == b) & acts
            ranges[n, a, b] = float(apart[block].max())
            profile[n, a, b] = [int((block & (apart == d)).sum()) for d in range(0, 17, 2)]

    def draw(ax):
        tidy(ax)
        styles = zip(((1, 1), (1, 2), (2, 2)), ("o-", "s--", "^:"), (BLUE, ORANGE, GREEN), strict=True)
        for (a, b), style, colour in styles:
            ax.plot(range(0, 17, 2), profile[32, a, b], style, color=colour, label=f"w{a} with w{b}")
        ax.set(xlabel="distance on the ring [sites]", ylabel="pairs of weights that interact")
        ax.legend(frameon=False)
        return ax

    expected = {(1, 1): 6.0, (1, 2): 4.0, (2, 2): 2.0}
    return Evidence(
        stated=tuple(
            Check(f"range of w{a} with w{b} on {n} sites", reach, expected[a, b], 0.0)
            for (n, a, b), reach in ranges.items()
        ),
        draw=draw,
        caption="No two weights further apart than six sites interact, however long the ring.",
    )


def _mlp():
    """A small network and its cost on twenty samples."""
    mlp = eqx.nn.MLP(2, 1, 16, 1, jnp.tanh, key=jax.random.key(0))
    X = jax.random.normal(jax.random.key(1), (20, 2))
    return mlp, lambda m: jnp.sum((jax.vmap(m)(X)[:, 0] - X[:, 0] * X[:, 1]) ** 2)


def _sources(setting: Setting) -> Evidence:
    mlp, cost = _mlp()
    found = cost_locality(cost, mlp)
    places = np.random.default_rng(0).permutation(len(found.positions))
    shuffled = Locality(found.hessian, places, None)

    def draw(ax):
        return plot_locality({"in their order": found, "in a random order": shuffled}, ax)

    return Evidence(
        stated=(
            Check(
                "share of the Hessian beyond 6 places, fully connected", found.fraction_beyond(6), 0.1, 0.0, "at least"
            ),
            Check("the same with the parameters in a random order", shuffled.fraction_beyond(6), 0.1, 0.0, "at least"),
        ),
        draw=draw,
        caption="In a fully connected network weights act on each other at all distances, whatever their order.",
        notes="There is no sharp threshold for a general network: a tenth stands for `not small`.",
    )


def _expansion(setting: Setting) -> Evidence:
    mlp, cost = _mlp()
    count = sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(mlp, eqx.is_inexact_array)))
    direction = np.random.default_rng(0).normal(size=count)
    found = remainder_order(cost, mlp, direction, (0.04, 0.02, 0.01, 0.005))
    return Evidence(
        stated=(Check("order of what the two sources leave out", found.order, 3.0, 0.1),),
        draw=lambda ax: plot_remainder(found, ax),
        caption="The cost is its first two sources and a remainder of third order.",
        notes="The source's expansion is about zero weights and has no constant term, which no equation of motion "
        "contains; here it is about the initial weights.",
    )


def _string(setting: Setting) -> Evidence:
    strings = [lattice_string(n, density=0.7, tension=2.0, restoring=0.3) for n in (16, 32, 64, 128)]
    spacings, errors = np.array([s.spacing for s in strings]), np.array([s.error(3) for s in strings])
    order = np.polyfit(np.log(spacings), np.log(errors), 1)[0]
    return Evidence(
        stated=(Check("order of the squared frequency of the third mode", order, 2.0, 0.1),),
        draw=lambda ax: plot_lattice_string(strings[0], ax),
        caption="Long waves on a ring of masses are those of the string, with an error of second order in the spacing.",
    )


def _prediction(setting: Setting) -> Evidence:
    """Gradient descent on the written-out cost, in small steps, against both formulas."""
    sites, waves, samples = 64, 6, 2
    mode = staggered_mode(sites, waves, constant=_R, samples=samples)
    x = np.arange(sites)
    wave = np.where(x % 2 == 1, np.cos(2 * np.pi * waves * x / sites), 0.0)
    wave /= np.linalg.norm(wave)
    # The cost is quadratic: its gradient is a difference of second order, exactly.
    data, zero = np.zeros((samples, sites // 4)), np.zeros(sites)
    units = np.eye(sites)[1::2]

    def gradient(w):
        slopes = [(_cost(zero, w + e, data, data) - _cost(zero, w - e, data, data)) / 2 for e in units]
        return np.array(slopes) @ units

    hessian = np.array([gradient(e) for e in units])[:, 1::2]
    steps, end = 3000, float(mode.t[-1])
    w = wave[1::2].copy()
    for _ in range(steps):
        w = w - end / steps * hessian @ w
    trained, cosine = w @ wave[1::2], np.cos(2 * np.pi * waves / sites) ** 2
    field = np.exp(-4 * samples * _R**2 * cosine * end)
    exact = cosine * np.exp(-4 * samples * _R**2 * end) + 1 - cosine
    # Euler's error over the time T at the rate R is below R^2 T^2 / (2 steps).
    tolerance = (4 * samples * _R**2 * end) ** 2 / (2 * steps)
    return Evidence(
        stated=(Check("amplitude of the wave in training less that of the field", trained - field, 0.0, tolerance),),
        amended=(
            Check("amplitude in training less that with the staggered mode", trained - exact, 0.0, tolerance),
            Check(
                "curvature along the wave less that of the field",
                mode.rayleigh - 4 * samples * _R**2 * cosine,
                0.0,
                1e-12,
            ),
        ),
        draw=lambda ax: plot_staggered_mode(mode, ax),
        caption="By the field's equation the wave dies out; in training a part of it stays for ever, since training "
        "moves the sum of two weights of an output and never their difference.",
    )


def _one_layer(setting: Setting) -> Evidence:
    """The frequencies of Z_k = W_{k-1} + W_{k+1}, from the Hessian of the cost written out."""
    outputs = 32
    rows = np.zeros((outputs, 2 * outputs))
    for k in range(outputs):
        # The weights at the sites 4k - 1 and 4k + 1, of those at 1, 3, 5, ...
        rows[k, [2 * k - 1, 2 * k]] = 1
    hessian = 2 * rows.T @ rows
    ka = 2 * np.pi * np.arange(1, 8) / (4 * outputs)
    sites = np.arange(1, 4 * outputs, 2)
    waves = np.cos(np.outer(ka, sites))
    squares = np.einsum("ij,jk,ik->i", waves, hessian, waves) / (waves**2).sum(1)
    slope = np.polyfit(ka**2, squares, 1)[0]
    eigenvalues = np.linalg.eigvalsh(hessian)

    def draw(ax):
        tidy(ax)
        ax.plot(ka, squares, "o", color=BLUE, label="network, along waves")
        ax.plot(ka, 4 * np.cos(ka) ** 2, "-", color=GREEN, label="4 cos² ka")
        ax.plot(ka, 4 + ka**2, "--", color=ORANGE, label="a free field, m² + c²k²")
        ax.set(xlabel="wavenumber times spacing ka", ylabel="squared frequency ω²")
        ax.legend(frameon=False)
        return ax

    return Evidence(
        stated=(Check("slope of the squared frequency over (ka)²", slope, 0.0, 0.0, "at least"),),
        amended=(
            Check("largest difference from 4 cos² ka", np.abs(squares - 4 * np.cos(ka) ** 2).max(), 0.0, 1e-12),
            Check(
                "largest distance of an eigenvalue from 0 and 4", np.abs(np.abs(eigenvalues - 2) - 2).max(), 0.0, 1e-12
            ),
        ),
        draw=draw,
        caption="The squared frequency falls with the wavenumber, where that of a free field rises.",
        notes="Known from summaries of the paper alone; inputs 1 and targets 0.",
    )


SYNAPTIC_FIELDS = (
    Claim(
        name="training.synaptic-couplings",
        source=f"{SYNAPTIC}, slides, toy neural network",
        statement="In the continuum the cost of the two-layer ring network is the integral of a density with the mass "
        "$m^2$ and the sources $J_1$ to $J_3$ and $K_1$ to $K_7$ as printed, all with a positive sign.",
        computed="The cost of the network, site by site, against the integral, over four spacings.",
        measure=_couplings,
        recorded="fails",
        instead="Couplings that are linear in the targets are negative, as the cross term of $(Y - Z)^2$ is; "
        "$K_1 = -48qa\\,\\sum X'Y$.",
    ),
    Claim(
        name="training.synaptic-mass",
        source=f"{SYNAPTIC}, slides, toy neural network",
        statement="With the kinetic term $\\frac12 \\dot w_2^2$ the second layer has the mass $m^2 = 8N_ir^2/a$.",
        computed="The curvature of the network's cost along uniform weights, per weight, over four spacings.",
        measure=_mass,
        recorded="conditional",
        condition="Couplings are multiplied by $a/2$: weights lie $2a$ apart and outputs $4a$, so that the mass is "
        "$m^2 = 4N_ir^2$ at every spacing.",
    ),
    Claim(
        name="training.synaptic-locality",
        source=f"{SYNAPTIC}, slides, spacetime geometry and neural network architecture",
        statement="A network can be wired and indexed so that its action is local: the ring network's is.",
        computed="The pairs of weights whose product occurs in the cost, by differences, on rings of 32 and 48 sites.",
        measure=_locality,
        recorded="holds",
    ),
    Claim(
        name="training.general-networks-are-not-local",
        source=f"{SYNAPTIC}, slides, nonlocality of neural networks",
        statement="For ordinary networks $\\int J_2(x, y)\\, w(x)\\, w(y)$ joins distant places.",
        computed="The share of the second derivatives of a fully connected network's cost beyond 6 places.",
        measure=_sources,
        recorded="holds",
    ),
    Claim(
        name="training.two-sources",
        source=f"{SYNAPTIC}, slides, continuum limit",
        statement="The cost of any network expands as $C = \\sum J_1 W + \\sum J_2 W W + \\ldots$",
        computed="The order of the remainder after the second term, for a fully connected network.",
        measure=_expansion,
        recorded="holds",
    ),
    Claim(
        name="training.masses-on-springs",
        source=f"{SYNAPTIC}, slides, continuum limit",
        statement="Masses on springs become the string, $\\frac12\\int [U \\dot η^2 - K η'^2 - M η^2]\\,dx$.",
        computed="Eigenvalues of the ring of masses against $c^2k^2 + M/U$, over four spacings.",
        measure=_string,
        recorded="holds",
    ),
    Claim(
        name="training.the-field-predicts-training",
        source=f"{SYNAPTIC}, slides, summary table",
        statement="Parameters are a field and training steps its time: the field's equation says how weights train.",
        computed="Gradient descent of the ring network from a smooth wave against the field's equation.",
        measure=_prediction,
        recorded="fails",
        instead="The action agrees on smooth fields, training leaves them: a mode that alternates between the two "
        "weights of an output is excited, and $\\sin^2 ka$ of the wave never decays.",
    ),
    Claim(
        name="training.one-layer-is-a-free-field",
        source=f"{SYNAPTIC}, one-layer network, as others summarise it",
        statement="The one-layer ring network is a free scalar field, $ω^2 = m^2 + c^2k^2$.",
        computed="The curvature of its cost along waves, and the eigenvalues of its Hessian.",
        measure=_one_layer,
        recorded="fails",
        instead="$ω^2 = 4\\cos^2 ka$ along waves: the gradient term has the sign of an instability, an artefact of "
        "ending the series; the only eigenvalues are 0 and 4.",
    ),
)
