"""`hjpde solve` of problems in many dimensions: fields, what is written, and how it refuses."""

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

import hjpde
from hjpde import _plotting_solution, _solve_points_job, problems
from hjpde._solve_job import SolveSettings
from hjpde._solve_points_job import run_points_job
from hjpde._solve_points_report import points_table, write_points_report
from hjpde._solve_report import pretty

FIELDS = {"problem", "solver", "linf", "l1", "order", "seconds", "convergence"}
ROW_FIELDS = {"n", "linf", "l1", "seconds"}


pytestmark = pytest.mark.usefixtures("own_folder")


def everything():
    return sorted(str(path) for path in Path().rglob("*"))


@pytest.mark.slow
def test_a_problem_in_ten_dimensions(run):
    code, out, err = run("solve", "gaussian-transport-10d", "--n", 40, "--json", "--out", "out", "--no-progress")
    assert code == 0, err
    result = json.loads(out)
    assert result.keys() >= FIELDS
    assert [row["n"] for row in result["convergence"]] == [10, 20, 40]
    assert all(row.keys() >= ROW_FIELDS for row in result["convergence"])
    assert (result["order"], result["dimension"], result["report"]) == (None, 10, "out/report.html")
    assert result["linf"] == result["convergence"][-1]["linf"] >= result["l1"] >= 0
    assert result["linf"] < 1e-12
    assert (result["largest_gap"], result["certified_share"]) == (0, 1)
    assert result["solver"].startswith("HopfLax")
    assert {path.name for path in Path("out").iterdir()} == {
        "convergence.csv",
        "errors.png",
        "report.html",
        "solution.png",
    }
    page = Path("out/report.html").read_text(encoding="utf-8")
    assert "ten dimensions" in page
    assert "http://" not in page
    assert "ℝ¹⁰" in page
    assert page.count("data:image/png") == 2
    with open("out/convergence.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["n"]) for row in rows] == [10, 20, 40]
    assert [float(row["linf"]) for row in rows] == [row["linf"] for row in result["convergence"]]


@pytest.mark.slow
def test_a_chosen_solver_and_time_for_people_in_single_precision(run):
    options = ("--n", 16, "--t", 0.25, "--solver", "HopfLax", "--precision", "float32", "--no-progress")
    code, out, err = run("solve", "paraboloids-10d", *options)
    assert code == 0, err
    for words in ("L1 error", "run [s]", "t = 0.25", "Report: hjpde-solve/report.html"):
        assert words in out
    assert "float32" in Path("hjpde-solve/report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_fifty_dimensions_with_certificates(run):
    code, out, err = run("solve", "quadratic-plus-norm-50d", "--n", 64, "--json", "--no-progress")
    assert code == 0, err
    result = json.loads(out)
    assert result["linf"] < 1e-10
    assert result["certified_share"] == 1
    assert result["largest_gap"] < 1e-8
    assert everything() == []


@pytest.fixture(scope="module")
def job():
    return run_points_job("gaussian-transport-10d", SolveSettings(n=40), False, lambda words: None)


def test_errors_are_those_of_the_points(job):
    entry, run = job.entry, job.most
    by_hand = np.array([float(entry.build()(entry.time, x)) for x in entry.points(5)])
    np.testing.assert_allclose(run.exact[:5], by_hand, atol=1e3 * np.finfo(run.values.dtype).eps)
    assert run.l1 == pytest.approx(np.abs(run.values - run.exact).mean())
    assert run.linf == np.abs(run.values - run.exact).max()


@pytest.mark.parametrize("n", [3, 64, 130])
def test_blocks_are_put_together_again(job, n):
    X = job.entry.points(n)
    values, gaps, closed = _solve_points_job._certified(job.solution, job.t, X)
    assert values.shape == gaps.shape == closed.shape == (n,)
    tolerance = 1e3 * np.finfo(values.dtype).eps
    np.testing.assert_allclose(values, job.solution.batch(job.t, X), atol=tolerance, rtol=tolerance)


def test_gaps_that_stayed_open_are_told(job):
    gaps = np.full(40, 1e-3)
    doubtful = dataclasses.replace(job.most, gaps=gaps, closed=np.arange(40) >= 2)
    told = dataclasses.replace(job, runs=(*job.runs[:-1], doubtful))
    write_points_report(Path(), told)
    page = Path("report.html").read_text(encoding="utf-8")
    assert "At 2 of 40 points the gap stayed open" in page
    assert "outline shows the gaps" in page
    assert points_table(told).rows[-1]["largest_gap"] == 1e-3


def test_the_catalogue_lists_them(run):
    code, out, err = run("problems", "--json")
    assert (code, err) == (0, "")
    found = {entry["name"]: entry for entry in json.loads(out)}
    assert list(found) == [*problems.CATALOGUE, *problems.POINTWISE]
    assert found["quadratic-plus-norm-50d"]["dimension"] == 50
    assert found["quadratic-plus-norm-50d"]["solver"] == "at points"
    code, out, _ = run("problems")
    assert all(name in out for name in problems.POINTWISE)


def test_letters_of_mathematics():
    assert pretty("u_t + p.Ap + |p| = 0 on R^50 with a dense A") == "uₜ + p · Ap + |p| = 0 on ℝ⁵⁰ with a dense A"


@pytest.mark.parametrize("arguments, words", [
    (("paraboloids-5d",), ["'paraboloids-5d'", "paraboloids-10d"]),
    (("paraboloids-10d", "--n", 15), ["`n`", "16", "15"]),
    (("paraboloids-10d", "--t", 0), ["`t`", "positive"]),
    (("paraboloids-10d", "--viscosity", 0.1), ["`viscosity`", "'paraboloids-10d'"]),
    (("paraboloids-10d", "--solver", "FiniteDifference"), ["`solver`", "10 dimensions", "HopfLax"]),
    (("paraboloids-10d", "--solver", "HopfCole"), ["HopfCole does not apply"]),
    (("paraboloids-10d", "--order", 3), ["`order`", "FiniteDifference"]),
    (("paraboloids-10d", "--animation", "gif"), ["`animation`", "'paraboloids-10d'"]),
])  # fmt: skip
def test_mistakes(run, arguments, words):
    code, out, err = run("solve", *arguments, "--out", "out")
    assert (code, out, everything()) == (2, "", [])
    assert err.count("\n") == 1
    assert err.startswith("hjpde: ")
    for word in words:
        assert word in err


def test_a_solve_that_fails_is_code_1_and_leaves_nothing(run, monkeypatch, job):
    def fail(*args, **kwargs):
        raise hjpde.SolveError("HopfLax: the solution blows up.", job.solution)

    monkeypatch.setattr(_solve_points_job, "solve", fail)
    code, out, err = run("solve", "paraboloids-10d", "--json", "--out", "out")
    assert (code, out, everything()) == (1, "", [])
    assert err == "hjpde: HopfLax: the solution blows up.\n"


def test_a_value_that_is_not_finite_is_code_1(run, monkeypatch, job):
    def nowhere(solution, t, X):
        return np.full(len(X), np.nan), np.zeros(len(X)), np.ones(len(X), bool)

    monkeypatch.setattr(_solve_points_job, "_certified", nowhere)
    code, out, err = run("solve", "gaussian-transport-10d", "--json", "--out", "out")
    assert (code, out, everything()) == (1, "", [])
    assert "not finite" in err


def test_an_interrupted_solve_leaves_nothing(run, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(_solve_points_job, "solve", interrupt)
    code, out, err = run("solve", "paraboloids-10d", "--out", "out")
    assert (code, out, everything()) == (130, "", [])
    assert err == "hjpde: interrupted; nothing was written.\n"


def test_a_figure_of_errors_that_are_all_nothing():
    for gaps in (np.zeros(4), np.full(4, 1e-9)):
        _plotting_solution.errors_figure(np.zeros(4), gaps, 1e-16).draw_without_rendering()
