"""What `hjpde.compare` returns: the numbers, a table, a figure and a sentence."""

import dataclasses
import math
from typing import TYPE_CHECKING, Any, Literal, final

import numpy as np

from hjpde._plotting_comparison import refinement_figure
from hjpde._report import Column, TableOf

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Kind = Literal["exact", "order h", "structural"]

STRUCTURAL_GAP = 0.1
"""A network further from its flow than this part of the flow's own displacement is no approximation of it."""


@final
@dataclasses.dataclass(frozen=True)
class OperatorGap:
    """How far a fitted solution operator is from a network, point by point, shape `(M,)` each.

    - `gap`: of a regression $|u - v|$; of a classification the total variation $\\frac12 \\sum_c |p_c - q_c|$ of the
      class probabilities.
    - `gradient_gap`: the Euclidean norm of the difference of the derivatives with respect to the input (of all class
      probabilities), over the mean norm of the network's.
    - `equal`: whether both decide for the same class; all `None` for a regression.
    """

    gap: np.ndarray
    gradient_gap: np.ndarray
    equal: np.ndarray | None

    def summary(self) -> dict[str, float]:
        """Means, 95th percentiles and the share of equal decisions."""
        found = {
            "operator_gap": float(np.mean(self.gap)),
            "operator_gap_95": float(np.quantile(self.gap, 0.95)),
            "operator_gradient_gap": float(np.mean(self.gradient_gap)),
            "operator_gradient_gap_95": float(np.quantile(self.gradient_gap, 0.95)),
        }
        return found if self.equal is None else {**found, "equal_decisions": float(np.mean(self.equal))}


