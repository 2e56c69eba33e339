"""`hjpde explore`: the parts of the page, its numbers, and the page in a browser."""

import base64
import html.parser
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from scipy.special import entr, softmax

from hjpde.explore._job import CLOSED_FORMS, FILE
from hjpde.explore._page import page
from hjpde.explore._panel import Moving, Panel, Row, Slider, encoded, frames, stacked
from hjpde.problems.claims._written_out import two_clusters

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MOST_BYTES = 8_000_000


@pytest.fixture(scope="module")
def panels():
    return [make() for make in CLOSED_FORMS]


@pytest.fixture
def panel(panels):
    return {panel.name: panel for panel in panels}


@pytest.fixture(scope="module")
def document(panels):
    pytest.importorskip("plotly")
    return page("A title", "What <it> is for.", panels, {"a setting": 1})


class Elements(html.parser.HTMLParser):
    """All tags with their attributes, and the text of the scripts."""

    def __init__(self, document):
        super().__init__()
        self.tags, self.scripts = [], []
        self.feed(document)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.tags and self.tags[-1][0] == "script" and data.strip():
            self.scripts.append(data)

    def all(self, wanted):
        return [attributes for tag, attributes in self.tags if tag == wanted]


def decoded(value):
    array = np.frombuffer(base64.b64decode(value["bdata"]), "<f4")
    return array.reshape([int(n) for n in value["shape"].split(",")]) if "shape" in value else array


def between(first, last, text):
    return text.partition(first)[2].partition(last)[0]


def moving(panel, trace, attribute="y"):
    return next(m.values for m in panel.moving if (m.trace, m.attribute) == (trace, attribute))


def test_arrays_are_in_single_precision():
    array = np.random.default_rng(0).normal(size=(3, 4))
    np.testing.assert_array_equal(decoded(encoded(array)), array.astype(np.float32))
    np.testing.assert_array_equal(decoded(encoded(array.T[0])), array.T[0].astype(np.float32))


def test_the_last_slider_runs_fastest():
    values = np.arange(24.0).reshape(2, 3, 4)
    flat = [decoded(frame) for frame in frames(Moving(0, "y", (0, 1), values))]
    np.testing.assert_array_equal(flat[1 * 3 + 2], values[1, 2])
    assert frames(Moving(0, "marker.size", (0,), np.array([1.0, 2.5]))) == [1.0, 2.5]


def test_rows_fill_the_height_without_overlap():
    layout = stacked([Row("x", "y"), Row("x", "y", 2.0), Row("x", "y")], 800)
    domains = [layout[name]["domain"] for name in ("yaxis", "yaxis2", "yaxis3")]
    assert domains[0][1] == pytest.approx(1)
    assert domains[2][0] == pytest.approx(0)
    assert domains[0][0] > domains[1][1]
    assert domains[1][0] > domains[2][1]
    heights = [high - low for low, high in domains]
    assert heights[1] == pytest.approx(2 * heights[0])


def test_every_place_of_the_sliders_has_a_frame_and_a_reading(panels):
    for panel in panels:
        lengths = tuple(len(slider.values) for slider in panel.sliders)
        assert panel.readings.shape == lengths
        for m in panel.moving:
            assert m.values.shape[: len(m.over)] == tuple(lengths[i] for i in m.over)
            assert m.trace < len(panel.traces)
            # What is drawn has as many points as what it replaces.
            if m.attribute in ("y", "z"):
                assert m.values.shape[len(m.over) :] == np.shape(panel.traces[m.trace][m.attribute])
        for slider in panel.sliders:
            assert 0 <= slider.start < len(slider.values)
            assert len(set(slider.words())) == len(slider.values), "two places are shown alike"


def test_every_slider_changes_what_is_drawn(panels):
    for panel in panels:
        for i in range(len(panel.sliders)):
            changes = [
                np.max(np.ptp(np.nan_to_num(m.values), axis=m.over.index(i))) > 0 for m in panel.moving if i in m.over
            ]
            assert any(changes)


def test_the_page_is_small_and_loads_nothing(document):
    assert len(document.encode()) < MOST_BYTES
    elements = Elements(document)
    for _, attributes in elements.tags:
        for name in ("src", "srcset", "action", "data"):
            assert name not in attributes
        assert attributes.get("href", "#").startswith(("#", "data:,"))
    style = between("<style>", "</style>", document)
    assert "url(" not in style
    assert "@import" not in style
    assert len(elements.all("script")) == 3


def test_sliders_are_native_labelled_and_spoken(document, panels):
    elements = Elements(document)
    inputs, labels = elements.all("input"), {label["for"] for label in elements.all("label")}
    assert len(inputs) == sum(len(panel.sliders) for panel in panels)
    for slider in inputs:
        assert slider["type"] == "range"
        assert slider["id"] in labels
        assert slider["aria-valuetext"]
    figures = [attributes for attributes in elements.all("div") if attributes.get("role") == "img"]
    assert [attributes["aria-label"] for attributes in figures] == [panel.alternative for panel in panels]


