"""Samples of finite networks beside the two theories of infinite ones, in standard errors over the disorder."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, final

import jax
import numpy as np
from jaxtyping import Array, Key

from hjpde._plotting import BLUE, GREEN, ORANGE, given_or_new, tidy

from ._covariance_maps import network_covariance
from ._diagnostics import CHAINS, diagnose, over_disorder
from ._draw_network import draw_network
from ._energy import AbstractEnergy, centred
from ._gaussian_field import field_replica_symmetric
from ._moves import AbstractMove, Metropolis
from ._proportional_widths import replica_symmetric
from ._random_network import RandomNetwork
from ._tempering import sample

if TYPE_CHECKING:
    from matplotlib.axes import Axes

QUANTITIES = ("energy", "overlap")


@final
class Comparison(NamedTuple):
    r"""Energy $e$ and overlap of inputs $q$ of finite networks, their limits, and what two theories say.

    Arrays have the quantities `("energy", "overlap")` on their last axis. What chains that have not mixed measured is
    NaN.

    - `beta`: inverse temperature. - `dimensions`: input dimensions `N`, shape `(D,)`.
    - `measured`, `errors`: means and standard errors over networks, shape `(D, 2)`.
    - `limit`, `limit_errors`: of the fit $a + b/N$, shape `(2,)`; NaN for a single dimension.
    - `proportional`: the replica-symmetric saddle at these widths, which grow with `N`.
    - `wide`: the Gaussian field, of widths much larger than `N`.
    - `results`: how the chains at each dimension ended.
    """

    beta: float
    dimensions: np.ndarray
    measured: np.ndarray
    errors: np.ndarray
    limit: np.ndarray
    limit_errors: np.ndarray
    proportional: np.ndarray
    wide: np.ndarray
    results: tuple[CHAINS, ...]

    def deviations(self, theory: np.ndarray) -> np.ndarray:
        """Measured minus a theory in standard errors, shape `(D, 2)`."""
        return (self.measured - theory) / self.errors

    def report(self) -> str:
        """A table: one line for each dimension and quantity, and for the limit where it is known."""
        rows: list[tuple[str, ...]] = [("N", "quantity", "measured", "error", "proportional", "s.e.", "wide", "s.e.")]
        names = [f"{n:g}" for n in self.dimensions] + ["limit"]
        values, errors = np.vstack([self.measured, self.limit]), np.vstack([self.errors, self.limit_errors])
        for name, measured, error in zip(names, values, errors, strict=True):
            for i, quantity in enumerate(QUANTITIES):
                if not np.isfinite(measured[i]):
                    continue
                theories = [
                    text
                    for theory in (self.proportional[i], self.wide[i])
                    for text in (f"{theory:.4f}", f"{(measured[i] - theory) / error[i]:+.1f}")
                ]
                rows.append((name, quantity, f"{measured[i]:.4f}", f"{error[i]:.4f}", *theories))
        return "\n".join("".join(f"{cell:>13}" for cell in row) for row in rows)


def compare_with_samples(
    network: RandomNetwork,
    beta: float,
    dimensions: Sequence[int] = (50, 100, 200),
    *,
    key: Key[Array, ""],
    samples: int = 16,
    move: AbstractMove = Metropolis(),
    replicas: int = 2,
    steps: int = 8_000,
) -> Comparison:
    r"""Samples finite networks and compares them with both theories.

    Energies are `centred` where the activation has an even part. The standard error of a limit comes from those at
    the dimensions, by weighted least squares in $1/N$.

    **Arguments:**

    - `network`, `beta`: the ensemble and the inverse temperature.
    - `dimensions`: input dimensions, at least one.
    - `key`: of networks and chains. - `samples`: networks of each dimension, at least 2.
    - `move`, `replicas`, `steps`: as for `sample`.

    **Raises:** `ValueError` as `draw_network` and `sample`, for no dimension or fewer than 2 samples; `RuntimeError` if
    a saddle is not found.
    """
    if not len(dimensions) or samples < 2:
        raise ValueError(f"there must be `dimensions` and at least 2 `samples`, got {tuple(dimensions)} and {samples}.")
    saddle = replica_symmetric(network, beta)
    rows, results = [], []
    for N in dimensions:
        draw, centre, chain = jax.random.split(jax.random.fold_in(key, N), 3)
        energies: AbstractEnergy = draw_network(network, N, samples, key=draw)
        if _is_not_odd(network):
            energies = centred(energies, key=centre)
        found = sample(energies, beta, key=chain, move=move, replicas=replicas, steps=steps)
        results.append(diagnose(found).result)
        e, q = over_disorder(found.energies.mean((0, 2))), over_disorder(found.overlaps.mean((0, 2)))
        failed = results[-1] != CHAINS.successful
        rows.append(np.full((2, 2), np.nan) if failed else np.array([e, q]))
    measured, errors = np.moveaxis(np.array(rows), 2, 0)
    sizes = np.asarray(dimensions, float)
    limit, limit_errors = _limit(sizes, measured, errors)
    return Comparison(
        float(beta),
        sizes,
        measured,
        errors,
        limit,
        limit_errors,
        np.array([saddle.energy, saddle.overlaps[0]]),
        wide_theory(network, beta),
        tuple(results),
    )


def wide_theory(network: RandomNetwork, beta: float) -> np.ndarray:
    r"""Energy and overlap of the Gaussian field at $\beta\sqrt{\alpha_L}$, in the network's units of energy."""
    scale = network.widths[-1] ** 0.5
    phase = field_replica_symmetric(network_covariance(network), beta * scale)
    return np.array([scale * phase.energy, phase.overlaps[0]])


