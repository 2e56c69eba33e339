"""Markov chains on the sphere, many at once: samples of the disorder, replicas and temperatures."""

import functools
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from hjpde._compilation import compiled_once
from hjpde._types import ArrayInput, as_float_array

from ._cores import over_cores
from ._energy import AbstractEnergy, sample_count
from ._moves import AbstractMove, Metropolis, Place, advance
from ._samples import Samples
from ._sphere import to_sphere, uniform_points

# Site updates that earn back the seconds which a full compilation takes more.
_LONG = 5e7


@final
class Tempered(NamedTuple):
    """Chains at several temperatures that exchange their points.

    - `samples`: one a temperature, in the order of `betas`.
    - `exchanges`: the part of exchanges between neighbouring temperatures that were accepted, shape `(T - 1,)`.
    """

    samples: tuple[Samples, ...]
    exchanges: np.ndarray


def sample(
    energies: AbstractEnergy,
    beta: float,
    *,
    key: Key[Array, ""],
    move: AbstractMove = Metropolis(),
    replicas: int = 2,
    steps: int = 10_000,
    burn_in: int | None = None,
    every: int = 20,
    start: ArrayInput | None = None,
) -> Samples:
    r"""Chains with the Gibbs measure $\propto e^{-\beta H(x)}$ on the sphere $|x|^2 = N$.

    All chains run side by side in one compiled program. During `burn_in` each adapts its step by the factor
    $e^{\eta(\text{accepted} - \text{target})}$ a move, $\eta$ from 0.05 to 0; then steps stay, as the measure asks.

    **Arguments:**

    - `energies`: with a leading axis of `S` samples of the disorder.
    - `beta`: inverse temperature, not negative.
    - `key`: of the chains. - `move`: `Metropolis`, `HamiltonianMonteCarlo` or `langevin`.
    - `replicas`: independent chains `R` for each sample, at least 2.
    - `steps`: moves of each chain after `burn_in`; by default that is half of them, as many as a third of all. With
      `burn_in` = 0 the angle of a move stays a quarter of the largest, which may be far from the best.
    - `every`: moves from one record to the next.
    - `start`: first points, shape `(S, R, N)`, brought to the sphere; by default uniform there.

    **Returns:** the records, of memory `steps / every * S * R` numbers; points are kept only at the end, and the random
    numbers of `every` moves are drawn at once.

    **Raises:** `ValueError` if a size is too small, `beta` is negative or not finite, shapes do not fit, or an energy
    is not finite at the start.
    """
    return temper(
        energies,
        [beta],
        key=key,
        move=move,
        replicas=replicas,
        steps=steps,
        burn_in=burn_in,
        every=every,
        start=None if start is None else as_float_array(start, "start", 3)[None],
    ).samples[0]


