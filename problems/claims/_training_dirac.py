"""Claims about Dirac fields from learning and activation: the antisymmetric factor, doublers, the gauge."""

import jax.numpy as jnp
import numpy as np
from scipy.linalg import expm

from hjpde._plotting import BLUE, GREEN, ORANGE, tidy
from hjpde.training import (
    Dirac,
    GaugedDirac,
    GaugeField,
    StaggeredDirac,
    covariant_generator,
    dirac_generator,
    dispersion,
    one_step_matrix,
)

from ._claim import Check, Claim, Evidence, Setting, Verdict
from ._sources import EMERGENT

_N, _A, _EPS, _M = 32, 0.1, 0.03, 1.3
_ONE = np.eye(_N)
_RIGHT = np.roll(_ONE, 1, 1)


def _generator(mass_factor, mass=_M):
    centred = (_RIGHT - _RIGHT.T) / (2 * _A)
    return -np.kron(np.diag([1, -1]), centred) - mass * np.kron(mass_factor, _ONE)


def _antisymmetric(setting: Setting) -> Evidence:
    antisymmetric, symmetric = (np.linalg.eigvals(_generator([[0, 1], [sign, 0]])) for sign in (-1, 1))
    G = np.asarray(dirac_generator(_N, spacing=_A, mass=_M))
    centred = (_RIGHT - _RIGHT.T) / (2 * _A)
    square = np.kron(np.eye(2), centred @ centred - _M**2 * _ONE)
    W = np.asarray(Dirac(_N, spacing=_A, step=_EPS, mass=_M).weights)

    def draw(ax):
        tidy(ax, "both")
        ax.plot(antisymmetric.real, antisymmetric.imag, "o", ms=4, color=BLUE, label="antisymmetric mass factor")
        ax.plot(symmetric.real, symmetric.imag, "s", ms=4, mfc="none", color=ORANGE, label="symmetric mass factor")
        ax.set(xlabel="growth [1/time]", ylabel="frequency [1/time]", ylim=(-11, 18))
        ax.legend(frameon=False, loc="upper right")
        return ax

    return Evidence(
        stated=(
            Check("square of the generator less that of a field with mass", np.abs(G @ G - square).max(), 0.0, 1e-12),
            Check("defect of orthogonality of the weights", np.abs(W.T @ W - np.eye(2 * _N)).max(), 0.0, 1e-12),
            Check("largest growth, antisymmetric factor", np.abs(antisymmetric.real).max(), 0.0, 1e-11),
            Check("largest growth with a symmetric factor instead, over m", symmetric.real.max() / _M, 1.0, 1e-10),
        ),
        draw=draw,
        caption="With an antisymmetric factor all modes turn; with a symmetric one some grow, at the rate of the mass.",
        notes="The factors with Clifford's relations are imposed, here as in the source; nothing learns them.",
    )


def _doublers(setting: Setting) -> Evidence:
    limit, zero = 1.05 * _M, np.zeros(_N)
    central = np.asarray(Dirac(_N, spacing=_A, step=_EPS, mass=_M).weights)
    staggered = np.asarray(one_step_matrix(StaggeredDirac(_N, spacing=_A, step=_EPS, mass=_M), (zero, zero)))
    spectra = [dispersion(M, _N, spacing=_A, step=_EPS) for M in (central, staggered)]
    continuum = float(np.sum(np.hypot(spectra[0].k, _M) < limit))
    # Of the staggered network, by eigenvalues of its own small block at one wavenumber.
    sizes, mode, errors = np.array([32, 64, 128, 256]), 3, []
    for n in sizes:
        a, eps = 2 * np.pi / n, 0.3 * 2 * np.pi / n
        c = eps * ((np.exp(1j * mode * a) - 1) / a + _M)
        block = np.array([[1, -c], [np.conj(c), 1 - abs(c) ** 2]])
        errors.append(abs(np.abs(np.angle(np.linalg.eigvals(block))).max() / eps - np.hypot(mode, _M)))
    order = -np.polyfit(np.log(sizes), np.log(errors), 1)[0]

    def draw(ax):
        tidy(ax)
        styles = (("o", BLUE, "central differences"), ("s", ORANGE, "staggered"))
        for spectrum, (style, colour, name) in zip(spectra, styles, strict=True):
            ax.plot(spectrum.k, spectrum.frequencies, style, ms=3, color=colour, label=name)
        ax.plot(spectra[0].k, np.hypot(spectra[0].k, _M), "--", color=GREEN, label="continuum")
        ax.set(xlabel="wavenumber k [1/length]", ylabel="frequency ω [1/time]", ylim=(0, 25))
        ax.legend(frameon=False)
        return ax

    return Evidence(
        stated=(
            Check("modes below 1.05 m, central differences", float(spectra[0].modes_below(limit)), continuum, 0.0),
        ),
        amended=(
            Check("modes below 1.05 m, staggered differences", float(spectra[1].modes_below(limit)), continuum, 0.0),
            Check(
                "order in the spacing of the staggered network",
                order,
                1.0,
                0.15,
            ),
        ),
        draw=draw,
        caption="Central differences carry a second particle at the edge of the zone; staggered ones do not, at the "
        "price of an error of first order.",
    )


