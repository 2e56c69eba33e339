"""The overlaps of the pure three-spin model below its static temperature, against the theory's two peaks.

    python benchmarks/spin_overlaps.py [SETTING ...]

One JSON object a line: the peaks of P(q), the weight of overlaps above 0.4 in each quarter of the records with its
standard error over samples, R-hat of energies and overlaps, exchanges between temperatures, and seconds; a last line
extrapolates the peaks in 1/N. A graphics processor takes two minutes for all; two cores take hours for N = 200.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
from _harness import arguments_of, machine, timed

from hjpde import landscape

TEMPERATURE, HOT = 0.65, 0.9
# name: inputs, samples, moves after half as many, temperatures
SETTINGS = {"spins-50": (50, 64, 20_000, 9), "spins-100": (100, 32, 20_000, 12), "spins-200": (200, 12, 30_000, 16)}


def measure(name):
    N, samples, moves, temperatures = SETTINGS[name]
    energies = landscape.draw_spins(3, N, samples, key=jax.random.fold_in(jax.random.key(5), N))
    energies = jax.tree.map(lambda J: J.astype(jnp.float32), energies)
    betas = np.linspace(HOT, 1 / TEMPERATURE, temperatures)
    found, seconds = timed(
        lambda: landscape.temper(
            energies, betas, key=jax.random.key(N), steps=moves, move=landscape.HamiltonianMonteCarlo()
        )
    )
    cold = found.samples[-1]
    peaks = landscape.overlap_distribution(cold, bandwidth=0.06).peaks
    quarters = [(part > 0.4).mean((0, 2)) for part in np.array_split(cold.overlaps, 4)]
    row = {
        "setting": name,
        "temperature": TEMPERATURE,
        "samples": samples,
        "moves": moves,
        "temperatures": temperatures,
        "peaks": np.round(peaks, 4).tolist(),
        "weight_above_0.4": [round(float(part.mean()), 4) for part in quarters],
        "its_error": [round(float(part.std(ddof=1) / samples**0.5), 4) for part in quarters],
        "energy": round(float(cold.energies.mean()), 5),
        "r_hat": [round(landscape.r_hat(series), 4) for series in (cold.energies, cold.overlaps)],
        "least_exchange": round(float(found.exchanges.min()), 3),
        "seconds": round(seconds, 1),
    }
    print(json.dumps(row), flush=True)
    return N, peaks


if __name__ == "__main__":
    chosen, _ = arguments_of(__doc__, SETTINGS)
    print(json.dumps(machine()))
    rows = [measure(name) for name in chosen]
    theory = landscape.field_breaking(landscape.pure(3), 1 / TEMPERATURE)
    expected = {"theory": np.round(theory.overlaps, 4).tolist(), "weight": round(1 - float(theory.levels[0]), 4)}
    if len(rows) > 2 and all(len(peaks) == 2 for _, peaks in rows):
        limit = np.polyfit([1 / N for N, _ in rows], [peaks for _, peaks in rows], 1)[1]
        expected = {"limit_of_peaks": np.round(limit, 4).tolist(), **expected}
    print(json.dumps(expected))
