"""The page and the figures: whole, self-contained, well-formed, and drawn without pyplot."""

import base64
import csv
import html.parser
import io
import re
import sys

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from rich.console import Console

from hjpde import _plotting, _plotting_fit, _report

PNG = b"\x89PNG\r\n\x1a\n"
VOID = {"meta", "img"}
TABLE = _report.TableOf(
    name="numbers",
    caption="A <table>.",
    columns=(
        _report.Column("who", "who", number=False),
        _report.Column("value", "value", lambda v: f"{v:.2f}"),
    ),
    rows=[{"who": "a & b", "value": 1 / 3}, {"who": "c", "value": 2.0}],
)


class Tags(html.parser.HTMLParser):
    """Fails where a tag is closed that is not open; collects the tags and the text."""

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.words = [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_report_is_one_well_formed_self_contained_page(tmp_path):
    figure = _plotting.accuracy_figure(["one"], [[0.5]])
    content = ["A formula $y_j < 2$, and 5 $.", ["first", "second"], TABLE, _report.Picture("p", figure, "alt", "cap")]
    section = _report.Section("Heading & more", content)
    path = _report.write_report(tmp_path, "Title <1>", "The lead.", [section], {"precision": "float32"})
    page = path.read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    text = "".join(tags.words)
    for words in ("Title <1>", "Heading & more", "A <table>.", "a & b", "0.33", "float32", "5 $."):
        assert words in text
    assert "<i>y<sub>j</sub> &lt; 2</i>" in page
    # Nothing is loaded from elsewhere.
    assert not re.search(r"(src|href)='?\"?(?!data:)[a-z]+:", page)
    (image,) = [attributes for tag, attributes in tags.seen if tag == "img"]
    assert image["alt"] == "alt"
    embedded = base64.b64decode(image["src"].removeprefix("data:image/png;base64,"))
    assert embedded == (tmp_path / "p.png").read_bytes()
    assert embedded.startswith(PNG)


def test_tables_are_written_in_full_precision(tmp_path):
    _report.write_report(tmp_path, "t", "l", [_report.Section("h", [TABLE])], {})
    with open(tmp_path / "numbers.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["who"] for row in rows] == ["a & b", "c"]
    assert [float(row["value"]) for row in rows] == [1 / 3, 2.0]


def test_table_in_a_terminal():
    stream = io.StringIO()
    _report.print_table(TABLE, Console(file=stream, width=80), without=("who",))
    assert "0.33" in stream.getvalue()
    assert "a & b" not in stream.getvalue()


def some_images(n):
    return np.random.default_rng(0).uniform(size=(n, 4, 4))


def figures():
    """(name, function that draws) for every figure."""
    random = np.random.default_rng(0)
    X, y = random.uniform(size=(30, 2)), random.uniform(size=30)
    labels = np.arange(30) % 3
    case = {
        "image": some_images(1)[0],
        "title": "a case",
        "atoms": some_images(3),
        "weights": [0.9, 0.1, 1e-9],
        "labels": ["0", "1", "2"],
        "agree": [True, False, False],
    }
    curves = [[(1, 1.0), (2, 0.5)], [(1, 1.0), (2, 0.0)]]
    factors = [0.5, 1.0, 2.0]
    return {
        "atoms": lambda: _plotting.atoms_figure(some_images(6).reshape(2, 3, 4, 4), ["a", "b"]),
        "explanation": lambda: _plotting.explanation_figure([case, case]),
        "temperature": lambda: _plotting.temperature_figure(factors, np.ones((2, 3)), np.ones((2, 3)), 2.0),
        "accuracy": lambda: _plotting.accuracy_figure(["a", "b"], [[0.9, 0.8], [0.7, 0.9]]),
        "history": lambda: _plotting.history_figure(["a", "b"], curves, "nats"),
        "line": lambda: _plotting_fit.line_figure(lambda x: x[:, 0], (X[:, :1], y), (X[:, :1], y), ("x", "y")),
        "surface": lambda: _plotting_fit.surface_figure(lambda x: x[:, 0], X, y, ("a", "b", "c")),
        "constant surface": lambda: _plotting_fit.surface_figure(
            lambda x: np.zeros(len(x)), X, np.zeros(30), ("a", "b", "c")
        ),
        "regions": lambda: _plotting_fit.regions_figure(
            lambda x: (x[:, 0] > 0.5).astype(int), X, labels, ["p", "q", "r"], ("a", "b")
        ),
        "observed": lambda: _plotting_fit.observed_figure(y, y, "target"),
        "confusion": lambda: _plotting_fit.confusion_figure(np.eye(3, dtype=int), ["long name", "b", "c"]),
    }


@pytest.mark.parametrize("name", figures())
def test_figures_are_drawn_whole(name):
    pyplot_before = "matplotlib.pyplot" in sys.modules
    figure = figures()[name]()
    assert _report.png(figure).startswith(PNG)
    assert ("matplotlib.pyplot" in sys.modules) == pyplot_before
    # No word is cut at the edge of the picture.
    canvas = FigureCanvasAgg(figure)
    inside = figure.bbox
    for ax in figure.axes:
        box = ax.get_tightbbox(canvas.get_renderer())
        if ax.get_visible() and box is not None:
            assert box.x0 >= inside.x0 - 1
            assert box.y0 >= inside.y0 - 1
            assert box.x1 <= inside.x1 + 1
            assert box.y1 <= inside.y1 + 1


def test_the_same_figure_is_the_same_file():
    draw = figures()["accuracy"]
    assert _report.png(draw()) == _report.png(draw())


def test_confusion_counts():
    observed, predicted = np.array([0, 0, 1, 2, 2]), np.array([0, 1, 1, 0, 2])
    counts = _plotting_fit.confusion(predicted, observed, 3)
    np.testing.assert_array_equal(counts, [[1, 1, 0], [0, 1, 0], [1, 0, 1]])
