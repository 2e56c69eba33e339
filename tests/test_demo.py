"""The main job: small and whole in one test, at its real size in a slow one."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from hjpde import _demo, cli
from hjpde._atom_model import classification_start
from hjpde._demo_models import CONTESTANTS

NAMES = ["hj", "residual", "gru", "ssm", "transformer"]
FIGURES = {"accuracy.png", "atoms.png", "explained.png", "history.png", "temperature.png"}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def atoms():
    """Atoms of the digits before any training, and unseen images."""
    with jax.enable_x64(False):
        split = _demo._split((0,))
        yield classification_start(split.X[0], split.y[0], 10, 10, 0), split


def test_the_split(atoms):
    _, split = atoms
    assert split.X.shape == (1, 1347, 64)
    assert split.X_test.shape == (1, 450, 64)
    assert (split.X.min(), split.X.max()) == (0, 1)
    # Every digit has its share in both parts.
    share = np.bincount(split.y[0]) / 1347 - np.bincount(split.y_test[0]) / 450
    assert np.abs(share).max() < 0.003


@pytest.mark.slow
def test_layer_and_solution_agree_in_float32(atoms):
    model, split = atoms
    with jax.enable_x64(False):
        assert model.positions.dtype == np.float32
        assert 0 < _demo.identity_residual(model, split.X_test[0]) < 1e-5


def test_gibbs_weights_interpolate_between_the_nearest_atom_and_all(atoms):
    model, split = atoms
    X = split.X_test[0][:50]
    weights = _demo.gibbs_weights(model, X)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
    positions = np.asarray(model.positions).reshape(-1, 64)
    nearest = np.argmin(((X[:, None] - positions[None]) ** 2).sum(-1), axis=1)
    # All heights are equal before the training.
    np.testing.assert_array_equal(_demo.gibbs_weights(model, X, 1e-4).argmax(axis=1), nearest)
    np.testing.assert_allclose(_demo.gibbs_weights(model, X, 1e6), 0.01, rtol=1e-2)


def check(result, n_seeds):
    rows = result["rows"]
    assert [row["model"] for row in rows] == NAMES
    assert rows[0]["parameters"] == 100 * 64 + 100 + 1
    for row in rows:
        assert abs(row["parameters"] / rows[0]["parameters"] - 1) < 0.1
        assert len(row["accuracies"]) == n_seeds
        assert row["accuracy"] == pytest.approx(np.mean(row["accuracies"]))
        assert row["accuracy_spread"] == pytest.approx(np.ptp(row["accuracies"]))
        assert row["loss"] > 0
        assert row["train_seconds"] > 0
        assert row["inference_microseconds"] > 0
    assert 0 < result["layer_identity_residual"] < 1e-5


@pytest.mark.slow
def test_demo_is_whole(capsys):
    assert cli.main(["demo", "--seeds", "2", "--steps", "20", "--json", "--out", "page"]) == 0
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    check(result, 2)
    assert result["seeds"] == "0, 1"
    # The atoms start at the data, so that few steps do.
    assert result["rows"][0]["accuracy"] > 0.95
    for contestant in CONTESTANTS:
        assert contestant.title in printed.err
    assert {path.name for path in Path("page").iterdir()} == FIGURES | {"report.html", "results.csv"}


@pytest.mark.slow
def test_demo_as_it_is_run(capsys):
    assert cli.main(["demo", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    check(result, 3)
    assert result["rows"][0]["accuracy"] >= 0.98
    assert min(row["accuracy"] for row in result["rows"]) > 0.95
    assert not list(Path().iterdir())
