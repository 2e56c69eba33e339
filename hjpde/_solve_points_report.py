"""The table and the page of `hjpde solve` in many dimensions."""

from pathlib import Path

import numpy as np

from hjpde._machine import device, versions
from hjpde._plotting_solution import errors_figure, profiles_figure
from hjpde._report import Column, Picture, Section, TableOf, write_report
from hjpde._solve_points_job import PointsJob, along_a_line, point_rows
from hjpde._solve_report import pretty, shown_error


def points_table(job: PointsJob) -> TableOf:
    """One row a number of points."""
    return TableOf(
        name="convergence",
        caption=f"Errors at t = {job.t:.3g} at random points. Each point is solved on its own, so that the error does "
        "not depend on their number, and the time is proportional to it.",
        columns=(
            Column("n", "points"),
            Column("l1", "L1 error", shown_error),
            Column("linf", "L∞ error", shown_error),
            Column("seconds", "run [s]", lambda v: f"{v:.3g}"),
            Column("seconds_per_point", "a point [ms]", lambda v: f"{1e3 * v:.3g}"),
            Column("largest_gap", "largest gap", shown_error),
        ),
        rows=point_rows(job),
    )


def write_points_report(folder: Path, job: PointsJob) -> Path:
    """Writes the page, the figures and the table into an existing folder; returns the page's path."""
    sections = (
        Section("The problem", [_equation(job), _how_to_read(job)]),
        Section("The result", [points_table(job), _line(job), _histogram(job)]),
        Section("What to keep in mind", [_remarks(job)]),
    )
    settings = {
        "problem": job.entry.name,
        "solver": job.solver,
        "points": f"{job.most.n} in the cube [-{job.entry.reach:g}, {job.entry.reach:g}]^{job.entry.dim}",
        "final time": f"{job.t:g}",
        "precision": str(job.most.values.dtype),
        "device": device(),
        "versions": versions(),
        "made by": "hjpde solve",
    }
    return write_report(folder, job.entry.title, _lead(job), sections, settings)


def _lead(job: PointsJob) -> str:
    most = job.most
    reference = "exact solution" if job.entry.reference == "exact" else "reference, computed to rounding,"
    return (
        f"At t = {job.t:.3g} the values by {job.solver} meet the {reference} at {most.n} random points of "
        f"{job.entry.dim} dimensions to {shown_error(most.l1)} on average and {shown_error(most.linf)} at worst, in "
        f"{1e3 * most.seconds / most.n:.3g} ms a point."
    )


def _equation(job: PointsJob) -> str:
    return f"{pretty(job.entry.equation)}, up to t = {job.t:.3g}. Source: {job.entry.source}."


def _how_to_read(job: PointsJob) -> str:
    words = (
        "The unknown is $u(t, x)$; [1] marks a quantity without a unit. In so many dimensions there is no grid: the "
        f"solution is evaluated at random points whose coordinates are at most {job.entry.reach:g} in size, "
        "drawn towards the origin. L1 is the mean of the errors' sizes, L∞ the largest."
    )
    if not np.any(job.most.gaps):
        return words + " The gap is 0: the solver has a closed form, exact but for rounding."
    return words + (
        " The gap is what the solver itself says of each value: the distance of an upper and a lower bound of a convex "
        "problem, or an estimate of the error."
    )


def _line(job: PointsJob) -> Picture:
    places, ts, us, exacts = along_a_line(job)
    figure = profiles_figure(places, ts, us, exacts, "place on a line through the origin [1]")
    caption = (
        f"The solution on a line in a random direction through the origin of {job.entry.dim} dimensions, early times "
        "dark; the dashed lines are the exact values. Below, the difference of the two at the last time."
    )
    return Picture("solution", figure, f"Profiles of u along a line at {len(ts)} times.", caption)


def _histogram(job: PointsJob) -> Picture:
    exact = job.most.exact
    roundoff = float(np.finfo(exact.dtype).eps) * max(1.0, float(np.max(np.abs(exact))))
    figure = errors_figure(job.most.errors, job.most.gaps, roundoff)
    caption = (
        f"How the errors at {job.most.n} points are distributed; those below an eighth of a unit of rounding are "
        "counted there. The unit is that of the largest value."
    )
    if np.any(job.most.gaps > 0):
        caption += " The outline shows the gaps at the same points."
    return Picture("errors", figure, "A histogram of the errors' sizes.", caption)


def _remarks(job: PointsJob) -> list[str]:
    remarks = [f"What to expect: {job.entry.expected}."]
    open_gaps = int(np.sum(~job.most.closed))
    if open_gaps:
        remarks.append(
            f"At {open_gaps} of {job.most.n} points the gap stayed open: there the values are not certified."
        )
    return [
        *remarks,
        f"Before the first point the solver took {job.compile_seconds:.3g} s, nearly all of it compilation. The times "
        "in the table are those of a single run.",
    ]
