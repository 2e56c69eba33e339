"""What all commands share: options, and how they print."""

import json
import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import typer

from hjpde._report import TableOf
from hjpde._report import print_table as print_report_table

Precision = Annotated[Literal["float32", "float64"], typer.Option(help="Of all arrays.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


def teller() -> Callable[[str], None]:
    """Prints news on standard error."""
    from rich.console import Console

    console = Console(stderr=True)
    return lambda words: console.print(words, style="dim", highlight=False, markup=False, soft_wrap=True)


def print_json(document: Any) -> None:
    print(json.dumps(_finite(document), indent=2, allow_nan=False))


def _finite(value: Any) -> Any:
    """JSON knows no NaN and no infinity: they become null."""
    if isinstance(value, dict):
        return {name: _finite(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def print_table(table: TableOf, without: Sequence[str] = ()) -> None:
    from rich.console import Console

    print_report_table(table, Console(), without)
