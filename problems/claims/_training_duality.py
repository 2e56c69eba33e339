"""Claims about learning as the dual of activation: Hamilton's equations, Klein-Gordon networks."""

import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp

from hjpde._plotting import BLUE, GREEN, ORANGE, tidy
from hjpde.training import (
    KleinGordon,
    LearningSystem,
    Newtonian,
    evolve,
    klein_gordon_operator,
    one_step_matrix,
)

from ._claim import Check, Claim, Evidence, Setting, Verdict
from ._sources import EMERGENT

_N, _A = 32, 0.1
_ONE = np.eye(_N)
_RIGHT = np.roll(_ONE, 1, 1)
_LAPLACIAN = (_RIGHT + _RIGHT.T - 2 * _ONE) / _A**2


def _slope(x, y):
    return np.polyfit(np.log(x), np.log(y), 1)[0]


def _defect(matrix):
    """Of the symplectic relation."""
    n = len(matrix) // 2
    J = np.block([[np.zeros((n, n)), np.eye(n)], [-np.eye(n), np.zeros((n, n))]])
    return float(np.abs(matrix.T @ J @ matrix - J).max())


def _potential(phi):
    """Of three coupled pendulums."""
    return jnp.sum(1 - jnp.cos(phi)) + 0.1 * jnp.sum((jnp.roll(phi, 1) - phi) ** 2)


def _force(phi):
    return -np.sin(phi) - 0.2 * (2 * phi - np.roll(phi, 1) - np.roll(phi, -1))


def _equations(setting: Setting) -> Evidence:
    start, end, steps = np.array([0.9, -0.4, 1.3, 0.2, -0.7, 0.5]), 2.0, np.array([20, 40, 80, 160])
    exact = solve_ivp(
        lambda _, y: np.r_[y[3:], _force(y[:3])], (0, end), start, method="DOP853", rtol=1e-12, atol=1e-13
    ).y[:, -1]
    from_exact, from_euler = [], []
    # One program for all step sizes: the longest path is stopped where each ends.
    for n in steps:
        eps = end / n
        q, p = start[:3], start[3:]
        path = evolve(Newtonian(_potential, eps), (q, eps * p), int(steps.max()))
        found = np.r_[path[0][n], path[1][n] / eps]
        for _ in range(n):
            q = q + eps * p
            p = p + eps * _force(q)
        from_euler.append(np.abs(found - np.r_[q, p]).max())
        from_exact.append(np.abs(found - exact).max())
    eps = end / steps
    last = Newtonian(_potential, eps[0])
    jacobian = np.asarray(one_step_matrix(last, (start[:3], eps[0] * start[3:])))

    def draw(ax):
        tidy(ax, "both")
        ax.loglog(eps, from_exact, "o-", color=BLUE, label="from Hamilton's equations, solved")
        ax.loglog(eps, np.maximum(from_euler, 1e-17), "s--", color=ORANGE, label="from their symplectic Euler steps")
        ax.set(xlabel="step ε", ylabel="difference of position and momentum", ylim=(1e-17, 1))
        ax.set_xticks(eps, [f"{step:g}" for step in eps])
        ax.minorticks_off()
        ax.legend(frameon=False)
        return ax

    return Evidence(
        stated=(
            Check("difference from symplectic Euler steps", max(from_euler), 0.0, 1e-12),
            Check("defect of the symplectic relation of one step", _defect(jacobian), 0.0, 1e-12),
            Check("order of the distance from Hamilton's equations", _slope(eps, from_exact), 1.0, 0.1),
        ),
        draw=draw,
        caption="Activation and learning are a symplectic discretisation of Hamilton's equations, of first order.",
    )


def _wording(setting: Setting) -> Evidence:
    """A Hamilton-Jacobi equation moves one function S(t, phi); the momenta are then a gradient field."""
    rng = np.random.default_rng(0)
    n, steps = 6, 100
    root = rng.normal(size=(n, n))
    A = 0.3 * root @ root.T / n
    M = np.block([[np.eye(n), np.eye(n)], [-A, np.eye(n) - A]])

    def asymmetries(relation):
        """Of dβ/dφ along the way, for a cloud of states that starts with β = relation φ."""
        frames = np.vstack([np.eye(n), relation])
        out = []
        for _ in range(steps):
            frames = M @ frames
            slopes = np.linalg.solve(frames[:n].T, frames[n:].T).T
            out.append(np.abs(slopes - slopes.T).max() / np.abs(slopes).max())
        return np.array(out)

    general = rng.normal(size=(n, n)) / n
    arbitrary, gradient = asymmetries(general), asymmetries(general + general.T)

    def draw(ax):
        tidy(ax)
        ax.semilogy(arbitrary, "s-", ms=3, color=ORANGE, label="arbitrary states")
        ax.semilogy(np.maximum(gradient, 1e-17), "o-", ms=3, color=BLUE, label="β = ∇S at the start")
        ax.set(xlabel="steps", ylabel="asymmetry of ∂β/∂φ, relative")
        ax.legend(frameon=False)
        return ax

    return Evidence(
        stated=(Check("least asymmetry of ∂β/∂φ for arbitrary states", arbitrary.min(), 0.0, 1e-8),),
        amended=(
            # Rounding is amplified where the cloud folds and its frame is nearly singular.
            Check("largest asymmetry where β = ∇S at the start", gradient.max(), 0.0, 1e-8),
        ),
        draw=draw,
        caption="A Hamilton-Jacobi equation allows only momenta that are a gradient; learning and activation move all.",
    )


