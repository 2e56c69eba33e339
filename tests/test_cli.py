"""The command line: what it prints, what it writes, and how it refuses."""

import gzip
import json
import os
import struct
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hjpde
from hjpde import _output_folder

FIT_FILES = {"history.png", "model.hjpde", "report.html", "results.csv"}


pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.fixture
def refused(run):
    """Runs a command that must fail by the user's mistake: code 2, one line that says all the words, no file."""

    def call(*arguments, words):
        before = everything()
        code, out, err = run(*arguments)
        assert code == 2
        assert out == ""
        assert err.count("\n") == 1
        assert err.startswith("hjpde: ")
        for word in words:
            assert word in err
        assert everything() == before

    return call


def everything():
    return sorted(str(path) for path in Path().rglob("*"))


def write_table(path, rows, names=("a", "b", "target")):
    lines = [",".join(names), *(",".join(map(str, row)) for row in rows)]
    Path(path).write_text("\n".join(lines) + "\n")


@pytest.fixture
def two_classes():
    """A table of two classes that a fit must tell apart."""
    random = np.random.default_rng(0)
    labels = np.arange(40) % 2
    X = random.normal(size=(40, 2)) * 0.3 + 2.0 * labels[:, None]
    write_table("two.csv", [(*x, "yes" if label else "no") for x, label in zip(X.round(4), labels, strict=True)])
    return "two.csv"


@pytest.fixture
def line():
    """A regression of one variable."""
    x = np.linspace(-1, 1, 40)
    write_table("line.csv", zip(x.round(4), (1 - x**2).round(5), strict=True), ("x", "y"))
    return "line.csv"


def test_version_and_help(run):
    assert run("--version") == (0, f"hjpde {hjpde.__version__}\n", "")
    code, out, _ = run("--help")
    assert code == 0
    assert "demo" in out
    assert "fit" in out
    for command in ("demo", "fit"):
        code, out, _ = run(command, "--help")
        assert code == 0
        assert all(option in out for option in ("--precision", "--json", "--out"))


def test_fit_of_classes(run, two_classes):
    code, out, err = run("fit", two_classes, "--json", "--steps", 60, "--n-atoms", 2, "--out", "a/b")
    assert code == 0, err
    result = json.loads(out)
    assert result["metric"] == "accuracy"
    assert result["score"] == 1
    assert result["classes"] == ["no", "yes"]
    # Two classes of two atoms in the plane with a height each, and the time.
    assert result["parameters"] == 2 * 2 * 3 + 1
    assert (result["train_rows"], result["test_rows"]) == (32, 8)
    assert result["train_seconds"] > 0
    assert {path.name for path in Path("a/b").iterdir()} == FIT_FILES | {"confusion.png", "fit.png"}
    assert not [name for name in everything() if "tmp" in name]
    fitted = hjpde.load(result["model_path"])
    assert fitted.predict(np.array([[0.0, 0.0], [2.0, 2.0]])).tolist() == ["no", "yes"]


def test_fit_of_values(run, line):
    # As for a user: nothing of the command may run outside the precision that it sets.
    with jax.enable_x64(False):
        options = ("--precision", "float64", "--steps", 200, "--n-atoms", 6, "--model", "m.hjpde")
        code, out, err = run("fit", line, *options)
    assert code == 0, err
    assert "R²" in out
    assert "Model: m.hjpde" in out
    assert {path.name for path in Path("hjpde-fit").iterdir()} == (FIT_FILES - {"model.hjpde"}) | {
        "fit.png",
        "predicted.png",
    }
    with jax.enable_x64(True):
        fitted = hjpde.load("m.hjpde")
        assert fitted.layer.weights.dtype == np.float64
        np.testing.assert_allclose(fitted.predict(np.array([[0.0]])), 1.0, atol=0.1)


@pytest.mark.slow
def test_lbfgs_difference_and_two_features_of_an_npz(run):
    X = np.random.default_rng(1).uniform(-1, 1, (60, 2))
    np.savez("plane.npz", X=X, height=X[:, 0] ** 2 - X[:, 1])
    options = ("--target", "height", "--optimiser", "lbfgs", "--difference", "--steps", 30, "--n-atoms", 4)
    code, out, err = run("fit", "plane.npz", *options, "--json")
    assert code == 0, err
    result = json.loads(out)
    assert (result["metric"], result["target"]) == ("r2", "height")
    assert result["score"] > 0.8
    assert result["parameters"] == 2 * (4 * 3 + 1)
    assert result["report"] == "hjpde-fit/report.html"


