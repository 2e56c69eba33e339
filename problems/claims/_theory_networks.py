"""Claims about networks that discretise Hamilton-Jacobi equations: backpropagation, attention, depth, recurrence."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from scipy.optimize import linprog
from scipy.special import expit, softmax

from hjpde._plotting import BLUE, GREEN, ORANGE, tidy

from ._claim import Check, Claim, Evidence, Setting
from ._sources import THEORY
from ._written_out import relative_gap

_STEP = 1e-30
"""Of complex steps: their derivative has no cancellation, however small they are."""


def _backpropagation(setting: Setting) -> Evidence:
    rng = np.random.default_rng(0)
    d, depth, h = 6, 12, 0.1
    layers = [(rng.normal(size=(d, d)), rng.normal(size=d)) for _ in range(depth)]
    readout, start = rng.normal(size=d), rng.normal(size=d)

    def states(x):
        path = [x]
        for W, b in layers:
            path.append(path[-1] + h * np.tanh(W @ path[-1] + b))
        return path

    path = states(start)
    costates = [np.cos(readout @ path[-1]) * readout]
    for (W, b), x in zip(reversed(layers), reversed(path[:-1]), strict=True):
        p = costates[-1]
        costates.append(p + h * W.T @ ((1 - np.tanh(W @ x + b) ** 2) * p))
    stepped = [np.imag(np.sin(readout @ states(start + 1j * _STEP * e)[-1])) / _STEP for e in np.eye(d)]
    # A variation carried forward pairs with the co-state to a constant.
    variation, pairings = rng.normal(size=d), []
    for k, (W, b) in enumerate(layers):
        pairings.append(variation @ costates[depth - k])
        variation = variation + h * (1 - np.tanh(W @ path[k] + b) ** 2) * (W @ variation)
    pairings.append(variation @ costates[0])
    drift = np.ptp(pairings) / abs(pairings[0])

    def draw(ax):
        tidy(ax)
        ax.plot([np.linalg.norm(p) for p in reversed(costates)], "o-", color=BLUE, label="|p|")
        ax.plot(np.abs(pairings), "s--", color=ORANGE, label="|p · δx|, constant")
        ax.set(xlabel="layer", ylabel="co-state")
        ax.legend(frameon=False)
        return ax

    return Evidence(
        stated=(
            Check(
                "co-state at the input, complex step",
                relative_gap(costates[-1], np.array(stepped)),
                0.0,
                1e-12,
            ),
            Check("change of the pairing with a variation, relative", drift, 0.0, 1e-12),
        ),
        draw=draw,
        caption="The co-state changes from layer to layer, and its pairing with a variation of the state does not.",
    )


def _right_endpoint(setting: Setting) -> Evidence:
    """The co-state equation discretised from its own end is consistent, and is not backpropagation."""
    a, T, depths = 0.8, 1.0, np.array([8, 16, 32, 64])
    # For x' = -a x^2 from 1, with the readout x: everything in closed form or a loop.
    exact, left, right = 1 / (1 + a * T) ** 2, [], []
    for L in depths:
        h, path = T / L, [1.0]
        for _ in range(L):
            path.append(path[-1] - h * a * path[-1] ** 2)
        left.append(np.prod([1 - 2 * h * a * x for x in path[:-1]]))
        right.append(np.prod([1 - 2 * h * a * x for x in path[1:]]))
    differences = np.abs(np.array(left) - right)
    order = -np.polyfit(np.log(depths), np.log(differences), 1)[0]

    def draw(ax):
        tidy(ax)
        ax.loglog(depths, np.abs(np.array(left) - exact), "o-", color=BLUE, label="backpropagation − flow")
        ax.loglog(depths, np.abs(np.array(right) - exact), "s--", color=ORANGE, label="Jacobian on the right − flow")
        ax.loglog(depths, differences, "^:", color=GREEN, label="difference of both")
        ax.set(xlabel="layers L", ylabel="difference of the co-state")
        ax.legend(frameon=False)
        return ax

    return Evidence(
        stated=(Check("largest difference to backpropagation", differences.max(), 0.0, 1e-12),),
        amended=(Check("order of the difference in h", order, 1.0, 0.1),),
        draw=draw,
        caption="Both discretisations of the co-state equation have order 1; that at the left end is the gradient.",
    )


def _attention(setting: Setting) -> Evidence:
    rng = np.random.default_rng(1)
    errors, dimensions = [], (4, 16, 64)
    for d in dimensions:
        Q, K, V = rng.normal(size=(8, d)), rng.normal(size=(12, d)), rng.normal(size=(12, 16))
        eps, scores = np.sqrt(d), Q @ K.T
        shift = scores.max(1, keepdims=True)
        gradient = np.empty_like(scores)
        for j in range(12):
            moved = scores + 1j * _STEP * (np.arange(12) == j)
            gradient[:, j] = (eps * np.log(np.exp((moved - shift) / eps).sum(1))).imag / _STEP
        attention = np.asarray(jax.nn.softmax(jnp.asarray(scores) / eps, axis=1)) @ V
        errors.append(relative_gap(gradient @ V, attention))

    def draw(ax):
        tidy(ax)
        ax.loglog(dimensions, errors, "o-", color=BLUE)
        ax.set(xlabel="dimension of a key", ylabel="∇LSE · V − attention, relative", ylim=(1e-17, 1e-13))
        return ax

    return Evidence(
        stated=(Check("largest difference, relative", max(errors), 0.0, 1e-12),),
        draw=draw,
        caption="Softmax attention is a mean under the Gibbs weights of its scores, to rounding.",
    )


def _projections(setting: Setting) -> Evidence:
    rng = np.random.default_rng(2)
    d, keys = 4, rng.normal(size=(9, 4))

    def asymmetry(metric, values):
        """Of the read's Jacobian in the query: a gradient has none."""
        q = rng.normal(size=d)

        def read(q):
            scores = keys @ metric @ q
            weights = np.exp(scores - scores.real.max())
            return values.T @ (weights / weights.sum())

        jacobian = np.stack([read(q + 1j * _STEP * e).imag / _STEP for e in np.eye(d)], axis=1)
        return float(np.linalg.norm(jacobian - jacobian.T) / np.linalg.norm(jacobian))

    # Scores of order 1: a read that has settled on one key hardly moves.
    root = 0.3 * rng.normal(size=(d, d))
    symmetric = root @ root.T
    free = [asymmetry(rng.normal(size=(d, d)), keys @ rng.normal(size=(d, d))) for _ in range(20)]
    tied = [asymmetry(symmetric, keys @ symmetric) for _ in range(20)]
    # The read of keys at distances is one exact step along the solution grown from them.
    t, eps, q = 0.7, 0.4, rng.normal(size=d)

    def u(x):
        return -eps * jax.scipy.special.logsumexp(-((x[None] - jnp.asarray(keys)) ** 2).sum(1) / (4 * t * eps))

    moved = q - 2 * t * np.asarray(jax.grad(u)(jnp.asarray(q)))
    read = softmax(-((q - keys) ** 2).sum(1) / (4 * t * eps)) @ keys

    def draw(ax):
        tidy(ax)
        ax.semilogy(free, "o", color=ORANGE, label="free projections")
        ax.semilogy(np.array(tied) + 1e-17, "s", color=BLUE, label="symmetric scores, tied values")
        ax.set(xlabel="random attention", ylabel="asymmetry of the Jacobian, relative")
        ax.legend(frameon=False)
        return ax

    return Evidence(
        stated=(Check("largest asymmetry with free projections", max(free), 0.0, 1e-12),),
        amended=(
            Check("largest asymmetry with tied projections", max(tied), 0.0, 1e-12),
            Check("read by distances − (q − 2t∇u), relative", relative_gap(read, moved), 0.0, 1e-12),
        ),
        draw=draw,
        caption="An attention read is the gradient of a potential only with symmetric scores and values tied to them.",
    )


