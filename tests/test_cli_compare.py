"""`hjpde compare`: what it prints and writes, what its options do, how it refuses; and the sunspots."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hjpde._datasets import check_dataset, named_dataset
from hjpde._networks_by_name import builder, default_sizes, parse_noise, parse_options

FIELDS = {
    *("forward_error", "gradient_error", "forward_order", "gradient_order", "costate_residual", "native_gap"),
    *("effective_viscosity", "drift_correction", "verdict", "kind", "n", "relative_gap", "roughness", "seconds"),
    *("architecture", "architecture_name", "parameters", "report"),
}
SMALL = ("--option", "width=3", "--option", "depth=4", "--option", "hidden=5", "--option", "activation=tanh")

pytestmark = pytest.mark.usefixtures("own_folder")


def everything():
    return sorted(str(path) for path in Path().rglob("*"))


def compared(run, *arguments):
    code, out, err = run("compare", *arguments, "--json")
    assert code == 0, err
    return json.loads(out), err


@pytest.mark.slow
def test_json_of_a_residual_network_and_nothing_else(run):
    found, _ = compared(run, "residual", *SMALL, "--points", 2)
    assert set(found) >= FIELDS
    assert (found["architecture"], found["architecture_name"], found["depth"]) == ("ResidualNetwork", "residual", 4)
    # 8 to 3, four blocks of norm, 3 to 5 to 3, and 3 to 8, with biases.
    assert found["parameters"] == 3 * 9 + 4 * (6 + 5 * 4 + 3 * 6) + 8 * 4
    assert (found["n"], found["inputs"]) == ([1, 2, 4, 8, 16], 2)
    assert found["kind"] == "order h"
    assert found["verdict"].startswith("order h: explicit Euler")
    assert "h = 0.25, observed order" in found["verdict"]
    assert found["forward_order"] == pytest.approx(1, abs=0.15)
    assert found["costate_residual"] < 1e-13
    assert found["predicted_viscosity"] is None
    assert not np.any(found["effective_viscosity"])
    assert found["report"] is None
    assert everything() == []


def test_the_page_and_the_tables(run):
    """Without --json a table, and a folder; the layer is exact and takes the least time."""
    code, out, err = run("compare", "log_sum_exp", "--option", "neurons=5", "--points", 3, "--out", "a/b")
    assert code == 0, err
    files = {path.name for path in Path("a/b").iterdir()}
    assert files == {"report.html", "refinement.png", "refinement.csv", "measures.csv"}
    page = Path("a/b/report.html").read_text()
    assert "Exact: the layer is" in page
    assert "exact: the layer is" in out
    assert "Report: a/b/report.html" in out
    rows = Path("a/b/refinement.csv").read_text().splitlines()
    assert rows[0].split(",")[0] == "n"
    assert [row.split(",")[0] for row in rows[1:]] == ["1", "2", "4", "8", "16"]
    assert Path("a/b/refinement.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_leapfrog_is_of_order_two(run):
    found, _ = compared(run, "residual", *SMALL, "--option", "stepping=leapfrog", "--points", 2)
    assert found["scheme"] == "leapfrog"
    assert found["expected_order"] == 2
    assert found["forward_order"] == pytest.approx(2, abs=0.2)
    assert found["gradient_order"] == pytest.approx(2, abs=0.2)


@pytest.mark.slow
def test_dropout_is_a_viscosity(run):
    r"""$\frac h2 \frac{1-q}{q} W_2\,\mathrm{diag}(\sigma^2)\,W_2^\top$ of the network that the command draws."""
    found, _ = compared(run, "residual", *SMALL, "--option", "norm=False", "--noise", "dropout=0.8", "--points", 2)
    told, measured = np.asarray(found["predicted_viscosity"]), np.asarray(found["effective_viscosity"])
    with jax.enable_x64(True):
        sizes = {"in_size": 8, "out_size": 8, "width": 3, "depth": 4, "hidden": 5}
        model = builder("residual", {**sizes, "activation": "tanh", "norm": False}, None)(jax.random.key(0))
        x = np.asarray(jax.random.normal(jax.random.key(1), (2, 8)))[0]
        z = np.asarray(model.embed.weight) @ x + np.asarray(model.embed.bias)
        inner, W2 = model.blocks.inner, np.asarray(model.blocks.outer.weight[0])
        units = np.tanh(np.asarray(inner.weight[0]) @ z + np.asarray(inner.bias[0]))
    np.testing.assert_allclose(told, 0.25 / 2 * 0.25 * W2 @ np.diag(units**2) @ W2.T, rtol=1e-9, atol=1e-12)
    assert found["predicted_viscosity_mean"] == pytest.approx(np.trace(told) / 3)
    # From 4,096 samples: the trace to a few parts in a hundred.
    assert np.trace(measured) == pytest.approx(np.trace(told), rel=0.15)


@pytest.mark.slow
@pytest.mark.parametrize("name, kind", [("ssm", "order h"), ("rnn", "structural"), ("attention", "order h")])
def test_sequence_networks(run, name, kind):
    found, _ = compared(run, name, "--points", 2)
    assert found["kind"] == kind
    assert found["costate_residual"] < 1e-12
    assert "exact:" not in found["verdict"]


@pytest.mark.slow
def test_a_network_trained_on_digits(run):
    options = ("--trained-on", "digits", "--steps", 20, "--seeds", 1, "--points", 8, "--out", "out")
    found, err = compared(run, "residual", *options)
    assert len(found["seeds"]) == 1
    assert found["trained_on"] == "digits"
    seed = found["seeds"][0]
    # Ten classes: chance is a tenth.
    assert 0.3 < seed["accuracy"] <= 1
    assert 0.8 < seed["fitted_accuracy"] <= 1
    assert 0 < found["operator_gap"] < 1
    assert found["operator_gap"] == seed["operator_gap"]
    assert 0 < found["equal_decisions"] <= 1
    assert found["inputs"] == 8
    assert found["costate_residual"] < 1e-12
    assert "seed 0: score" in err
    files = {path.name for path in Path("out").iterdir()}
    assert files == {
        *("report.html", "refinement.png", "agreement.png"),
        *("refinement.csv", "measures.csv", "seeds.csv"),
    }
    assert "Trained networks" in Path("out/report.html").read_text()


@pytest.mark.slow
def test_a_network_trained_on_a_table(run):
    """A regression from a file, with its score beside the fit's."""
    x = np.linspace(-1, 1, 80)
    lines = ["a,b,y", *(f"{a:.4f},{-a * a:.4f},{np.sin(2 * a):.5f}" for a in x)]
    Path("table.csv").write_text("\n".join(lines))
    options = ("--trained-on", "table.csv", "--steps", 60, "--seeds", 1, "--points", 4, *SMALL)
    found, _ = compared(run, "residual", *options)
    assert set(found["seeds"][0]) >= {"r2", "fitted_r2", "operator_gap"}
    assert found["seeds"][0]["r2"] > 0.5
    assert "equal_decisions" not in found