def test_text_is_escaped_and_a_script_cannot_end_early(panels):
    panel = panels[0]
    odd = Panel(
        **{
            **{name: getattr(panel, name) for name in panel.__dataclass_fields__},
            "heading": "a < b",
            "readings": np.full(panel.readings.shape, "</script><b>"),
        }
    )
    made = page("t", "What <it> is for.", [odd], {})
    assert "What &lt;it&gt; is for." in made
    assert "a &lt; b" in made
    data = Elements(made).scripts[0]
    assert json.loads(data)[0]["readings"][0] == "</script><b>"


def test_the_viscous_solution_against_its_maximum_principle_and_its_equation(panel):
    panel = panel["solution"]
    u, inviscid = moving(panel, 5), moving(panel, 4)
    viscosities, times = (np.array(slider.values) for slider in panel.sliders)
    x = np.asarray(panel.traces[0]["x"])
    # Viscosity rounds upwards, as the minimum becomes a mean of exp(-u/eps); bounds by the datum hold for both.
    assert np.all(u[:, 1:] >= inviscid[1:] - 1e-9 - 6 * viscosities[:, None, None])
    assert u.min() >= inviscid[0].min() - 1e-3
    assert u.max() <= inviscid[0].max() + 1e-9
    # u_t + u_x^2 = eps u_xx by central differences, where the solution is smooth: at the largest viscosity.
    dt, dx = times[1] - times[0], x[1] - x[0]
    eps, smooth = viscosities[-1], u[-1, 10:]
    u_t = (smooth[2:, 1:-1] - smooth[:-2, 1:-1]) / (2 * dt)
    u_x = (smooth[1:-1, 2:] - smooth[1:-1, :-2]) / (2 * dx)
    u_xx = (smooth[1:-1, 2:] - 2 * smooth[1:-1, 1:-1] + smooth[1:-1, :-2]) / dx**2
    residual = np.abs(u_t + u_x**2 - eps * u_xx)
    assert residual.max() < 5e-3
    assert np.abs(u_t).max() > 0.1


def test_the_entropy_of_the_two_clusters(panel):
    """Three places of the source's figure, t = 1, rounded to two digits there."""
    atoms = two_clusters()
    y, g = np.asarray(atoms.positions), np.asarray(atoms.heights)
    recorded = {(-1.0, -1.0): (2.05, 2.31), (0.0, 0.0): (1.69, 2.64), (1.0, 1.0): (2.31, 2.64)}
    for place, expected in recorded.items():
        squares = ((y - np.array(place)) ** 2).sum(axis=1)
        found = [entr(softmax(-(g + squares / 4) / eps)).sum() for eps in (0.25, 1.0)]
        np.testing.assert_allclose(found, expected, atol=0.005 + 1e-9)
    panel = panel["points"]
    viscosities, times = (list(slider.values) for slider in panel.sliders)
    drawn = moving(panel, 0, "z")[viscosities.index(0.25), times.index(1.0)]
    side = np.asarray(panel.traces[0]["x"])
    i = int(np.argmin(np.abs(side)))
    assert side[i] == 0
    assert drawn[i, i] == pytest.approx(1.69, abs=0.005)


def test_the_folds_that_are_drawn(panel):
    panel = panel["folds"]
    drawn = np.sort(np.asarray(panel.traces[6]["x"]))
    np.testing.assert_allclose(drawn, [0.325518, 0.388444, 0.509737, 0.510158], atol=1e-5)
    places = [moving(panel, trace, "x") for trace in (1, 2)]
    counts = np.isfinite(np.concatenate(places, axis=1)).sum(axis=1)
    assert sorted(set(counts.tolist())) == [1, 3, 5, 7, 9]
    assert np.all(np.diff(counts) <= 0)


def test_the_distance_to_the_dominant_neuron_keeps_its_bound(panel):
    panel = panel["extrapolation"]
    excess, bound, curvature = (moving(panel, trace) for trace in (4, 5, 6))
    viscosities, times = (np.array(slider.values) for slider in panel.sliders)
    assert np.all(excess >= -1e-12)
    assert np.all(excess <= bound + 1e-12)
    # Popoviciu: a variance is at most a quarter of the squared range, here of the slopes y/2t.
    spread = np.ptp(np.asarray(panel.traces[3]["x"])) / (2 * times)
    assert np.all(curvature.max(axis=2) <= spread**2 / (4 * viscosities[:, None]) * (1 + 1e-12))
    # Second differences of what is drawn, at the largest viscosity; they are off by dx^2/12 times the fourth
    # derivative, the fourth cumulant over eps^3, which is at most 3/16 of the range to the fourth.
    x = np.asarray(panel.traces[1]["x"])
    fine, eps = np.abs(x) < 3.1, viscosities[-1]
    dx = np.ptp(x[fine]) / (fine.sum() - 1)
    f, second = moving(panel, 1)[-1][:, fine], curvature[-1][:, fine][:, 1:-1]
    off = np.abs(np.diff(f, 2, axis=1) / dx**2 - second).max(axis=1)
    assert np.all(off <= dx**2 / 12 * 3 / 16 * spread**4 / eps**3)