def _field(s, x):
    rotation = np.array([[0.4, -1.1], [1.3, 0.2]])
    return np.tanh(rotation @ x + np.array([np.sin(2 * s), np.cos(s)]))


def _depth(setting: Setting) -> Evidence:
    start, depths = np.array([0.6, -0.8]), np.array([8, 16, 32, 64, 128])

    def end(L, smooth=True):
        x = start
        for k in range(L):
            rough = 0.0 if smooth else 3.0 * (-1) ** k
            x = x + _field(k / L + rough, x) / L
        return x

    flow = scipy.integrate.solve_ivp(_field, (0, 1), start, method="DOP853", rtol=1e-12, atol=1e-12).y[:, -1]
    errors = np.array([np.linalg.norm(end(L) - flow) for L in depths])
    rough = np.array([np.linalg.norm(end(L, smooth=False) - flow) for L in depths])
    order, rough_order = (-np.polyfit(np.log(depths), np.log(e), 1)[0] for e in (errors, rough))

    def draw(ax):
        tidy(ax)
        ax.loglog(depths, rough, "s--", color=ORANGE, label="weights that jump from layer to layer")
        ax.loglog(depths, errors, "o-", color=BLUE, label="weights smooth in depth")
        ax.loglog(depths, errors[0] * depths[0] / depths, ":", color=GREEN, label="slope −1")
        ax.set(xlabel="layers L", ylabel="network − flow")
        ax.legend(frameon=False)
        return ax

    return Evidence(
        stated=(Check("order for weights that jump from layer to layer", rough_order, 1.0, 0.1),),
        amended=(Check("order for weights smooth in depth", order, 1.0, 0.1),),
        draw=draw,
        caption="With smooth weights a deeper network approaches the flow at order 1; with jumping ones it does not.",
    )


