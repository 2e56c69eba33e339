"""`hjpde solve` and `hjpde problems`: errors and orders, what is written, and how they refuse."""

import dataclasses
import html.parser
import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hjpde
from hjpde import _plotting_solution, _solve_job, _solve_pictures, _solve_report, problems, solvers
from hjpde._memory import resident_growth
from hjpde._plotting_solution import Plane
from hjpde._solution import RESULTS, AbstractEvaluator
from hjpde._solve_job import GridRun, SolveJob, SolveSettings, run_job
from hjpde._solve_report import pretty
from hjpde.solvers.grids._grid_evaluator import GridEvaluator

FIELDS = {"problem", "solver", "linf", "l1", "order", "seconds", "convergence"}
ROW_FIELDS = {"n", "linf", "l1", "seconds"}


pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.fixture
def few_frames(monkeypatch):
    """Drawing takes as long as solving."""
    monkeypatch.setattr(_solve_pictures, "_FRAMES", 4)


@pytest.fixture(scope="module")
def job():
    """Burgers' potential by upwinding on 4, 8 and 16 nodes."""
    return run_job("burgers-potential", SolveSettings(n=16, order=1, t=0.5), False, lambda words: None)


class Exact(AbstractEvaluator):
    """A worked problem's own values as a solution."""

    worked: problems.AbstractExactProblem

    @property
    def twice_differentiable(self):
        return True

    @property
    def dim(self):
        return None

    def __call__(self, t, x):
        return self.worked(t, x)

    def batch(self, t, X):
        return jax.vmap(lambda x: self.worked(t, x))(X)

    def standard_error(self, t, x):
        return jnp.zeros(())

    def invalid_time(self, t):
        return None


def everything():
    return sorted(str(path) for path in Path().rglob("*"))


