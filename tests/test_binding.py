"""Options, checks, help and records of samplers come from their settings, for every sampler and filter there is."""

import json

import click
import pytest
from click.testing import CliRunner

from cli.binding import SamplerCommand, own_settings
from cli.build_atlas import main as build_atlas
from cli.calc_metrics import main as calc_metrics
from cli.gen_images import main as gen_images
from cli.sweep import main as sweep
from latent_plugins.samplers.registry import available_filters, available_samplers
from latent_plugins.settings import Settings, setting
from latent_plugins.volume import methods
from latent_plugins.volume.spectrum.exact import Exact

SETTINGS = {
    **{name: each.Settings for name, each in available_samplers().items()},
    **{f"{name}+polarity": each.Settings for name, each in available_filters().items()},
}


def run(command, *args):
    return CliRunner().invoke(command, args)


@pytest.mark.parametrize("command", [gen_images, calc_metrics, sweep])
def test_commands_take_a_sampler_s_own_options(command):
    assert isinstance(command, SamplerCommand)


@pytest.mark.parametrize("name", SETTINGS)
def test_help_of_a_sampler_has_its_options_and_no_other_s(name):
    result = run(gen_images, f"--sampler={name}", "--help")
    assert result.exit_code == 0, result.output
    shown = {word.strip(",") for word in result.output.split() if word.startswith("--")}
    own = SETTINGS[name].described()
    assert {f"--{each.spelled}" for each in own.values()} <= shown
    known = {f"--{each.spelled}" for kind in SETTINGS.values() for each in kind.described().values()}
    allowed = {f"--{spelled}" for each in own.values() for spelled in (each.spelled, *each.aliases)}
    if "+" in name:
        allowed |= {f"--{each.spelled}" for each in SETTINGS["polarity"].described().values()}
    theirs = known - allowed - {"--basis", "--labels"}  # a volume's, too
    assert not shown & theirs
    titles = [line for line in result.output.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert titles[0] == "Network:" and titles[-1] == "Output:"
    assert ("Atlas:" in titles) == (name in ("magnet", "polarity") or name.endswith("+polarity"))


def test_plain_help_has_a_line_for_every_sampler():
    lines = run(gen_images, "--help").output.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("Samplers"))
    listed = [line.split()[0] for line in lines[start + 1 :] if line.startswith("  ") and line[2] != " "]
    assert set(available_samplers()) <= set(listed)


@pytest.mark.parametrize(
    "options, message",
    [
        (
            ["--sampler=pcn", "--rho=1", "--tau=1"],
            "--tau is an option of simplicial and has no effect with --sampler=pcn",
        ),
        (["--proposals=3"], "--proposals is an option of sir and has no effect with --sampler=prior"),
        (["--sampler=prior", "--pareto"], "--pareto is an option of magnet, polarity and has no effect"),
        (["--sampler=jbt", "--keep=1.5"], "1.5 is not in the range 0<x<=1"),
        (["--sampler=dot", "--step-projection=sideways"], "'sideways' is not one of 'tangent', 'published', 'none'"),
        (["--sampler=nosuch"], "unknown sampler 'nosuch'"),
        (["--sampler", "jbt+jbt"], "a filter stands there twice"),
        (["--sampler=magnet", "--method=exact", "--projection=9"], "--projection has no effect with --method=exact"),
    ],
)
def test_options_that_are_another_one_s(options, message, tmp_path):
    result = run(gen_images, *options, f"--outdir={tmp_path / 'out'}")
    assert result.exit_code != 0 and message in result.output, result.output
    assert not (tmp_path / "out").exists()  # before any work


def test_old_spellings_stay_for_a_while(tmp_path):
    given = ["--sampler=pcn", "--rho=0", "--space=style", "--top-k=3", "--steps=8", "--seeds=0", "--device=cpu"]
    result = run(gen_images, *given, "--labels=100", f"--outdir={tmp_path}")
    assert result.exit_code == 0, result.output
    line = json.loads((tmp_path / "samples.jsonl").read_text())
    assert line["surrogate_labels"] == 100 and "labels" not in line