def _viscosity(setting: Setting) -> Evidence:
    # On x' = a x with the readout x^2 the network, the flow with viscosity h F^2 / 2 and that with the drift
    # F - h F' F / 2 are known in closed form.
    a, T, x, depths = 0.7, 1.0, 1.0, np.array([8, 16, 32, 64])
    h = T / depths
    network = x**2 * (1 + h * a) ** (2 * depths)
    viscous = x**2 * np.exp(2 * a * T + h * a**2 * T)
    drifted = x**2 * np.exp(2 * (a - h * a**2 / 2) * T)
    errors = {name: np.abs(value - network) for name, value in (("viscous", viscous), ("drift", drifted))}
    orders = {name: -np.polyfit(np.log(depths), np.log(error), 1)[0] for name, error in errors.items()}

    def draw(ax):
        tidy(ax)
        ax.loglog(depths, np.abs(x**2 * np.exp(2 * a * T) - network), "^:", color=GREEN, label="flow")
        ax.loglog(depths, errors["viscous"], "s--", color=ORANGE, label="flow with viscosity hF²/2")
        ax.loglog(depths, errors["drift"], "o-", color=BLUE, label="flow of F − hF′F/2, no viscosity")
        ax.set(xlabel="layers L", ylabel="|value − network's|")
        ax.legend(frameon=False)
        return ax

    return Evidence(
        stated=(Check("order at which a viscosity hF²/2 explains the network", orders["viscous"], 2.0, 0.1),),
        amended=(Check("order at which a drift −hF′F/2 explains it", orders["drift"], 2.0, 0.1),),
        draw=draw,
        caption="What the finite step adds is a drift: with it the equation follows the network to second order; a "
        "viscosity does not help.",
    )


