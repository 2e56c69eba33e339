"""Forward passes of the architectures against plain ones, the ways to compute a state-space model, and a large LSTM.

    python benchmarks/architectures.py [SETTING ...] [--repeats N]

- `forward`: each architecture on a batch of 256 against its equivalent of equinox or written out, with the same
  weights and in the same compiled wrapper, in rounds that run both; the ratio of the medians should be 1.2 at most.
- `state-space`: a linear state-space model by scan, by associative scan and by convolution, at three lengths.
- `compare`: `hjpde.compare` on an LSTM of 512 units over 200 elements, given in float32 by torch's names, with the
  default refinements: seconds (60 wanted) and peak resident memory (2 GB wanted).

One JSON object a line, then tables. A pair is taken 30 times at least; a call is repeated in a compiled loop until it
is 2 ms of work. The setting `compare` runs in a process of its own, for its memory.
"""

import functools
import itertools
import json
import multiprocessing
import pathlib
import time
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from _harness import arguments_of, machine, paired_medians, timed

import hjpde
from hjpde import architectures

SETTINGS = ("forward", "state-space", "compare")
BATCH, LENGTH, FEATURES, WIDTH = 256, 64, 16, 64
PAIRS, WORK = 30, 2e-3


# ---- The plain equivalents, on the weights of the architectures ------------------------------------------------------


def _linear(layer: eqx.nn.Linear | None, x: jax.Array) -> jax.Array:
    assert layer is not None
    assert layer.bias is not None
    return x @ layer.weight.T + layer.bias


def _norm(norm: eqx.nn.LayerNorm, x: jax.Array) -> jax.Array:
    return jax.vmap(norm)(x) if x.ndim > 1 else norm(x)


def plain_residual(network: architectures.ResidualNetwork) -> Callable:
    def forward(x):
        def layer(x, block):
            hidden = jax.nn.gelu(block.inner(block.norm(x)))
            return x + network.layer_time * block.outer(hidden), None

        arrays, rest = eqx.partition(network.blocks, eqx.is_array)
        x = jax.lax.scan(lambda x, block: layer(x, eqx.combine(block, rest)), network.embed(x), arrays)[0]
        return network.readout(x)

    return forward


def plain_rnn(network: architectures.RNN) -> Callable:
    def forward(x):
        def cell(h, element):
            return jnp.tanh(network.weight_ih @ element + network.weight_hh @ h + network.bias), None

        return _linear(network.readout, jax.lax.scan(cell, jnp.zeros(WIDTH, x.dtype), x)[0])

    return forward


def plain_gru(network: architectures.GRU) -> Callable:
    def forward(x):
        h = jnp.zeros(WIDTH, x.dtype)
        return _linear(network.readout, jax.lax.scan(lambda h, element: (network.cell(element, h), None), h, x)[0])

    return forward


def plain_lstm(network: architectures.LSTM) -> Callable:
    def forward(x):
        zero = jnp.zeros(WIDTH, x.dtype)
        state, _ = jax.lax.scan(lambda state, element: (network.cell(element, state), None), (zero, zero), x)
        return _linear(network.readout, state[0])

    return forward


def plain_diagonal(network: architectures.DiagonalStateSpace) -> Callable:
    def forward(x):
        transition, held = network.discretised()
        B, C = (jax.lax.complex(*pair) for pair in (network.input_weights, network.output_weights))
        v = _linear(network.embed, x)

        def element(state, drive):
            state = transition * state + held * drive
            return state, state

        states = jax.lax.scan(element, jnp.zeros_like(transition), v @ B.T)[1]
        y = (states @ C.T).real + network.skip * v
        content, gate = jnp.split(_linear(network.gate, jax.nn.gelu(y)), 2, axis=-1)
        return network.readout(jnp.mean(v + content * jax.nn.sigmoid(gate), axis=0))

    return forward


def plain_selective(network: architectures.SelectiveStateSpace) -> Callable:
    def forward(x):
        A = -jnp.exp(network.log_decay)

        def element(state, w):
            exponent = jax.nn.softplus(network.clock(w))[:, None] * A
            state = jnp.exp(exponent) * state + jnp.expm1(exponent) / A * (network.input_weights @ w) * w[:, None]
            return state, state @ (network.output_weights @ w) + network.skip * w

        return _linear(network.readout, jax.lax.scan(element, jnp.zeros_like(A), x)[1][-1])

    return forward


def plain_attention(heads: int) -> tuple[architectures.Attention, Callable]:
    attention = eqx.nn.MultiheadAttention(heads, WIDTH, key=jax.random.key(1))
    network = architectures.Attention.from_equinox(attention, residual=False)
    return network, lambda x: attention(x, x, x)


