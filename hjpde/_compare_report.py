"""The table and the page of `hjpde compare`."""

from pathlib import Path
from typing import Any

import numpy as np

from hjpde._compare_job import CompareJob
from hjpde._comparison import ComparisonReport, shown
from hjpde._comparison_table import measures_table
from hjpde._machine import device, versions
from hjpde._plotting_comparison import agreement_figure
from hjpde._report import Column, Picture, Section, TableOf, write_report

_WORDS = {
    "exact": "The layers are the flow, or the solution, itself.",
    "order h": "The layers are small steps of the flow, which more of them approach.",
    "structural": "The layers have the form of a step of the flow, but too large a one to stand for it.",
}


def seeds_table(job: CompareJob) -> TableOf:
    """One row a trained network, and their mean."""
    rows = []
    for seed, (report, trained) in enumerate(zip(job.reports, job.trained, strict=True)):
        row: dict[str, Any] = {"seed": str(seed), "score": trained.score, "fitted_score": trained.fitted_score}
        for name in ("relative_gap", "native_gap", "forward_order", "costate_residual", "roughness"):
            row[name] = getattr(report, name)
        gaps = {} if report.operator is None else report.operator.summary()
        for name in ("operator_gap", "operator_gap_95", "operator_gradient_gap", "equal_decisions"):
            row[name] = gaps.get(name)
        rows.append(row)
    names = [name for name in rows[0] if name != "seed"]
    known = {name: [row[name] for row in rows] for name in names}
    mean = {name: None if None in values else float(np.mean(values)) for name, values in known.items()}
    rows.append({"seed": "mean", **mean})
    return TableOf(
        name="seeds",
        caption=f"On held-out data; the score is {'the accuracy' if job.metric == 'accuracy' else 'R²'}.",
        columns=(
            Column("seed", "seed", number=False),
            Column("score", "score", shown),
            Column("fitted_score", "fit's", shown),
            Column("relative_gap", "rel. gap", shown),
            Column("native_gap", "gap", shown),
            Column("forward_order", "order", shown),
            Column("costate_residual", "co-state", shown),
            Column("roughness", "rough", shown),
            Column("operator_gap", "operator gap", shown),
            Column("operator_gap_95", "95 %", shown),
            Column("operator_gradient_gap", "gradient gap", shown),
            Column("equal_decisions", "equal", shown),
        ),
        rows=rows,
    )


def write_compare_report(folder: Path, job: CompareJob) -> Path:
    """Writes the page, the figures and the tables into an existing folder; returns the page's path."""
    report = job.reports[0]
    sections = [_equation(report), _refinement(report), Section("All numbers", [measures_table(report)])]
    if job.trained:
        sections.insert(1, Section("Trained networks", [seeds_table(job), _reading_of_the_seeds(job)]))
    if report.operator is not None:
        sections.append(_operator(report))
    entropies = job.trained[0].head_entropies if job.trained else None
    if entropies is not None:
        sections.append(_heads(entropies))
    settings = {
        "architecture": f"{job.settings.architecture} ({report.parameters:,} numbers, {report.depth} layers)",
        "options": ", ".join(job.settings.options) or "none",
        "weights": "random" if job.settings.trained_on is None else f"trained on {job.settings.trained_on}",
        "seconds": f"{job.seconds:.1f}",
        "device": device(),
        "versions": versions(),
        "made by": "hjpde compare",
    }
    return write_report(folder, f"{job.settings.architecture} as a discretisation", _lead(report), sections, settings)


def _lead(report: ComparisonReport) -> str:
    return f"{report.verdict[0].upper()}{report.verdict[1:]} {_WORDS[report.kind]}"


def _equation(report: ComparisonReport) -> Section:
    if report.architecture == "LogSumExp":
        words = (
            "The layer $f(x) = ε log Σ exp((W_j·x + b_j)/ε)$ is $|x|²/4t − u(t, x)$, where $u$ solves "
            "$u_t + |∇u|² = ε Δu$ from the point masses $y_j = 2tW_j$. Backpropagation gives $∇f = x/2t − p$ with the "
            "co-state $p = ∇u$. The time is a gauge: nothing may depend on it."
        )
        return Section("The problem behind it", [words])
    viscosity = np.trace(report.effective_viscosity) / report.effective_viscosity.shape[0]
    noise = "Without noise in the layers there is no viscosity; " if viscosity == 0 else "Noise adds viscosity; "
    words = (
        "Through depth the network moves its state as $ż = F(s, z)$. What the rest of it returns, $V(s, z)$, solves "
        "$V_s + F·∇V = 0$ with the readout at the end, a Hamilton-Jacobi equation whose Hamiltonian $F·p$ is linear in "
        "the co-state $p = ∇V$; backpropagation is the equation of the co-state along the path. Turned around, "
        "$u_t − F(T − t, z)·∇u = 0$ is an initial-value problem whose initial datum is the readout. "
        f"{noise}what steps of finite size add to the velocity is a drift, of mean size "
        f"{shown(report.drift_correction)} beside a mean speed of {shown(report.mean_speed)}."
    )
    return Section("The problem behind it", [words])


def _refinement(report: ComparisonReport) -> Section:
    of_layer = report.architecture == "LogSumExp"
    caption = (
        "All differences are rounding, whatever the gauge time."
        if of_layer
        else "One step a layer is the network itself. A line that falls with the dotted slope says that the network is "
        "a discretisation of that order; how far it starts above the lowest says what this is worth at its own depth."
    )
    figure = report.plot()
    picture = Picture("refinement", figure, "Differences to the flow over the steps in a layer.", caption)
    return Section("Refinement", [report.table(), picture])


def _reading_of_the_seeds(job: CompareJob) -> str:
    kinds = [report.kind for report in job.reports]
    gaps = [100 * report.relative_gap for report in job.reports]
    spread = f"{min(gaps):.3g} to {max(gaps):.3g} %" if max(gaps) > 1e-6 else "nothing but rounding"
    orders = [report.forward_order for report in job.reports if np.isfinite(report.forward_order)]
    refined = f"refined, they approach it at order {np.mean(orders):.2f}" if orders else "refinement changes nothing"
    return (
        f"After training the networks end {spread} of the way off their own flow ({', '.join(sorted(set(kinds)))}); "
        f"{refined}. The operator gap compares them with initial data fitted to the same examples: half the sum of the "
        "differences of the class probabilities, or the difference of the values in units of the target's spread."
    )


def _operator(report: ComparisonReport) -> Section:
    assert report.operator is not None
    gaps = report.operator
    picture = Picture(
        "agreement",
        agreement_figure(gaps.gap, gaps.gradient_gap, gaps.equal),
        "Gap of the gradients over the gap of the values, one point an input.",
        "Each point is a held-out input of the first seed. Small gaps of values with large gaps of gradients mean "
        "equal answers for other reasons.",
    )
    return Section("The fitted solution operator against the network", [picture])


def _heads(entropies: np.ndarray) -> Section:
    rows = [
        {"block": str(k + 1), **{f"head {i + 1}": float(value) for i, value in enumerate(row)}}
        for k, row in enumerate(entropies)
    ]
    columns = (Column("block", "block", number=False),)
    columns += tuple(Column(name, name, shown) for name in rows[0] if name != "block")
    return Section(
        "Heads as Gibbs measures",
        [
            TableOf(
                name="heads",
                caption="Mean entropy of the attention weights in nats; the logarithm of the number of tokens is even "
                "attention, 0 attention to a single token.",
                columns=columns,
                rows=rows,
            )
        ],
    )
