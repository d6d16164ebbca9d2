"""Contact sheets, captions, and pages that show what a command found."""

import base64
import io
import shlex
from html.parser import HTMLParser

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner
from conftest import small_stylegan2, write_network
from helpers.detector_files import write_torchscript
from helpers.image_zips import random_images, write_zip
from helpers.pickles import write_official

from cli.gen_images import main as gen_images
from cli.inspect_geometry import main as inspect_geometry
from cli.modes import main as modes
from cli.sweep import main as sweep
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


@pytest.mark.parametrize("option", ["--cell=100", "--captions"])
def test_options_of_a_sheet_need_one(option, tmp_path):
    result = CliRunner().invoke(gen_images, [option, "--seeds=0", f"--outdir={tmp_path / 'out'}"])
    assert f"{option.split('=')[0]} has no effect without --grid" in result.output and result.exit_code == 1
    assert not (tmp_path / "out").exists()


def test_projected_styles_have_a_sheet_with_captions_too(tmp_path):
    generator = small_stylegan2()
    network = write_official(tmp_path / "net.pkl", generator)
    np.savez(tmp_path / "w.npz", w=np.zeros((3, generator.num_ws, generator.w_dim), dtype=np.float32))
    sizes = []
    for extra in ([], ["--captions"]):
        options = [f"--network={network}", f"--projected-w={tmp_path / 'w.npz'}", f"--outdir={tmp_path}", "--grid"]
        assert CliRunner().invoke(gen_images, [*options, *extra, "--device=cpu"]).exit_code == 0
        sizes.append(PIL.Image.open(tmp_path / "grid.png").size)
    assert sizes[0] == (128, 128) and sizes[1][1] > 128


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


def test_a_page_is_written_as_a_whole_or_not_at_all(tmp_path, monkeypatch):
    page = Report("first")
    page.save(tmp_path / "report.html")
    before = (tmp_path / "report.html").read_bytes()
    page.table([dict(a=1)])

    def full(*args, **kwargs):
        raise OSError("disk full")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="disk full"):
        patch.setattr("pathlib.Path.write_text", full)
        page.save(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_bytes() == before and len(list(tmp_path.iterdir())) == 1
    page.save(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_bytes() != before


HOSTILE_FILE = "<img src=x onerror=alert(1)>'&\"$(id)"


def checked_page(folder, name, *options):
    """The Page of a report in `folder`: well-formed, of its own pictures, with the command that made it as typed."""
    text = (folder / "report.html").read_text()
    found = Page(text)
    assert not {"script", "link", "iframe", "object"} & set(found.tags)
    assert {key for key, _ in found.attributes} <= {"lang", "charset", "class", "alt", "src"} and "http" not in text
    pictures = [value for key, value in found.attributes if key == "src"]
    for source in pictures:
        kind, data = source.split(";base64,")
        assert kind == "data:image/png"
        PIL.Image.open(io.BytesIO(base64.b64decode(data, validate=True))).load()
    shown = {base64.b64encode(path.read_bytes()).decode() for path in folder.glob("*.png")}
    assert {source.split(",")[1] for source in pictures} == shown
    (command,) = [shlex.split(words) for words in found.words if words.startswith(f"{name} ")]
    assert command == [name, *map(str, options)]
    return found


def made(command, name, folder, *options):
    """The `checked_page` of a command."""
    options = [*map(str, options), "--device=cpu", f"--outdir={folder}"]
    result = CliRunner().invoke(command, options, prog_name=name)
    assert result.exit_code == 0, result.output
    return checked_page(folder, name, *options)


def test_inspect_geometry_writes_a_page_of_its_report(tmp_path):
    network = write_network(tmp_path / f"{HOSTILE_FILE}.npz", small_stylegan2())
    sections = "--sections=dimension,inversion"
    found = made(inspect_geometry, "inspect_geometry", tmp_path / "out", f"--network={network}", "--quick", sections)
    assert {"dimension", "inversion", f"Geometry of {network}"} <= set(found.words) and found.tags.count("h2") == 2


def test_sweep_writes_a_page_of_its_table_and_charts(tmp_path):
    network = write_network(tmp_path / f"{HOSTILE_FILE}.npz", small_stylegan2())
    data = write_zip(tmp_path / "real.zip", random_images(60))
    detector = write_torchscript(tmp_path / "small.pt")
    options = [f"--network={network}", f"--data={data}", f"--detector={detector}", "--allow-code", "--rho=-1,1"]
    options += ["--sampler=polarity", "--candidates=200", "--metrics=fid50_full,pr50_full"]
    found = made(sweep, "sweep", tmp_path / "out", *options)
    assert found.tags.count("tr") == 1 + 2 and {"rho", "fid50_full", "pr50_full_recall"} <= set(found.words)
    assert found.tags.count("img") == 2 and {"pareto.png", "fid-rho.png"} <= set(found.words)


def test_modes_writes_a_page_of_its_candidates(tmp_path):
    network = write_network(tmp_path / f"{HOSTILE_FILE}.npz", small_stylegan2())
    data = write_zip(tmp_path / "real.zip", random_images(20))
    detector = write_torchscript(tmp_path / "small.pt")
    options = [f"--network={network}", f"--data={data}", f"--detector={detector}", "--allow-code", "--space=style"]
    found = made(modes, "modes", tmp_path / "out", *options, "--candidates=50", "--n=3", "--prior-samples=4")
    assert found.tags.count("img") == 4 and found.words.count("log_volume") == 2
    assert {"modes", "anti-modes", "nearest.prior.pixels.mean", "nearest_by_features.distance"} <= set(found.words)