class Resources(html.parser.HTMLParser):
    """What a page would load."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]


def resources(path):
    page = Path(path).read_text(encoding="utf-8")
    parser = Resources()
    parser.feed(page)
    assert "http://" not in page
    assert "https://" not in page
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest", page)
    return parser.found


def test_the_catalogue(run):
    code, out, err = run("problems", "--json", "--out", "list")
    assert (code, err) == (0, "")
    found = {entry["name"]: entry for entry in json.loads(out)}
    assert list(found) == [*problems.CATALOGUE, *problems.POINTWISE]
    assert found["burgers-potential"]["dimension"] == 1
    assert found["air3d"]["reference"] == "none"
    assert all(entry["source"] and entry["equation"] for entry in found.values())
    assert {path.name for path in Path("list").iterdir()} == {"report.html", "problems.csv"}


@pytest.mark.parametrize("options", [(), ("--long",)])
def test_the_catalogue_for_people(run, monkeypatch, options):
    monkeypatch.setenv("COLUMNS", "100")
    code, out, _ = run("problems", *options)
    assert code == 0
    for entry in problems.CATALOGUE.values():
        assert entry.name in out
    assert ("Osher and Sethian" in out) == bool(options)
    assert all(len(line) <= 100 for line in out.splitlines())


def test_letters_of_mathematics():
    assert pretty("u_t + |grad u|^2 = eps u_xx on [0, 2 pi)") == "uₜ + |∇u|² = ε uₓₓ on [0, 2 π)"


@pytest.mark.slow
def test_a_problem_with_profiles(run, few_frames):
    options = ("--n", 16, "--order", 1, "--t", 0.5, "--animation", "gif", "--no-progress")
    code, out, err = run("solve", "burgers-potential", *options, "--json", "--out", "a/b")
    assert code == 0, err
    result = json.loads(out)
    assert result.keys() >= FIELDS
    assert [row["n"] for row in result["convergence"]] == [4, 8, 16]
    assert all(row.keys() >= ROW_FIELDS for row in result["convergence"])
    assert result["linf"] == result["convergence"][-1]["linf"] >= result["l1"] > 0
    assert result["order"] == pytest.approx(1, abs=0.5)
    assert result["precision"] == "float64"
    assert result["self_convergence"] is None
    assert result["stats"]["steps"] > 0
    assert (result["report"], result["animation"]) == ("a/b/report.html", "a/b/animation.gif")
    written = {"animation.gif", "convergence.csv", "convergence.png", "report.html", "solution.png"}
    assert {path.name for path in Path("a/b").iterdir()} == written
    assert all(found.startswith("data:image/png") for found in resources("a/b/report.html"))
    assert "jaxlib" in Path("a/b/report.html").read_text(encoding="utf-8")
    from PIL import Image

    with Image.open("a/b/animation.gif") as moving:
        assert moving.n_frames == 4  # pyright: ignore[reportAttributeAccessIssue]


def sampled(name, n, monkeypatch):
    """A job that looks solved: the exact values, or the datum moved down, instead of a solver's."""
    entry = problems.CATALOGUE[name]
    worked = entry.build()
    problem = worked.problem
    assert problem.domain is not None
    runs = []
    for size in (n // 4, n // 2, n):
        grid = solvers.Grid.over(problem.domain, entry.shape(size))
        start = np.asarray(grid.sample(problem.initial_data))
        exact = _solve_job.exact_values(worked, grid, entry.time)
        values = start - 0.5 if exact is None else exact + 1e-3 * np.sin(np.arange(exact.size)).reshape(exact.shape)
        us = jnp.stack([jnp.asarray(start), jnp.asarray(values)])
        ts = jnp.array([0.0, entry.time], us.dtype)
        evaluator = GridEvaluator(grid, ts, us, jnp.broadcast_to(us[1] - us[0], us.shape) / entry.time)
        solution = hjpde.Solution(evaluator, ts[1:], solver="FiniteDifference")
        mask = np.asarray(entry.mask(entry.time, grid.points))
        errors = None if exact is None else 1e-3
        runs.append(GridRun(
            n=size, grid=grid, solution=solution, values=values, exact=exact, mask=mask, l1=errors, linf=errors,
            difference_l1=1e-2 / size, difference_linf=1e-1 / size, seconds=1.0, compile_seconds=1.0,
            array_bytes=values.nbytes, peak_bytes=None, resolved=True,
        ))  # fmt: skip

    def history(job, run, times, progress):
        first, last = run.solution.evaluator.us
        parts = np.linspace(0, 1, times)
        shape = (-1, *[1] * run.grid.dim)
        values = np.asarray(first) + parts.reshape(shape) * np.asarray(last - first)
        return job.t * parts, values, run.solution

    monkeypatch.setattr(_solve_pictures, "history", history)
    return SolveJob(entry, SolveSettings(), worked, "FiniteDifference", entry.time, tuple(runs))


@pytest.mark.slow
def test_a_plane_is_drawn_beside_its_error_and_moves(monkeypatch, few_frames):
    job = sampled("eikonal-distance", 16, monkeypatch)
    assert _solve_pictures.has_front(job)
    _solve_report.write_solve_report(Path(), job, "html", False, lambda words: None)
    written = {"animation.html", "convergence.csv", "convergence.png", "report.html", "solution.png", "times.png"}
    assert {path.name for path in Path().iterdir()} == written
    assert all(found.startswith("data:image/png") for found in resources("animation.html"))
    page = Path("animation.html").read_text(encoding="utf-8")
    assert page.count("data:image/png") == 4 + 1
    assert 'type="range"' in page
    assert "characteristics" in Path("report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_sections_of_a_tube_without_a_reference(monkeypatch):
    job = sampled("air3d", 16, monkeypatch)
    _solve_report.write_solve_report(Path(), job, None, False, lambda words: None)
    written = {"convergence.csv", "convergence.png", "level-sets.png", "report.html", "solution.png"}
    assert {path.name for path in Path().iterdir()} == written
    page = Path("report.html").read_text(encoding="utf-8")
    assert "No exact solution is known" in page
    assert "ψ" in page
    moving, n = _solve_pictures.scene(job, False)
    assert (n, len(moving.captions)) == (8, 41)
    moving.draw(40)


@pytest.mark.slow
def test_characteristics_lead_back_to_where_they_came_from(monkeypatch):
    """Of Hopf-Lax: straight lines `y = x - t dH/dp`, at whose ends `u = g(y) + t L((x - y)/t)`."""
    job = sampled("quadratic-paraboloids", 64, monkeypatch)
    t, worked, grid = job.t, job.worked, job.finest.grid
    assert isinstance(worked, problems.QuadraticMinima)
    offset = np.array([0.2, -0.1])
    X = jnp.asarray(np.asarray(worked.centres) + offset, grid.lower.dtype)
    exact = hjpde.Solution(Exact(worked), jnp.array([t]), solver="exact")
    curves = np.asarray(_solve_pictures._back_in_time(worked.problem, exact, X, jnp.asarray(t)))
    ends = curves[-1]
    rounding = 1e3 * float(jnp.finfo(X.dtype).eps)
    np.testing.assert_allclose(curves[30], (curves[0] + ends) / 2, atol=rounding)
    for x, y in zip(np.asarray(X), ends, strict=True):
        transported = worked(0.0, jnp.asarray(y)) + np.sum((x - y) ** 2) / (4 * t)
        assert float(worked(t, jnp.asarray(x))) == pytest.approx(float(transported), abs=rounding)
    drawn = _solve_pictures._characteristics(worked.problem, exact, grid, t)
    finite = drawn[np.isfinite(drawn)]
    assert finite.size > 0.9 * drawn.size
    assert np.abs(finite).max() <= 2


def test_differences_to_the_finest_grid(job):
    compared = _solve_job._against_the_finest(job)
    coarse, finest = compared.runs[1], compared.finest
    # The nodes of a grid are every other one of the next.
    difference = np.abs(coarse.values - finest.values[::2])
    assert coarse.difference_l1 == pytest.approx(difference.mean())
    assert coarse.difference_linf == pytest.approx(difference.max())
    assert finest.difference_l1 is None


@pytest.mark.slow
def test_a_problem_with_fields(run):
    options = ("--n", 16, "--order", 1, "--t", 0.2, "--animation", "html", "--precision", "float32")
    code, out, err = run("solve", "eikonal-distance", *options)
    assert code == 0, err
    assert "L1 error" in out
    assert "Report: hjpde-solve/report.html" in out
    assert "float32" in Path("hjpde-solve/report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_problem_without_a_reference(run):
    code, out, err = run("solve", "air3d", "--n", 16, "--order", 1, "--t", 0.3, "--json", "--out", "out")
    assert code == 0, err
    result = json.loads(out)
    assert (result["l1"], result["linf"], result["order"]) == (None, None, None)
    rows = result["convergence"]
    assert result["self_convergence"]["against"] == rows[-1]["n"] == 16
    assert rows[0]["difference_l1"] > rows[1]["difference_l1"] > 0
    assert rows[-1]["difference_l1"] is None


@pytest.mark.slow
def test_a_closed_form_is_sampled(run):
    options = ("--solver", "HopfCole", "--viscosity", 0.3, "--n", 16, "--json")
    code, out, err = run("solve", "viscous-cone", *options)
    assert code == 0, err
    result = json.loads(out)
    worked = problems.ViscousCone(0.3)
    solution = hjpde.solve(worked.problem, result["t"], solvers.HopfCole())
    x = jnp.array([0.0])
    # At the tip the largest error of the quadrature.
    assert result["linf"] >= abs(float(solution(result["t"], x) - worked(result["t"], x))) - 1e-12
    assert result["linf"] < 1e-4
    assert (result["viscosity"], result["order"], result["report"]) == (0.3, None, None)
    assert everything() == []


@pytest.mark.slow
def test_a_grid_too_coarse_for_a_spectral_solver_is_kept_unless_it_is_the_last(run):
    code, out, err = run("solve", "cole-hopf", "--json")
    assert code == 0, err
    assert json.loads(out)["linf"] < 1e-10
    code, out, err = run("solve", "burgers-potential-viscous", "--viscosity", 0.05, "--n", 64, "--json")
    assert code == 0, err
    assert [row["resolved"] for row in json.loads(out)["convergence"]][::2] == [False, True]
    code, out, err = run("solve", "burgers-potential-viscous", "--viscosity", 0.005, "--n", 32, "--out", "out")
    assert (code, out) == (1, "")
    assert "Refine the grid" in err
    assert everything() == []


def with_errors(job, errors, name="l1"):
    runs = tuple(dataclasses.replace(run, **{name: error}) for run, error in zip(job.runs, errors, strict=True))
    return dataclasses.replace(job, runs=runs)


def test_orders(job):
    widths = [run.width for run in job.runs]
    assert widths == pytest.approx([2 * np.pi / n for n in (4, 8, 16)])
    second = with_errors(job, [3 * h**2 for h in widths])
    assert second.order("l1") == pytest.approx(2)
    assert second.orders("l1") == [None, pytest.approx(2), pytest.approx(2)]
    # From an error at rounding there is nothing to observe.
    floored = with_errors(job, [1e-3, 1e-3 / 2**40, 1e-3 / 2**40])
    assert floored.orders("l1") == [None, pytest.approx(40), None]
    assert floored.order("l1") == pytest.approx(40)
    assert with_errors(job, [1e-3, 0.0, 0.0]).order("l1") is None
    assert dataclasses.replace(second, solver="HopfLax").order("l1") is None


@pytest.mark.parametrize("order", [1.0, 2.5])
def test_differences_to_the_finest_tell_the_order(job, order):
    values = [run.width**order for run in job.runs]
    differences = [values[0] - values[2], values[1] - values[2], None]
    assert with_errors(job, differences, "difference_l1").self_order("difference_l1") == pytest.approx(order)
    assert with_errors(job, [1e-3, 1e-3, None], "difference_l1").self_order("difference_l1") is None


def test_differences_tell_the_order_on_grids_in_any_ratio(job):
    """Widths of 3 : 1.5 : 1, as of 20, 40 and 60 nodes."""
    grids = [solvers.Grid([0.0], [1.0], (n,), periodic=True) for n in (20, 40, 60)]
    runs = [dataclasses.replace(run, grid=grid) for run, grid in zip(job.runs, grids, strict=True)]
    values = [run.width**1.5 for run in runs]
    differences = [values[0] - values[2], values[1] - values[2], None]
    told = with_errors(dataclasses.replace(job, runs=tuple(runs)), differences, "difference_l1")
    assert told.self_order("difference_l1") == pytest.approx(1.5)


def test_errors_are_those_of_the_masked_nodes(job):
    finest = job.finest
    difference = np.abs(finest.values - finest.exact)
    assert finest.mask.all()
    assert (finest.l1, finest.linf) == (pytest.approx(difference.mean()), difference.max())
    worked = problems.BurgersPotential()
    by_hand = [float(worked(0.5, jnp.array([x]))) for x in np.asarray(finest.grid.axes[0])]
    np.testing.assert_allclose(finest.exact, by_hand, atol=100 * np.finfo(finest.values.dtype).eps)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells")
def test_the_growth_of_memory():
    with resident_growth() as found:
        array = np.ones(20_000_000)
        del array
    with resident_growth() as none:
        pass
    assert 150e6 < found[0] < 250e6
    assert none[0] < 20e6


@pytest.mark.parametrize("arguments, words", [
    (("burgers",), ["'burgers'", "burgers-potential"]),
    (("burgers-potential", "--solver", "FiniteDiference"), ["'FiniteDiference'", "did you mean FiniteDifference"]),
    (("burgers-potential", "--solver", "q"), ["'q'", "Spectral", "HopfCole"]),
    (("burgers-potential", "--n", 15), ["`n`", "16", "15"]),
    (("burgers-potential", "--t", 0), ["`t`", "positive"]),
    (("burgers-potential", "--t", "inf"), ["`t`", "finite"]),
    (("burgers-potential", "--t", "nan"), ["`t`", "finite"]),
    (("smooth", "--viscosity", 0.1), ["`viscosity`", "'smooth'"]),
    (("cole-hopf", "--viscosity", -1), ["`viscosity`"]),
    (("cole-hopf", "--order", 5), ["`order`", "FiniteDifference", "Spectral"]),
    (("cole-hopf", "--cfl", 0.5), ["`cfl`"]),
    (("burgers-potential", "--order", 4), ["`order`", "1, 3 or 5"]),
    (("burgers-potential", "--flux", "best"), ["`flux`", "'best'"]),
    (("burgers-potential", "--cfl", 2), ["`cfl`"]),
    (("burgers-potential", "--solver", "Spectral"), ["Spectral", "no viscosity"]),
    (("cole-hopf", "--solver", "HopfCole"), ["HopfCole does not apply"]),
    (("burgers-potential", "--precision", "float16"), ["float16"]),
    (("burgers-potential", "--animation", "mp4"), ["mp4"]),
    ((), ["Missing argument"]),
])  # fmt: skip
def test_mistakes(run, arguments, words):
    code, out, err = run("solve", *arguments, "--out", "out")
    assert (code, out, everything()) == (2, "", [])
    assert err.count("\n") == 1
    assert err.startswith("hjpde: ")
    for word in words:
        assert word in err


def test_a_time_when_nothing_is_left_to_measure(job):
    with pytest.raises(ValueError, match="`t` = 3 is too late"):
        _solve_job._norms(np.zeros(4), np.zeros(4, bool), 3.0)


def test_a_solve_that_fails_is_code_1_and_leaves_nothing(run, monkeypatch, job):
    def fail(*args, **kwargs):
        raise hjpde.SolveError("FiniteDifference at step 3, t = 0.1: the values grew.", job.finest.solution)

    monkeypatch.setattr(_solve_job, "solve", fail)
    code, out, err = run("solve", "burgers-potential", "--json", "--out", "out")
    assert (code, out, everything()) == (1, "", [])
    assert err == "hjpde: FiniteDifference at step 3, t = 0.1: the values grew.\n"


@pytest.mark.parametrize("on_a_grid", [False, True])
def test_an_interrupted_solve_leaves_nothing(run, monkeypatch, job, on_a_grid):
    def interrupt(*args, **kwargs):
        if not on_a_grid:
            raise KeyboardInterrupt
        # With a bar, a grid solver keeps what it has reached.
        solution = job.finest.solution
        kept = hjpde.Solution(solution.evaluator, solution.ts, solver="FiniteDifference", result=RESULTS.interrupted)
        raise hjpde.SolveError("interrupted", kept)

    monkeypatch.setattr(_solve_job, "solve", interrupt)
    code, out, err = run("solve", "burgers-potential", "--out", "out")
    assert (code, out, everything()) == (130, "", [])
    assert err == "hjpde: interrupted; nothing was written.\n"


def test_an_output_folder_that_is_a_file(run):
    Path("taken").write_text("mine")
    for command in (("problems",), ("solve", "smooth")):
        code, _, err = run(*command, "--out", "taken")
        assert code == 2
        assert "is a file" in err
    assert Path("taken").read_text() == "mine"


def test_figures_of_what_does_not_vary():
    """No level to draw, no error, no slope: still a figure."""
    axis = np.linspace(0.0, 1.0, 5)
    plane = Plane(axis, axis, np.ones((5, 5)), ("x [1]", "y [1]"))
    zero = np.zeros((5, 5))
    for figure in (
        _plotting_solution.fields_figure([plane], [zero], front=True),
        _plotting_solution.fields_figure([plane, plane, plane], None),
        _plotting_solution.convergence_figure([4, 8], {"mean": ([0.0, 0.0], None)}, "error"),
        _plotting_solution.level_sets_figure([plane], [zero]),
        _plotting_solution.profiles_figure(axis, axis[:2], np.ones((2, 5)), None, "x [1]"),
    ):
        figure.draw_without_rendering()