def _total(setting: Setting) -> Evidence:
    rng = np.random.default_rng(3)
    phi, beta, h = rng.normal(size=4), rng.normal(size=4), 1e-5
    system = LearningSystem(lambda f, b: jnp.tanh(f) + b, lambda f, b: jnp.sum(f**4) / 4 + jnp.sum(f * b**2))

    def loss(b):
        f = np.tanh(phi) + b
        return (f**4).sum() / 4 + (f * b**2).sum()

    differences = np.array([(loss(beta + h * e) - loss(beta - h * e)) / (2 * h) for e in np.eye(4)])
    found = np.asarray(system.total_derivative(jnp.asarray(phi), jnp.asarray(beta)))
    partial = 2 * (np.tanh(phi) + beta) * beta
    # The largest third derivative over 6, times h^2, and rounding over h.
    tolerance = 20 * h**2 + 1e-15 * loss(beta) / h

    def draw(ax):
        tidy(ax)
        ax.plot(differences, "o", ms=9, mfc="none", color=BLUE, label="differences of the loss")
        ax.plot(found, "x", color=GREEN, label="through the activation")
        ax.plot(partial, "s", color=ORANGE, label="explicit part alone")
        ax.set(xlabel="bias", ylabel="dH/dβ", xticks=range(4))
        ax.legend(frameon=False)
        return ax

    return Evidence(
        stated=(
            Check("largest difference from differences of the loss", np.abs(found - differences).max(), 0.0, tolerance),
            Check("what the explicit part alone misses", np.abs(partial - differences).max(), 0.1, 0.0, "at least"),
        ),
        draw=draw,
        caption="Learning follows the derivative through the activation; its explicit part alone is another number.",
    )


def _operator(hopping=0.0, eps=0.04, mass=1.7):
    """The source's weights up to signs; `hopping` is an antisymmetric part."""
    return eps**2 * (mass**2 * _ONE - _LAPLACIAN - hopping * (_RIGHT - _RIGHT.T) / _A**2)


def _symmetric(setting: Setting) -> Evidence:
    A = _operator()
    network = KleinGordon(A)
    rng = np.random.default_rng(0)
    phi = np.asarray(evolve(network, (rng.normal(size=_N), rng.normal(size=_N)), 50)[0])
    residual = np.abs(phi[2:] - 2 * phi[1:-1] + phi[:-2] + phi[1:-1] @ A).max()
    hoppings = np.linspace(0, 0.5, 11)
    # The weights commute with shifts: a block of two for each wavenumber.
    symbols = np.array([np.fft.fft(_operator(hopping)[0]) for hopping in hoppings])
    blocks = np.stack([np.ones_like(symbols), np.ones_like(symbols), -symbols, 1 - symbols], -1)
    growth = np.abs(np.linalg.eigvals(blocks.reshape(*symbols.shape, 2, 2))).max((1, 2))

    def draw(ax):
        tidy(ax)
        ax.plot(hoppings, growth, "o-", color=BLUE, label="largest eigenvalue of a step")
        ax.axhline(1, color=ORANGE, linestyle="--", label="stable")
        ax.set(xlabel="antisymmetric part of the weights", ylabel="growth in a step |λ|")
        ax.legend(frameon=False)
        return ax

    return Evidence(
        stated=(
            Check("largest residual of the field equation, symmetric", residual, 0.0, 1e-12),
            Check("largest eigenvalue of a step, symmetric", growth[0], 1.0, 1e-12),
            Check("largest eigenvalue of a step with an antisymmetric part 0.3", growth[6], 1.05, 0.0, "at least"),
        ),
        draw=draw,
        caption="With symmetric weights the network is a Klein-Gordon field; an antisymmetric part makes it explode.",
        notes="Of a quadratic loss the gradient has only the symmetric part: the antisymmetric one has to be imposed.",
    )


