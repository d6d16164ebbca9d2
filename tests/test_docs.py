"""Every command that README and docs show is one that the commands take; those that need no files run, shortened."""

import importlib
import re
import shlex

import click
import pytest
from click.testing import CliRunner
from conftest import ROOT

COMMANDS = ["gen_images", "build_atlas", "calc_metrics", "sweep", "describe", "convert", "inspect_geometry", "modes"]
COMMANDS += ["polarity_strip", "interpolate", "train_weights", "train_critic", "remake"]
PAGES = ["README.md", "CHANGELOG.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
# What shortens a command that runs on the embedded network.
SHORT = {
    "gen_images": ["--seeds=0-1", "--outdir=out"],
    "build_atlas": ["--candidates=20", "--outdir=short-atlas"],
    "calc_metrics": ["--metrics=fid70_full", "--repeats=1"],
    "sweep": ["--metrics=fid70_full,pr70_full", "--rho=0,0.1", "--trunc=1", "--repeats=1", "--outdir=swept"],
    "inspect_geometry": ["--quick", "--sections=dimension", "--outdir=geometry"],
    "modes": ["--n=2", "--outdir=modes"],
    "polarity_strip": ["--seeds=0-1"],
    "interpolate": ["--seeds=0-1", "--frames=2", "--outdir=path"],
    "describe": [],
}
CANDIDATES = ("--sampler=magnet", "--sampler=polarity", "+polarity", "sweep", "modes", "polarity_strip")
# Half a minute and more, each.
SLOW = ("--sampler=pcn", "--sampler=smc", "--space=pixel", "sweep", "calc_metrics", "--classes-latents")
SLOW += ("--disentanglement-latents",)


def shown():
    """(page, command line) of everything that a page tells to type."""
    for page in PAGES:
        for line in (ROOT / page).read_text().splitlines():
            if line.startswith("    "):
                for part in line.split("&&"):
                    words = part.split("  #")[0].strip()
                    if words.split(" ")[0] in COMMANDS:
                        yield page, words
                    elif " --no-python " in words:
                        yield page, words.split(" --no-python ")[1]
            for words in re.findall(rf"`((?:{'|'.join(COMMANDS)}) [^`]*)`", line):
                if "NAME" not in words and "…" not in words:
                    yield page, words


LINES = sorted(set(shown()))


def main_of(name):
    return importlib.import_module(f"cli.{name}").main


def test_pages_show_commands():
    assert len(LINES) > 40 and {line.split()[0] for _, line in LINES} >= set(COMMANDS) - {"describe"}


def named_files(arguments):
    """The files that arguments name, which must be there for a command to be taken."""
    values = (each.partition("=")[2] if each.startswith("--") else each for each in arguments)
    kinds = re.compile(r"[\w./-]+\.(pkl|pth?|npz|zip|json|jsonl|py|safetensors)")
    named = [each.partition("=")[2] for each in arguments if each.startswith(("--atlas=", "--projected-w="))]
    return [each for each in values if kinds.fullmatch(each)] + named


def test_shown_commands_are_set_apart():
    """A line that begins with a command would run on in the paragraph: it is indented, as code."""
    for page in PAGES:
        text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(), flags=re.DOTALL | re.MULTILINE)
        bare = re.findall(rf"^(?:{'|'.join(COMMANDS)}) --.*", text, re.MULTILINE)
        assert not bare, (page, bare)


@pytest.mark.parametrize("page, line", LINES)
def test_commands_of_the_pages_are_taken(page, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # The file of this name comes with another package, which need not be installed.
    name, *arguments = shlex.split(line.replace("--network=dcgan-faces", "--network=faces.pth"))
    for each in named_files(arguments):
        (tmp_path / each).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / each).touch()
    for each in ("a", "samples.jsonl"):
        (tmp_path / each).touch()
    command = main_of(name)
    needed = {"build_atlas": ["--outdir=b"], "sweep": ["--outdir=b"], "modes": ["--outdir=b"],
              "inspect_geometry": ["--outdir=b"], "train_weights": ["--data=a", "--outdir=b"],
              "train_critic": ["--data=a", "--outdir=b"],
              "remake": ["samples.jsonl"], "convert": ["a", "b"]}  # fmt: skip
    given = [] if any(each.startswith("--outdir") for each in arguments) else needed.get(name, [])
    if name in ("remake", "convert") and not all(each.startswith("--") for each in arguments):
        given = []
    if "--help" in arguments:
        with pytest.raises(click.exceptions.Exit):
            command.make_context(name, arguments)
        return
    with command.make_context(name, [*arguments, *given]) as context:
        assert isinstance(context, click.Context)


FILES = ("--network", "--data", "--atlas", "--weights", "--labels", ".pth", ".npz", "FILE", "--base", "--help")
RUNNABLE = [
    line
    for _, line in LINES
    if line.split()[0] in SHORT and not any(word in line for word in FILES) and not any(slow in line for slow in SLOW)
]


@pytest.mark.parametrize("line", sorted(set(RUNNABLE)))
def test_commands_on_the_embedded_network_run(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name, *arguments = shlex.split(line)
    short = list(SHORT[name])
    if name != "build_atlas" and any(word in line for word in CANDIDATES):
        short.append("--candidates=120")
    if name != "describe":
        short.append("--device=cpu")
    if "--ppl" in line:
        short.append("--paths=10")
    result = CliRunner().invoke(main_of(name), [*arguments, *short])
    assert result.exit_code == 0, result.output


def test_links_of_the_pages_lead_somewhere():
    for page in PAGES:
        folder = (ROOT / page).parent
        text = (ROOT / page).read_text()
        for target in re.findall(r"\]\(([^)#\s]+)\)", text):
            assert target.startswith("http") or (folder / target).exists(), (page, target)
        headings = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^#+ (.*)$", text, re.M)}
        for anchor in re.findall(r"\]\(#([^)\s]+)\)", text):
            assert anchor in headings, (page, anchor)


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) < 200
