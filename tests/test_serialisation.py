"""Saved modules: exact round trips, and a clear refusal of every broken file."""

import functools
import json
import os
import warnings

import equinox as eqx
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

import hjpde
from hjpde import architectures
from hjpde._compilation import quick_jit
from hjpde._serialisation import load, read_header, save


class Foreign(eqx.Module):
    """Defined outside the package."""

    x: int = 1


@functools.cache
def modules():
    """Some of every kind, drawn in one quick compilation."""

    def networks(key):
        return [
            architectures.ResidualNetwork(4, 3, 5, 2, key=key),
            architectures.GRU(2, 3, 2, key=key),
            architectures.DiagonalStateSpace(2, 3, 2, 4, key=key),
            architectures.Transformer(2, 3, 4, 2, 5, 2, 3, key=key),
            eqx.nn.MLP(2, 1, 3, 1, key=key),
            eqx.nn.MultiheadAttention(2, 4, key=key),
        ]

    X = np.random.default_rng(0).normal(size=(4, 2))
    layer = hjpde.LogSumExp(X, X[:, 0], 0.1)
    atoms = hjpde.Atoms(X, np.array([0.0, np.inf, 1.0, 2.0]))
    problem = hjpde.InitialValueProblem(atoms, hjpde.Quadratic(2 * np.eye(2)), 0.3)
    return [layer, atoms, hjpde.Quadratic(), problem, *quick_jit(networks, 0)(jax.random.key(0))]


def test_modules_come_back_equal(tmp_path):
    for i, module in enumerate(modules()):
        path = tmp_path / f"{i}.hjpde"
        save(path, module)
        back = load(path)
        assert type(back) is type(module)
        assert eqx.tree_equal(back, module)
        assert jax.tree.structure(back) == jax.tree.structure(module)


def test_a_loaded_module_computes_the_same(getkey, tmp_path):
    network = next(module for module in modules() if isinstance(module, architectures.GRU))
    save(tmp_path / "gru", network)
    x = jax.random.normal(getkey(), (5, 2))
    np.testing.assert_array_equal(load(tmp_path / "gru")(x), network(x))


numbers = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
arrays = hnp.arrays(
    st.sampled_from([np.float32, np.float64, np.int32, np.uint8, np.bool_, np.complex64]),
    hnp.array_shapes(min_dims=0, min_side=0, max_dims=3, max_side=3),
)
trees = st.recursive(
    numbers | arrays,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)