def _many(setting: Setting) -> Evidence:
    A, steps = _operator(), 1000
    before = np.exp(np.cos(2 * np.pi * np.arange(_N) / _N))
    rules = [KleinGordon(A, rule) for rule in ("identity", "commuting")]
    paths = [evolve(rule, rule.start(before, 1.01 * before), steps) for rule in rules]
    fields, biases = ([np.asarray(path[i]) for path in paths] for i in (0, 1))
    # The second-order equation by itself, without network.
    plain = [before, 1.01 * before]
    for _ in range(steps - 1):
        plain.append(2 * plain[-1] - plain[-2] - A @ plain[-1])

    def draw(ax):
        tidy(ax)
        ax.plot(fields[0][:200, 0], "-", color=GREEN, label="field with W = 1")
        ax.plot(range(0, 200, 8), fields[1][:200:8, 0], "o", ms=4, color=BLUE, label="field with W = 1 − A")
        ax.plot(20 * (biases[0] - biases[1])[:200, 0], "--", color=ORANGE, label="difference of the biases, × 20")
        ax.set(xlabel="steps", ylabel="at site 0")
        ax.legend(frameon=False)
        return ax

    return Evidence(
        stated=(
            Check("largest difference of the fields in 1000 steps", np.abs(fields[0] - fields[1]).max(), 0.0, 1e-10),
            Check("largest difference from the field equation", np.abs(fields[0] - np.array(plain)).max(), 0.0, 1e-10),
            Check("largest difference of the biases", np.abs(biases[0] - biases[1]).max(), 1e-3, 0.0, "at least"),
        ),
        draw=draw,
        caption="Two networks with different biases carry the same field.",
    )


def _convergence(setting: Setting) -> Evidence:
    sizes, mode, mass = np.array([32, 64, 128, 256]), 3, 1.7
    spacings, errors = 2 * np.pi / sizes, []
    for n, a in zip(sizes, spacings, strict=True):
        eps = 0.4 * a
        # The block of one wavenumber, by a wave itself.
        network = klein_gordon_operator(int(n), spacing=a, step=eps, mass=mass)
        wave = np.exp(1j * mode * np.arange(n) * a)
        eigenvalue = ((np.asarray(network) @ wave) / wave).real.mean()
        block = np.array([[1, 1], [-eigenvalue, 1 - eigenvalue]])
        errors.append(abs(np.abs(np.angle(np.linalg.eigvals(block))).max() / eps - np.hypot(mode, mass)))
    order = _slope(spacings, errors)

    def draw(ax):
        tidy(ax, "both")
        ax.loglog(spacings, errors, "o-", color=BLUE, label=f"order {order:.2f}")
        ax.loglog(spacings, 0.5 * errors[0] * (spacings / spacings[0]) ** 2, "k:", label="slope 2")
        ax.set_xticks(spacings, [f"{a:.3f}" for a in spacings])
        ax.minorticks_off()
        ax.set(xlabel="spacing a, step 0.4 a", ylabel="|ω − √(k² + m²)|")
        ax.legend(frameon=False)
        return ax

    return Evidence(
        stated=(Check("order of the frequency in the spacing", order, 2.0, 0.15),),
        draw=draw,
        caption="The frequencies of the network approach those of the field with the square of the spacing.",
    )


def _claim(name, section, statement, computed, measure, recorded: Verdict = "holds", **fields):
    source = f"{EMERGENT}, {section}"
    return Claim(f"training.{name}", source, statement, computed, measure, recorded, **fields)


DUALITY = (
    _claim(
        "learning-is-hamiltonian",
        "abstract, second version",
        "Hamilton's equations for position and momentum are activation and learning.",
        "Steps of a network with the loss $ε^2V$ against symplectic Euler steps written out, and against the solution.",
        _equations,
    ),
    _claim(
        "hamilton-jacobi-wording",
        "abstract, first version",
        "The Hamilton-Jacobi equations for position and momentum are activation and learning.",
        "Whether the biases remain, or ever are, a gradient field $β = ∇S(φ)$, as a Hamilton-Jacobi equation has it.",
        _wording,
        "conditional",
        condition="The biases start as a gradient. For all states they are Hamilton's equations, as the second version "
        "says, which are the characteristics of a Hamilton-Jacobi equation.",
    ),
    _claim(
        "learning-is-the-total-derivative",
        "equations 2.1 to 2.16, as others summarise them",
        "Learning descends $dH/dβ = ∂H/∂β + (∂H/∂φ)(∂φ/∂β)$.",
        "The network's derivative against differences of the loss through the activation.",
        _total,
    ),
    _claim(
        "klein-gordon-weights-are-symmetric",
        "abstract",
        "For Klein-Gordon fields the weight tensor is symmetric.",
        "The field equation and the spectrum of a step, with symmetric weights and with an antisymmetric part.",
        _symmetric,
    ),
    _claim(
        "many-networks-one-field",
        "section 3, as others summarise it",
        "Different learning rules have the same Klein-Gordon field.",
        "Fields and biases of two learning rules, and the field equation without a network, over 1000 steps.",
        _many,
    ),
    _claim(
        "klein-gordon-continuum",
        "abstract",
        "Klein-Gordon fields, $ω^2 = k^2 + m^2$, are modelled by activation and learning.",
        "The frequency of one wave by eigenvalues of a step, over four spacings.",
        _convergence,
    ),
)