def _gauge(setting: Setting) -> Evidence:
    rng = np.random.default_rng(0)
    theta, later, spatial, temporal = rng.normal(size=(4, _N))
    psi = rng.normal(size=(2, _N)) + 1j * rng.normal(size=(2, _N))
    field = GaugeField(spatial, temporal)
    moved = field.transformed(jnp.asarray(theta), jnp.asarray(later), spacing=_A, step=_EPS)

    def step(potential, spinor, phases=True):
        """By the exponential, written out; without the phases on the links it is not covariant."""
        links = np.diag(np.exp(1j * _A * np.asarray(potential.spatial) * phases)) @ _RIGHT
        centred = (links - links.conj().T) / (2 * _A)
        G = -np.kron(np.diag([1, -1]), centred) - _M * np.kron([[0, 1], [-1, 0]], _ONE)
        phase = np.exp(-1j * _EPS * np.asarray(potential.temporal))
        return phase * (expm(_EPS * G) @ spinor.reshape(-1)).reshape(2, _N)

    def violation(phases):
        gap = step(moved, np.exp(1j * theta) * psi, phases) - np.exp(1j * later) * step(field, psi, phases)
        return np.abs(gap).max(0)

    covariant, bare = violation(True), violation(False)
    networks = [GaugedDirac(f, spacing=_A, step=_EPS, mass=_M) for f in (moved, field)]
    gap = np.asarray(networks[0](jnp.asarray(np.exp(1j * theta) * psi)))
    gap = np.abs(gap - np.exp(1j * later) * np.asarray(networks[1](jnp.asarray(psi)))).max()
    shifted = covariant_generator(GaugeField(np.full(_N, 0.7), np.zeros(_N)), spacing=_A, mass=_M)
    energies = np.linalg.eigvalsh(1j * np.asarray(shifted))
    k = 2 * np.pi * np.fft.fftfreq(_N, _A) + 0.7
    expected = np.sqrt(_M**2 + np.sin(k * _A) ** 2 / _A**2)

    def draw(ax):
        tidy(ax)
        ax.semilogy(bare, "s", ms=4, color=ORANGE, label="without phases on the links")
        ax.semilogy(np.maximum(covariant, 1e-17), "o", ms=4, color=BLUE, label="with phases on the links")
        ax.set(xlabel="site", ylabel="violation of covariance")
        ax.legend(frameon=False)
        return ax

    return Evidence(
        stated=(
            Check("violation of covariance, exponential written out", covariant.max(), 0.0, 1e-12),
            Check("violation of covariance, network", gap, 0.0, 1e-12),
            Check(
                "frequencies in a constant potential, with k + A",
                np.abs(np.sort(energies[energies > 0]) - np.sort(expected)).max(),
                0.0,
                1e-10,
            ),
            Check("violation without phases on the links", bare.max(), 0.1, 0.0, "at least"),
        ),
        draw=draw,
        caption="A change of the gauge, random in space and time, commutes with a step to rounding.",
        notes="That the phase on the sites stands in the weights and the covariant difference in the biases is our "
        "reading of the abstract. The potential is a background: nothing moves it.",
    )


def _claim(name, section, statement, computed, measure, recorded: Verdict = "holds", **fields):
    source = f"{EMERGENT}, {section}"
    return Claim(f"training.{name}", source, statement, computed, measure, recorded, **fields)


DIRAC = (
    _claim(
        "dirac-weights-have-an-antisymmetric-factor",
        "abstract",
        "For Dirac fields the weight tensor must contain an antisymmetric factor.",
        "The square of the generator and its spectrum, with the antisymmetric mass factor and with a symmetric one.",
        _antisymmetric,
    ),
    _claim(
        "dirac-network-is-one-field",
        "abstract",
        "The network of a Dirac field, with the differences that its tensors suggest, carries one such field.",
        "Modes of nearly the mass on the lattice, against those of the continuum.",
        _doublers,
        "conditional",
        condition="Differences are staggered: central ones have a doubler at the edge of the zone, which the source "
        "does not consider.",
    ),
    _claim(
        "gauge-covariance",
        "abstract and equations 5.1 to 5.10, as others summarise them",
        "Components of the weights and biases are the temporal and spatial components of a gauge field.",
        "Steps before and after random changes of the gauge, and the spectrum in a constant potential.",
        _gauge,
    ),
)