def plain_transformer(network: architectures.Transformer) -> Callable:
    """Blocks by `equinox.nn.MultiheadAttention`, layer norms and linear layers, with the weights of `network`."""
    blocks, depth = network.blocks, network.depth
    read = blocks.attention
    empty = eqx.nn.MultiheadAttention(read.heads, WIDTH, key=jax.random.key(0))
    attention = eqx.tree_at(
        lambda a: [getattr(a, f"{name}_proj").weight for name in ("query", "key", "value", "output")],
        eqx.filter_vmap(lambda _: empty)(jnp.arange(depth)),
        [read.query, read.key, read.value, read.output],
    )
    stacked = (attention, blocks.attention_norm, blocks.perceptron_norm, blocks.inner, blocks.outer)
    arrays, rest = eqx.partition(stacked, eqx.is_array)

    def forward(x):
        def layer(x, weights):
            attention, first, second, inner, outer = eqx.combine(weights, rest)
            y = _norm(first, x)
            x = x + network.layer_time * attention(y, y, y)
            hidden = jax.nn.gelu(jax.vmap(inner)(_norm(second, x)))
            return x + network.layer_time * jax.vmap(outer)(hidden), None

        x = jax.vmap(network.embed)(x) + network.positions
        x = jax.lax.scan(layer, x, arrays)[0]
        return network.readout(jnp.mean(_norm(network.norm, x), axis=0))

    return forward


def plain_layer(layer: hjpde.LogSumExp) -> Callable:
    return lambda x: layer.viscosity * jax.nn.logsumexp((layer.weights @ x + layer.biases) / layer.viscosity)


def pairs() -> dict[str, tuple[Any, Callable, tuple[int, ...]]]:
    """By name: the architecture, its plain equivalent, the shape of one input."""
    keys = jax.random.split(jax.random.key(0), 8)
    sequence = (LENGTH, FEATURES)
    sizes = (FEATURES, WIDTH, 10)
    residual = architectures.ResidualNetwork(FEATURES, 10, width=WIDTH, depth=8, key=keys[0])
    rnn = architectures.RNN(*sizes, key=keys[1])
    gru = architectures.GRU(*sizes, key=keys[2])
    lstm = architectures.LSTM(*sizes, key=keys[3])
    diagonal = architectures.DiagonalStateSpace(*sizes, WIDTH, key=keys[4])
    selective = architectures.SelectiveStateSpace(FEATURES, 16, 10, key=keys[5])
    transformer = architectures.Transformer(FEATURES, LENGTH, WIDTH, 4, 2 * WIDTH, depth=2, key=keys[6])
    W, b = (jax.random.normal(k, shape) for k, shape in zip(keys[6:], ((256, FEATURES), (256,)), strict=True))
    layer = hjpde.LogSumExp(W, b, 0.3)
    attention = plain_attention(4)
    return {
        "residual": (residual, plain_residual(residual), (FEATURES,)),
        "RNN": (rnn, plain_rnn(rnn), sequence),
        "GRU": (gru, plain_gru(gru), sequence),
        "LSTM": (lstm, plain_lstm(lstm), sequence),
        "diagonal state space": (diagonal, plain_diagonal(diagonal), sequence),
        "selective state space": (selective, plain_selective(selective), sequence),
        "attention": (*attention, (LENGTH, WIDTH)),
        "transformer": (transformer, plain_transformer(transformer), sequence),
        "log-sum-exp": (layer, plain_layer(layer), (FEATURES,)),
    }


# ---- Measuring -------------------------------------------------------------------------------------------------------


def looped(call: Callable[[jax.Array], jax.Array], X: jax.Array) -> Callable[[int], jax.Array]:
    """Calls on a batch in one compiled program, as many as are `WORK` seconds.

    Each reads an input that depends on the output before, so that none is left out.
    """

    @jax.jit
    def program(X, count):
        def once(_, held):
            X, _ = held
            out = jax.vmap(call)(X)
            return X + 1e-30 * jnp.mean(out), jnp.mean(out)

        return jax.lax.fori_loop(0, count, once, (X, jnp.zeros((), X.dtype)))[1]

    return lambda count: program(X, count)


def per_call(programs: dict[str, Callable[[int], jax.Array]], repeats: int) -> tuple[dict[str, float], int]:
    """The median seconds of one call by each program, in interleaved rounds, and how many calls a round has."""
    singles = []
    for program in programs.values():
        timed(functools.partial(program, 1))
        singles.append(min(timed(functools.partial(program, 3))[1] for _ in range(2)) / 3)
    count = max(1, int(np.ceil(WORK / min(singles))))
    calls = {name: functools.partial(program, count) for name, program in programs.items()}
    medians = paired_medians(calls, max(PAIRS, repeats))
    return {name: seconds / count for name, seconds in medians.items()}, count


