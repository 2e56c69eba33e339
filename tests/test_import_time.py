"""`import hjpde` and `hjpde --help` load no library that only some functions need, and change nothing."""

import json
import subprocess
import sys

import pytest

HEAVY = {"matplotlib", "sklearn", "pandas", "plotly", "torch", "IPython"}
COMMAND_LINE = {"rich", "typer"}

REPORT = """
import json, sys, jax
from jax._src import xla_bridge
devices = len(xla_bridge._backends)
print(json.dumps({"modules": list(sys.modules), "devices": devices, "x64": jax.config.jax_enable_x64}))
"""
IMPORT = f"import hjpde\n{REPORT}"
HELP = f"""
import contextlib, io, sys
from hjpde.cli import main
sys.argv = ["hjpde", "--help"]
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    main()
{REPORT}
"""
FAULTY = "import jax, jaxlib.version\njaxlib.version.__version__ = '0.10.2'\nimport hjpde"


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize(
    "code, unwanted", [(IMPORT, HEAVY | COMMAND_LINE), (HELP, HEAVY)], ids=["import hjpde", "hjpde --help"]
)
def test_import_loads_only_what_is_needed(code, unwanted):
    found = json.loads(run(code).stdout)
    assert unwanted & set(found["modules"]) == set()
    assert found["devices"] == 0, "the import started a device, so no jax array may be made at module level"
    assert not found["x64"], "the import changed jax's precision"


def test_import_warns_of_a_faulty_jaxlib():
    assert "RuntimeWarning: jaxlib 0.10.2" in run(FAULTY).stderr
