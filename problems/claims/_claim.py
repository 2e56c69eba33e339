"""A claim of a source, what was measured for it, and the verdict that follows from the numbers."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, final

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Verdict = Literal["holds", "conditional", "fails"]
Relation = Literal["equals", "at most", "at least"]


@final
@dataclasses.dataclass(frozen=True)
class Setting:
    """How a claim is measured.

    - `full`: the sources' own sizes (data, seeds, widths), which takes all claims some minutes; else a small case.
    - `mnist`: the folder with MNIST's four IDX files; `None`: the digits of scikit-learn stand in.
    - `cifar10`: the folder with the python batches of CIFAR-10; `None`: patches of photographs stand in.
    """

    full: bool = False
    mnist: Path | None = None
    cifar10: Path | None = None


@final
@dataclasses.dataclass(frozen=True)
class Check:
    """One number against what it should be.

    - `what`: the quantity, in words.
    - `measured`: what came out.
    - `expected`: the value, or the bound.
    - `tolerance`: by how much it may differ from the value, or pass the bound, in the unit of the quantity; one value
      of it can be told from the expected one by the size of the error that the measurement itself has.
    - `relation`: whether `expected` is a value, an upper or a lower bound.
    """

    what: str
    measured: float | int
    expected: float | int
    tolerance: float | int
    relation: Relation = "equals"

    def __post_init__(self):
        numbers = {"measured": self.measured, "expected": self.expected, "tolerance": self.tolerance}
        for name, number in numbers.items():
            if not math.isfinite(number):
                raise ValueError(f"`{name}` of {self.what!r} must be finite, got {number}.")

    @property
    def passes(self) -> bool:
        excess = float(self.measured - self.expected)
        return {"equals": abs(excess), "at most": excess, "at least": -excess}[self.relation] <= float(self.tolerance)


@final
@dataclasses.dataclass(frozen=True)
class Evidence:
    """What the measurement of a claim found.

    - `stated`: the checks of the claim as its source states it.
    - `amended`: those of the claim under its condition, or of what would be right instead.
    - `draw`: draws what was measured on axes, and returns them.
    - `caption`: what the figure shows and what to conclude, one or two sentences.
    - `notes`: what else is to be known about the measurement: data that stand in, errors of a reference.
    """

    stated: tuple[Check, ...]
    draw: "Callable[[Axes], Axes]"
    caption: str
    amended: tuple[Check, ...] = ()
    notes: str = ""

    def __post_init__(self):
        if not self.stated:
            raise ValueError("`stated` must hold at least one check, got none.")


@final
@dataclasses.dataclass(frozen=True)
class Claim:
    """A quantitative statement of a source as runnable code.

    - `name`: `part.words-with-hyphens`, on the command line and in reports.
    - `source`: document and section or theorem.
    - `statement`: the claim in words, with its formula between `$`.
    - `computed`: what is computed to test it, and against what.
    - `measure`: does so.
    - `condition`: what has to be added for the claim to hold; empty if nothing.
    - `instead`: what would be right where the claim does not hold; empty if it holds.
    - `recorded`: the verdict that the numbers are known to lead to; a run that finds another says so.
    """

    name: str
    source: str
    statement: str
    computed: str
    measure: Callable[[Setting], Evidence]
    recorded: Verdict
    condition: str = ""
    instead: str = ""

    def __post_init__(self):
        if (self.recorded == "conditional") != bool(self.condition) or (self.recorded == "fails") != bool(self.instead):
            raise ValueError(
                f"A claim that is conditional has a `condition`, and one that fails an `instead`; {self.name!r} is "
                f"{self.recorded!r} with condition {self.condition!r} and instead {self.instead!r}."
            )

    @property
    def part(self) -> str:
        """The part of the package that it belongs to: theory, training or landscape."""
        return self.name.partition(".")[0]

    def verdict(self, evidence: Evidence) -> Verdict:
        """What follows from the numbers: they decide, not the record.

        It holds if all checks as stated pass. Otherwise it is conditional if it has a condition and all checks under
        that pass, of which there must be one; else it fails.
        """
        if all(check.passes for check in evidence.stated):
            return "holds"
        amended = bool(evidence.amended) and all(check.passes for check in evidence.amended)
        return "conditional" if self.condition and amended else "fails"
