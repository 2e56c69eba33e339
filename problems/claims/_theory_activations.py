"""Claims about activations: of which derivative of a solution each is, and what it tends to without viscosity."""

from collections.abc import Callable

import numpy as np
import scipy.special
import scipy.stats

from hjpde.analysis import activation_table, plot_activations

from ._claim import Check, Claim, Evidence, Setting
from ._sources import THEORY

_EPS = 1e-3
# Rounding of the largest terms, below 60, in sums of 64.
_ROUNDING = 64 * 60 * 2.2e-16

# Each at viscosity ε by scipy, its limit, and sup |difference| / ε over the line where that is finite.
_LIMITS: dict[str, tuple[Callable, Callable, float | None]] = {
    "softplus": (lambda x, e: e * np.logaddexp(x / e, 0), lambda x: np.maximum(x, 0), np.log(2)),
    "sigmoid": (lambda x, e: scipy.special.expit(x / e), lambda x: np.heaviside(x, 0.5), None),
    "tanh": (lambda x, e: np.tanh(x / e), np.sign, None),
    # max_r r / (1 + e^r) = W(1/e), and max_r r (1 - Phi(r)), which has no closed form, by its own maximisation.
    "SiLU": (
        lambda x, e: x * scipy.special.expit(x / e),
        lambda x: np.maximum(x, 0),
        float(scipy.special.lambertw(np.exp(-1)).real),
    ),
    "GELU": (
        lambda x, e: x * scipy.special.ndtr(x / e),
        lambda x: np.maximum(x, 0),
        float(np.max(np.linspace(0, 3, 30_001) * scipy.stats.norm.sf(np.linspace(0, 3, 30_001)))),
    ),
}


def _limit_checks(name: str) -> tuple[Check, ...]:
    if name not in _LIMITS:
        return ()
    soft, hard, constant = _LIMITS[name]
    if constant is None:
        away = np.concatenate([np.linspace(-2, -0.05, 200), [0.0], np.linspace(0.05, 2, 200)])
        gap = float(np.abs(soft(away, _EPS) - hard(away)).max())
        # e^(-0.05 / 0.001) = e^-50, below rounding.
        return (Check("difference to the limit at 0 and from 0.05 on, ε = 0.001", gap, 0.0, 1e-15),)
    x = np.linspace(-10 * _EPS, 10 * _EPS, 20_001)
    gap = float(np.abs(soft(x, _EPS) - hard(x)).max() / _EPS)
    return (Check("largest difference to the limit, over ε", gap, constant, 1e-6),)


def _measure(index: int) -> Callable[[Setting], Evidence]:
    def measure(setting: Setting) -> Evidence:
        row = activation_table()[index]
        x = np.linspace(-8, 8, 20_001 if setting.full else 1001)
        return Evidence(
            stated=(
                Check("largest difference of the two sides", row.residual(x), 0.0, _ROUNDING),
                *_limit_checks(row.name),
            ),
            draw=lambda ax: plot_activations((row,), ax),
            caption=f"{row.name} equals {row.identity}; without viscosity it is {row.limit}.",
            notes="Float64; the right-hand side by layers, atoms, automatic derivatives or quadrature, never by the "
            "activation's own formula.",
        )

    return measure


_TABLE = f"{THEORY}, table of activations"
_OWN = f"this project's own result; left open in {THEORY}, table of activations"

_ROWS = (
    ("lse", _TABLE, r"A layer is $x^2/4t - u$ with `u` grown from atoms, and tends to the maximum."),
    ("relu", _TABLE, r"ReLU is $x^2/4t - u$ of two atoms $y = (2t, 0)$, $g = (-t, 0)$ at $\varepsilon = 0$."),
    ("softplus", _TABLE, r"$\mathrm{softplus}(x) = \mathrm{LSE}_1(x, 0)$, which tends to ReLU."),
    ("sigmoid", _TABLE, r"$\sigma(x) = \partial_x \mathrm{LSE}_1(x, 0)$, which tends to the step."),
    ("tanh", _TABLE, r"$\tanh x = \pi_+ - \pi_- = \partial_x \mathrm{LSE}_1(x, -x)$, which tends to the sign."),
    (
        "silu",
        _OWN,
        r"$\mathrm{SiLU}(x) = (1 - \varepsilon\,\partial_\varepsilon)\,\mathrm{LSE}_\varepsilon(x, 0)$ at "
        r"$\varepsilon = 1$: the mean energy, where softplus is the free energy.",
    ),
    (
        "gelu",
        _OWN,
        r"$\mathrm{GELU}(x) = (1 - 2s\,\partial_s)\, e^{(s/2)\partial_{xx}}\,\mathrm{ReLU}(x)$ at $s = 1$: a "
        "derivative in heat time of a linear flow.",
    ),
)

ACTIVATIONS = tuple(
    Claim(
        name=f"theory.activation-{name}",
        source=source,
        statement=statement,
        computed="Both sides on [-8, 8], the activation as jax defines it; and the distance from the limit by scipy.",
        measure=_measure(index),
        recorded="holds",
    )
    for index, (name, source, statement) in enumerate(_ROWS)
)
