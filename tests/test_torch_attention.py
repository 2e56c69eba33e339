"""Attention, encoders and residual stacks of torch: the same numbers, and mistakes that are named."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hjpde
from hjpde import architectures
from hjpde.architectures import from_torch

DOUBLE = jnp.result_type(float) == jnp.float64
WIDTH, HEADS, HIDDEN, LENGTH = 6, 2, 5, 4


@pytest.fixture(params=["float32", "float64"])
def torch(request):
    """torch with this default precision."""
    torch = pytest.importorskip("torch")
    if request.param == "float64" and not DOUBLE:
        pytest.skip("float64 is off")
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, request.param))
    torch.manual_seed(1)
    yield torch
    torch.set_default_dtype(before)


def shaken(torch, module):
    """So that no norm's scale is one and no bias zero."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return module.eval()


def tokens(torch):
    return torch.randn(LENGTH, WIDTH)


def same(found, expected):
    expected = expected.detach().numpy()
    assert found.dtype == expected.dtype
    tolerance = 1e-5 if expected.dtype == np.float32 else 1e-12
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def array(x):
    return jnp.asarray(x.numpy())


@pytest.mark.parametrize("bias", [True, False])
def test_attention(torch, bias):
    module = shaken(torch, torch.nn.MultiheadAttention(WIDTH, HEADS, bias=bias, dropout=0.1))
    x = tokens(torch)
    network = from_torch(module)
    assert isinstance(network, architectures.Attention)
    expected, weights = module(x, x, x, average_attn_weights=False)
    same(network(array(x)), expected)
    same(network.gibbs(array(x)), weights)
    same(from_torch(module.state_dict(), heads=HEADS)(array(x)), expected)
    unseen = torch.triu(torch.ones(LENGTH, LENGTH, dtype=torch.bool), 1)
    same(from_torch(module, causal=True)(array(x)), module(x, x, x, attn_mask=unseen)[0])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"norm_first": True, "activation": "gelu"},
        {"norm_first": True, "activation": "gelu", "bias": False, "layer_norm_eps": 1e-2},
        {"bias": False},
    ],
)
def test_encoder_layer(torch, options):
    layer = torch.nn.TransformerEncoderLayer(WIDTH, HEADS, HIDDEN, batch_first=True, **options)
    layer = shaken(torch, layer)
    x = tokens(torch)
    hints = {name: value for name, value in options.items() if name != "bias"}
    same(from_torch(layer)(array(x)), layer(x[None])[0])
    network = from_torch(layer.state_dict(), heads=HEADS, **hints)
    same(network(array(x)), layer(x[None])[0])


@pytest.mark.parametrize("final", [True, False])
def test_encoder(torch, final):
    layer = torch.nn.TransformerEncoderLayer(WIDTH, HEADS, HIDDEN, norm_first=final, activation=torch.nn.GELU("tanh"))
    norm = torch.nn.LayerNorm(WIDTH, eps=1e-3) if final else None
    encoder = torch.nn.TransformerEncoder(layer, 3, norm, enable_nested_tensor=False)
    encoder = shaken(torch, encoder)
    x = tokens(torch)
    network = from_torch(encoder)
    assert isinstance(network, architectures.TransformerEncoder)
    assert network.layer_count == 3
    same(network(array(x)), encoder(x))
    unseen = torch.nn.Transformer.generate_square_subsequent_mask(LENGTH)
    same(from_torch(encoder, causal=True)(array(x)), encoder(x, mask=unseen))
    value, native = network(array(x)), hjpde.as_hamiltonian(network).native(array(x))
    tolerance = 1e-5 if value.dtype == jnp.float32 else 1e-12
    np.testing.assert_allclose(network.finish(native), value, rtol=tolerance, atol=tolerance)


def test_residual_stack(torch):
    layers = [torch.nn.Linear(WIDTH, WIDTH) for _ in range(3)]
    x = expected = torch.randn(WIDTH)
    for layer in layers:
        expected = expected + torch.tanh(layer(expected))
    plain = torch.nn.Sequential(*layers)
    same(from_torch(plain, activation="tanh")(array(x)), expected)
    mixed = torch.nn.Sequential(*(part for layer in layers for part in (layer, torch.nn.Tanh())))
    same(from_torch(mixed)(array(x)), expected)
    named = {f"blocks.{name}": value for name, value in plain.state_dict().items()}
    same(from_torch(named, activation="tanh")(array(x)), expected)
    native = hjpde.as_hamiltonian(from_torch(mixed)).native(array(x))
    same(native, expected)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_recurrent_networks_are_known_by_their_classes_and_shapes(torch, kind):
    nonlinearity = "relu" if kind == "RNN" else None
    module = torch.nn.RNN(3, 4, nonlinearity="relu") if kind == "RNN" else getattr(torch.nn, kind)(3, 4)
    x = torch.randn(LENGTH, 3)
    expected = module(x)[0][-1]
    same(from_torch(module)(array(x)), expected)
    same(from_torch(module.state_dict(), nonlinearity=nonlinearity)(array(x)), expected)