def test_the_precision_is_the_commands_own(run):
    before = jnp.zeros(()).dtype
    found, _ = compared(run, "log_sum_exp", "--option", "neurons=5", "--points", 3, "--precision", "float32")
    assert set(found) >= FIELDS
    assert 1e-6 < found["rounding"] < 1
    assert max(found["forward_error"]) > 1e-12
    assert found["kind"] == "exact"
    assert jnp.zeros(()).dtype == before


@pytest.mark.parametrize("arguments, words", [
    (("resnet",), ["`architecture`", "residual, rnn", "'resnet'"]),
    (("residual", "--option", "colour=3"), ["`option`", "stepping", "'colour=3'"]),
    (("residual", "--option", "depth"), ["`option`", "NAME=VALUE", "'depth'"]),
    (("residual", "--option", "stepping=heun"), ["`stepping`", "leapfrog", "'heun'"]),
    (("residual", "--option", "depth=0"), ["`depth`"]),
    (("residual", "--noise", "salt=0.5"), ["`noise`", "dropout", "'salt=0.5'"]),
    (("residual", "--noise", "dropout"), ["`noise`", "NAME=VALUE"]),
    (("residual", "--noise", "dropout=1.5"), ["`keep`", "1.5"]),
    (("residual", "--noise", "gaussian=-1"), ["`nu`", "-1"]),
    (("log_sum_exp", "--noise", "dropout=0.5"), ["`noise`", "viscosity of itself"]),
    (("residual", "--trained-on", "nowhere.csv"), ["nowhere.csv"]),
    (("residual", "--trained-on", "digitz"), ["'digitz'", "digits"]),
    (("residual", "--target", "y"), ["`target`", "--trained-on"]),
    (("residual", "--seeds", 0), ["`seeds`", "0"]),
    (("residual", "--points", 0), ["`points`", "0"]),
    (("residual", "--steps", 0), ["`steps`", "0"]),
    (("residual", "--rate", "nan"), ["`rate`", "nan"]),
    (("residual", "--precision", "float16"), ["float16"]),
    ((), ["Missing argument"]),
])  # fmt: skip
def test_mistakes(run, arguments, words):
    code, out, err = run("compare", *arguments, "--out", "out")
    assert (code, out, everything()) == (2, "", [])
    assert err.count("\n") == 1
    assert err.startswith("hjpde: ")
    for word in words:
        assert word in err


def test_options_and_noises_as_words():
    words = ("depth=3", "norm=False", "stepping=leapfrog", "horizon=0.5")
    options = parse_options("residual", words)
    assert options == {"depth": 3, "norm": False, "stepping": "leapfrog", "horizon": 0.5}
    assert parse_options("log_sum_exp", ("neurons=4",)) == {"neurons": 4}
    assert parse_noise(None) is None
    noise = parse_noise("stochastic-depth=0.8")
    assert (type(noise).__name__, noise.keep) == ("StochasticDepth", 0.8)  # pyright: ignore
    sizes = default_sizes("attention", (8, 7), 3)
    assert (sizes["heads"], sizes["width"], sizes["out_size"]) == (1, 7, 3)


def test_the_sunspots():
    """309 years, each told by the 16 before it: 293 rows, of which the last 60 are held out."""
    dataset = named_dataset("sunspots")
    check_dataset(dataset)
    assert dataset.X_test is not None
    assert dataset.y_test is not None
    assert (dataset.X.shape, dataset.X_test.shape, dataset.y_test.shape) == ((233, 16), (60, 16), (60,))
    assert (dataset.task, dataset.classes, dataset.name) == ("regression", (), "sunspots")
    assert dataset.feature_names[0] == "16 years before"
    assert dataset.feature_names[-1] == "1 years before"
    series = np.concatenate([dataset.X[0], dataset.y, dataset.y_test]) ** 2
    assert series.shape == (309,)
    # The years 1700, 1701 and 2008, and the largest, 1957.
    np.testing.assert_allclose([series[0], series[1], series[-1]], [5.0, 11.0, 2.9], atol=1e-9)
    assert 1700 + int(np.argmax(series)) == 1957
    assert series.max() == pytest.approx(190.2)
    # Every row is the window before its year.
    roots, X = np.sqrt(series), np.concatenate([dataset.X, dataset.X_test])
    for row, year in ((0, 16), (100, 116), (292, 308)):
        np.testing.assert_allclose(X[row], roots[year - 16 : year])
