"""The tables and pages of `hjpde solve` and `hjpde problems`."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hjpde._animation import write_gif, write_html
from hjpde._machine import device, versions
from hjpde._report import Column, Section, TableOf, write_report
from hjpde._solve_job import SolveJob, rows
from hjpde._solve_pictures import pictures, scene
from hjpde._solvers_by_name import CLOSED_FORMS
from hjpde.problems import CATALOGUE, POINTWISE

if TYPE_CHECKING:
    from rich.console import Console

_LETTERS = {
    ".grad u": " · ∇u",
    "grad u": "∇u",
    "Lap u": "Δu",
    "p.Ap": "p · Ap",
    "x.Qx": "x · Qx",
    ").p": ") · p",
    "u_xx": "uₓₓ",
    "u_x": "uₓ",
    "u_t": "uₜ",
    "R^10": "ℝ¹⁰",
    "R^50": "ℝ⁵⁰",
    "^2": "²",
    "^3": "³",
    "^4": "⁴",
}
_GREEK = {"eps": "ε", "pi": "π", "nu": "ν", "theta": "θ", "omega": "ω", "psi": "ψ"}


def convergence_table(job: SolveJob) -> TableOf:
    """One row a grid; without a reference, the differences to the finest grid and not errors."""
    measured = (
        (
            Column("l1", "L1 error", shown_error),
            Column("order_l1", "order", _order),
            Column("linf", "L∞ error", shown_error),
            Column("order_linf", "order", _order),
        )
        if job.has_reference
        else (
            Column("difference_l1", "L1 difference", shown_error),
            Column("difference_linf", "L∞ difference", shown_error),
        )
    )
    return TableOf(
        name="convergence",
        caption=_caption(job),
        columns=(
            Column("n", "n"),
            Column("shape", "grid", lambda v: " × ".join(map(str, v))),
            *measured,
            Column("steps", "steps", lambda v: "–" if v is None else f"{v:,}"),
            Column("seconds", "run [s]", lambda v: f"{v:.3g}"),
            Column("compile_seconds", "compile [s]", lambda v: f"{v:.1f}"),
            Column("peak_bytes", "memory [MB]", _megabytes),
            Column("array_bytes", "array [MB]", _megabytes),
        ),
        rows=rows(job),
    )


def write_solve_report(
    folder: Path, job: SolveJob, animation: Literal["gif", "html"] | None, progress: bool, say: Callable[[str], None]
) -> Path:
    """Writes the page, the figures, the table and the animation into an existing folder; returns the page's path."""
    say("drawing")
    shown = pictures(job, progress)
    remarks = _remarks(job)
    if animation is not None:
        say("animating")
        moving, n = scene(job, progress)
        path = folder / f"animation.{animation}"
        if animation == "gif":
            write_gif(path, moving)
        else:
            write_html(path, moving, job.entry.title)
        remarks.append(f"{path.name}, beside this page, shows the solution on the grid with n = {n} in motion.")
    sections = (
        Section("The problem", [_equation(job), _how_to_read(job)]),
        Section("The result", [convergence_table(job), *shown]),
        Section("What to keep in mind", [remarks]),
    )
    return write_report(folder, job.entry.title, _lead(job), sections, _settings(job))


def problem_rows() -> list[dict[str, Any]]:
    """The catalogue, one dictionary an entry: the problems on a grid, then those that are solved point by point."""
    on_grids = [
        {
            "name": entry.name,
            "title": entry.title,
            "equation": entry.equation,
            "dimension": entry.build().problem.dim,
            "reference": entry.reference,
            "solver": entry.solver,
            "t": entry.time,
            "sizes": list(entry.sizes),
            "viscosity": entry.viscous,
            "order": entry.order,
            "source": entry.source,
        }
        for entry in CATALOGUE.values()
    ]
    at_points = [
        {
            "name": entry.name,
            "title": entry.title,
            "equation": entry.equation,
            "dimension": entry.dim,
            "reference": entry.reference,
            "solver": "at points",
            "t": entry.time,
            "sizes": list(entry.counts),
            "viscosity": False,
            "order": entry.expected,
            "source": entry.source,
        }
        for entry in POINTWISE.values()
    ]
    return on_grids + at_points