def test_subclasses_count_as_what_they_are_and_strangers_are_refused(torch):
    class Mine(torch.nn.GRU):
        pass

    assert isinstance(from_torch(Mine(3, 4)), architectures.GRU)
    with pytest.raises(ValueError, match=r"`source` must be one of nn\.RNN, .*, got Conv1d"):
        from_torch(torch.nn.Conv1d(1, 1, 1))
    with pytest.raises(ValueError, match="`source` must hold linear layers and activations only, got LayerNorm at 1"):
        from_torch(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.LayerNorm(2)), activation="relu")
    layer = torch.nn.TransformerEncoderLayer(WIDTH, HEADS, HIDDEN, activation=lambda x: x)
    with pytest.raises(ValueError, match="`activation` must be given: one of relu, gelu"):
        from_torch(layer)
    with pytest.raises(ValueError, match="`norm_first` = True contradicts the module, which has False"):
        from_torch(layer, activation="relu", norm_first=True)
    encoder = torch.nn.TransformerEncoder(
        torch.nn.TransformerEncoderLayer(WIDTH, HEADS, HIDDEN), 1, torch.nn.RMSNorm(WIDTH), enable_nested_tensor=False
    )
    with pytest.raises(ValueError, match="`source` must have layer norms, got RMSNorm"):
        from_torch(encoder)
    with pytest.raises(ValueError, match="`add_zero_attn`"):
        from_torch(torch.nn.MultiheadAttention(WIDTH, HEADS, add_zero_attn=True))


def encoder_weights(dtype=np.float32):
    rng = np.random.default_rng(0)
    shapes = {
        "self_attn.in_proj_weight": (3 * WIDTH, WIDTH),
        "self_attn.in_proj_bias": (3 * WIDTH,),
        "self_attn.out_proj.weight": (WIDTH, WIDTH),
        "self_attn.out_proj.bias": (WIDTH,),
        "linear1.weight": (HIDDEN, WIDTH),
        "linear1.bias": (HIDDEN,),
        "linear2.weight": (WIDTH, HIDDEN),
        "linear2.bias": (WIDTH,),
        "norm1.weight": (WIDTH,),
        "norm1.bias": (WIDTH,),
        "norm2.weight": (WIDTH,),
        "norm2.bias": (WIDTH,),
    }
    return {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}


def safetensors(weights):
    """The bytes of a file, written by the format's description."""
    header: dict[str, dict] = {"__metadata__": {"format": "pt"}}
    body = b""
    for name, value in weights.items():
        kind = {"float64": "F64", "float32": "F32", "float16": "F16", "uint16": "BF16"}[value.dtype.name]
        data = value.tobytes()
        header[name] = {"dtype": kind, "shape": value.shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def test_files(tmp_path):
    weights = encoder_weights()
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors(weights))
    x = jnp.asarray(np.random.default_rng(1).normal(size=(LENGTH, WIDTH)), jnp.float32)
    from_file, from_mapping = from_torch(path, heads=HEADS), from_torch(weights, heads=HEADS)
    for one, other in zip(jax.tree.leaves(from_file), jax.tree.leaves(from_mapping), strict=True):
        np.testing.assert_array_equal(one, other)
    assert from_file(x).dtype == jnp.float32
    eye = np.eye(2)
    path.write_bytes(safetensors({"0.weight": (eye.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)}))
    np.testing.assert_array_equal(jax.tree.leaves(from_torch(str(path), activation="relu"))[0][0], eye)
    path.write_bytes(safetensors({"0.weight": eye.astype(np.float16)}))
    assert jax.tree.leaves(from_torch(str(path), activation="relu"))[0].dtype == jnp.float32


