"""The numbers of a comparison one below the other, with what each says."""

from typing import Any

from hjpde._comparison import ComparisonReport, shown
from hjpde._report import Column, TableOf


def measures_table(report: ComparisonReport) -> TableOf:
    """One row a number, with what it says."""
    d = report.effective_viscosity.shape[0]
    viscosity = float(report.effective_viscosity.trace()) / d
    entries: list[tuple[str, Any, str]] = [
        ("order of the value", report.forward_order, "slope over the last three refinements"),
        ("order of the input gradient", report.gradient_order, "backpropagation against the co-state of the flow"),
        ("order of the weight gradient", report.parameter_order, "the same for all weights"),
        ("native gap", report.native_gap, "value of the network itself minus that of its flow"),
        ("relative gap", report.relative_gap, "distance of the final states, over the way that the flow goes"),
        ("co-state residual", report.costate_residual, "co-state recursion against backpropagation, relative"),
        ("network residual", report.network_residual, "own steps against the network as called, relative"),
        ("drift correction", report.drift_correction, f"beside a mean speed of {shown(report.mean_speed)}"),
        ("effective viscosity", viscosity, "trace of Cov/2h over d; zero without noise"),
        ("roughness", report.roughness, "L times the largest jump of a weight between layers"),
        ("least det DΦ", report.min_determinant, "below 0 a layer is no flow's map; 0: singular to rounding"),
    ]
    if report.predicted_viscosity is not None:
        predicted = float(report.predicted_viscosity.trace()) / d
        entries.insert(9, ("predicted viscosity", predicted, "the same in closed form"))
    if report.operator is not None:
        meanings = {
            "operator_gap": "fitted operator against network, mean",
            "operator_gap_95": "its 95th percentile",
            "operator_gradient_gap": "of the input gradients, relative, mean",
            "operator_gradient_gap_95": "its 95th percentile",
            "equal_decisions": "share of inputs with the same class",
        }
        entries += [(name.replace("_", " "), v, meanings[name]) for name, v in report.operator.summary().items()]
    return TableOf(
        name="measures",
        caption=f"{report.architecture}: {report.scheme}; means over {report.inputs} inputs.",
        columns=(
            Column("measure", "measure", number=False),
            Column("value", "value", shown),
            Column("meaning", "what it is", number=False),
        ),
        rows=[{"measure": name, "value": value, "meaning": meaning} for name, value, meaning in entries],
    )
