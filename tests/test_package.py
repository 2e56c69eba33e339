"""What a user finds under `hjpde`."""

import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import hjpde

ROOT = Path(__file__).resolve().parent.parent

# fmt: off
NAMES = [
    "LogSumExp", "Atoms", "SoftMinPlanes", "GaussianMixture", "Quadratic", "Eikonal", "Transport",
    "InitialValueProblem", "solve", "fit", "Samples", "Regression", "Classification", "save", "load",
    "solvers.HopfCole", "solvers.HopfLax", "solvers.Hopf", "estimators.HJRegressor",
    "estimators.HJClassifier",
]
# fmt: on


@pytest.mark.parametrize("name", NAMES)
def test_public_name(name):
    found = hjpde
    for part in name.split("."):
        found = getattr(found, part)


def test_version():
    written = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert metadata.version("hjpde") == written
    assert hjpde.__version__ == written
    assert f"version: {written}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"## {written}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