def test_the_precision_is_the_commands_own(run, line):
    before = jnp.zeros(()).dtype
    code, _, err = run("fit", line, "--steps", 5, "--n-atoms", 6, "--json", "--out", "single")
    assert code == 0, err
    assert hjpde.load("single/model.hjpde").layer.weights.dtype == np.float32
    assert jnp.zeros(()).dtype == before


def test_an_older_folder_keeps_its_other_files(run, line):
    Path("out").mkdir()
    Path("out/mine.txt").write_text("kept")
    Path("out/report.html").write_text("old")
    assert run("fit", line, "--steps", 5, "--n-atoms", 6, "--json", "--out", "out")[0] == 0
    assert Path("out/mine.txt").read_text() == "kept"
    assert Path("out/report.html").read_text() != "old"


def write_idx(path, array):
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    content = header + array.astype(np.uint8).tobytes()
    Path(path).write_bytes(gzip.compress(content) if str(path).endswith(".gz") else content)


@pytest.fixture
def images():
    """A folder with four small IDX files: bright rows tell two classes apart."""
    folder = Path("idx")
    folder.mkdir()
    random = np.random.default_rng(0)
    for part, n in (("train", 40), ("t10k", 12)):
        labels = np.arange(n) % 2
        pixels = random.integers(0, 60, (n, 4, 4))
        pixels[np.arange(n), 2 * labels] += 150
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", pixels)
        write_idx(folder / f"{part}-labels-idx1-ubyte", labels)
    return folder


@pytest.mark.slow
def test_fit_of_images(run, images):
    code, out, err = run("fit", "mnist", "--data", images, "--steps", 40, "--n-atoms", 2, "--json")
    assert code == 0, err
    result = json.loads(out)
    assert (result["score"], result["train_rows"], result["test_rows"]) == (1, 40, 12)
    assert Path("hjpde-fit/atoms.png").exists()


def test_corrupted_idx(refused, images):
    path = images / "train-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refused("fit", "mnist", "--data", images, words=["train-images-idx3-ubyte.gz", "truncated or corrupted"])
    path.unlink()
    refused("fit", "mnist", "--data", images, words=["train-images"])
    refused("fit", "mnist", words=["--data"])


ROWS = [(0.1 * i, 0.2 * i, i % 3 + 0.5) for i in range(12)]


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_values_that_are_not_finite(refused, value):
    write_table("bad.csv", [*ROWS, (value, 1.0, 2.0)])
    refused("fit", "bad.csv", words=["bad", "'a'"])
    X = np.ones((6, 2))
    X[3, 1] = float(value)
    np.savez("bad.npz", X=X, y=np.arange(6.0))
    refused("fit", "bad.npz", words=["'bad'", value, "row 3", "'x1'"])


def test_data_that_cannot_be_fitted(refused):
    np.savez("shapes.npz", X=np.ones((5, 2)), y=np.arange(4.0))
    refused("fit", "shapes.npz", words=["shapes.npz", "(5, 2)", "(4,)"])
    np.savez("empty.npz", X=np.ones((0, 2)), y=np.ones(0))
    refused("fit", "empty.npz", words=["empty", "0 rows"])
    Path("empty.csv").write_text("")
    refused("fit", "empty.csv", words=["empty.csv", "empty"])
    Path("names.csv").write_text("a,b,target\n")
    refused("fit", "names.csv", words=["names.csv", "no data"])
    write_table("one.csv", [(0.1 * i, 0.2 * i, "yes") for i in range(12)])
    refused("fit", "one.csv", words=["'target'", "one class only", "'yes'"])
    write_table("rare.csv", [(0.1 * i, 0.2 * i, "yes" if i else "no") for i in range(12)])
    refused("fit", "rare.csv", "--test-fraction", 0.9, words=["'no'", "too few rows"])
    write_table("single.csv", ROWS[:1])
    refused("fit", "single.csv", words=["'single'", "none can be held out"])


def test_data_that_are_not_there(refused):
    refused("fit", "digitz", words=["'digitz'", "Did you mean 'digits'?"])
    refused("fit", "nowhere.csv", words=["nowhere.csv", "No such file"])
    write_table("table.csv", ROWS)
    refused("fit", "table.csv", "--target", "targte", words=["table.csv", "'targte'", "Did you mean 'target'?"])
    refused("fit", "table.csv", "--data", ".", words=["--data", "table.csv"])
    refused("fit", "iris", "--target", "class", words=["`target`", "'iris'"])