def test_precision_and_missing_plotly(run, own_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly", None)
    code, out, err = run("explore")
    assert (code, out) == (2, "")
    assert err.startswith("hjpde: `explore` needs plotly")
    assert err.count("\n") == 1


def in_browser(path, script):
    """The page in Chromium with a script at its end, which fills an element `outcome`; returns what it wrote."""
    document = path.read_text(encoding="utf-8")
    watch = "window.wrong = []; onerror = (m) => wrong.push(m); console.error = (...m) => wrong.push(m.join());"
    watch += "addEventListener('unhandledrejection', (event) => wrong.push(String(event.reason)));"
    # Without a window no frames are drawn, and none would be announced.
    watch += "requestAnimationFrame = (draw) => setTimeout(() => draw(performance.now()));"
    document = document.replace("<head>", f"<head><script>{watch}</script>", 1)
    tail = f'<script type="text/plain" id="outcome"></script><script>{script}</script></body>'
    variant = path.with_name("variant.html")
    variant.write_text(document.replace("</body>", tail), encoding="utf-8")
    browser = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=60000"]
    done = subprocess.run([*browser, "--dump-dom", variant.as_uri()], capture_output=True, text=True, timeout=300)
    return json.loads(between('id="outcome">', "</script>", done.stdout))


MOVE_ALL = """
const later = () => new Promise((done) => setTimeout(done, 50));
(async () => {
  const moved = [];
  for (const slider of document.querySelectorAll("input[type=range]")) {
    const section = slider.closest("section"), pictures = new Set();
    const places = new Set([0, Math.floor(slider.max / 2), Number(slider.max), slider.valueAsNumber]);
    for (const value of places) {
      slider.value = value;
      slider.dispatchEvent(new Event("input", { bubbles: true }));
      await later();
      pictures.add(section.querySelector(".figure").innerHTML);
    }
    moved.push({ id: slider.id, places: places.size, pictures: pictures.size,
                 spoken: slider.getAttribute("aria-valuetext"),
                 shown: section.querySelector(`output[for="${slider.id}"]`).textContent });
  }
  document.getElementById("outcome").textContent = JSON.stringify({
    moved, wrong, loaded: performance.getEntriesByType("resource").map((r) => r.name),
    figures: [...document.querySelectorAll(".figure")].map((f) => [f.clientWidth, f.querySelector("svg").clientWidth]),
    focusable: [...document.querySelectorAll("input")].every((s) => (s.focus(), document.activeElement === s)),
  });
})();
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The whole page, its networks trained briefly."""
    from hjpde import cli

    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    pytest.importorskip("plotly")
    folder = tmp_path_factory.mktemp("explore")
    assert cli.main(["explore", "--quick", "--out", str(folder)]) == 0
    return folder / FILE


@pytest.mark.browser
def test_every_slider_moves_its_figure_without_an_error(made):
    assert made.stat().st_size < MOST_BYTES
    outcome = in_browser(made, MOVE_ALL)
    assert outcome["wrong"] == []
    assert outcome["loaded"] == []
    assert outcome["focusable"]
    assert len(outcome["moved"]) == 11
    for slider in outcome["moved"]:
        assert slider["pictures"] == slider["places"] >= 3, f"{slider['id']} does not always change its figure"
        assert slider["spoken"] == slider["shown"]
    for width, drawn in outcome["figures"]:
        assert 0 < drawn <= width


@pytest.mark.browser
def test_the_picture_is_not_blank(made, tmp_path):
    from matplotlib.image import imread

    file = tmp_path / "picture.png"
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=900,9000"]
    command += ["--virtual-time-budget=20000", f"--screenshot={file}", made.as_uri()]
    subprocess.run(command, capture_output=True, timeout=300, check=True)
    picture = imread(file)[..., :3]
    assert picture.std() > 0.05
    # Each ninth of the page shows something.
    for part in np.array_split(picture[: 9 * 900], 9):
        assert part.std() > 0.02


def test_slider_words():
    assert Slider("ε", [0.01234, 10.0]).words() == ["0.0123", "10"]
    assert Slider("t", [0.5, 1.0], decimals=2).words() == ["0.50", "1.00"]


def test_the_time_of_the_first_shock(panel):
    """1/(2 max(-g'')) of the datum, here by finite differences."""
    y = np.linspace(-np.pi, np.pi, 20001)
    solution = panel["solution"]
    g = 0.5 * np.cos(y) + 0.3 * np.cos(2 * y + 1)
    first = 1 / (2 * np.max(-np.gradient(np.gradient(g, y), y)))
    assert f"From t = {first:.3f}" in solution.look
    shocks = np.asarray(solution.traces[2]["y"])
    step = solution.sliders[1].values[1]
    assert first <= shocks.min() <= first + 2 * step
