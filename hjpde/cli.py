"""The command line: one program, whose commands stand in `hjpde/commands`."""

import sys
from collections.abc import Sequence
from typing import Annotated

import equinox as eqx
import typer

import hjpde
from hjpde.commands._claims import claims
from hjpde.commands._compare import compare
from hjpde.commands._demo import demo
from hjpde.commands._explore import explore
from hjpde.commands._fit import fit
from hjpde.commands._problems import problems
from hjpde.commands._solve import solve

app = typer.Typer(
    name="hjpde",
    help="Hamilton-Jacobi equations whose initial data are neural networks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # drawn boxes cost the help a third of a second
    context_settings={"help_option_names": ["-h", "--help"]},
)

_INTERRUPTED = "interrupted; nothing was written."


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code: 0, 1 for a solve that failed, 2 for a mistake of the user's.

    **Arguments:**

    - `arguments`: without the program's name; `None` takes those of the process.
    """
    try:
        code = app(args=None if arguments is None else list(arguments), prog_name="hjpde", standalone_mode=False)
        # The exit code of an interruption, which typer does not raise.
        return _fail(_INTERRUPTED, 130) if code == 130 else code or 0
    except typer.TyperException as error:
        return _fail(error.format_message(), 2)
    except (hjpde.SolveError, FloatingPointError, eqx.EquinoxRuntimeError) as error:
        return _fail(str(error), 1)
    except ValueError as error:
        return _fail(str(error), 2)
    except OSError as error:
        words = f"{error.filename}: {error.strerror}." if error.filename and error.strerror else str(error)
        return _fail(words, 2)
    except (KeyboardInterrupt, typer.Abort):
        return _fail(_INTERRUPTED, 130)


def _fail(words: str, code: int) -> int:
    print("hjpde:", " ".join(words.split()), file=sys.stderr)
    return code


def _show_version(wanted: bool) -> bool:
    if wanted:
        print(f"hjpde {hjpde.__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    del version


for _command in (claims, compare, demo, explore, fit, problems, solve):
    app.command()(_command)


if __name__ == "__main__":
    sys.exit(main())
