"""Figures: what is on them, and what they refuse."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from PIL import Image

from limpid.viz import plot
from limpid.viz.plot import (
    PALETTE,
    Curve,
    Panel,
    add_title_and_legend,
    curves,
    draw_panel,
    panels,
    scientific,
    style_axes,
    with_mean,
)

LINE = Curve("line", [1.0, 2.0, 3.0], [0.1, 0.4, 0.9])
OTHER = Curve("other", [1.0, 2.0, 3.0], [0.9, 0.4, 0.1])


def plotted(panel: Panel) -> Axes:
    """The axes of a plot, finished, with every label in place."""
    page = Figure()
    axes = page.subplots()
    draw_panel(panel, axes)
    add_title_and_legend(panel.title, axes, room=96)
    style_axes(axes)
    page.draw_without_rendering()
    return axes


def written(axes: Axes, name: str) -> list[str]:
    """What stands beside the part of an axis that is in view."""
    axis = axes.xaxis if name == "x" else axes.yaxis
    low, high = sorted(axis.get_view_interval())
    return [tick.label1.get_text() for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]


def shades(path: Path, colour: str) -> int:
    """How many pixels of a image have this colour."""
    with Image.open(path) as image:
        wanted = np.round(np.array(to_rgb(colour)) * 255)
        return int((np.asarray(image.convert("RGB")) == wanted).all(2).sum())


@pytest.mark.parametrize(
    ("suffix", "head"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF"), (".PNG", b"\x89PNG")]
)
def test_a_figure_is_written_in_the_format_of_its_suffix(suffix: str, head: bytes, tmp_path: Path):
    path = curves([LINE], tmp_path / "new" / f"figure{suffix}", "title", "x", "y")
    assert path.read_bytes().startswith(head)
    assert list(path.parent.iterdir()) == [path]


def test_the_free_positions_of_an_incomplete_row_are_blank(tmp_path: Path):
    with Image.open(panels([Panel([LINE])] * 5, tmp_path / "figure.png")) as image:
        last = image.convert("RGB").crop((image.width * 2 // 3 + 30, image.height // 2 + 10, image.width, image.height))
    assert (np.asarray(last) == 255).all()


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7])
def test_a_figure_is_1200_pixels_wide_and_shows_every_plot(n: int, tmp_path: Path):
    plots = [Panel([Curve(str(k), [0.0, 1.0], [0.0, 1.0]) for k in range(2)], f"plot {k}") for k in range(n)]
    path = panels(plots, tmp_path / "figure.png", "all of them")
    with Image.open(path) as image:
        assert image.width == 1200
        assert image.height < 400 * n + 500
        across = np.asarray(image.convert("RGB"))
    edges = (across[:3], across[-3:], across[:, :3], across[:, -3:])
    assert all((edge == 255).all() for edge in edges), "something is cut off at the edge"
    assert shades(path, PALETTE[0]) > 0
    assert shades(path, PALETTE[1]) > 200 * n


def test_curves_of_one_label_share_colour_and_name():
    axes = plotted(Panel([*with_mean(LINE), *with_mean(OTHER)]))
    assert [to_hex(str(line.get_color())).upper() for line in axes.lines] == [*[PALETTE[0]] * 2, *[PALETTE[1]] * 2]
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["line", "other"]


def test_one_curve_needs_no_legend():
    axes = plotted(Panel(with_mean(LINE), title="The loss"))
    assert axes.get_legend() is None
    assert axes.get_title("left") == "The loss"


def test_a_legend_covers_no_data():
    axes = plotted(Panel([LINE, OTHER], title="Two"))
    legend = axes.get_legend()
    assert legend is not None
    assert legend.get_window_extent().y0 >= axes.get_window_extent().y1
    assert legend.get_title().get_text() == "Two"


def test_faint_curves_are_points_and_strong_ones_lines():
    faint, strong = plotted(Panel(with_mean(Curve("a", list(range(50)), list(range(50)))))).lines
    assert (faint.get_linestyle(), faint.get_marker()) == ("None", ".")
    assert (strong.get_linestyle(), strong.get_marker()) == ("-", "None")


@pytest.mark.parametrize("window", [0, 1, 3, 7, 1000])
@pytest.mark.parametrize("n", [1, 2, 5, 100])
def test_the_mean_of_a_constant_is_that_constant(n: int, window: int):
    points, mean = with_mean(Curve("a", list(range(n)), [2.5] * n), window)
    assert points == Curve("a", list(range(n)), [2.5] * n, faint=True)
    assert mean.x == points.x
    np.testing.assert_allclose(mean.y, 2.5, rtol=1e-12)


def test_the_mean_of_a_straight_line_is_that_line_but_for_its_ends():
    _, mean = with_mean(Curve("a", list(range(30)), list(range(30))), window=7)
    np.testing.assert_allclose(mean.y[3:-3], np.arange(3, 27), rtol=1e-12)


def test_a_point_that_is_not_a_number_spoils_only_the_mean_around_it():
    y = [1.0] * 50
    y[20] = float("nan")
    _, mean = with_mean(Curve("a", list(range(50)), y), window=5)
    assert set(np.flatnonzero(np.isnan(mean.y))) == set(range(18, 23))


@pytest.mark.parametrize(
    ("x", "log", "labels"),
    [
        ([0.0, 1000.0], False, ["0", "200", "400", "600", "800", "1000"]),
        ([0.0, 40e6], False, ["0", "5M", "10M", "15M", "20M", "25M", "30M", "35M", "40M"]),
        ([0.0, 2e-4], False, ["0", "2.5e-5", "5e-5", "7.5e-5", "1e-4", "1.25e-4", "1.5e-4", "1.75e-4", "2e-4"]),
        ([5.0, 50.0], True, ["5", "10", "20", "50"]),
    ],
)
def test_ticks_have_short_numbers(x: list[float], log: bool, labels: list[str]):
    assert written(plotted(Panel([Curve("a", x, [1.0, 2.0])], log_x=log)), "x") == labels


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (1e-4, "1e-4"), (6.000000001e-4, "6e-4"), (-2.5e-5, "-2.5e-5")]
)
def test_small_numbers_have_a_short_power(value: float, text: str):
    assert scientific(value) == text


def test_a_curve_that_falls_to_zero_does_not_flatten_a_logarithmic_plot():
    axes = plotted(Panel([Curve("snr", [0, 1, 2, 3], [1e4, 1.0, 1e-4, 1e-33])], log_y=True))
    low, high = axes.get_ylim()
    assert 1e-9 < low < 1e-4
    assert 1e4 < high < 1e6


def test_points_at_infinity_are_left_out():
    axes = plotted(Panel([Curve("snr", [0, 1, 2, 3], [float("inf"), 100.0, 10.0, 1.0])], log_y=True))
    assert axes.get_ylim()[1] < 1000


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [([1.0], [1.0, 2.0], "curve 'a' has 1 x and 2 y"), ([], [], "curve 'a' has 0 x and 0 y")],
)
def test_a_curve_is_points(x: list[float], y: list[float], message: str):
    with pytest.raises(ValueError, match=message):
        Curve("a", x, y)


@pytest.mark.parametrize(("x", "y", "name"), [([1.0, 2.0], [0.0, -1.0], "y"), ([-1.0, 0.0], [1.0, 2.0], "x")])
def test_a_logarithmic_axis_refuses_a_curve_that_it_cannot_show(
    x: list[float], y: list[float], name: str, tmp_path: Path
):
    with pytest.raises(ValueError, match=f"curve 'a' has no positive {name}"):
        curves([Curve("a", x, y)], tmp_path / "figure.png", log_x=True, log_y=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("plots", [[], [Panel([LINE]), Panel([])]])
def test_a_plot_of_nothing_is_refused(plots: list[Panel], tmp_path: Path):
    with pytest.raises(ValueError, match="no curves were given"):
        panels(plots, tmp_path / "figure.png")


def test_an_unknown_format_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match=r"'figure\.bmp': choose from \.png, \.svg, \.pdf"):
        curves([LINE], tmp_path / "figure.bmp")


def test_without_matplotlib_one_line_states_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ValueError, match=r'^plots need matplotlib: pip install "limpid-diffusion\[plots\]"$'):
        curves([LINE], tmp_path / "figure.png")


def test_matplotlib_is_imported_only_for_a_figure_and_pyplot_never(tmp_path: Path):
    program = (
        "import sys; from limpid.viz.plot import Curve, curves\n"
        "assert 'matplotlib' not in sys.modules\n"
        "curves([Curve('a', [0, 1], [0, 1])], sys.argv[1])\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    source = str(Path(plot.__file__).parents[2])
    path = tmp_path / "figure.png"
    subprocess.run([sys.executable, "-c", program, str(path)], check=True, env={"PYTHONPATH": source})
    assert path.exists()
