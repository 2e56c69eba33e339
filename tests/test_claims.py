"""The claims of the sources: that verdicts follow from numbers, and that the numbers lead to those on record."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import pytest

from hjpde._plotting import new_figure
from hjpde.problems.claims import CLAIMS, Check, Claim, Evidence, Setting, find_claims

DOUBLE = jnp.result_type(float) == jnp.float64

# By what they take with compilation.
SLOW = {
    "theory.curvature-on-images",
    "theory.deep-tropical-limit",
    "theory.double-descent",
    "theory.duality",
    "theory.generalisation-rate",
    "theory.intrinsic-dimension",
    "theory.trained-curvature-is-tight",
    "theory.tropical-limit",
    "theory.width-scaling",
    "landscape.deep-shaped-networks-are-symmetric",
    "landscape.entropy-at-an-energy",
    "landscape.entropy-sampled",
    "landscape.infinite-width",
    "landscape.linear-layers-sampled",
    "landscape.shallow-networks-are-symmetric",
    "landscape.sin-is-broader-than-tanh",
    "landscape.sin-breaks-fully",
    "training.energy-continuity",
    "training.bulk-knows-no-data",
    "training.general-networks-are-not-local",
}


def drawn(ax):
    ax.plot([0, 1])
    return ax


def evidence(stated, amended=None):
    checks = tuple(
        () if wanted is None else (Check("x", 0.0 if wanted else 1.0, 0.0, 0.1),) for wanted in (stated, amended)
    )
    return Evidence(checks[0], drawn, "caption", checks[1])


def claim(measure=lambda setting: evidence(True), **fields: Any):
    fields = {"recorded": "holds"} | fields
    return Claim("theory.x", "source", "statement", "computed", measure, **fields)


@pytest.mark.parametrize(
    ("relation", "measured", "passes"),
    [
        ("equals", 1.09, True),
        ("equals", 0.89, False),
        ("equals", 1.11, False),
        ("at most", -5.0, True),
        ("at most", 1.2, False),
        ("at least", 7.0, True),
        ("at least", 0.8, False),
    ],
)
def test_a_check_passes_within_its_tolerance(relation, measured, passes):
    assert Check("x", measured, 1.0, 0.1, relation).passes is passes


@pytest.mark.parametrize("numbers", [(float("nan"), 0.0, 0.1), (0.0, float("inf"), 0.1), (0.0, 0.0, float("nan"))])
def test_a_check_refuses_what_is_no_number(numbers):
    with pytest.raises(ValueError, match="must be finite"):
        Check("x", *numbers)


def test_the_numbers_decide():
    conditional = claim(recorded="conditional", condition="c")
    fails = claim(recorded="fails", instead="i")
    assert claim().verdict(evidence(True)) == "holds"
    assert claim().verdict(evidence(False)) == "fails"
    assert conditional.verdict(evidence(False, True)) == "conditional"
    assert conditional.verdict(evidence(False, False)) == "fails"
    assert conditional.verdict(evidence(False)) == "fails"
    assert conditional.verdict(evidence(True, True)) == "holds"
    assert fails.verdict(evidence(False, True)) == "fails"


def test_records_that_cannot_be():
    for fields in ({"recorded": "conditional"}, {"recorded": "fails"}, {"condition": "c"}, {"instead": "i"}):
        with pytest.raises(ValueError, match="A claim that is conditional has a `condition`"):
            claim(**fields)
    with pytest.raises(ValueError, match="`stated` must hold at least one check"):
        evidence(None)


def test_names_and_parts():
    assert {record.part for record in CLAIMS.values()} <= {"theory", "training", "landscape"}
    assert all(name == record.name and "." in name for name, record in CLAIMS.items())
    assert find_claims(["theory.tau-function"]) == [CLAIMS["theory.tau-function"]]
    assert find_claims(["theory"]) == [record for record in CLAIMS.values() if record.part == "theory"]
    assert find_claims([]) == list(CLAIMS.values())
    with pytest.raises(ValueError, match=r"no claim 'theory.tau'; did you mean .*theory.tau-function"):
        find_claims(["theory.tau"])


def test_records_are_whole():
    for record in CLAIMS.values():
        assert all(field.strip() == field and field for field in (record.source, record.statement, record.computed))
        assert record.statement.count("$") % 2 == 0


@pytest.mark.skipif(not DOUBLE, reason="claims are measured in float64")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in CLAIMS]
)
def test_the_verdict_is_the_recorded_one(name):
    record = CLAIMS[name]
    found = record.measure(Setting())
    assert record.verdict(found) == record.recorded, [dataclasses.asdict(c) for c in (*found.stated, *found.amended)]
    # One that fails says what would be right instead, and shows it.
    assert record.recorded == "holds" or all(check.passes for check in found.amended)
    _, ax = new_figure(4.0, 3.0)
    assert found.draw(ax) is ax
    assert ax.has_data()
    assert ax.get_xlabel()


@pytest.mark.usefixtures("own_folder")
def test_json_of_two_claims_and_nothing_else(run):
    code, out, _ = run("claims", "theory.propagators-compose", "theory.networks-have-viscosity", "--json")
    assert code == 0
    first, second = json.loads(out)
    fields = {"id", "source", "statement", "expected", "measured", "tolerance", "verdict", "checks", "amended"}
    assert fields <= set(first)
    assert (first["verdict"], second["verdict"]) == ("holds", "fails")
    assert second["measured"] == pytest.approx(1, abs=0.05)
    assert not list(Path().iterdir())


@pytest.mark.usefixtures("own_folder")
def test_the_page_has_a_figure_a_claim(run):
    code, out, _ = run("claims", "theory.networks-have-viscosity", "--out", "a")
    assert code == 0
    assert "Of 1 claims, 0 hold as stated, 0 with a condition that is named, and 1 do not hold as stated." in out
    assert {path.name for path in Path("a").iterdir()} == {
        "report.html",
        "claims.csv",
        "theory-networks-have-viscosity.png",
    }
    page = Path("a/report.html").read_text()
    assert "does not hold as stated" in page
    assert "What would be right: A deterministic network has no viscosity" in page


@pytest.mark.usefixtures("own_folder")
def test_an_unknown_claim_is_a_mistake(run):
    code, out, err = run("claims", "teory", "--json")
    assert (code, out) == (2, "")
    assert "there is no claim 'teory'; did you mean theory" in err
