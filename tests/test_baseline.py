"""Laws of latents other than the network's own."""

import numpy as np
import pytest
import scipy.stats
import torch
from click.testing import CliRunner
from conftest import small_stylegan2

from cli.gen_images import main as gen_images
from latent_plugins.priors import base_measure
from latent_plugins.samplers import create_sampler
from latent_plugins.samplers.recipe import Recipe

LEVEL = 1e-3


@pytest.mark.parametrize("law, scale", [("normal", 1.5), ("uniform", 2.0), ("ball", 3.0)])
def test_bulk_and_seeds_have_the_stated_law(law, scale):
    sampler = create_sampler("baseline", small_stylegan2(z_dim=3), law=law, scale=scale)
    bulk = sampler.sample(3000, torch.Generator().manual_seed(0)).z.numpy()
    seeds = sampler.draw(range(3000)).z.numpy()
    lengths = {
        "normal": scipy.stats.chi(3, scale=scale).cdf,
        "ball": lambda r: np.clip(r / scale, 0, 1) ** 3,
    }
    for z in (bulk, seeds):
        if law in lengths:
            assert scipy.stats.kstest(np.linalg.norm(z, axis=1), lengths[law]).pvalue > LEVEL
        else:
            assert scipy.stats.kstest(z.ravel(), scipy.stats.uniform(-scale, 2 * scale).cdf).pvalue > LEVEL
    assert torch.equal(sampler.draw([2, 7]).z, torch.from_numpy(seeds[[2, 7]]))
    assert abs(np.corrcoef(bulk[:, 0], seeds[:, 0])[0, 1]) < 0.1


@pytest.mark.parametrize("name", ["pcn", "rejection", "polarity"])
@pytest.mark.parametrize(
    "base, inside", [("uniform", lambda z: z.abs().max()), ("ball", lambda z: z.norm(dim=1).max())]
)
def test_volumes_reweight_the_base_measure(name, base, inside):
    """All latents lie in its support, fill it, and the record says which it is."""
    options = dict(base=base, radius=1.2, domain="gaussian", space="style", top_k=2)
    options |= dict(pcn=dict(steps=20), rejection=dict(particles=200), polarity=dict(candidates=300))[name]
    generator = small_stylegan2(z_dim=2, w_dim=4)
    sampler, described = Recipe(generator, name, options).make(0.0, 1.0)
    z = sampler.sample(200, torch.Generator().manual_seed(0)).z
    assert 1.0 < inside(z) <= 1.2001
    assert (described["base"], described["radius"]) == (base, 1.2)
    uniform = base_measure(base, 2, 1.2)
    reference = uniform.sample(4000, torch.Generator().manual_seed(5)).norm(dim=1)
    assert scipy.stats.ks_2samp(z.norm(dim=1), reference).pvalue > LEVEL  # rho = 0: the base measure itself


def test_the_sphere_knows_no_base_measure():
    options = dict(base="uniform", space="style", top_k=2)
    for name in ("pcn", "polarity"):
        with pytest.raises(ValueError, match="on the sphere"):
            Recipe(small_stylegan2(), name, dict(options)).make(1.0, 1.0)


def test_a_radius_belongs_to_a_base_measure(tmp_path):
    for name in ("pcn", "polarity"):
        with pytest.raises(ValueError, match="`radius` has no effect with `base`=prior"):
            Recipe(small_stylegan2(), name, dict(radius=2.0, space="style", top_k=2)).make(1.0, 1.0)
    result = CliRunner().invoke(gen_images, ["--sampler=magnet", "--radius=2", f"--outdir={tmp_path / 'out'}"])
    assert result.exit_code == 1 and "--radius has no effect with --base=prior" in result.output
    assert not (tmp_path / "out").exists()