def _recurrent(setting: Setting) -> Evidence:
    rng = np.random.default_rng(3)
    f, i = expit(rng.normal(size=(2, 50)))
    g, c = np.tanh(rng.normal(size=50)), rng.normal(size=50)
    rate = -np.log(f)
    drive = i * g * rate / (1 - f)
    lstm = [
        scipy.linalg.expm(np.array([[-r, m], [0, 0]]))[0] @ [start, 1]
        for r, m, start in zip(rate, drive, c, strict=True)
    ]
    A, B, step = rng.normal(size=(5, 5)) - 3 * np.eye(5), rng.normal(size=(5, 2)), 0.3
    h, w = rng.normal(size=5), rng.normal(size=2)
    held = np.linalg.solve(A, scipy.linalg.expm(step * A) - np.eye(5)) @ B
    zero_order = scipy.linalg.expm(step * A) @ h + held @ w
    flow = scipy.integrate.solve_ivp(lambda s, x: A @ x + B @ w, (0, step), h, method="DOP853", rtol=1e-13, atol=1e-14)
    euler = (np.eye(5) + step * A) @ h + step * B @ w
    W, b = rng.normal(size=(5, 5)), rng.normal(size=5)
    leaky = scipy.integrate.solve_ivp(lambda s, x: np.tanh(W @ x + b) - x, (0, 1), h, rtol=1e-11, atol=1e-12).y[:, -1]
    gaps = {
        "LSTM cell": relative_gap(np.array(lstm), f * c + i * g),
        "linear SSM, zero-order hold": relative_gap(zero_order, flow.y[:, -1]),
        "linear SSM, Euler": relative_gap(euler, flow.y[:, -1]),
        "vanilla RNN": relative_gap(np.tanh(W @ h + b), leaky),
    }

    def draw(ax):
        tidy(ax, "x")
        ax.barh(list(gaps), list(gaps.values()), color=[BLUE, BLUE, ORANGE, ORANGE], hatch=["", "", "//", "//"])
        ax.set(xscale="log", xlabel="one step against its flow, relative")
        return ax

    return Evidence(
        stated=(Check("largest gap of one step: vanilla RNN", gaps["vanilla RNN"], 0.0, 1e-10),),
        amended=(
            Check("gap of the LSTM's cell, its gates held", gaps["LSTM cell"], 0.0, 1e-12),
            Check("gap of a linear SSM under zero-order hold", gaps["linear SSM, zero-order hold"], 0.0, 1e-11),
        ),
        draw=draw,
        caption="The cell of an LSTM with its gates held and a linear state-space model under zero-order hold are "
        "their flow; an Euler step, of length 1 in a vanilla RNN, is not.",
    )


def _universal(setting: Setting) -> Evidence:
    x = np.linspace(-1, 1, 41)
    target, n = -np.abs(x), x.size
    # The best convex function on these points: least t with |v - target| <= t and second differences >= 0.
    second = np.zeros((n - 2, n + 1))
    for k in range(n - 2):
        second[k, k : k + 3] = [-1, 2, -1]
    near = np.block([[np.eye(n), -np.ones((n, 1))], [-np.eye(n), -np.ones((n, 1))]])
    best = linprog(
        np.append(np.zeros(n), 1.0),
        A_ub=np.vstack([near, second]),
        b_ub=np.concatenate([target, -target, np.zeros(n - 2)]),
        bounds=[(None, None)] * (n + 1),
    )
    eps = 0.01
    # No planes at all minus the two planes x and -x.
    difference = -eps * np.logaddexp(x / eps, -x / eps)
    error = np.abs(difference - target).max()

    def draw(ax):
        tidy(ax)
        ax.plot(x, target, color="black", label="−|x|")
        ax.plot(x, best.x[:n], "s--", color=ORANGE, markersize=3, label="best convex function")
        ax.plot(x, difference, "o", color=BLUE, markersize=3, label="difference of two layers, ε = 0.01")
        ax.set(xlabel="x", ylabel="value")
        ax.legend(frameon=False)
        return ax

    return Evidence(
        stated=(Check("least error of one layer, of any width, on −|x|", best.fun, 0.0, 0.1),),
        amended=(Check("error of a difference of two layers, over ε log 2", error / (eps * np.log(2)), 1.0, 1e-9),),
        draw=draw,
        caption="Layers are convex: none comes closer to −|x| than 1/2; a difference of two comes within ε log 2.",
    )