@pytest.mark.parametrize(
    "content, message",
    [
        (lambda whole: whole[:5], "is truncated: 5 bytes"),
        (lambda whole: whole[:50], "is truncated: 50 bytes"),
        (lambda whole: whole[:-1], "is truncated: `0.weight` ends at byte 16 of 15"),
        (lambda whole: whole.replace(b"{", b"[", 1), "is malformed: its header is no JSON object"),
        (lambda whole: (2).to_bytes(8, "little") + b"[]", "is malformed: its header is no JSON object"),
        (lambda whole: whole.replace(b'"dtype"', b'"dtypo"'), "`0.weight` lacks a dtype"),
        (lambda whole: whole.replace(b'"F32"', b'"I32"'), "`0.weight` must be one of F64, F32, F16, BF16, got 'I32'"),
        (lambda whole: whole.replace(b"[2, 2]", b"[2, 3]"), "`0.weight` of shape .* and F32 has 16 bytes"),
        (lambda whole: whole.replace(b"[0, 16]", b"[-9,16]"), "is malformed: `0.weight` has the shape"),
        (lambda whole: whole.replace(b"[0, 16]", b'["",16]'), "is malformed: `0.weight` has the shape"),
    ],
)
def test_broken_files_are_told(tmp_path, content, message):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content(safetensors({"0.weight": np.eye(2, dtype=np.float32)})))
    with pytest.raises(ValueError, match=rf"model\.safetensors.*{message}"):
        from_torch(path, activation="relu")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"linear1.bias": None}, "`linear1.bias` is missing"),
        ({"self_attn.in_proj_bias": None}, "`self_attn.in_proj_bias` is missing"),
        ({"norm2.weight": None}, "`norm2.weight` is missing"),
        ({"extra": np.ones(2)}, "`extra` cannot be used: unknown weights"),
        ({"linear2.weight": np.ones((HIDDEN, WIDTH))}, r"`linear2.weight` must have shape \(6, 5\), got \(5, 6\)"),
        ({"norm1.weight": np.full(WIDTH, np.nan)}, "`norm1.weight` must be finite"),
        ({"norm1.weight": np.ones(WIDTH, int)}, "`norm1.weight` must be of a floating dtype, got int64"),
        ({"norm1.weight": "words"}, "`norm1.weight` must be"),
        ({"self_attn.in_proj_weight": np.ones((WIDTH, WIDTH))}, r"must have shape \(3 d, d\), got \(6, 6\)"),
    ],
)
def test_wrong_entries_are_named(change, message):
    weights = encoder_weights() | change
    weights = {name: value for name, value in weights.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        from_torch(weights, heads=HEADS)


def test_what_names_cannot_tell_is_asked_for():
    weights = encoder_weights()
    with pytest.raises(ValueError, match="`heads` must be given"):
        from_torch(weights)
    with pytest.raises(ValueError, match=r"`heads` must divide the width 6 .*, got 4"):
        from_torch(weights, heads=4)
    with pytest.raises(ValueError, match="`activation` must be one of relu, gelu"):
        from_torch(weights, heads=2, activation="sigmoid")
    with pytest.raises(ValueError, match="`activation` must be given: one of relu, gelu"):
        from_torch({"0.weight": np.eye(2)})
    with pytest.raises(ValueError, match=r"`blocks.1.weight` must be square .*, got shape \(2, 3\)"):
        from_torch({"blocks.0.weight": np.eye(2), "blocks.1.weight": np.ones((2, 3))}, activation="relu")
    with pytest.raises(ValueError, match=r"`1.weight` must have shape \(2, 2\) as the first layer"):
        from_torch({"0.weight": np.eye(2), "1.weight": np.eye(3)}, activation="relu")
    with pytest.raises(ValueError, match=r"`0.bias` is missing"):
        from_torch({"0.weight": np.eye(2), "1.weight": np.eye(2), "1.bias": np.ones(2)}, activation="relu")
    with pytest.raises(ValueError, match="`source` must be one stack of layers"):
        from_torch({"a.0.weight": np.eye(2), "b.0.weight": np.eye(2)}, activation="relu")
    with pytest.raises(ValueError, match=r"`layers.0.self_attn.in_proj_weight` is missing"):
        from_torch({f"layers.1.{name}": value for name, value in weights.items()}, heads=2)
    with pytest.raises(ValueError, match="`kind` must be given: the names embed, head tell of no known network"):
        from_torch({"embed": np.ones(2), "head": np.ones(2)})
    with pytest.raises(ValueError, match="`kind` must be one of rnn, gru"):
        from_torch(weights, kind="cnn")
    with pytest.raises(ValueError, match="`weight_hh_l0` must have 1, 3 or 4 times as many rows"):
        from_torch({"weight_ih_l0": np.ones((4, 2)), "weight_hh_l0": np.ones((4, 2))})
    with pytest.raises(ValueError, match=r"`source` must be a module of torch, .*, got int"):
        from_torch(3)
    with pytest.raises(ValueError, match=r"must be a `.safetensors` file; other files of torch are pickles"):
        from_torch("model.pt")


def test_layers_of_different_shapes_are_refused():
    weights = encoder_weights()
    wider = dict(weights)
    wider["linear1.weight"], wider["linear1.bias"] = np.ones((7, WIDTH)), np.ones(7)
    wider["linear2.weight"] = np.ones((WIDTH, 7))
    both = {f"layers.0.{name}": value for name, value in weights.items()}
    both |= {f"layers.1.{name}": value for name, value in wider.items()}
    with pytest.raises(ValueError, match=r"`layers.1.linear1.weight` and its layer must have the shapes"):
        from_torch(both, heads=HEADS)
