"""The README's example runs, and its commands are those that CI runs."""

import contextlib
import io
import re
from pathlib import Path

import numpy as np

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")


def test_the_examples_run_and_the_first_prints_two_equal_numbers():
    code, *others = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {})
    left, right = map(float, printed.getvalue().split())
    # The example runs in float64 here and in float32 where x64 is off.
    np.testing.assert_allclose(left, right, rtol=1e-5)
    told = (
        "WENO5, godunov",
        "True",
        "The observations are met",
        "order h: explicit Euler, steps of h = 0.125",
        "[ True  True  True]",
        "of the energy is unaccounted for",
        "energy -0.4250, entropy",
    )
    for example, expected in zip(others, told, strict=True):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(example, "README.md", "exec"), {})
        assert expected in printed.getvalue()


def test_the_two_commands():
    commands = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    assert [command.strip() for command in commands] == [
        "pip install . && hjpde demo",
        "pip install -e '.[test]' && pytest",
    ]


def test_linked_files_exist():
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    missing = [link for link in links if not (Path(__file__).resolve().parent.parent / link).exists()]
    assert links
    assert missing == []
