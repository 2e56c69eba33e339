"""The lowest energies on the sphere that annealing and descent find."""

from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
from jaxtyping import Array, Key

from hjpde._compilation import compiled_once

from ._cores import over_cores
from ._energy import AbstractEnergy, sample_count
from ._moves import AbstractMove, Metropolis, advance
from ._sphere import to_sphere, uniform_points


@final
class LowestEnergies(NamedTuple):
    """What annealing found for each of `S` samples of the disorder from `R` starts; an upper bound on the minimum.

    - `energies`: $H/N$ at the ends, shape `(S, R)`. - `points`: the ends, shape `(S, R, N)`.
    - `lowest`: the least over the starts, shape `(S,)`.
    - `agreement`: the part of starts that end within a thousandth of the scale of `lowest`; near 0 the landscape has
      many valleys, and more starts or slower annealing may find a lower one.
    - `settled`: the part of descents that converged.
    """

    energies: np.ndarray
    points: np.ndarray
    lowest: np.ndarray
    agreement: float
    settled: float


def lowest_energies(
    energies: AbstractEnergy,
    *,
    key: Key[Array, ""],
    starts: int = 8,
    steps: int = 2_000,
    betas: tuple[float, float] = (0.5, 50.0),
    move: AbstractMove = Metropolis(),
) -> LowestEnergies:
    r"""Simulated annealing on the sphere and then descent by nonlinear conjugate gradients.

    The temperature falls geometrically, with the step adapted all along; descent is of $y \mapsto H(\sqrt N y/|y|)$.

    **Arguments:**

    - `energies`: with a leading axis of samples.
    - `key`: of starts and moves. - `starts`: for each sample, at least 1. - `steps`: of annealing, at least 1.
    - `betas`: first and last inverse temperature, positive and increasing.
    - `move`: as in `sample`.

    **Returns:** points and energies, in numpy's float64.

    **Raises:** `ValueError` if an argument is out of range.
    """
    if starts < 1 or steps < 1 or not 0 < betas[0] < betas[1] < np.inf:
        raise ValueError(
            "`starts` and `steps` must be at least 1 and `betas` positive and increasing, got "
            f"{starts}, {steps} and {betas}."
        )
    shape = (sample_count(energies), starts, energies.dimension)
    first, rest = jax.random.split(key)
    schedule = jnp.asarray(np.geomspace(*betas, steps), jnp.result_type(float))
    points, values, settled = over_cores(
        _anneal,
        (move, schedule),
        energies,
        uniform_points(first, shape),
        jax.random.split(rest, shape[:2]),
    )
    values, points = values.astype(float) / shape[-1], points.astype(float)
    lowest = values.min(1)
    scale = 1e-3 * np.abs(lowest).max()
    return LowestEnergies(
        values, points, lowest, float(np.mean(values - lowest[:, None] <= scale)), float(np.mean(settled))
    )


@compiled_once
def _anneal(
    move: AbstractMove, schedule: Array, energies: AbstractEnergy, x: Array, keys: Key[Array, "S R"]
) -> tuple[Array, Array, Array]:
    """The last points, their energies, and whether the descent converged, of samples and starts."""

    def chain(energy: AbstractEnergy, x: Array, key: Array) -> tuple[Array, Array, Array]:
        def one_step(state, at):
            beta, log_uniform, key = at
            noise = jax.random.normal(key, x.shape, x.dtype)
            return advance(move, energy, jnp.ones_like(beta), beta, state[1], state[0], noise, log_uniform)[:2], None

        state = move.look(energy, x), jnp.asarray(move.largest_step / 4, x.dtype)
        accept_key, noise_key = jax.random.split(key)
        log_uniform = jnp.log(jax.random.uniform(accept_key, schedule.shape, x.dtype))
        drawn = schedule, log_uniform, jax.random.split(noise_key, schedule.size)
        (place, _), _ = jax.lax.scan(one_step, state, drawn)
        tolerance = float(jnp.finfo(x.dtype).eps) ** 0.75
        descent = optx.minimise(
            lambda y, _: energy(to_sphere(y)) / y.size,
            optx.NonlinearCG(tolerance, tolerance),
            place.x,
            max_steps=1000,
            throw=False,
        )
        end = to_sphere(descent.value)
        return end, energy(end), descent.result == optx.RESULTS.successful

    def chains(energy: AbstractEnergy, x: Array, keys: Array) -> tuple[Array, Array, Array]:
        laid_out = energy.laid_out()
        return jax.vmap(lambda *start: chain(laid_out, *start))(x, keys)

    return eqx.filter_vmap(chains)(energies, x, keys)
