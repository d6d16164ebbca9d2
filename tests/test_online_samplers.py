"""Samplers that compute volumes as they go, and how the commands take every sampler's options."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import small_stylegan2
from helpers.pickles import content_with, write_official, write_pickle
from helpers.splines import LEVEL, SLOPES, SplineGenerator, region_pvalue, spline_masses, volume

from cli.calc_metrics import main as calc_metrics
from cli.gen_images import main as gen_images
from dnnlib_compat.networks.discriminator import StyleGAN2Discriminator
from latent_plugins.atlas import Atlas
from latent_plugins.attaching import attach
from latent_plugins.priors import BallPrior, BoxPrior
from latent_plugins.samplers import create_sampler
from latent_plugins.samplers.filtered import FilterSampler
from latent_plugins.samplers.simplicial_filter import SimplicialFilter
from latent_plugins.spaces import get_space
from latent_plugins.volume import LogVolume

KINDS = ["pcn", "smc", "rejection", "online"]


def spline_volumes(label):
    return lambda z: volume(torch.as_tensor(z)).log()


def options_of(kind):
    return dict(steps=20) if kind == "pcn" else dict(particles=40)


@pytest.mark.bitwise
@pytest.mark.parametrize("kind", KINDS)
def test_seeds_are_what_they_are_whatever_the_batch(kind):
    sampler = create_sampler(kind, SplineGenerator(), volumes=spline_volumes, rho=1.0, **options_of(kind))
    together = sampler.draw([5, 0, 17, 3])
    assert together.z.dtype == torch.float32 and together.index is None
    np.testing.assert_allclose(together.log_volume, volume(together.z).log(), rtol=1e-5)
    again = create_sampler(kind, SplineGenerator(), volumes=spline_volumes, rho=1.0, **options_of(kind))
    assert torch.equal(again.draw([17]).z[0], together.z[2])
    assert "volumes computed" in sampler.report
    bulk = sampler.sample(30, torch.Generator().manual_seed(0))
    assert torch.equal(bulk.z, sampler.sample(30, torch.Generator().manual_seed(0)).z)
    assert not torch.equal(bulk.z, sampler.sample(30, torch.Generator().manual_seed(1)).z)


@pytest.mark.parametrize("kind", KINDS)
def test_larger_volumes_are_preferred(kind):
    """The law itself is tested with the chains; here, that ρ arrives: the means differ by many standard errors."""
    means = []
    for rho in (-1.0, 1.0):
        sampler = create_sampler(kind, SplineGenerator(), volumes=spline_volumes, rho=rho)
        means.append(sampler.sample(400, torch.Generator().manual_seed(0)).log_volume.mean())
    assert means[1] - means[0] > 1.0


def test_a_taught_surrogate_leaves_the_law_as_it_is():
    """The ends of 300 chains through computed spectra have the masses of π: a chi-square test at 0.001."""
    volume = LogVolume(get_space(SplineGenerator(), "style"), 2)
    sampler = create_sampler(
        "pcn", SplineGenerator(), volumes=lambda label: volume, rho=1.0, surrogate_labels=200, steps=12
    )
    drawn = sampler.draw(np.arange(300))
    assert region_pvalue(drawn.z.numpy(), 1.0) > LEVEL
    assert volume.evaluations <= 2 * 200 + 300 * 13  # 100 moves of a chain cost one volume
    assert torch.equal(sampler.draw([7]).z[0], drawn.z[7])


@pytest.mark.bitwise
@pytest.mark.long
def test_seeds_of_taught_chains_are_what_they_are_whatever_the_batch():
    volume = LogVolume(get_space(SplineGenerator(), "style"), 2)
    options = dict(volumes=lambda label: volume, rho=1.0, surrogate_labels=100, steps=8)
    together = create_sampler("pcn", SplineGenerator(), **options).draw([5, 0, 17])
    assert torch.equal(create_sampler("pcn", SplineGenerator(), **options).draw([17]).z[0], together.z[2])


def test_classes_have_volumes_of_their_own():
    network = small_stylegan2(c_dim=2)
    seen = []

    def volumes(label):
        seen.append(label)
        return lambda z: torch.zeros(len(z))

    sampler = create_sampler("pcn", network, volumes=volumes, rho=1.0, steps=8)
    latents = sampler.draw([0, 1, 2], torch.eye(2)[[1, 0, 1]])
    assert seen == [0, 1] and latents.z.shape == (3, 8)
    assert sampler.report.count("chains of") == 2


@pytest.mark.parametrize(
    "kind, options, message",
    [
        ("pcn", dict(rho=1.0, steps=7), "steps must be at least 8, not 7"),
        (
            "pcn",
            dict(rho=1.0, surrogate_labels=99),
            "99 surrogate_labels are too few to teach a surrogate: give at least 100",
        ),
        ("pcn", dict(rho=np.nan), "rho must be a finite number, not nan"),
        ("smc", dict(rho=np.inf), "rho must be a finite number, not inf"),
        ("rejection", dict(rho=1.0, particles=1), "particles must be at least 2, not 1"),
    ],
)
def test_refusals(kind, options, message):
    with pytest.raises(ValueError, match=message):
        create_sampler(kind, SplineGenerator(), volumes=spline_volumes, **options)


def test_a_seed_beyond_the_population():
    sampler = create_sampler("smc", SplineGenerator(), volumes=spline_volumes, rho=1.0, particles=10)
    with pytest.raises(ValueError, match="seed 10 is beyond the 10 of the population: more --particles"):
        sampler.draw([10])


def test_the_priors_density_leaves_the_weights(tmp_path):
    """ρ = 0 and α = 1 weigh candidates by 1/p: exp(‖z‖²/2)."""
    generator = SplineGenerator()
    atlas = Atlas.build(generator, tmp_path / "a", space="style", candidates=500)
    plain = create_sampler("polarity", generator, atlas=atlas, rho=0.0)
    corrected = create_sampler("polarity", generator, atlas=atlas, rho=0.0, alpha=1.0)
    weights = np.exp(atlas.latents(np.arange(500)).double().square().sum(dim=1).numpy() / 2)
    ess = weights.sum() ** 2 / (weights**2).sum()
    assert plain.degeneracy().effective_sample_size == pytest.approx(500)
    assert corrected.degeneracy().effective_sample_size == pytest.approx(ess, rel=1e-4)
    assert corrected.degeneracy().khat > 0.5 and "Pareto k" in str(corrected.degeneracy())
    smooth = create_sampler("polarity", generator, atlas=atlas, rho=0.0, alpha=1.0, pareto=True)
    assert smooth.degeneracy().effective_sample_size != corrected.degeneracy().effective_sample_size
    sphere = Atlas.build(small_stylegan2(), tmp_path / "b", space="style", candidates=10)
    with pytest.raises(ValueError, match="on the sphere every latent has the same density: leave out --alpha"):
        create_sampler("magnet", small_stylegan2(), atlas=sphere, alpha=1.0)


@pytest.fixture
def network(tmp_path):
    return write_official(tmp_path / "net.pkl", small_stylegan2())


def run(command, *options):
    return CliRunner().invoke(command, [*map(str, options), "--device=cpu"])


@pytest.mark.parametrize(
    "options, told",
    [
        ("--sampler=pcn --rho=1 --space=style --top-k=3 --steps=10", "chains of"),
        ("--sampler=pcn --rho=-1 --space=style --top-k=3 --steps=8 --labels=100", "3 chains of"),
        ("--sampler=smc --rho=-1 --space=pixel --top-k=3 --particles=12 --method=subspace", "12 particles"),
        ("--sampler=rejection --rho=0.5 --space=w:pixel --top-k=2 --particles=5", "acceptance"),
        ("--sampler=online --rho=0.5 --space=style --top-k=2 --particles=5", "acceptance"),
        ("--sampler=simplicial --corners=4 --tau=0.5", ""),
        ("--sampler=truncated-normal --threshold=1", ""),
    ],
)
def test_images_with_every_kind_of_sampler(tmp_path, network, options, told):
    outdir = tmp_path / "out"
    result = run(gen_images, f"--network={network}", *options.split(), "--seeds=0-2", f"--outdir={outdir}")
    assert result.exit_code == 0, result.output
    assert told in result.output and len(list(outdir.glob("seed*.png"))) == 3
    line = json.loads((outdir / "samples.jsonl").read_text().splitlines()[0])
    for option in options.split()[1:]:
        name, _, value = option.removeprefix("--").replace("-", "_").partition("=")
        if name in ("rho", "tau", "corners", "threshold", "particles", "steps"):
            assert line[name] == float(value.replace("_", "-")), line


def test_a_critic_from_the_networks_own_file(tmp_path):
    torch.manual_seed(0)
    generator = small_stylegan2()
    size, channels = generator.img_resolution, generator.img_channels
    content = content_with(StyleGAN2Discriminator(0, size, channels, channel_base=64, channel_max=8))
    path = write_pickle(tmp_path / "both.pkl", content)
    outdir = tmp_path / "out"
    common = [f"--network={path}", "--seeds=0-1", f"--outdir={outdir}"]
    result = run(gen_images, *common, "--sampler=sir", "--steps=3")
    assert result.exit_code == 0, result.output
    assert json.loads((outdir / "samples.jsonl").read_text().splitlines()[0])["critic"] == str(path)


@pytest.mark.parametrize(
    "options, message",
    [
        ("--sampler=simplicial --tau=0", "--sampler=simplicial needs --corners"),
        ("--sampler=truncated-normal", "--sampler=truncated-normal needs --threshold"),
        (
            "--sampler=truncated-normal --threshold=1 --tau=2",
            "--tau is an option of simplicial and has no effect with --sampler=truncated-normal",
        ),
        ("--sampler=pcn --steps=10 --candidates=5", "--candidates has no effect with --sampler=pcn"),
        ("--sampler=pcn --space=style", "--sampler=pcn needs --rho"),
        ("--sampler=pcn --rho=1 --space=pixel --method=hybrid", "--method=hybrid needs an atlas"),
        ("--sampler=latentrs", "--sampler=latentrs needs --weights=FILE: make them with train_weights"),
        ("--sampler=drs", "--sampler=drs needs a critic: give --weights=FILE"),
        ("--sampler=simplicial --corners=20 --tau=0", "a regular simplex in 8 dimensions has 2 to 9 corners, not 20"),
        ("--sampler=simplicial --corners=5 --tau=9", "--tau=9 lets 0 % of the prior pass by --rule=max, for 5 corners"),
        ("--sampler=simplicial --corners=5 --tau=0.1", "are for --rule=softmax"),
        ("--sampler=simplicial --corners=5 --tau=0.1 --rule=softmax", "lets 100 % of the prior pass by --rule=softmax"),
        ("--sampler=simplicial+prior --corners=5 --tau=0", "--tau=0 lets 100 % of the prior pass"),
        ("--sampler=simplicial+prior --corners=5 --tau=0.8 --rule=softmax", "or a larger --corner-radius"),
        ("--sampler=magnet --rho=1", "--rho has no effect with --sampler=magnet"),
    ],
)
def test_options_that_a_sampler_lacks_or_ignores(tmp_path, network, options, message):
    result = run(gen_images, f"--network={network}", *options.split(), "--seeds=0-1", f"--outdir={tmp_path / 'out'}")
    assert result.exit_code == 1 and message in result.output.splitlines()[-1], result.output


def test_metrics_of_an_online_sampler():
    options = ["--metrics=fid70_full", "--sampler=pcn", "--rho=0.5", "--space=style", "--top-k=3", "--steps=8"]
    result = run(calc_metrics, *options)
    assert result.exit_code == 0, result.output
    line = json.loads(result.output.splitlines()[-1])
    assert (line["sampler"], line["space"], line["rho"], line["top_k"]) == ("pcn", "z:w", 0.5, 3)


@pytest.mark.parametrize(
    "options, told",
    [
        ("--sampler=jbt --keep=0.5", "acceptance"),
        ("--sampler=jbt", "acceptance"),  # the default, recorded
        ("--sampler=jbt+polarity --keep=0.5 --rho=0.5 --space=style --candidates=50 --top-k=3 --trunc=0.8", "top-k 3"),
        ("--sampler=jbt+simplicial+prior --keep=0.9 --corners=4 --tau=0.3", "acceptance"),
    ],
)
def test_filters_stand_before_any_sampler(tmp_path, network, options, told):
    outdir = tmp_path / "out"
    result = run(gen_images, f"--network={network}", *options.split(), "--seeds=0-2", f"--outdir={outdir}")
    assert result.exit_code == 0, result.output
    assert told in result.output and "acceptance" in result.output
    line = json.loads((outdir / "samples.jsonl").read_text().splitlines()[0])
    assert line["sampler"] == options.split()[0].partition("=")[2] and line["keep"] in (0.5, 0.9)
    assert line["filter_space"] == "z:pixel" and 0 < line["draw"]["acceptance"] <= 1
    assert line["jacobian_norm"] > 0


@pytest.mark.parametrize(
    "options, message",
    [
        ("--sampler=jbt+metropolis", "unknown sampler 'jbt+metropolis'"),
        ("--sampler=jbt+jbt", "a filter stands there twice, which changes nothing; name it once"),
        ("--sampler=jbt+latentrs+ga", "needs --weights=FILE: make them with train_weights"),
        ("--sampler=polarity+prior --rho=1", "jbt, simplicial, latentrs may stand before another one"),
        ("--sampler=simplicial+prior --tau=1", "--sampler=simplicial+prior needs --corners"),
        ("--sampler=jbt+prior --tau=1", "--tau is an option of simplicial and has no effect with --sampler=jbt+prior"),
        ("--sampler=latentrs+prior", "needs --weights=FILE: make them with train_weights"),
        ("--sampler=jbt --keep=0", "0.0 is not in the range"),
    ],
)
def test_filters_that_make_no_sense(tmp_path, network, options, message):
    result = run(gen_images, f"--network={network}", *options.split(), "--seeds=0-1", f"--outdir={tmp_path / 'out'}")
    assert result.exit_code != 0 and message in result.output.splitlines()[-1], result.output


def test_the_domain_asked_for_is_that_of_volumes_and_moves(tmp_path, network):
    outdir = tmp_path / "out"
    options = ["--sampler=pcn", "--rho=1", "--space=style", "--top-k=3", "--steps=8", "--domain=gaussian"]
    result = run(gen_images, f"--network={network}", *options, "--seeds=0-1", f"--outdir={outdir}")
    assert result.exit_code == 0, result.output
    assert json.loads((outdir / "samples.jsonl").read_text().splitlines()[0])["domain"] == "gaussian"
    lengths = []
    for domain in ("gaussian", "sphere"):
        sampler = create_sampler(
            "pcn", small_stylegan2(), volumes=lambda label: lambda z: z[:, 0], rho=1.0, steps=8, domain=domain
        )
        lengths.append(sampler.draw(range(8)).z.norm(dim=1).std())
    assert lengths[0] > 0.1 and lengths[1] < 1e-4


@pytest.mark.parametrize("prior", [BoxPrior(2, -1.0, 1.0), BallPrior(2, 1.0)])
@pytest.mark.parametrize("kind", ["pcn", "smc", "rejection"])
def test_a_prior_may_be_put_in_the_place_of_the_generators(kind, prior):
    """On a box or ball the mean log-volume is that of many uniform draws, weighted, within 4 standard errors."""
    options = dict(steps=40) if kind == "pcn" else dict(particles=3000)
    sampler = create_sampler(kind, SplineGenerator(), volumes=spline_volumes, rho=1.0, domain=prior, **options)
    drawn = sampler.draw(range(3000))
    assert np.isfinite(prior.log_prob(drawn.z).numpy()).all()
    uniform = np.log(volume(prior.sample(200_000, torch.Generator().manual_seed(0)).float()).double().numpy())
    exact = (np.exp(uniform) * uniform).sum() / np.exp(uniform).sum()
    assert drawn.log_volume.mean() == pytest.approx(exact, abs=5 * drawn.log_volume.std() / np.sqrt(3000))


def test_a_small_bulk_draw_comes_from_full_populations():
    """5 rows a draw have the law's mean log-volume: within 4 standard errors over 60 draws, exact by quadrature."""
    sampler = create_sampler("smc", SplineGenerator(), volumes=spline_volumes, rho=2.0, particles=400)
    means = [sampler.sample(5, torch.Generator().manual_seed(seed)).log_volume.mean() for seed in range(60)]
    masses, _ = spline_masses(2.0)
    log_volumes = np.add.outer(*[np.log(SLOPES.double().numpy())] * 2).ravel()
    exact = masses @ log_volumes
    deviation = np.sqrt(masses @ (log_volumes - exact) ** 2)
    assert np.mean(means) == pytest.approx(exact, abs=4 * deviation / np.sqrt(300))
    assert len(sampler.sample(900, torch.Generator().manual_seed(0)).z.unique(dim=0)) > 850  # three populations


@pytest.mark.parametrize("kind", ["smc", "rejection"])
def test_populations_work_behind_filters_and_are_refused_by_attach(kind):
    generator = SplineGenerator()
    sampler = create_sampler(kind, generator, volumes=spline_volumes, rho=1.0, particles=200)
    filtered = FilterSampler(generator, sampler, [SimplicialFilter(3, 0.3, 0, 2)])
    assert filtered.capacity == 200
    latents = filtered.draw([0, 5, 40])
    order = sampler.draw(range(200)).z
    passing = order[SimplicialFilter(3, 0.3, 0, 2).accept(order, None, None)]
    assert torch.equal(latents.z, passing[[0, 5, 40]]) and latents.report["acceptance"] < 1
    assert filtered.sample(300, torch.Generator().manual_seed(0)).z.shape == (300, 2)
    with pytest.raises(ValueError, match="so there is none for seed 199: draw from more, or relax the filters"):
        filtered.draw([199])
    for each in (sampler, filtered):
        with pytest.raises(ValueError, match="it cannot answer for any latent that comes: take pcn, or polarity"):
            attach(generator, each)
