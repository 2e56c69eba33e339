"""The job of `hjpde claims`: measures claims one after the other, and lets the numbers decide."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any, final

from hjpde._progress import progress as progress_bar
from hjpde.problems.claims import Check, Claim, Evidence, Setting, Verdict, find_claims


@final
@dataclasses.dataclass(frozen=True)
class Finding:
    """A claim, what was measured for it, the verdict, and the seconds that it took."""

    claim: Claim
    evidence: Evidence
    seconds: float

    @property
    def verdict(self) -> Verdict:
        return self.claim.verdict(self.evidence)

    @property
    def decisive(self) -> Check:
        """The check that the verdict turns on: the first that fails as stated, or the first of all."""
        failing = [check for check in self.evidence.stated if not check.passes]
        return (failing or list(self.evidence.stated))[0]


@final
@dataclasses.dataclass(frozen=True)
class ClaimsJob:
    """All findings, under one setting."""

    findings: tuple[Finding, ...]
    setting: Setting


def run_claims(
    names: Sequence[str], setting: Setting, *, progress: bool = True, say: Callable[[str], None] = lambda words: None
) -> ClaimsJob:
    """Measures the claims of some names, or all.

    **Arguments:**

    - `names`: of claims or parts; empty for all.
    - `setting`: sizes and folders of data.
    - `progress`: whether to show a bar.
    - `say`: told of a claim whose verdict is not the recorded one.

    **Raises:** `ValueError` for an unknown name or a folder whose data are not as they should be.
    """
    claims = find_claims(names)
    findings = []
    with progress_bar(len(claims), "claims", progress) as bar:
        for k, claim in enumerate(claims):
            start = time.perf_counter()
            finding = Finding(claim, claim.measure(setting), time.perf_counter() - start)
            findings.append(finding)
            if finding.verdict != claim.recorded:
                say(f"{claim.name}: the verdict is {finding.verdict!r}, and {claim.recorded!r} is on record.")
            bar.update(k + 1)
    return ClaimsJob(tuple(findings), setting)


def claims_summary(job: ClaimsJob) -> list[dict[str, Any]]:
    """One dictionary a claim, for JSON; `expected`, `measured` and `tolerance` are those of the decisive check."""
    return [_fields(finding) for finding in job.findings]


def _fields(finding: Finding) -> dict[str, Any]:
    claim, evidence, decisive = finding.claim, finding.evidence, finding.decisive
    return {
        "id": claim.name,
        "source": claim.source,
        "statement": claim.statement,
        "computed": claim.computed,
        "quantity": decisive.what,
        "relation": decisive.relation,
        "expected": float(decisive.expected),
        "measured": float(decisive.measured),
        "tolerance": float(decisive.tolerance),
        "verdict": finding.verdict,
        "recorded": claim.recorded,
        "condition": claim.condition,
        "instead": claim.instead,
        "notes": evidence.notes,
        "checks": [_check(check) for check in evidence.stated],
        "amended": [_check(check) for check in evidence.amended],
        "seconds": finding.seconds,
    }


def _check(check: Check) -> dict[str, Any]:
    return {
        "quantity": check.what,
        "relation": check.relation,
        "expected": float(check.expected),
        "measured": float(check.measured),
        "tolerance": float(check.tolerance),
        "passes": bool(check.passes),
    }
