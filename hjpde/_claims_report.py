"""The table and the page of `hjpde claims`."""

from pathlib import Path

from hjpde._claims_job import ClaimsJob, Finding
from hjpde._comparison import shown
from hjpde._machine import device, versions
from hjpde._plotting import new_figure
from hjpde._report import Column, Picture, Section, TableOf, write_report
from hjpde.problems.claims import Check, Verdict

_WORDS: dict[Verdict, str] = {
    "holds": "holds",
    "conditional": "holds with a condition",
    "fails": "does not hold as stated",
}
_RELATIONS = {"equals": "", "at most": "≤ ", "at least": "≥ "}
_PARTS = {
    "theory": "The Hamilton-Jacobi theory of deep learning",
    "training": "Training as mechanics",
    "landscape": "The landscape of a random network",
}


def claims_table(job: ClaimsJob) -> TableOf:
    """One row a claim, with the check that its verdict turns on."""
    rows = [
        {
            "id": finding.claim.name,
            "quantity": finding.decisive.what,
            "expected": _RELATIONS[finding.decisive.relation] + shown(finding.decisive.expected),
            "measured": finding.decisive.measured,
            "tolerance": finding.decisive.tolerance,
            "verdict": finding.verdict,
            "seconds": round(finding.seconds, 2),
        }
        for finding in job.findings
    ]
    return TableOf(
        name="claims",
        caption="Each claim with the number that its verdict turns on, in seconds on this machine.",
        columns=(
            Column("id", "claim", number=False),
            Column("verdict", "verdict", number=False),
            Column("measured", "measured", shown),
            Column("expected", "expected"),
            Column("tolerance", "within", shown),
            Column("quantity", "quantity", number=False),
            Column("seconds", "s"),
        ),
        rows=rows,
    )


def claims_lead(job: ClaimsJob) -> str:
    """How many claims hold, hold with a condition, and do not hold as stated."""
    count = {verdict: sum(finding.verdict == verdict for finding in job.findings) for verdict in _WORDS}
    return (
        f"Of {len(job.findings)} claims, {count['holds']} hold as stated, {count['conditional']} with a condition that "
        f"is named, and {count['fails']} do not hold as stated."
    )


def write_claims_report(folder: Path, job: ClaimsJob) -> Path:
    """Writes the page, one figure a claim and the table into an existing folder; returns the page's path."""
    sections = [Section("All claims", [claims_table(job)])]
    sections += [_claim(finding) for finding in job.findings]
    settings = {
        "sizes": "the sources' own" if job.setting.full else "small",
        "MNIST": job.setting.mnist or "not given: the digits of scikit-learn stand in",
        "CIFAR-10": job.setting.cifar10 or "not given: patches of photographs stand in",
        "seconds": f"{sum(finding.seconds for finding in job.findings):.0f}",
        "device": device(),
        "versions": versions(),
        "made by": "hjpde claims",
    }
    titles = [_PARTS[part] for part in dict.fromkeys(finding.claim.part for finding in job.findings)]
    return write_report(folder, f"Claims: {', '.join(titles)}", claims_lead(job), sections, settings)


def _claim(finding: Finding) -> Section:
    claim, evidence = finding.claim, finding.evidence
    figure, ax = new_figure(6.4, 3.6)
    evidence.draw(ax)
    alternative = f"What was measured for {claim.name}."
    content: list[str | list[str] | TableOf | Picture] = [
        f"{claim.statement} ({claim.source})",
        f"Verdict: {_WORDS[finding.verdict]}. {claim.computed}",
        [_line(check, "as stated") for check in evidence.stated]
        + [_line(check, "amended") for check in evidence.amended],
        Picture(claim.name.replace(".", "-"), figure, alternative, evidence.caption),
    ]
    remarks = {"Condition: ": claim.condition, "What would be right: ": claim.instead, "": evidence.notes}
    content[2:2] = [f"{head}{words}" for head, words in remarks.items() if words]
    return Section(claim.name.partition(".")[2].replace("-", " ").capitalize(), content)


def _line(check: Check, kind: str) -> str:
    outcome = "passes" if check.passes else "does not pass"
    return (
        f"{check.what}: {shown(check.measured)}, expected {_RELATIONS[check.relation]}{shown(check.expected)} within "
        f"{shown(check.tolerance)} ({kind}): {outcome}."
    )