def _is_not_odd(network: RandomNetwork) -> bool:
    z = np.linspace(0.1, 3, 30)
    phi = network.activation.values
    return not np.allclose(phi(z), -phi(-z), atol=1e-6)


def _limit(N: np.ndarray, measured: np.ndarray, errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The constant of $a + b/N$ and its standard error, by weighted least squares."""
    if N.size < 2 or not np.all(np.isfinite(measured)):
        return np.full(2, np.nan), np.full(2, np.nan)
    limits = []
    for values, deviations in zip(measured.T, errors.T, strict=True):
        design = np.stack([np.ones_like(N), 1 / N], axis=1) / deviations[:, None]
        covariance = np.linalg.inv(design.T @ design)
        limits.append(((covariance @ design.T @ (values / deviations))[0], covariance[0, 0] ** 0.5))
    return tuple(np.array(limits).T)


def plot_comparison(comparison: Comparison, ax: "Axes | None" = None, quantity: str = "energy") -> "Axes":
    """One quantity over $1/N$ with its limit, and the two theories as lines.

    **Arguments:** `comparison`; `ax`: axes of matplotlib, or `None` for new ones; `quantity`: `"energy"` or
    `"overlap"`.

    **Raises:** `ValueError` for another quantity.
    """
    if quantity not in QUANTITIES:
        raise ValueError(f"`quantity` must be one of {QUANTITIES}, got {quantity!r}.")
    ax, i = given_or_new(ax), QUANTITIES.index(quantity)
    ax.axhline(comparison.proportional[i], color=ORANGE, linestyle="--", label="widths proportional to N")
    ax.axhline(comparison.wide[i], color=GREEN, linestyle=":", label="widths much larger than N")
    ax.errorbar(
        1 / comparison.dimensions,
        comparison.measured[:, i],
        comparison.errors[:, i],
        fmt="o",
        color=BLUE,
        capsize=3,
        label="finite networks",
    )
    if np.isfinite(comparison.limit[i]):
        ax.errorbar(
            0,
            comparison.limit[i],
            comparison.limit_errors[i],
            fmt="s",
            color=BLUE,
            markerfacecolor="none",
            capsize=3,
            label="limit of a + b/N",
        )
    unit = "energy per input dimension" if quantity == "energy" else "overlap of two inputs"
    ax.set(xlabel="1/N", ylabel=f"{unit}, β = {comparison.beta:g}")
    ax.legend(frameon=False, loc="center right")
    tidy(ax)
    return ax
