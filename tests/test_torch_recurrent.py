"""Recurrent networks of torch: the same numbers, with torch itself and from plain arrays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hjpde.architectures import GRU, LSTM, RNN, RecurrentStack, as_hamiltonian, recurrent_from_torch

DOUBLE = jnp.result_type(float) == jnp.float64
IN, HIDDEN, LENGTH = 3, 4, 5
KINDS = {"rnn": RNN, "gru": GRU, "lstm": LSTM}
CASES = [
    ("rnn", {"nonlinearity": "tanh"}),
    ("rnn", {"nonlinearity": "relu", "num_layers": 2, "bias": False}),
    ("gru", {}),
    ("gru", {"bias": False}),
    ("gru", {"num_layers": 2, "bidirectional": True}),
    ("lstm", {}),
    ("lstm", {"bias": False, "bidirectional": True}),
    ("lstm", {"num_layers": 3}),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind, options", CASES)
def test_same_numbers_as_torch(kind, options, dtype):
    torch = pytest.importorskip("torch")
    if dtype == "float64" and not DOUBLE:
        pytest.skip("float64 is off")
    torch.manual_seed(3)
    module = getattr(torch.nn, kind.upper())(IN, HIDDEN, dtype=getattr(torch, dtype), **options)
    x = torch.randn(LENGTH, IN, dtype=getattr(torch, dtype))
    expected = module(x)[0].detach().numpy()
    network = recurrent_from_torch(module.state_dict(), kind, options.get("nonlinearity", "tanh"))
    given = jnp.asarray(x.numpy())
    found = network(given) if isinstance(network, RecurrentStack) else network.states(given)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 if dtype == "float32" else 1e-12)
    if isinstance(network, RecurrentStack):
        assert len(network.parts) == options.get("num_layers", 1) * (1 + options.get("bidirectional", False))
        assert all(isinstance(part, KINDS[kind]) for part in network.parts)
    else:
        assert isinstance(network, KINDS[kind])
        np.testing.assert_array_equal(network(given), found[-1])


def entries(kind, layers=1, directions=1, biased=True, dtype=np.float32):
    rng = np.random.default_rng(0)
    rows = {"rnn": 1, "gru": 3, "lstm": 4}[kind] * HIDDEN
    found = {}
    for layer in range(layers):
        for side in ("", "_reverse")[:directions]:
            below = IN if layer == 0 else directions * HIDDEN
            shapes = {"weight_ih": (rows, below), "weight_hh": (rows, HIDDEN)}
            shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)} if biased else {}
            for name, shape in shapes.items():
                found[f"{name}_l{layer}{side}"] = rng.normal(size=shape).astype(dtype)
    return found


def test_gru_by_torchs_formula():
    """Without torch: n = tanh(W_in x + b_in + r (W_hn h + b_hn))."""
    weights = {name: array.astype(np.float64) for name, array in entries("gru").items()}
    x, h = np.random.default_rng(1).normal(size=(LENGTH, IN)), np.zeros(HIDDEN)
    for row in x:
        driven = weights["weight_ih_l0"] @ row + weights["bias_ih_l0"]
        recurrent = weights["weight_hh_l0"] @ h + weights["bias_hh_l0"]
        (r, z, n), (hr, hz, hn) = np.split(driven, 3), np.split(recurrent, 3)
        r, z = 1 / (1 + np.exp(-r - hr)), 1 / (1 + np.exp(-z - hz))
        h = (1 - z) * np.tanh(n + r * hn) + z * h
    network = recurrent_from_torch({name: jnp.asarray(array) for name, array in weights.items()}, "gru")
    np.testing.assert_allclose(network(jnp.asarray(x)), h, rtol=0, atol=1e-13 if DOUBLE else 1e-5)


def test_each_part_of_a_stack_is_a_flow_on_what_it_reads():
    stack = recurrent_from_torch(entries("gru", layers=2, directions=2), "gru")
    assert isinstance(stack, RecurrentStack)
    x = jax.random.normal(jax.random.key(0), (LENGTH, IN), jnp.float32)
    inputs, output = stack.inputs(x), stack(x)
    assert [part.shape for part in inputs] == [(LENGTH, IN)] * 2 + [(LENGTH, 2 * HIDDEN)] * 2
    np.testing.assert_array_equal(inputs[1], x[::-1])
    ends = [as_hamiltonian(part).native(read) for part, read in zip(stack.parts, inputs, strict=True)]
    np.testing.assert_allclose(
        jnp.concatenate([output[-1, :HIDDEN], output[0, HIDDEN:]]), jnp.concatenate(ends[2:]), atol=1e-5
    )
    with pytest.raises(ValueError, match=r"stack of 4 networks[\s\S]*`stack.inputs\(x\)\[k\]`"):
        as_hamiltonian(stack)
    assert as_hamiltonian(RecurrentStack(stack.parts[:1])).architecture is stack.parts[0]


def changed(kind="lstm", drop=(), **changes):
    weights = entries(kind) | changes
    return {name: value for name, value in weights.items() if name not in drop}


@pytest.mark.parametrize(
    ("weights", "kind", "message"),
    [
        (changed(drop=["weight_hh_l0"]), "lstm", "`weights` must have `weight_hh_l0`"),
        (changed(drop=["bias_hh_l0"]), "lstm", "`weights` must have `bias_hh_l0`"),
        ({}, "lstm", "`weights` must have `weight_ih_l0`, `weight_hh_l0`"),
        (changed(weight_ih_l1=np.zeros((16, 4))), "lstm", "must have `weight_hh_l1`"),
        (changed(weight_ih_l9999999=np.zeros((16, 4))), "lstm", "each of its 10000000 layers"),
        (changed(weight_hr_l0=np.zeros((2, 4))), "lstm", r"`weight_hr_l0` is a projection"),
        (changed(linear=np.zeros(2)), "lstm", "`linear` is no entry of a recurrent network"),
        (changed(), "gru", r"`weight_hh_l0` must have shape \(3 hidden, hidden\) for the kind 'gru', got \(16, 4\)"),
        (changed(weight_ih_l0=np.zeros(16, np.float32)), "lstm", r"`weight_ih_l0` must have shape \(16, in\)"),
        (changed(bias_ih_l0=np.zeros(15, np.float32)), "lstm", r"`bias_ih_l0` must have shape \(16,\), got \(15,\)"),
        (changed(bias_ih_l0=np.full(16, np.nan, np.float32)), "lstm", "`bias_ih_l0` must be finite"),
        (changed(bias_ih_l0=np.zeros(16, int)), "lstm", "`bias_ih_l0` must be of a floating dtype"),
        (changed(bias_ih_l0=np.zeros(16, np.float16)), "lstm", "must all have one dtype"),
        (changed(bias_ih_l0=[[1.0], [1.0, 2.0]]), "lstm", "`bias_ih_l0` must be an array of numbers"),
        (changed(), "elman", "`kind` must be one of rnn, gru, lstm"),
    ],
)
def test_weights_that_cannot_be(weights, kind, message):
    with pytest.raises(ValueError, match=message):
        recurrent_from_torch(weights, kind)


@pytest.mark.parametrize(
    ("parts", "directions", "message"),
    [
        (1, 3, "`directions` must be 1 or 2"),
        (3, 2, "`parts` must be a positive multiple"),
        (0, 1, "`parts` must be a positive multiple"),
    ],
)
def test_stacks_that_cannot_be(parts, directions, message):
    member = recurrent_from_torch(entries("rnn"), "rnn")
    with pytest.raises(ValueError, match=message):
        RecurrentStack((member,) * parts, directions)


def test_a_stack_takes_no_readouts(getkey):
    with pytest.raises(ValueError, match="must have no readout"):
        RecurrentStack((GRU(2, 3, 1, key=getkey()),))