def print_problems(found: list[dict[str, Any]], console: "Console", long: bool = False) -> None:
    """The catalogue for a terminal, a line a problem where it is wide enough; `long` adds domain, title and source."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("problem", no_wrap=not long)
    table.add_column("d", justify="right")
    for title in (*(() if long else ("equation",)), "reference", "solver"):
        table.add_column(title, no_wrap=title != "equation")
    for row in found:
        equation, where = _split(pretty(row["equation"]))
        name, words = Text(row["name"]), (equation,)
        if long:
            name.append(f"\n{row['title']}\n{equation} {where}\n")
            name, words = name.append(row["source"], "dim"), ()
        table.add_row(name, str(row["dimension"]), *words, row["reference"], row["solver"])
    console.print(table)
    console.print(
        "Reference: exact is a closed form; computed is found to rounding by a root, a quadrature or a maximum; "
        "with none, `hjpde solve` compares with its own finest grid. At points: without a grid, by the most exact "
        "solver that the problem admits." + ("" if long else " `--long` adds domains and sources."),
        highlight=False,
        markup=False,
    )


def write_problems_report(folder: Path, found: list[dict[str, Any]]) -> Path:
    """Writes the catalogue as a page and as a table."""
    columns = (
        Column("name", "problem", number=False),
        Column("dimension", "d"),
        Column("equation", "equation", pretty, number=False),
        Column("reference", "reference", number=False),
        Column("solver", "solver", number=False),
        Column("source", "source", number=False),
    )
    caption = "Exact: a closed form. Computed: by a root, a quadrature or a maximum, to rounding."
    known = sum(row["reference"] != "none" for row in found)
    lead = f"{len(found)} worked problems, {known} of them beside a reference solution: `hjpde solve NAME` solves one."
    return write_report(
        folder,
        "Worked problems",
        lead,
        [Section("The catalogue", [TableOf("problems", caption, columns, found)])],
        {"versions": versions(), "made by": "hjpde problems"},
    )


def pretty(equation: str) -> str:
    """An equation of the catalogue with the letters of mathematics."""
    for plain, letters in _LETTERS.items():
        equation = equation.replace(plain, letters)
    equation = re.sub(r"\b([xp])([1-4])\b", lambda match: match[1] + chr(ord("₀") + int(match[2])), equation)
    return re.sub(r"\b(" + "|".join(_GREEK) + r")\b", lambda match: _GREEK[match[1]], equation)


def _split(equation: str) -> tuple[str, str]:
    """The equation itself, and on or for what it holds."""
    head, *rest = re.split(r" (?=(?:on|for) )", equation, maxsplit=1)
    return head, "".join(rest)


def _lead(job: SolveJob) -> str:
    finest = job.finest
    nodes = " × ".join(map(str, finest.grid.shape))
    if finest.l1 is None or finest.linf is None:
        middle = job.runs[-2]
        return (
            f"No exact solution is known. At t = {job.t:.3g}, {job.solver} on {nodes} nodes differs from the next "
            f"coarser grid (n = {middle.n}) by {shown_error(middle.difference_l1)} on average and by at most "
            f"{shown_error(middle.difference_linf)}; it took {finest.seconds:.3g} s."
        )
    reference = "exact solution" if job.entry.reference == "exact" else "reference, computed to rounding,"
    lead = (
        f"At t = {job.t:.3g}, {job.solver} on {nodes} nodes meets the {reference} to {shown_error(finest.l1)} on "
        f"average and {shown_error(finest.linf)} at worst, in {finest.seconds:.3g} s."
    )
    order = job.order("l1")
    if job.solver not in CLOSED_FORMS and order is not None:
        lead += f" From n = {job.runs[0].n} to {finest.n} the mean error falls with the observed order {order:.2f}."
    return lead


def _equation(job: SolveJob) -> str:
    source = f"Source: {job.entry.source}."
    return f"{pretty(job.entry.equation)}, up to t = {job.t:.3g}. {source}"


def _how_to_read(job: SolveJob) -> str:
    words = "The unknown is $u(t, x)$; [1] marks a quantity without a unit. "
    if not job.has_reference:
        return words + (
            "As no exact solution is known, the two coarser grids are compared with the finest at their own nodes. "
            "Small differences say that the grids agree, and not that the finest is right."
        )
    where = "at all nodes"
    if not job.finest.mask.all():
        where = f"at the {100 * job.finest.mask.mean():.0f} % of the nodes that the box's sides have not reached"
    return words + (
        f"Errors are taken at the final time {where}: L1 is the mean of their sizes, L∞ the largest. The order is the "
        "power of the mesh width by which an error falls from one grid to the next; it is left out where an error is "
        "already of the size of rounding, or of the tolerance of the time steps."
    )


def _caption(job: SolveJob) -> str:
    if job.has_reference:
        orders = [job.order("l1"), job.order("linf")]
        if job.solver in CLOSED_FORMS:
            return "A closed form, or an integral of one, sampled on each grid: its error does not depend on the grid."
        if None in orders:
            return f"Errors at t = {job.t:.3g}. Errors of the size of rounding show no order."
        words = "over the three grids the order is"
        return f"Errors at t = {job.t:.3g}; {words} {orders[0]:.2f} (L1), {orders[1]:.2f} (L∞)."
    order = job.self_order("difference_l1")
    told = "" if order is None else f" They tell an order of {order:.2f} (L1)."
    return f"Differences to the finest grid at t = {job.t:.3g}, not errors: no exact solution is known.{told}"


def _remarks(job: SolveJob) -> list[str]:
    remarks = [f"What to expect: {job.entry.order}."] if job.has_reference and job.solver not in CLOSED_FORMS else []
    coarse = [str(run.n) for run in job.runs if not run.resolved]
    if coarse:
        remarks.append(f"The grid with n = {' and '.join(coarse)} is too coarse for {job.solver}; its row is kept.")
    bound = job.finest.solution.stats.get("speed_bound")
    if bound is not None and bound not in ("hamiltonian", "interval"):
        remarks.append("The bound on the speeds was not proved; every step was checked against it.")
    remarks.append(
        "Run is the second solve, to the end; compile is the first, to a thousandth of the time. Memory is the rise of "
        "the process' resident memory above what it held when the second began, and can be less than what was used, as "
        "freed memory is used again; array is one array of values. Times are those of a single run."
    )
    return remarks


def _settings(job: SolveJob) -> dict[str, Any]:
    finest = job.finest
    stats = finest.solution.stats
    settings = {
        "problem": job.entry.name,
        "solver": f"{job.solver}, {stats['scheme']}" if "scheme" in stats else job.solver,
        "grids": ", ".join(" × ".join(map(str, run.grid.shape)) for run in job.runs),
        "final time": f"{job.t:g}",
    }
    if job.settings.viscosity is not None:
        settings["viscosity"] = f"{job.settings.viscosity:g}"
    if "cfl" in stats:
        settings["CFL number"] = f"{float(stats['cfl']):g}"
    if "speed_bound" in stats:
        settings["bound on the speeds"] = stats["speed_bound"]
    return settings | {
        "precision": str(finest.values.dtype),
        "device": device(),
        "versions": versions(),
        "made by": "hjpde solve",
    }


def shown_error(value: float | None) -> str:
    """An error for people, a dash where there is none."""
    return "–" if value is None else f"{value:.2e}"


def _order(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _megabytes(value: int | None) -> str:
    return "–" if value is None else f"{value / 1e6:.3g}"