NETWORKS = (
    Claim(
        name="theory.backpropagation-is-the-costate",
        source=f"{THEORY}, abstract and Section 8",
        statement="Backpropagation of a residual network is the co-state equation: $p_k = (I + h DF)^T p_{k+1}$.",
        computed="The recursion with the Jacobian at the left end against the complex step; its pairing.",
        measure=_backpropagation,
        recorded="holds",
    ),
    Claim(
        name="theory.any-costate-is-backpropagation",
        source=f"{THEORY}, abstract",
        statement="Backpropagation is the co-state equation of the Hamiltonian system, however that is discretised.",
        computed="The recursion with the Jacobian at the right end of each step against backpropagation.",
        measure=_right_endpoint,
        recorded="conditional",
        condition="The Jacobian is taken at the left end of a step; at the right end it differs by order h.",
    ),
    Claim(
        name="theory.attention-is-a-gibbs-average",
        source=f"{THEORY}, project page",
        statement="Attention is a mean under Gibbs weights: $Attn = ∇LSE_ε(z) V$ at $z = QK^T$, $ε = √d_k$.",
        computed="The gradient of the log-sum-exp by the complex step against attention by softmax.",
        measure=_attention,
        recorded="holds",
    ),
    Claim(
        name="theory.attention-is-a-gradient",
        source=f"{THEORY}, abstract",
        statement="Transformers discretise the same class of equations: an attention read moves along the gradient "
        "of a solution.",
        computed="The asymmetry of the read's Jacobian in the query, for free and for tied projections.",
        measure=_projections,
        recorded="conditional",
        condition="$W_Q^T W_K$ is symmetric and positive, and the values are the keys' image under it; else the read "
        "has no potential.",
    ),
    Claim(
        name="theory.residual-networks-discretise",
        source=f"{THEORY}, abstract",
        statement="A residual network discretises a flow: its error is of order $h = 1/L$.",
        computed="Networks of 8 to 128 layers against the flow to 1e-12, with smooth and with jumping weights.",
        measure=_depth,
        recorded="conditional",
        condition="The weights are smooth in depth; with weights that jump between layers there is no such limit.",
    ),
    Claim(
        name="theory.networks-have-viscosity",
        source=f"{THEORY}, abstract",
        statement="Residual and recurrent networks discretise viscous equations, with a viscosity of the architecture.",
        computed="A network on x' = ax in closed form against its flow with a viscosity and with a corrected drift.",
        measure=_viscosity,
        recorded="fails",
        instead="A deterministic network has no viscosity: its finite step adds the drift −(h/2) DF F.",
    ),
    Claim(
        name="theory.recurrent-networks-discretise",
        source=f"{THEORY}, abstract",
        statement="RNNs, LSTMs and state-space models discretise flows, each step being a step of one.",
        computed="One step of each against the flow of its equation.",
        measure=_recurrent,
        recorded="conditional",
        condition="The LSTM's cell with gates held, and linear models under zero-order hold; a vanilla RNN is an "
        "Euler step of length 1, which is structure only.",
    ),
    Claim(
        name="theory.universality",
        source=f"{THEORY}, Appendix H (title only seen)",
        statement="Log-sum-exp layers approximate every continuous function.",
        computed="The best convex function to −|x| by a linear program; a difference of two layers in closed form.",
        measure=_universal,
        recorded="conditional",
        condition="Differences of two layers; one layer is convex, and dense in the convex functions alone.",
    ),
)