def temper(
    energies: AbstractEnergy,
    betas: ArrayInput,
    *,
    key: Key[Array, ""],
    move: AbstractMove = Metropolis(),
    replicas: int = 2,
    steps: int = 10_000,
    burn_in: int | None = None,
    every: int = 20,
    start: ArrayInput | None = None,
) -> Tempered:
    r"""Parallel tempering: chains at several temperatures, neighbours of which exchange points after every move.

    An exchange of $x$ at $\beta$ and $x'$ at $\beta'$ is accepted with probability
    $\min(1, e^{(\beta - \beta')(H(x) - H(x'))})$. Where the landscape has many valleys, cold chains change theirs
    through the hot ones; exchanges are frequent while neighbours are $1/\sqrt{N c}$ apart, `c` the heat capacity.

    **Arguments:** as for `sample`, but

    - `betas`: inverse temperatures, in order, not negative.
    - `start`: first points, shape `(T, S, R, N)`.

    **Returns:** records of every temperature.

    **Raises:** `ValueError` as `sample`.

    ??? cite "References"

        K. Hukushima, K. Nemoto, *Exchange Monte Carlo method*, J. Phys. Soc. Japan 65, 1996.
    """
    values = np.asarray(betas, float)
    if values.ndim != 1 or values.size == 0 or not np.all(np.isfinite(values) & (values >= 0)):
        raise ValueError(f"`beta` must be finite inverse temperatures >= 0, got {np.asarray(betas).tolist()}.")
    burn_in = steps // 2 if burn_in is None else burn_in
    if replicas < 2 or every < 1 or steps < every or burn_in < 0:
        raise ValueError(
            "there must be at least 2 `replicas`, and `steps` >= `every` >= 1 and `burn_in` >= 0, got "
            f"{replicas}, {steps}, {every} and {burn_in}."
        )
    S, N, T = sample_count(energies), energies.dimension, values.size
    shape = (T, S, replicas, N)
    first, rest = jax.random.split(key)
    x = uniform_points(first, shape) if start is None else to_sphere(as_float_array(start, "start", 4))
    if x.shape != shape:
        raise ValueError(f"`start` must have shape {shape}, with temperatures first, got {x.shape}.")
    before, after = -(-burn_in // every), steps // every
    run = _run_fully_compiled if x.size * (before + after) * every > _LONG else _run_quickly_compiled
    initial, blocks, last = over_cores(
        run,
        (move, jnp.asarray(values, x.dtype), before, after, every),
        energies,
        jnp.moveaxis(x, 0, 2),
        jax.random.split(rest, S),
    )
    if not np.all(np.isfinite(initial)):
        raise ValueError("`energies` must be finite on the sphere, got NaN or infinity at the start.")
    return _collected(values, N, blocks, last, before)


def _collected(
    betas: np.ndarray, N: int, blocks: "_Block", last: tuple[np.ndarray, np.ndarray], before: int
) -> Tempered:
    """What was recorded after `before` blocks, temperature by temperature."""
    kept = {name: part.astype(float).swapaxes(0, 1)[before:] for name, part in blocks._asdict().items()}
    points, steps = (part.astype(float) for part in last)
    samples = tuple(
        Samples(
            beta=float(beta),
            energies=kept["energies"][..., t] / N,
            overlaps=kept["overlaps"][..., t],
            diagonals=kept["diagonals"][..., t],
            layer_overlaps=kept["layer_overlaps"][..., t],
            points=points[:, :, t],
            acceptance=kept["accepted"][..., t].mean(0),
            steps=steps[..., t],
        )
        for t, beta in enumerate(betas)
    )
    return Tempered(samples, kept["exchanged"].mean((0, 1)) if betas.size > 1 else np.zeros(0))


class _Block(NamedTuple):
    """What is recorded after some moves; temperatures come last, behind replicas or pairs of them."""

    energies: Array
    overlaps: Array
    diagonals: Array
    layer_overlaps: Array
    accepted: Array
    exchanged: Array


def _run(
    move: AbstractMove,
    betas: Array,
    before: int,
    after: int,
    every: int,
    energies: AbstractEnergy,
    x: Array,
    keys: Key[Array, " S"],
) -> tuple[Array, _Block, tuple[Array, Array]]:
    """The energies at the start, the records, and the last points and steps, sample by sample."""

    def run(energy: AbstractEnergy, x: Array, key: Array) -> tuple[Array, _Block, tuple[Array, Array]]:
        return _run_one(move, betas, before, after, every, energy.laid_out(), x, key)

    return eqx.filter_vmap(run)(energies, x, keys)


def _run_one(
    move: AbstractMove,
    betas: Float[Array, " T"],
    before: int,
    after: int,
    every: int,
    energy: AbstractEnergy,
    x: Float[Array, "R T N"],
    key: Key[Array, ""],
) -> tuple[Array, _Block, tuple[Array, Array]]:
    """The chains of one sample of the disorder."""
    shape = x.shape[:-1]
    place = _over_chains(lambda x: move.look(energy, x), x)
    angle = jnp.full(shape, move.largest_step / 4, x.dtype)
    all_betas = jnp.broadcast_to(betas, shape)

    def one_step(state, drawn):
        place, angle, accepted, exchanged, adapts = state
        noise, log_uniform, log_exchange, parity = drawn
        place, angle, hits = _over_chains(
            functools.partial(advance, move, energy, adapts), all_betas, angle, place, noise, log_uniform
        )
        if betas.size > 1:
            place, swaps = jax.vmap(functools.partial(_exchange, betas, parity))(place, log_exchange)
            exchanged = exchanged + swaps.mean(0)
        return (place, angle, accepted + hits, exchanged, adapts), None

    def block(carry, index: Array):
        place, angle, key = carry
        key, noise_key, accept_key, exchange_key = jax.random.split(key, 4)
        # Ever less, so that the steps that stay do not carry the noise of the last moves.
        adapts = jnp.maximum(1 - index / max(before, 1), 0).astype(x.dtype) * (before > 0)
        zero = jnp.zeros(shape, x.dtype), jnp.zeros(betas.size - 1, x.dtype)
        drawn = (
            jax.random.normal(noise_key, (every, *x.shape), x.dtype),
            jnp.log(jax.random.uniform(accept_key, (every, *shape), x.dtype)),
            jnp.log(jax.random.uniform(exchange_key, (every, shape[0], betas.size - 1), x.dtype)),
            (index * every + jnp.arange(every)) % 2,
        )
        state = (place, angle, *zero, adapts)
        (place, angle, accepted, exchanged, _), _ = jax.lax.scan(one_step, state, drawn)
        # Rotations keep the norm up to rounding, which would add up.
        place = place._replace(x=to_sphere(place.x))
        record = _Block(place.energy, *_observe(energy, place.x), accepted / every, 2 * exchanged / every)
        return (place, angle, key), record

    (last, angle, _), blocks = jax.lax.scan(block, (place, angle, key), jnp.arange(before + after))
    return place.energy, blocks, (last.x, angle)


_run_quickly_compiled = compiled_once(_run)
_run_fully_compiled = eqx.filter_jit(_run)


def _over_chains(function, *arrays):
    """`function` of one chain on leading axes of replicas and temperatures."""
    return jax.vmap(jax.vmap(function))(*arrays)


def _exchange(betas: Array, parity: Array, place: Place, log_uniform: Array) -> tuple[Place, Array]:
    """Exchanges of one replica between the temperatures `i` and `i + 1` for all `i` of a parity; and which."""
    log_probability = (betas[:-1] - betas[1:]) * (place.energy[:-1] - place.energy[1:])
    swaps = (jnp.arange(betas.size - 1) % 2 == parity) & (log_uniform < log_probability)
    up, down = jnp.append(swaps, False), jnp.append(False, swaps)
    source = jnp.arange(betas.size) + up.astype(int) - down.astype(int)
    return jax.tree.map(lambda values: values[source], place), swaps.astype(betas.dtype)


def _observe(energy: AbstractEnergy, x: Float[Array, "R T N"]) -> tuple[Array, Array, Array]:
    """Overlaps of all pairs, and the layers' diagonals and overlaps; of shapes `(..., T)`."""
    layers = _over_chains(lambda x: energy.layers(x)[0], x)
    R = x.shape[0]
    first, second = np.triu_indices(R, 1)
    overlaps = jnp.einsum("ptn,ptn->pt", x[first], x[second]) / x.shape[-1]
    squares = jnp.stack([(h**2).mean((0, 2)) for h in layers])
    sums = jnp.stack([(h.mean(0) ** 2).mean(-1) for h in layers])
    # The mean over ordered pairs of different replicas, from that over all pairs.
    return overlaps, squares, (R * sums - squares) / (R - 1)
