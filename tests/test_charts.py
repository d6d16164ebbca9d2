"""Charts: texts cover neither each other nor what they stand for."""

import itertools

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the extra `plots` is not installed")

from latent_plugins.geometry.figures import save_histograms, save_scatter
from latent_plugins.pictures.canvas import canvas, legend_above, settled
from latent_plugins.pictures.charts import lines_chart, pareto_chart
from latent_plugins.pictures.labels import DISTANCES, MARKER, free_box, label_points, overlap


def shared(boxes):
    """The pairs of matplotlib boxes that overlap."""
    return [(a, b) for a, b in itertools.combinations(boxes, 2) if overlap(np.array([a.extents]), b.extents)[0] > 0]


def crowd(n, spread=0.02, seed=0):
    """{legend: points of a Pareto chart} that lie close together."""
    random = np.random.default_rng(seed)
    triple = lambda x: (float(x), float(x), float(x))  # noqa: E731
    return {
        f"sampler {k}": [
            dict(
                precision=triple(0.8 + spread * random.random()),
                recall=triple(0.8 + spread * random.random()),
                name=f"ρ {i}, ψ {k}",
            )
            for i in range(n)
        ]
        for k in range(3)
    }


def test_texts_of_a_crowded_chart_cover_nothing():
    lines = crowd(12)
    figure = pareto_chart(lines, title="crowd")
    (axes,) = figure.axes
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert sorted(text.get_text() for text in axes.texts) == sorted(p["name"] for each in lines.values() for p in each)
    assert not shared(boxes)
    frame = axes.bbox.extents
    assert all(frame[0] <= b.x0 and frame[1] <= b.y0 and b.x1 <= frame[2] and b.y1 <= frame[3] for b in boxes)
    half = (MARKER - 1) * figure.dpi / 72
    for line in axes.lines[:-1]:
        for x, y in axes.transData.transform(line.get_xydata()):
            marker = (x - half, y - half, x + half, y + half)
            assert not any(overlap(np.array([box.extents]), marker)[0] for box in boxes)


def test_each_text_stands_by_its_own_point():
    lines = {"one": [dict(precision=(p,) * 3, recall=(r,) * 3, name=f"{p} {r}") for p in (0, 1) for r in (0, 1)]}
    figure = pareto_chart(lines)
    (axes,) = figure.axes
    figure.draw_without_rendering()
    for text in axes.texts:
        place = axes.transData.transform([float(x) for x in text.get_text().split()])
        box = text.get_window_extent()
        nearest = np.clip(place, [box.x0, box.y0], [box.x1, box.y1])
        assert np.linalg.norm(place - nearest) <= (DISTANCES[0] + 4) * figure.dpi / 72


def test_a_text_without_a_free_place_covers_least():
    frame = (0, 0, 100, 100)
    box, distance = free_box((50, 50), 20, 10, [], frame)
    assert distance == DISTANCES[0] and box[0] > 50 and box[1] > 50  # up and to the right, where nothing is in the way
    everywhere = [(0, 0, 100, 100)]
    box, _ = free_box((50, 50), 20, 10, everywhere, frame)
    assert overlap(np.array(everywhere), box)[0] == pytest.approx(200) and 0 <= box[0] and box[2] <= 100
    left = [(50, 0, 100, 100)]  # the right half
    box, _ = free_box((50, 50), 20, 10, left, frame)
    assert overlap(np.array(left), box)[0] == 0 and box[2] <= 50


def test_texts_keep_off_a_line():
    figure, (axes,) = canvas()
    axes.plot([0, 1], [0, 1])
    settled(figure)
    texts = label_points(axes, [(0.5, 0.5)], ["a text"], line=[(0, 0), (1, 1)])
    ends = axes.transData.transform([(0, 0), (1, 1)])
    steps = np.linspace(*ends, 2000)
    box = texts[0].get_window_extent()
    assert not ((steps > [box.x0, box.y0]) & (steps < [box.x1, box.y1])).all(axis=1).any()


def points(values):
    return [dict(x=value, y=(value, value - 0.1, value + 0.1)) for value in values]


@pytest.mark.parametrize("panels", [False, True])
def test_legends_and_titles_cover_no_data(panels):
    lines = {f"polarity z:pixel ψ {k:g}": points([-1, 0, 1]) for k in np.linspace(0, 1, 7)}
    figure = lines_chart(lines, x="x", y="y", xlabel="rho", ylabel="fid", panels=panels)
    figure.draw_without_rendering()
    boxes = [axes.get_tightbbox() for axes in figure.axes]  # with titles and the texts of ticks
    boxes += [legend.get_window_extent() for legend in figure.legends]
    assert not shared(boxes) and len(boxes) == (7 if panels else 2)
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1 for box in boxes)
    if panels:
        assert [axes.get_title(loc="left") for axes in figure.axes] == list(lines)


def test_a_legend_takes_as_many_columns_as_have_room():
    rows = []
    for name in (
        "short",
        "a name that is so long that two of its kind have no room beside each other in a figure " * 2,
    ):
        figure, (axes,) = canvas()
        for i in range(3):
            axes.plot([0, 1], [0, i], label=f"{i} {name}")
        legend = legend_above(figure, axes)
        figure.draw_without_rendering()
        rows.append(len({text.get_window_extent().y0 for text in legend.get_texts()}))
    assert rows == [1, 3]


@pytest.mark.parametrize(
    "values", [[0, 0.04, 0.16, 0.5, 1], [1, 2, 4, 8, 16], [0, 0.01, 0.02, 0.03, 0.9, 0.97, 1], [3]]
)
def test_ticks_of_magnitudes_are_the_values_and_do_not_touch(values):
    figure = lines_chart({"a": points(values)}, x="x", y="y", xlabel="share", ylabel="fid", logx=True)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    texts = [tick.get_text() for tick in axes.get_xticklabels()]
    assert set(map(float, texts)) <= set(values) and {float(texts[0]), float(texts[-1])} == {min(values), max(values)}
    assert len(texts) >= min(4, len(values))
    assert not shared([tick.get_window_extent() for tick in axes.get_xticklabels()])


def test_figures_of_geometry_are_drawn(tmp_path):
    random = np.random.default_rng(1)
    save_scatter(tmp_path / "s.png", {i: tuple(random.random(2)) for i in range(20)}, xlabel="x", ylabel="y")
    save_histograms(tmp_path / "h.png", {"a": [1, 2, 2], "b": [3]}, xlabel="dimension", whole=True)
    assert all((tmp_path / name).stat().st_size > 5000 for name in ("s.png", "h.png"))