def test_a_record_has_every_setting_defaults_included(tmp_path):
    result = run(gen_images, "--sampler=simplicial+jbt", "--corners=4", "--tau=0.1", "--calibration=20", "--seeds=0",
                 "--device=cpu", f"--outdir={tmp_path}")  # fmt: skip
    assert result.exit_code == 0, result.output
    line = json.loads((tmp_path / "samples.jsonl").read_text())
    expected = dict(corners=4, tau=0.1, rotation=0, keep=0.9, filter_space="z:pixel", norms="finite", norm_draws=10)
    expected |= dict(calibration=20, calibration_seed=0, sampler="simplicial+jbt")
    assert expected.items() <= line.items()


def test_a_registered_method_brings_its_options(tmp_path, monkeypatch):
    """In help, checks, the atlas and the record, of an atlas and of volumes that are computed as they are needed."""

    class Doubled(Exact):
        name = "doubled"
        help = "the singular values, multiplied"

        class Settings(Settings):
            factor: float = setting(2.0, low=0, low_open=True, help="What they are multiplied by.")
            steps: int = setting(1, low=1, help="How often.")

        def compute(self, operator, top_k, rng=None, basis=None):
            return super().compute(operator, top_k, rng, basis) * self.settings.factor**self.settings.steps

    monkeypatch.setattr(methods.METHODS, "_classes", dict(methods.METHODS._classes))
    methods.register(Doubled)
    assert list(own_settings("doubled")) == ["factor", "steps"] and not own_settings("exact")
    plain = ["--rho=0", "--space=style", "--top-k=2", "--seeds=0", "--device=cpu"]
    atlas = ["--sampler=polarity", "--candidates=50", *plain]
    assert "--factor" in run(gen_images, *atlas, "--method=doubled", "--help").output
    assert "--factor" in run(build_atlas, "--method=doubled", "--help").output
    assert "--factor" not in run(gen_images, *atlas, "--method=exact", "--help").output
    volumes = {}
    for factor in ("1", "3"):
        out = tmp_path / factor
        result = run(gen_images, *atlas, "--method=doubled", f"--factor={factor}", "--steps=2", f"--outdir={out}")
        assert result.exit_code == 0, result.output
        line = json.loads((out / "samples.jsonl").read_text())
        assert line["method"] == "doubled" and line["method_settings"] == dict(factor=float(factor), steps=2)
        volumes[factor] = line["log_volume"]
    assert volumes["3"] - volumes["1"] == pytest.approx(4 * 1.0986, abs=1e-3)  # of two values, squared
    # pcn has steps of its own: those of the method have its name before them.
    chains = ["--sampler=pcn", *plain, "--steps=8", "--method=doubled", "--method-steps=3", f"--outdir={tmp_path}"]
    result = run(gen_images, *chains)
    assert result.exit_code == 0, result.output
    line = json.loads((tmp_path / "samples.jsonl").read_text())
    assert line["steps"] == 8 and line["method_settings"]["steps"] == 3
    result = run(gen_images, *atlas, "--method=doubled", "--factor=0", f"--outdir={tmp_path}")
    assert result.exit_code != 0 and "0.0 is not in the range x>0" in result.output
    result = run(gen_images, "--method=doubled", "--factor=2", f"--outdir={tmp_path}")
    assert result.exit_code != 0 and "has no effect with --sampler=prior" in result.output


def test_every_setting_can_be_given_on_a_command_line():
    """With a value of its kind, click takes it."""
    for name, settings in SETTINGS.items():
        ctx = click.Context(gen_images)
        with ctx:
            gen_images.parse_args(ctx, [f"--sampler={name}"])
        options = {each.name: each for each in gen_images.get_params(ctx)}
        for each in settings.described().values():
            option = options[each.name]
            assert f"--{each.spelled}" in option.opts and option.expose_value, each