@final
@dataclasses.dataclass(frozen=True)
class ComparisonReport:
    r"""A network beside the Hamilton-Jacobi problem that it discretises, means over the inputs throughout.

    With `n` own steps in place of each layer's one, shape `(len(n),)` each:

    - `forward_error`: $|V_n - V|$, the readout's difference to that of the flow;
    - `gradient_error`: $|\nabla_x V_n - \nabla_x V|$, Euclidean; `parameter_error`: of the mean value's derivative in
      all weights;
    - `flops`: floating-point operations of the value and its gradient;

    and `forward_order`, `gradient_order`, `parameter_order`: the slopes over the last three, infinite where all errors
    are rounding, NaN where too few of them are not.

    - `network_residual`: the own steps against the network itself, relative; `costate_residual`: $p_0$ of the
      co-state recursion, for the input and the weights, against backpropagation through the network, relative.
    - `native_gap`: `forward_error` of the network itself; `relative_gap`: the distance of its final state from the
      flow's over the distance that the flow has moved it.
    - `effective_viscosity`: $\mathrm{Cov}(\Phi_h)/2h$ of the first layer at the first input, shape `(d, d)`, zero
      without noise; `predicted_viscosity`: the same in closed form, or `None` without noise.
    - `drift_correction`: the mean norm of $(\Phi_h - \varphi_h)/h$ along the network, and `mean_speed` that of `F`.
    - `roughness`: $L \max_k |\theta_{k+1} - \theta_k|$ over all weights, 0 where layers share them.
    - `min_determinant`: the least $\det D\Phi_k$ met; below zero no flow has the layer for its map. 0 where a layer is
      singular to rounding, or the product underflows, and `None` where the state has too many numbers.
    - `rounding`: below which an error counts as rounding.
    - `operator`: against a fitted solution operator, if one was given.
    """

    architecture: str
    scheme: str
    expected_order: float
    depth: int
    state_size: int
    parameters: int
    inputs: int
    n: tuple[int, ...]
    forward_error: np.ndarray
    gradient_error: np.ndarray
    parameter_error: np.ndarray
    flops: np.ndarray
    forward_order: float
    gradient_order: float
    parameter_order: float
    network_residual: float
    costate_residual: float
    native_gap: float
    relative_gap: float
    effective_viscosity: np.ndarray
    predicted_viscosity: np.ndarray | None
    drift_correction: float
    mean_speed: float
    roughness: float
    min_determinant: float | None
    rounding: float
    layer_time: float
    operator: OperatorGap | None = None

    @property
    def kind(self) -> Kind:
        """Exact, of order `h`, or structural only: the numbers decide, not the name of the architecture."""
        if math.isinf(self.forward_order) and self.native_gap <= self.rounding:
            return "exact"
        return "structural" if self.relative_gap > STRUCTURAL_GAP or self.reverses else "order h"

    @property
    def reverses(self) -> bool:
        """Whether a layer reverses the orientation of the states, as no flow does."""
        return self.min_determinant is not None and self.min_determinant < 0

    @property
    def verdict(self) -> str:
        """One sentence."""
        percent = 100 * self.relative_gap
        gap = f"{percent:.0f} % of the way" if percent >= 10 else f"{percent:.2g} % of the way"
        if self.kind == "exact":
            if self.architecture == "LogSumExp":
                return (
                    "exact: the layer is |x|²/4t minus the solution of a viscous Hamilton-Jacobi equation, for every "
                    f"time t, to {max(self.forward_error):.1e}."
                )
            return f"exact: {self.scheme}, the flow itself, to {max(self.forward_error):.1e} however a layer is split."
        observed = "" if math.isnan(self.forward_order) else f", observed order {self.forward_order:.2f}"
        if self.kind == "order h":
            return (
                f"order h: {self.scheme}, steps of h = {self.layer_time:.3g}{observed}; the network ends {gap} off its "
                "flow."
            )
        reason = f"the network ends {gap} off its flow, which is no approximation"
        if self.reverses:
            turned = "a layer reverses the orientation of the states, which no flow does"
            reason = f"{reason}, and {turned}" if self.relative_gap > STRUCTURAL_GAP else turned
        return f"structural only: formally {self.scheme}{observed}, but {reason}."

    @property
    def operator_gap(self) -> float | None:
        """The mean gap to the fitted operator."""
        return None if self.operator is None else float(np.mean(self.operator.gap))

    @property
    def operator_gradient_gap(self) -> float | None:
        """The mean gap of the gradients to those of the fitted operator."""
        return None if self.operator is None else float(np.mean(self.operator.gradient_gap))

    def summary(self) -> dict[str, Any]:
        """All numbers as `hjpde compare --json` prints them; a large viscosity tensor as its trace over `d`."""
        found = dataclasses.asdict(self)
        del found["operator"]
        found = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in found.items()}
        d = self.effective_viscosity.shape[0]
        for name in ("effective_viscosity", "predicted_viscosity"):
            tensor = getattr(self, name)
            if tensor is not None:
                found[f"{name}_mean"] = float(np.trace(tensor)) / d
                found[name] = tensor.tolist() if d <= 16 else None
        found |= {"kind": self.kind, "verdict": self.verdict}
        return found if self.operator is None else {**found, **self.operator.summary()}

    def table(self) -> TableOf:
        """One row a refinement."""
        columns = ("n", "forward_error", "gradient_error", "parameter_error", "flops")
        rows = zip(*(getattr(self, name) for name in columns), strict=True)
        of_layer = self.architecture == "LogSumExp"
        return TableOf(
            name="refinement",
            caption=(
                f"Differences to the equation at t = 1/n; {self.verdict}"
                if of_layer
                else f"Differences to the flow, with n steps of the network's own a layer; {self.verdict}"
            ),
            columns=(
                Column("n", "n"),
                Column("forward_error", "value", shown),
                Column("gradient_error", "input gradient", shown),
                Column("parameter_error", "weight gradient", shown),
                Column("flops", "operations", lambda v: f"{v:.2e}"),
            ),
            rows=[dict(zip(columns, (int(row[0]), *map(float, row[1:])), strict=True)) for row in rows],
        )

    def plot(self) -> "Figure":
        """Errors over the steps in a layer, with the slopes of their orders: a matplotlib figure."""
        curves = (
            ("value", self.forward_error, self.forward_order),
            ("input gradient", self.gradient_error, self.gradient_order),
            ("weight gradient", self.parameter_error, self.parameter_order),
        )
        of_layer = self.architecture == "LogSumExp"
        return refinement_figure(self.n, curves, self.expected_order, self.rounding, of_layer)


def shown(value: Any) -> str:
    """A number in few digits; nothing for none."""
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    if value != value:
        return "not seen"
    if value in (float("inf"), float("-inf")):
        return "∞"
    return f"{value:.2e}" if value != 0 and (abs(value) < 1e-2 or abs(value) >= 1e4) else f"{value:.3g}"
