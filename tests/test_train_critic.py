"""train_critic: a critic of its own file, for the samplers that ask one."""

import pytest
import torch
from click.testing import CliRunner
from conftest import small_stylegan2, write_network
from helpers.image_zips import random_images, write_zip

import latent_plugins as lp
from cli.gen_images import main as gen_images
from cli.remake import main as remake
from cli.train_critic import main as train_critic_command
from dnnlib_compat.plain_files import read_about
from latent_plugins.reweighting import critic_schedule, train_critic
from latent_plugins.reweighting.critic_training import open_critic


@pytest.fixture
def world(tmp_path):
    network = write_network(tmp_path / "net.npz", small_stylegan2())
    data = write_zip(tmp_path / "real.zip", random_images(40, size=16))
    return [f"--network={network}", f"--data={data}", "--batch=4", "--channel-base=64", "--device=cpu"]


def run(command, *args, code=0):
    result = CliRunner().invoke(command, [str(arg) for arg in args])
    assert result.exit_code == code, result.output
    return result.output


@pytest.mark.bitwise
def test_an_interrupted_training_ends_in_the_same_bytes(tmp_path, tiny):
    data = torch.rand(30, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    schedule = critic_schedule(7, batch=4, channel_base=64)
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole = list(train_critic(tiny, data, schedule, outdir=tmp_path / "whole"))
    assert [row["step"] for row in whole] == list(range(-6, 1)) and all(row["mean_weight"] == 1 for row in whole)
    for row in train_critic(tiny, data, schedule, outdir=tmp_path / "parts", snapshot=3):
        if row["step"] == -2:
            break
    rest = list(train_critic(tiny, data, schedule, outdir=tmp_path / "parts", snapshot=3))
    assert [row["step"] for row in rest] == [-3, -2, -1, 0]
    assert (tmp_path / "parts" / "critic.npz").read_bytes() == (tmp_path / "whole" / "critic.npz").read_bytes()


def test_a_critic_learns_the_log_density_ratio_of_shades(tmp_path):
    """Real images are brighter on average: the logistic critic ranks them above generated ones."""
    generator = small_stylegan2()
    with torch.no_grad():
        fake = generator(torch.randn(64, generator.z_dim), torch.zeros(64, 0))
    data = (fake + 1).clamp(-1, 1)
    schedule = critic_schedule(60, batch=16, channel_base=64, critic_lr=2e-3)
    for _ in train_critic(generator, data, schedule, outdir=tmp_path):
        pass
    critic, loss = open_critic(tmp_path / "critic.npz", generator)
    assert loss == "logistic"
    with torch.no_grad():
        real, generated = critic(data), critic(fake)
    assert (real[:, None] > generated[None]).float().mean() > 0.9  # the area under the curve


def test_the_command_and_what_takes_its_file(tmp_path, world):
    said = run(train_critic_command, *world, f"--outdir={tmp_path / 'c'}", "--steps=3")
    assert "No discriminator goes with the network" in said and "critic.npz" in said
    about = read_about(tmp_path / "c" / "critic.npz")
    assert about["critic_loss"] == "logistic" and about["penalty_kind"] == "two-sided" and about["steps"] == 3
    critic = f"--weights={tmp_path / 'c' / 'critic.npz'}"
    for sampler in ("sir", "drs", "mh", "dot"):
        said = run(gen_images, world[0], critic, f"--sampler={sampler}", "--seeds=0", f"--outdir={tmp_path / sampler}")
        assert "log density ratios" not in said
    run(train_critic_command, *world, f"--outdir={tmp_path / 'w'}", "--steps=1", "--critic-loss=wasserstein")
    wasserstein = f"--weights={tmp_path / 'w' / 'critic.npz'}"
    said = run(gen_images, world[0], wasserstein, "--sampler=sir", "--seeds=0", f"--outdir={tmp_path / 'x'}")
    assert "takes a critic's scores as log density ratios" in said
    said = run(gen_images, "--network=mnist32", critic, "--sampler=sir", f"--outdir={tmp_path / 'y'}", code=1)
    assert "a critic of another network's images" in said


def test_an_image_of_a_critics_sampler_is_made_again_from_its_line(tmp_path, world):
    run(train_critic_command, *world, f"--outdir={tmp_path / 'c'}", "--steps=1")
    critic = f"--weights={tmp_path / 'c' / 'critic.npz'}"
    out = tmp_path / "out"
    run(gen_images, world[0], critic, "--sampler=dot", "--steps=2", "--seeds=0-1", f"--outdir={out}", "--device=cpu")
    assert "all the same to the byte" in run(remake, out / "samples.jsonl", "--check", "--device=cpu")


def test_embedded_weights_have_a_critic():
    sampler = lp.sampler("dot", lp.load("mnist32"), weights="embedded:mnist32-weights.npz", steps=1, pairs=5)
    assert sampler.draw([0]).z.shape == (1, 64)


def test_conditional_networks_have_no_critic(tmp_path, tiny_conditional):
    data = torch.zeros(8, 1, 16, 16)
    with pytest.raises(ValueError, match="the samplers that ask a critic are for networks without any"):
        train_critic(tiny_conditional, data, critic_schedule(2), outdir=tmp_path)