def forward(repeats: int) -> list[dict[str, Any]]:
    rows = []
    for name, (network, plain, shape) in pairs().items():
        X = jax.random.normal(jax.random.key(9), (BATCH, *shape))
        outputs = [np.asarray(jax.jit(jax.vmap(call))(X)) for call in (network, plain)]
        difference = float(np.max(np.abs(outputs[0] - outputs[1])) / np.max(np.abs(outputs[1])))
        programs = {"hjpde": looped(network, X), "plain": looped(plain, X)}
        medians, count = per_call(programs, repeats)
        row = {"setting": "forward", "architecture": name, "calls_per_round": count, "difference": difference}
        row |= {f"{key}_ms": 1e3 * seconds for key, seconds in medians.items()}
        rows.append(row | {"ratio": medians["hjpde"] / medians["plain"]})
        print(json.dumps(rows[-1]), flush=True)
    return rows


def state_space(repeats: int) -> list[dict[str, Any]]:
    """A model of 64 states with few and with many inputs and outputs, all outputs of 8 sequences."""
    rng = np.random.default_rng(0)
    A = -np.exp(rng.uniform(-4, 0, 64)) + 1j * rng.uniform(0, np.pi, 64)
    rows = []
    for channels, length in itertools.product((4, 32), (64, 1024, 4096)):
        B, C = rng.normal(size=(64, channels)) / 8, rng.normal(size=(channels, 64)) / 8
        X = jnp.asarray(rng.normal(size=(8, length, channels)), jnp.float32)
        programs, outputs = {}, {}
        for method in ("scan", "associative", "convolution"):
            network = architectures.LinearStateSpace(A, B, C, method=method)
            programs[method] = looped(network.outputs, X)
            outputs[method] = np.asarray(jax.jit(jax.vmap(network.outputs))(X))
        medians, _ = per_call(programs, repeats)
        gap = max(np.max(np.abs(out - outputs["scan"])) for out in outputs.values()) / np.max(np.abs(outputs["scan"]))
        row = {"setting": "state-space", "channels": channels, "length": length, "difference": float(gap)}
        row |= {f"{method}_ms": 1e3 * seconds for method, seconds in medians.items()}
        rows.append(row | {"fastest": min(medians, key=lambda method: medians[method])})
        print(json.dumps(rows[-1]), flush=True)
    return rows


def peak_resident() -> float | None:
    """MB that were resident at most since the process began; `None` outside Linux."""
    status = pathlib.Path("/proc/self/status")
    if not status.exists():
        return None
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 1024


def _compare_large(queue: Any) -> None:
    rng, hidden = np.random.default_rng(0), 512
    shapes = {"weight_ih_l0": (4 * hidden, 64), "weight_hh_l0": (4 * hidden, hidden)}
    shapes |= {"bias_ih_l0": (4 * hidden,), "bias_hh_l0": (4 * hidden,)}
    weights = {name: rng.uniform(-1, 1, shape).astype("float32") / hidden**0.5 for name, shape in shapes.items()}
    x = rng.normal(size=(200, 64)).astype("float32")
    network = architectures.from_torch(weights)
    start = time.perf_counter()
    report = hjpde.compare(network, x)
    seconds = time.perf_counter() - start
    found = {"seconds": seconds, "peak_resident_mb": peak_resident()}
    queue.put(found | {"order": report.forward_order, "relative_gap": report.relative_gap, "kind": report.kind})


def compare(repeats: int) -> list[dict[str, Any]]:
    """One run, compilation included, as a user has it."""
    del repeats
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_compare_large, args=(queue,))
    process.start()
    row = {"setting": "compare", "units": 512, "elements": 200, "dtype": "float32"} | queue.get()
    process.join()
    print(json.dumps(row), flush=True)
    return [row]


def print_table(rows: list[dict[str, Any]]) -> None:
    print()
    for row in rows:
        match row["setting"]:
            case "forward":
                print(
                    f"{row['architecture']:24}{row['hjpde_ms']:9.3f} ms   plain {row['plain_ms']:9.3f} ms"
                    f"   ratio {row['ratio']:.2f}"
                )
            case "state-space":
                times = "".join(f"{method} {row[f'{method}_ms']:9.3f} ms   " for method in _METHODS)
                print(f"{row['channels']:3} channels, length {row['length']:5}   {times}fastest: {row['fastest']}")
            case _:
                memory = "" if row["peak_resident_mb"] is None else f", peak {row['peak_resident_mb']:.0f} MB"
                units, elements = row["units"], row["elements"]
                print(f"compare, LSTM of {units} units, {elements} elements: {row['seconds']:.1f} s{memory}")


_METHODS = ("scan", "associative", "convolution")


def main():
    chosen, repeats = arguments_of(__doc__, SETTINGS)
    measures = {"forward": forward, "state-space": state_space, "compare": compare}
    rows = []
    for setting in chosen:
        versions = {"equinox": eqx.__version__, "numpy": np.__version__, "hjpde": hjpde.__version__}
        print(json.dumps({"setting": setting, **machine(), **versions}), flush=True)
        rows += measures[setting](repeats)
    print_table(rows)


if __name__ == "__main__":
    main()