def alike(one, other):
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    if isinstance(one, dict):
        return list(one) == list(other) and all(alike(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    return one == other


@given(tree=trees)
def test_any_tree_of_data_comes_back(tmp_path_factory, tree):
    path = tmp_path_factory.mktemp("tree") / "tree"
    save(path, tree)
    assert alike(load(path), tree)


def test_special_values(getkey, tmp_path):
    key = getkey()
    tree = {
        "nan": float("nan"),
        "inf": [float("inf"), -float("inf")],
        "complex": 1 - 2j,
        "numpy": np.float32(0.1),
        "half": jnp.arange(3, dtype=jnp.bfloat16),
        "key": key,
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "big-endian": np.arange(3, dtype=">i4"),
    }
    save(tmp_path / "tree", tree)
    back = load(tmp_path / "tree")
    assert np.isnan(back["nan"])
    assert back["inf"] == tree["inf"]
    assert back["complex"] == 1 - 2j
    assert back["numpy"] == np.float32(0.1)
    assert back["numpy"].dtype == np.float32
    assert back["half"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(back["half"], tree["half"])
    assert bool(back["key"] == key)
    np.testing.assert_array_equal(back["fortran"], tree["fortran"])
    np.testing.assert_array_equal(back["big-endian"], tree["big-endian"])


def test_the_first_line_explains_the_file(getkey, tmp_path):
    path = tmp_path / "layer"
    save(path, hjpde.LogSumExp(np.eye(2), np.zeros(2), 0.5), classes=[0, 1], source="digits")
    header = json.loads(path.read_bytes().split(b"\n", 1)[0])
    assert header["structure"]["module"].endswith(":LogSumExp")
    assert header["leaves"][0]["shape"] == [2, 2]
    assert read_header(path)["metadata"] == {"classes": [0, 1], "source": "digits"}


def test_float64_is_narrowed_with_a_warning(tmp_path):
    """Written and read in processes of either precision; here the switch is flipped for a moment."""
    before = jax.config.read("jax_enable_x64")
    path = tmp_path / "wide"
    try:
        jax.config.update("jax_enable_x64", True)
        save(path, {"jax": jnp.arange(3.0), "numpy": np.arange(3.0)})
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert load(path)["jax"].dtype == jnp.float64
        jax.config.update("jax_enable_x64", False)
        with pytest.warns(UserWarning, match="jax_enable_x64"):
            narrow = load(path)
    finally:
        jax.config.update("jax_enable_x64", before)
    assert narrow["jax"].dtype == jnp.float32
    assert narrow["numpy"].dtype == np.float64


@pytest.mark.parametrize(
    ("module", "place"),
    [
        ({"a": [Foreign()]}, r"`module\['a'\]\[0\]`"),
        (lambda x: x, "`module`"),
        (np.array([object()]), "array of Python objects"),
        ({"a": {1, 2}}, r"builtins\.set"),
        (type("Sneaky", (list,), {})(), "Sneaky"),
    ],
)
def test_what_is_not_data_is_refused_before_anything_is_written(tmp_path, module, place):
    with pytest.raises(ValueError, match=place) as caught:
        save(tmp_path / "file", module)
    assert "cannot be saved" in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_tracers_and_arrays_as_metadata_are_refused(tmp_path):
    def inside(x):
        save(tmp_path / "file", x)
        return x

    with pytest.raises(ValueError, match="has no value yet"):
        jax.jit(inside)(1.0)
    with pytest.raises(ValueError, match="`metadata`"):
        save(tmp_path / "file", 1, note=np.ones(2))
    assert os.listdir(tmp_path) == []


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "atoms.hjpde"
    save(path, hjpde.Atoms(np.eye(3), np.zeros(3)), note="here")
    return path


def refused(path, message):
    with pytest.raises(ValueError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_truncated_and_overlong_files(saved):
    content = saved.read_bytes()
    for end in (len(content) - 1, content.index(b"\n") + 1):
        saved.write_bytes(content[:end])
        refused(saved, "is truncated")
    for end in (0, 10, content.index(b"\n")):
        saved.write_bytes(content[:end])
        refused(saved, "is no module saved by hjpde")
    saved.write_bytes(content + b"x")
    refused(saved, "has bytes behind its end")


@given(data=st.data())
def test_no_changed_byte_goes_unnoticed(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("bytes") / "file"
    tree = {"a": np.arange(3.0), "b": 0.25}
    save(path, tree)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        back = load(path)
    except ValueError as error:
        back = tree
        if str(path) not in str(error):
            raise
    assert alike(back, tree)


@pytest.mark.parametrize(
    "content",
    [
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        b"{}\n",
        b"[1, 2]\n",
        b'{"format": "other"}\n',
        b"x,y\n1,2\n",
        b"[" * 100_000 + b"\n",
    ],
)
def test_foreign_files(tmp_path, content):
    path = tmp_path / "foreign"
    path.write_bytes(content)
    refused(path, "is no module saved by hjpde")


def forged(path, change):
    """The file with another header and the checksum that goes with it: made on purpose, not by accident."""
    from hjpde._serialisation import _checksum

    line, body = path.read_bytes().split(b"\n", 1)
    header = json.loads(line)
    change(header)
    header["sha256"] = _checksum(header, body)
    path.write_bytes(json.dumps(header).encode() + b"\n" + body)


@pytest.mark.parametrize(
    "name",
    [
        "os:system",
        "hjpde._serialisation:os.system",
        "hjpde._serialisation:os",
        "hjpde._serialisation:save",
        "hjpde.initial_data._atoms:Nothing",
        "hjpde.initial_data:Atoms",
        "hjpde.__main__:Main",
        "hjpde..x:Atoms",
        "hjpde_evil:Atoms",
        "equinox.nn._mlp:AbstractSampler",
        "equinox._module:Module",
        "jax:Array",
        "",
    ],
)
def test_only_classes_of_ours_are_rebuilt(saved, name):
    forged(saved, lambda header: header["structure"].update(module=name))
    refused(saved, "which is no module of this hjpde")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h.update(version=99), "format version 99"),
        (lambda h: h.pop("leaves"), "header lacks leaves"),
        (lambda h: h.pop("structure"), "header lacks structure"),
        (lambda h: h["structure"]["fields"].pop("heights"), "written by another version"),
        (lambda h: h["structure"]["fields"].update(more=1), "written by another version"),
        (lambda h: h.update(structure={"function": "os.system"}), "names the function os.system"),
        (lambda h: h.update(structure={"strange": 1}), "something unknown: strange"),
        (lambda h: h.update(structure=[1]), "malformed"),
        (lambda h: h.update(structure={"array": 9, "kind": "jax"}), "cannot be loaded"),
        (lambda h: h["leaves"][0].update(shape=[9]), "header says"),
        (lambda h: h["leaves"][0].update(dtype="object"), "cannot be loaded"),
    ],
)
def test_forged_headers(saved, change, message):
    forged(saved, change)
    refused(saved, message)


def test_folders_and_missing_files(tmp_path):
    refused(tmp_path, "is a folder")
    with pytest.raises(ValueError, match="is a folder"):
        save(tmp_path, 1)
    with pytest.raises(FileNotFoundError, match=r"nowhere\.hjpde"):
        load(tmp_path / "nowhere.hjpde")
    with pytest.raises(FileNotFoundError):
        save(tmp_path / "nowhere" / "file", 1)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file(saved, monkeypatch, call):
    before = saved.read_bytes()

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="No space left"):
        save(saved, 1)
    monkeypatch.undo()
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


def test_permissions_follow_the_umask_and_links_are_kept(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    save(link, [1])
    assert link.is_symlink()
    assert load(target) == [1]
    umask = os.umask(0)
    os.umask(umask)
    assert target.stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        save(tmp_path / "file", 1)
