"""Formulas of reports: what they read as, and that the page's tags close."""

import html
import re
from html.parser import HTMLParser

import pytest

from hjpde._formula import formula
from hjpde.problems.claims import CLAIMS


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def words(tex):
    page = formula(tex)
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    return html.unescape(re.sub("<[^>]*>", "", page))


@pytest.mark.parametrize(
    ("tex", "expected"),
    [
        (r"F = \beta t + \frac12\log(1 - t^2)", "F = β t + 1/2\u2009log(1 − t2)"),
        (r"\frac{q_0}{1 - q_0}", "q0/(1 − q0)"),
        (r"1/\sqrt{\xi''}", "1/√ξ′′"),
        (r"\varepsilon\log N < \|w\|", "ε\u2009log N < ‖w‖"),
        (r"\mathrm{LSE}_\varepsilon(x, -x)", "LSEε(x, −x)"),
        (r"e^{-\Delta/\varepsilon}\,\dot w", "e−Δ/ε\u2009w\u0307"),
        (r"\log\det x \le 1", "log\u2009det x ≤ 1"),
        ("x^", "x"),
    ],
)
def test_formulas_read_as_they_are_written_by_hand(tex, expected):
    assert words(tex) == expected


def test_indices_and_comparisons():
    assert formula("y_j < 2^{n+1}") == "<i>y<sub>j</sub> &lt; 2<sup>n+1</sup></i>"


def test_no_command_is_left_in_the_claims():
    texts = [text for claim in CLAIMS.values() for text in (claim.statement, claim.condition, claim.instead)]
    formulas = [tex for text in texts for tex in re.findall(r"\$([^$]+)\$", text)]
    assert len(formulas) > 50
    assert not [tex for tex in formulas if "\\" in words(tex)]