@pytest.mark.parametrize("option, value, word", [
    ("--viscosity", 0, "`viscosity`"),
    ("--viscosity", -0.1, "`viscosity`"),
    ("--viscosity", "nan", "`viscosity`"),
    ("--n-atoms", 0, "`n_atoms`"),
    ("--steps", 0, "`steps`"),
    ("--seed", -1, "`seed`"),
    ("--test-fraction", 1, "`test_fraction`"),
    ("--precision", "float16", "float16"),
    ("--optimiser", "sgd", "sgd"),
    ("--steps", "many", "--steps"),
    ("--stepz", 3, "--stepz"),
])  # fmt: skip
def test_options(refused, option, value, word):
    write_table("table.csv", ROWS)
    refused("fit", "table.csv", option, value, words=[word])


def test_options_that_do_not_fit(refused, two_classes):
    refused("fit", two_classes, "--difference", words=["`difference`"])
    refused("fit", words=["Missing argument"])
    refused("frobnicate", words=["frobnicate"])
    refused("demo", "--seeds", 0, words=["`seeds`"])
    refused("demo", "--steps", -1, words=["`steps`"])


def test_a_truncated_model():
    layer = hjpde.LogSumExp(np.ones((3, 2)), np.ones(3), 0.1)
    hjpde.save("model.hjpde", layer)
    Path("model.hjpde").write_bytes(Path("model.hjpde").read_bytes()[:-8])
    with pytest.raises(ValueError, match=r"model\.hjpde is truncated"):
        hjpde.load("model.hjpde")


@pytest.mark.parametrize("command", [("fit", "line.csv", "--steps", 5), ("demo", "--seeds", 1)])
def test_an_output_folder_that_is_a_file(refused, line, command):
    Path("taken").write_text("mine")
    refused(*command, "--out", "taken", words=["taken", "is a file"])
    refused(*command, "--out", "taken/below", words=["taken/below", "is a file"])
    assert Path("taken").read_text() == "mine"


@pytest.mark.parametrize("command", [("fit", "line.csv", "--steps", 5), ("demo", "--seeds", 1)])
def test_an_output_folder_that_is_read_only(refused, line, monkeypatch, command):
    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(self))

    # The rights of a folder do not bind root, as whom tests may run.
    monkeypatch.setattr(_output_folder.Path, "mkdir", refuse)
    refused(*command, "--out", "locked", words=["locked", "Permission denied"])


def test_a_model_that_cannot_be_written(refused, line):
    refused("fit", line, "--model", "nowhere/m.hjpde", words=["nowhere/m.hjpde", "no folder"])
    Path("folder").mkdir()
    refused("fit", line, "--model", "folder", words=["folder", "not a file"])


def test_a_folder_in_the_place_of_a_file(refused, line):
    Path("out/report.html").mkdir(parents=True)
    refused("fit", line, "--steps", 5, "--n-atoms", 6, "--out", "out", words=["report.html", "folder"])


def test_a_fit_that_fails_is_code_1_and_leaves_nothing(run, line, monkeypatch):
    from hjpde import _fit_job

    def diverge(*args, **kwargs):
        raise FloatingPointError("The loss is no longer finite at step 3.")

    monkeypatch.setattr(_fit_job, "fit_atoms", diverge)
    before = everything()
    code, out, err = run("fit", line, "--out", "new/folder", "--json")
    assert (code, out) == (1, "")
    assert err.endswith("hjpde: The loss is no longer finite at step 3.\n")
    assert everything() == before


def test_an_interrupted_fit_leaves_nothing(run, line, monkeypatch):
    from hjpde import _fit_report

    def interrupt(*args):
        (args[0] / "half.png").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(_fit_report, "write_fit_report", interrupt)
    before = everything()
    code, out, err = run("fit", line, "--steps", 5, "--n-atoms", 6)
    assert (code, out) == (130, "")
    assert "interrupted" in err
    assert everything() == before


def test_output_folder_moves_into_place(monkeypatch):
    with _output_folder.output_folder("a/b/c") as folder:
        assert folder is not None
        (folder / "x.txt").write_text("x")
        assert not os.path.exists("a")
    assert Path("a/b/c/x.txt").read_text() == "x"
    with _output_folder.output_folder(None) as folder:
        assert folder is None
