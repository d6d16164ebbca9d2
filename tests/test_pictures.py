"""Contact sheets, captions, and pages that show what a command found."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner
from conftest import small_stylegan2
from pickles import write_official

from cli.gen_images import main as gen_images
from cli.inspect_geometry import main as inspect_geometry
from latent_plugins.pictures.contact_sheet import CELL, contact_sheet, enlarged
from latent_plugins.pictures.files import save_png
from latent_plugins.pictures.report import Report


def images(n=5, size=10, channels=1):
    return np.random.default_rng(0).integers(1, 255, (n, size, size, channels), dtype=np.uint8)


def test_small_images_are_enlarged_by_a_whole_factor_and_large_ones_stay():
    sheet = contact_sheet(images())
    assert sheet.shape == (2 * 70, 3 * 70, 1) and CELL == 64
    assert np.array_equal(sheet[:70, :70][::7, ::7], images()[0])
    assert np.array_equal(contact_sheet(images(), cell=1)[:10, :10], images()[0])
    large = images(size=100)
    assert enlarged(large) is not None and np.array_equal(enlarged(large), large)


def test_captions_stand_under_their_images():
    texts = [f"seed {i}" for i in range(5)]
    sheet = contact_sheet(images(), texts)
    cell, width = sheet.shape[0] // 2, sheet.shape[1] // 3
    assert cell > width  # an image and a line of text
    first, second = (sheet[:cell, i * width : (i + 1) * width] for i in (0, 1))
    assert np.array_equal(first[:width][:: width // 10, :: width // 10], images()[0])
    under = first[width:, :, 0]
    assert under.max() == 255 and under.min() < 50  # black on white
    assert not np.array_equal(under, second[width:, :, 0])  # another number
    with pytest.raises(ValueError, match="4 captions for 5 images"):
        contact_sheet(images(), texts[:4])


@pytest.mark.parametrize("options, shape", [([], (128, 128)), (["--cell=16"], (32, 32)), (["--cell=100"], (224, 224))])
def test_the_command_s_sheet(options, shape, tmp_path):
    network = write_official(tmp_path / "net.pkl", small_stylegan2())
    arguments = [f"--network={network}", "--seeds=0-3", "--grid", "--device=cpu", f"--outdir={tmp_path}", *options]
    result = CliRunner().invoke(gen_images, arguments)
    assert result.exit_code == 0, result.output
    assert PIL.Image.open(tmp_path / "grid.png").size == shape
    assert PIL.Image.open(tmp_path / "seed0000.png").size == (16, 16)
    assert CliRunner().invoke(gen_images, [*arguments, "--captions"]).exit_code == 0
    captioned = PIL.Image.open(tmp_path / "grid.png").size
    assert captioned[1] > captioned[0] and captioned[0] >= shape[0]


class Page(HTMLParser):
    """What an HTML page holds; fails at tags that are not closed in order."""

    VOID = {"meta", "img"}

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.words = [], [], [], []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


HOSTILE = '</td><script>alert("1")</script>&amp;\' onload="x'


def test_a_page_escapes_everything_and_needs_nothing_else(tmp_path):
    save_png(images(1)[0], tmp_path / "a.png")
    page = Report(HOSTILE, HOSTILE)
    page.heading(HOSTILE)
    page.paragraph(HOSTILE)
    page.table([{HOSTILE: HOSTILE, "b": 1.5}, {"b": None, "c": True, "d": dict(e=[1, 2.5], f=float("nan"))}])
    page.facts({"x": HOSTILE, "y": 3})
    page.picture(tmp_path / "a.png", HOSTILE)
    page.save(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    found = Page(text)
    assert "script" not in found.tags and not [name for name, _ in found.attributes if name.startswith("on")]
    assert found.words.count(HOSTILE) == 9 and "d.f" in found.words and "nan" in found.words
    assert "http" not in text and "link" not in found.tags
    source = dict(found.attributes)["src"]
    data = base64.b64decode(source.removeprefix("data:image/png;base64,"))
    assert np.array_equal(np.asarray(PIL.Image.open(io.BytesIO(data))), images(1)[0, :, :, 0])


def test_inspect_geometry_writes_a_page_of_its_report(tmp_path):
    network = write_official(tmp_path / "net.pkl", small_stylegan2())
    options = [f"--network={network}", "--quick", "--sections=dimension,inversion", f"--outdir={tmp_path / 'out'}"]
    result = CliRunner().invoke(inspect_geometry, [*options, "--device=cpu"])
    assert result.exit_code == 0, result.output
    text = (tmp_path / "out" / "report.html").read_text()
    found = Page(text)
    assert "dimension" in found.words and re.search(r"Geometry of .*net.pkl", text)
    figures = sorted(path.name for path in (tmp_path / "out").glob("*.png"))
    assert len([value for name, value in found.attributes if name == "src"]) == len(figures)
    for name in figures:
        assert base64.b64encode((tmp_path / "out" / name).read_bytes()).decode() in text
