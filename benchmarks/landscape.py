"""Metropolis chains on the sphere against the same in vectorised numpy.

    python benchmarks/landscape.py [SETTING ...]

One JSON object a line: chains on random tanh networks, the first call (compilation included), site updates a second
(chains, moves and inputs over seconds; the median of interleaved rounds), the ratio to numpy's Metropolis in its own
precision and in ours, and the energies reached with their standard errors over networks, which must agree.
`metropolis-100` decides: it needs a ratio of 2 to numpy's default. Moves by gradients cost more and mix in fewer.
Chains use all cores, numpy one.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
from _harness import arguments_of, machine, paired_medians, timed

from hjpde.landscape import HamiltonianMonteCarlo, Metropolis, RandomNetwork, draw_network, langevin, sample

# name: input dimension, networks, replicas of each, moves, kind of move
SETTINGS = {
    "metropolis-100": (100, 32, 2, 10_000, Metropolis()),
    "metropolis-200": (200, 32, 2, 5000, Metropolis()),
    "langevin-100": (100, 32, 2, 10_000, langevin()),
    "hamiltonian-100": (100, 32, 2, 10_000, HamiltonianMonteCarlo()),
}
BETA = 4.0
NETWORK = RandomNetwork(1.0, "tanh")


def numpy_chains(energies, replicas, moves, rng, dtype):
    """The algorithm of `Metropolis`, all chains in each operation: a third adapts, the rest counts."""
    W, a = np.asarray(energies.weights[0], dtype), np.asarray(energies.readout, dtype)[:, None]
    S, _, N = W.shape

    def energy(x):
        return (a * np.tanh(np.matmul(x, np.swapaxes(W, 1, 2)))).sum(-1)

    def normal():
        return rng.standard_normal((S, replicas, N), dtype=dtype)

    x = normal()
    x *= np.sqrt(N) / np.linalg.norm(x, axis=-1, keepdims=True)
    H, angle, kept = energy(x), np.full((S, replicas), 0.2, dtype), []
    for move in range(moves):
        g = normal()
        g -= x * ((g * x).sum(-1, keepdims=True) / N)
        g *= np.sqrt(N) / np.linalg.norm(g, axis=-1, keepdims=True)
        y = np.cos(angle)[..., None] * x + np.sin(angle)[..., None] * g
        other = energy(y)
        accepted = np.log(rng.random((S, replicas), dtype=dtype)) < BETA * (H - other)
        x[accepted], H[accepted] = y[accepted], other[accepted]
        if move < moves // 3:
            angle *= np.exp(0.05 * (accepted - 0.35)).astype(dtype)
        elif move % 20 == 0:
            kept.append(H / N)
    return np.mean(kept, axis=(0, 2))


def energy_and_error(per_network):
    return [round(float(per_network.mean()), 4), round(float(per_network.std(ddof=1) / len(per_network) ** 0.5), 4)]


def measure(name, repeats):
    N, networks, replicas, moves, move = SETTINGS[name]
    energies = draw_network(NETWORK, N, networks, key=jax.random.key(0))
    energies = jax.tree.map(lambda part: part.astype(jnp.float32), energies)
    rng = np.random.default_rng(0)

    def ours():
        return sample(
            energies, BETA, key=jax.random.key(1), move=move, replicas=replicas, steps=moves - moves // 3,
            burn_in=moves // 3,
        )  # fmt: skip

    found, first = timed(ours)
    calls = {"hjpde": ours}
    for dtype in ("float64", "float32"):
        calls[f"numpy {dtype}"] = lambda dtype=dtype: numpy_chains(energies, replicas, moves, rng, dtype)
    seconds = paired_medians(calls, repeats)
    rates = {call: N * networks * replicas * moves / elapsed for call, elapsed in seconds.items()}
    row = {
        "setting": name,
        "N": N,
        "chains": networks * replicas,
        "moves": moves,
        "first_call_s": round(first, 2),
        "site_updates_per_s": {call: float(f"{value:.3g}") for call, value in rates.items()},
        "ratio": {call: round(rates["hjpde"] / value, 2) for call, value in rates.items() if call != "hjpde"},
        "energy": energy_and_error(found.energies.mean((0, 2))),
        "numpy_energy": energy_and_error(calls["numpy float64"]()),
        "acceptance": round(float(found.acceptance.mean()), 3),
    }
    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    chosen, repeats = arguments_of(__doc__, SETTINGS)
    print(json.dumps(machine()))
    for name in chosen:
        measure(name, repeats)
