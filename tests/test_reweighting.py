"""Latent reweighting: networks, objective, schedules, training and the files of weights."""

import dataclasses
import json
import pickle

import numpy as np
import pytest
import torch
from conftest import small_stylegan2
from helpers.image_zips import random_images, write_zip
from helpers.small_networks import Line
from helpers.splines import SplineGenerator

from dnnlib_compat.datasets import ImageDataset
from dnnlib_compat.plain_files import write_npz
from latent_plugins.files.arrays import read_arrays, write_arrays
from latent_plugins.files.fingerprint import fingerprint
from latent_plugins.reweighting import PRESETS, Schedule, WeightsCollapsed, WeightsError, load_weights, train
from latent_plugins.reweighting.networks import (
    ImageCritic,
    VectorCritic,
    WeightNetwork,
    build_critic,
    build_weight_network,
)
from latent_plugins.reweighting.objective import critic_loss, distance, gradient_penalty, rewards, weight_loss
from latent_plugins.reweighting.training import COLUMNS, FORMAT, Trainer, steps_done
from latent_plugins.reweighting.weight_files import save_weights

WASSERSTEIN = "wasserstein"
SMALL = Schedule(hidden=(16, 16), batch=8, channel_base=64, steps=12)


@pytest.fixture
def pictures(tmp_path):
    return ImageDataset(write_zip(tmp_path / "real.zip", random_images(60)))


def run(generator, data, outdir, schedule=SMALL, **options):
    """The log rows of a finished training."""
    outdir.mkdir(exist_ok=True)
    return list(train(generator, data, schedule, outdir=outdir, workers=0, **options))


# --- objective --------------------------------------------------------------------------------------------------------


def test_losses_are_the_papers_formulas():
    real, fake = torch.tensor([1.0, 3.0]), torch.tensor([2.0, 0.0, 4.0, -2.0])
    w = torch.tensor([0.0, 1.0, 4.0, 1.0])
    assert critic_loss(real, fake, w).item() == pytest.approx((0 + 0 + 16 - 2) / 6 - 2)
    assert critic_loss(real + 5, fake + 5, w).item() == pytest.approx(14 / 6 - 2)  # an offset means nothing
    assert critic_loss(real, fake, 0 * w).item() == -2
    assert rewards(fake).tolist() == [4, 2, 6, 0]
    # E w = 1.5; one weight is 1 above m = 3; E[w · reward] = (0 + 2 + 24 + 0) / 4
    found = weight_loss(w, rewards(fake), lambda1=10, lambda2=3, m=3).item()
    assert found == pytest.approx(10 * 0.5**2 + 3 * 1 / 4 - 26 / 4)


def test_the_gradient_of_the_weights_is_the_known_one():
    """d/dw_i of the loss is 2 λ1 (E w − 1)/N + 2 λ2 max(0, w_i − m)/N − reward_i/N."""
    w = torch.tensor([0.5, 2.0, 5.0], requires_grad=True)
    reward = torch.tensor([0.0, 1.0, 2.0])
    weight_loss(w, reward, lambda1=10, lambda2=3, m=3).backward()
    expected = [(20 * 1.5 + 6 * max(0, x - 3) - r) / 3 for x, r in zip([0.5, 2, 5], reward.tolist())]
    assert w.grad.tolist() == pytest.approx(expected)


def test_the_penalty_of_a_linear_critic_is_known_everywhere():
    direction = torch.tensor([3.0, 4.0])
    real, fake = torch.randn(6, 2), torch.randn(6, 2)
    for length, expected in [(1, (5 - 1) ** 2), (0.2, 0), (0.1, 0), (0, 0)]:  # slopes up to 1 cost nothing
        found = gradient_penalty(lambda x, a=length * direction: x @ a, real, fake, torch.Generator())
        assert found.item() == pytest.approx(expected, abs=1e-9)


def test_the_penalty_sees_points_between_the_pairs():
    seen = []

    def critic(x):
        seen.append(x)
        return x.sum(dim=1)

    real, fake = torch.zeros(100, 1), torch.ones(100, 1)
    gradient_penalty(critic, real, fake, torch.Generator().manual_seed(0))
    assert ((seen[0] >= 0) & (seen[0] <= 1)).all() and len(seen[0].unique()) > 50


# --- networks ---------------------------------------------------------------------------------------------------------


@pytest.mark.bitwise
def test_networks_rebuild_from_plain_settings():
    for network, build, x in [
        (WeightNetwork(5, (7, 3)), build_weight_network, torch.randn(4, 5)),
        (ImageCritic(16, 3, 64, 512), build_critic, torch.randn(4, 3, 16, 16)),
        (VectorCritic(12, (6,)), build_critic, torch.randn(4, 3, 2, 2)),
    ]:
        copy = build(json.loads(json.dumps(network.settings)))
        copy.load_state_dict(network.state_dict())
        assert torch.equal(copy(x), network(x)) and network(x).shape == (4,)


def test_weights_start_near_one_and_are_never_negative():
    torch.manual_seed(0)
    network = WeightNetwork(64, (400,) * 4)
    w = network(torch.randn(1000, 64))
    assert 0.8 < w.mean() < 1.2
    with torch.no_grad():
        network.out.bias.fill_(-10)
    assert (network(torch.randn(100, 64)) == 0).all()


@pytest.mark.parametrize("resolution, channels", [(4, 1), (8, 3), (64, 3)])
def test_the_critic_judges_each_image_on_its_own(resolution, channels):
    """What the gradient penalty takes for granted; a batch norm would break it."""
    critic = ImageCritic(resolution, channels, 128, 512)
    x = torch.randn(5, channels, resolution, resolution)
    torch.testing.assert_close(critic(x)[:1], critic(x[:1]))
    x.requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(x)[2], x)
    assert gradient[2].abs().sum() > 0 and gradient[[0, 1, 3, 4]].abs().sum() == 0


def test_sizes_that_no_network_has_are_refused():
    with pytest.raises(ValueError, match="24 pixels: give a power of two"):
        ImageCritic(24, 3, 64, 64)
    with pytest.raises(ValueError, match="2 channels: give 1"):
        ImageCritic(16, 2, 64, 64)
    with pytest.raises(ValueError, match=r"sizes \[16, 0\]"):
        WeightNetwork(4, (16, 0))
    with pytest.raises(ValueError, match="unknown critic 'oracle'; known critics: image, vector"):
        build_critic(dict(kind="oracle"))


# --- schedules --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, lambdas, m, sizes, activation, rates, betas, updates, warmup, loss",
    [
        ("mnist", (10, 3), 3, (400,) * 4, "relu", (4e-4, 1e-4), (0.5, 0.5), (1, 1), 0, "hinge"),
        ("progan-celeba", (20, 5), 3, (512,) * 4, "leaky-relu", (1e-4, 1e-5), (0, 0.999), (1, 3), 500, WASSERSTEIN),
        (
            "stylegan2-church",
            (30, 5),
            2,
            (512,) * 3,
            "leaky-relu",
            (1e-4, 1e-5),
            (0, 0.999),
            (1, 3),
            500,
            "wasserstein",
        ),
    ],
)
def test_presets_have_the_papers_numbers(
    name, lambdas, m, sizes, activation, rates, betas, updates, warmup, loss
):  # "Training of w" in the appendix; the critics' losses stand in section 4.3.1
    found = PRESETS[name]
    assert (found.lambda1, found.lambda2) == lambdas and found.m == m and found.activation == activation
    assert found.sizes(100 if name == "mnist" else 512) == sizes  # the latents' dimensions there
    assert (found.critic_lr, found.weights_lr) == rates and found.betas == betas
    assert (found.critic_steps, found.weights_steps) == updates and found.warmup == warmup
    assert found.critic_loss == loss and found.smoothing == 0
    assert (found.critic_term, found.penalty_kind, found.penalty) == ("published", "two-sided", 10)


def test_all_presets_are_known_and_ours_are_told_apart():
    assert set(PRESETS) == {"mnist", "progan-celeba", "stylegan2-church", "discriminator", "small-discriminator"}
    for name in ("discriminator", "small-discriminator"):
        assert PRESETS[name].critic_term == "normalised" and PRESETS[name].penalty_kind == "one-sided"


def test_worked_values_of_the_objective():
    """By hand: a weight above m, one of zero; a critic over weights whose mean is 1.375."""
    w, fake = torch.tensor([4.0, 0.0, 1.0, 0.5]), torch.tensor([1.0, -1.0, 2.0, 0.0])
    # E w (D - least) = (4 * 2 + 3 + 0.5) / 4 = 2.875, (E w - 1)^2 = 0.375^2, E max(0, w - 3)^2 = 1 / 4
    expected = -2.875 + 10 * 0.375**2 + 3 * 0.25
    assert weight_loss(w, rewards(fake), 10, 3, 3).item() == pytest.approx(expected)
    real = torch.tensor([2.0, 1.0])
    assert distance(real, fake, w, "published").item() == pytest.approx(1.5 - (4 + 2) / 4)
    assert distance(real, fake, w).item() == pytest.approx(1.5 - (4 + 2) / 5.5)
    hinge = (0 + 0) / 2 + (4 * 2 + 0 * 0 + 1 * 3 + 0.5 * 1) / 4
    assert critic_loss(real, fake, w, "hinge", "published").item() == pytest.approx(hinge)


@pytest.mark.parametrize("slope, one_sided, two_sided", [(0.0, 0, 1), (0.5, 0, 0.25), (1.0, 0, 0), (3.0, 4, 4)])
def test_both_penalties_of_a_linear_critic(slope, one_sided, two_sided):
    direction = torch.tensor([0.6, 0.8])
    points = torch.randn(5, 2), torch.randn(5, 2)
    for kind, expected in (("one-sided", one_sided), ("two-sided", two_sided)):
        found = gradient_penalty(lambda x: x @ (slope * direction), *points, torch.Generator(), kind)
        assert found.item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.bitwise
def test_the_critic_s_first_steps_alone_resume_too(tmp_path, tiny, pictures):
    """Interrupted within the warm-up and after it: the bytes of a training made in one go."""
    schedule = PRESETS["stylegan2-church"].replace(batch=4, channel_base=64, channel_max=8, steps=6, warmup=5)
    whole = run(tiny, pictures, tmp_path / "whole", schedule, input="w", seed=5, snapshot=100)
    assert [row["step"] for row in whole] == list(range(-4, 7))
    assert all(row["mean_weight"] == 1 and row["acceptance"] == 0.5 for row in whole[:5])
    (tmp_path / "parts").mkdir()
    options = dict(outdir=tmp_path / "parts", input="w", seed=5, snapshot=2)
    seen = []
    for last, done in ((-2, -3), (4, 3), (6, 6)):
        for row in train(tiny, pictures, schedule, **options):
            seen.append(row)
            if row["step"] == last and last < 6:
                break
        assert steps_done(tmp_path / "parts") == done
    assert {row["step"]: row for row in seen} == {row["step"]: row for row in whole}
    assert (tmp_path / "parts" / "weights.npz").read_bytes() == (tmp_path / "whole" / "weights.npz").read_bytes()


def test_a_former_checkpoint_goes_on(tmp_path, tiny, pictures):
    """One whose identity has the names of an earlier release."""
    (tmp_path / "a").mkdir()
    for row in train(tiny, pictures, SMALL, outdir=tmp_path / "a", snapshot=4):
        if row["step"] == 4:
            break
    path = tmp_path / "a" / "checkpoint.npz"
    header, parts = read_arrays(path, FORMAT, error=WeightsError, what="a", remedy="b")
    identity = header["identity"]
    for name in ("activation", "critic_term", "penalty_kind", "warmup"):
        del identity[name]
    identity["hidden"] = [int(size) for size in identity["hidden"].split(",")]
    identity["betas"] = [identity.pop("beta1"), identity.pop("beta2")]
    write_arrays(path, header, parts)
    assert [row["step"] for row in train(tiny, pictures, SMALL, outdir=tmp_path / "a")][0] == 5


@pytest.mark.parametrize(
    "number, message",
    [
        (dict(m=1.0), "m must be (above 1|a finite number)"),
        (dict(m=float("nan")), "m must be (above 1|a finite number)"),
        (dict(lambda1=-1.0), "lambda1 must be at least 0, not -1"),
        (dict(critic_lr=0.0), "critic_lr must be above 0, not 0"),
        (dict(batch=1), "batch must be at least 2, not 1"),
        (dict(steps=0), "steps must be at least 1, not 0"),
        (dict(critic_loss="square"), "unknown critic_loss 'square'; known ones: wasserstein, hinge, logistic"),
        (dict(smoothing=-1.0), "smoothing must be at least 0"),
        (dict(critic_batch=-1), "critic_batch must be at least 0"),
        (dict(hidden="512,,4"), "hidden '512,,4': give widths"),
        (dict(hidden=(16, 0)), "hidden '16,0': give widths"),
        (dict(ema=1.0), "ema must be 0 to below 1"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(number, message):
    with pytest.raises(ValueError, match=message):
        Schedule(**number)


# --- training ---------------------------------------------------------------------------------------------------------


def test_latents_without_real_counterparts_lose_their_weight(tmp_path):
    """Data in two separate pieces, |x| from 1 to 2, a generator of N(0, 1): the gap between them must go.

    The density of the data relative to the prior's is 0 in the gap and 1 / 0.27 = 3.7 on average beyond it, which the
    bound m = 3 cuts.
    """
    u = torch.rand(4000, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    sign = torch.where(torch.arange(4000) % 2 == 0, 1.0, -1.0)[:, None, None, None]
    data = (1 + u) * sign
    schedule = Schedule(hidden=(64, 64), batch=128, weights_lr=3e-3, critic_lr=3e-3, steps=600, ema=0.99)
    rows = run(Line(), data, tmp_path / "out", schedule)
    weights = load_weights(tmp_path / "out" / "weights.npz")
    z = torch.linspace(-2, 2, 401)[:, None]
    w = weights.weights(Line(), z)
    gap, modes = w[z[:, 0].abs() < 0.4], w[(z[:, 0].abs() > 1.1) & (z[:, 0].abs() < 1.9)]
    assert gap.mean() < 0.1 and 2 < modes.mean() < 4
    assert 0.8 < weights.mean_weight < 1.25
    distance = [row["wasserstein"] for row in rows]
    assert np.mean(distance[-50:]) < 0.5 * max(np.mean(distance[i : i + 50]) for i in range(0, 100, 10))


@pytest.mark.bitwise
@pytest.mark.parametrize("kind", ["z", "w"])
def test_an_interrupted_training_ends_in_the_same_bytes(tmp_path, tiny, pictures, kind):
    whole = run(tiny, pictures, tmp_path / "whole", input=kind, seed=5, snapshot=100)
    (tmp_path / "parts").mkdir()
    options = dict(outdir=tmp_path / "parts", input=kind, seed=5, snapshot=4, workers=2)
    seen = []
    killed = train(tiny, pictures, SMALL, **options)
    for row in killed:
        if row["step"] == 7:  # after the checkpoint of step 4
            break
        seen.append(row)
    killed.close()
    assert steps_done(tmp_path / "parts") == 4 and not (tmp_path / "parts" / "weights.npz").exists()
    resumed = list(train(tiny, pictures, SMALL, **options))
    assert seen[:4] + resumed == whole
    for name in ("weights.npz", "checkpoint.npz"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()
    other = run(tiny, pictures, tmp_path / "other", input=kind, seed=6)
    assert other != whole


@pytest.mark.bitwise
def test_more_steps_go_on_from_fewer(tmp_path, tiny, pictures):
    run(tiny, pictures, tmp_path / "a", steps=5)
    assert [row["step"] for row in run(tiny, pictures, tmp_path / "a", steps=9)] == [6, 7, 8, 9]
    run(tiny, pictures, tmp_path / "b", steps=9)
    assert (tmp_path / "a" / "weights.npz").read_bytes() == (tmp_path / "b" / "weights.npz").read_bytes()
    (tmp_path / "a" / "weights.npz").unlink()
    assert run(tiny, pictures, tmp_path / "a", steps=9) == []  # everything is done but for the file
    assert (tmp_path / "a" / "weights.npz").read_bytes() == (tmp_path / "b" / "weights.npz").read_bytes()
    with pytest.raises(WeightsError, match="a training of 9 steps, more than 5"):
        run(tiny, pictures, tmp_path / "a", steps=5)


@pytest.mark.bitwise
def test_several_critic_steps_see_a_batch_each(tmp_path, tiny, pictures):
    schedule = dataclasses.replace(SMALL, critic_steps=3, steps=4)
    whole = run(tiny, pictures, tmp_path / "a", schedule)
    (tmp_path / "b").mkdir()
    part = train(tiny, pictures, schedule, outdir=tmp_path / "b", snapshot=2, workers=0)
    seen = [next(part), next(part)]
    part.close()
    assert seen + run(tiny, pictures, tmp_path / "b", schedule) == whole
    assert run(tiny, pictures, tmp_path / "c", dataclasses.replace(SMALL, steps=4)) != whole


def test_rows_tell_what_happened(tmp_path, tiny, pictures):
    rows = run(tiny, pictures, tmp_path / "a")
    assert [row["step"] for row in rows] == list(range(1, 13))
    for row in rows:
        assert tuple(row) == COLUMNS and np.isfinite(list(row.values())).all()
        assert row["mean_weight"] <= row["max_weight"] and 0 <= row["zero_share"] <= 1
        assert row["acceptance"] <= row["mean_weight"] / SMALL.m + 1e-6


def test_training_touches_nobody_elses_random_numbers_nor_the_generator(tmp_path, tiny, pictures):
    torch.manual_seed(3)
    expected = torch.randn(4)
    before = fingerprint(tiny)
    torch.manual_seed(3)
    run(tiny, pictures, tmp_path / "a")
    assert torch.equal(torch.randn(4), expected) and fingerprint(tiny) == before


def test_conditional_generators_take_their_labels_from_the_data(tmp_path, tiny_conditional):
    path = write_zip(tmp_path / "real.zip", random_images(30), labels=[i % 3 for i in range(30)])
    labelled = ImageDataset(path, use_labels=True)
    run(tiny_conditional, labelled, tmp_path / "a")
    weights = load_weights(tmp_path / "a" / "weights.npz")
    z = torch.randn(1, 8).expand(3, -1)
    assert len(weights.weights(tiny_conditional, z, torch.eye(3)).unique()) == 3  # styles know the label
    with pytest.raises(ValueError, match="labels of 0 entries, the network takes 3"):
        run(tiny_conditional, ImageDataset(path), tmp_path / "b")


@pytest.mark.parametrize(
    "numbers, message",
    [
        # Nothing holds the mean down: every reward is positive.
        (
            dict(weights_lr=0.05, lambda1=0.0, lambda2=0.0, greatest_mean=5.0),
            "mean is .* outside 0.05 to 5 for 5 steps",
        ),
        # The mean stays about 1, where it should be, but that counts as vanished here.
        (dict(least_mean=2.0), "mean is .* at step 5 and was outside 2 to 20 for 5 steps; a larger lambda1"),
    ],
)
def test_collapse_is_told(tmp_path, tiny, pictures, numbers, message):
    schedule = dataclasses.replace(SMALL, steps=200, patience=5, **numbers)
    with pytest.raises(WeightsCollapsed, match=message):
        run(tiny, pictures, tmp_path / "a", schedule)
    assert not (tmp_path / "a" / "weights.npz").exists()


def test_a_broken_training_stops_at_once(tmp_path, tiny, pictures):
    schedule = dataclasses.replace(SMALL, critic_lr=1e30, steps=50)
    with pytest.raises(WeightsCollapsed, match="broke at step .* smaller critic-lr"):
        run(tiny, pictures, tmp_path / "a", schedule)
    assert steps_done(tmp_path / "a") is None


def test_data_that_does_not_fit_is_refused(tmp_path, tiny, pictures):
    small = ImageDataset(write_zip(tmp_path / "small.zip", random_images(5, size=8)))
    with pytest.raises(ValueError, match=r"shape \[1, 8, 8\], the network makes \[1, 16, 16\]"):
        train(tiny, small, SMALL, outdir=tmp_path)
    with pytest.raises(ValueError, match=r"shape \[3, 16, 16\]"):
        train(tiny, torch.zeros(4, 3, 16, 16), SMALL, outdir=tmp_path)
    with pytest.raises(ValueError, match="empty"):
        train(tiny, torch.zeros(0, 1, 16, 16), SMALL, outdir=tmp_path)
    with pytest.raises(ValueError, match="unknown input 'pixels'"):
        train(tiny, pictures, SMALL, outdir=tmp_path, input="pixels")
    with pytest.raises(ValueError, match="has no styles"):
        train(Line(), torch.zeros(4, 1, 1, 1), SMALL, outdir=tmp_path, input="w")
    with pytest.raises(ValueError, match="snapshot every 0 steps"):
        train(tiny, pictures, SMALL, outdir=tmp_path, snapshot=0)


def test_a_folder_goes_on_with_its_own_training_alone(tmp_path, tiny, pictures):
    run(tiny, pictures, tmp_path / "a", steps=3)
    others = [
        (tiny, pictures, SMALL, dict(seed=1), "another seed"),
        (tiny, pictures, dataclasses.replace(SMALL, m=4.0), {}, "another m "),
        (tiny, torch.zeros(9, 1, 16, 16), SMALL, {}, "another data"),
        (small_stylegan2(seed=1), pictures, SMALL, {}, "another network"),
        (tiny, pictures, SMALL, dict(input="z"), "another input"),
    ]
    for generator, data, schedule, options, message in others:
        with pytest.raises(WeightsError, match=message):
            train(generator, data, schedule, outdir=tmp_path / "a", **options)


def test_a_damaged_checkpoint_is_told(tmp_path, tiny, pictures):
    run(tiny, pictures, tmp_path / "a", steps=3)
    checkpoint = tmp_path / "a" / "checkpoint.npz"
    checkpoint.write_bytes(checkpoint.read_bytes()[:5000])
    for broken in (lambda: train(tiny, pictures, SMALL, outdir=tmp_path / "a"), lambda: steps_done(tmp_path / "a")):
        with pytest.raises(WeightsError, match="damaged"):
            broken()


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def trained(tmp_path, tiny, pictures):
    run(tiny, pictures, tmp_path / "out")
    return tmp_path / "out" / "weights.npz"


@pytest.mark.bitwise
def test_a_file_holds_what_was_trained(trained, tiny):
    found = load_weights(trained)
    found.check_network(tiny)
    assert (found.input, found.m, found.z_dim, found.w_dim, found.c_dim) == ("w", 3.0, 8, 8, 0)
    assert (found.steps, found.seed, found.schedule["lambda1"]) == (12, 0, 10.0)
    z = torch.randn(2000, 8)
    w = found.weights(tiny, z)
    assert w.shape == (2000,) and w.dtype == torch.float32
    assert w.mean().item() == pytest.approx(found.mean_weight, rel=0.02)
    assert torch.equal(w, found.weight_network(tiny.style(z, torch.zeros(2000, 0))))
    assert found.critic(tiny(z[:3], torch.zeros(3, 0))).shape == (3,)
    z = z[:2].requires_grad_(True)
    assert torch.autograd.grad(found.weights(tiny, z).sum(), z)[0].abs().sum() > 0


def test_weights_of_another_network_are_refused(trained):
    with pytest.raises(WeightsError, match="weights of another network, train some for this network"):
        load_weights(trained).check_network(small_stylegan2(seed=1))


class Exploding:
    def __reduce__(self):
        return (pytest.fail, ("a pickle ran",))


def test_other_files_are_refused_and_run_nothing(tmp_path, tiny, trained):
    whole = trained.read_bytes()
    hostile = np.empty(1, dtype=object)
    hostile[0] = Exploding()
    cases = dict(
        truncated=whole[: len(whole) // 2],
        headless=whole[:-30],
        nothing=b"",
        text=b"weights",
        pickled=pickle.dumps(Exploding()),
    )
    paths = []
    for name, content in cases.items():
        paths.append(tmp_path / f"{name}.npz")
        paths[-1].write_bytes(content)
    paths.append(tmp_path / "disguised.npz")
    np.savez(paths[-1], header=hostile)
    paths.append(tmp_path / "network.npz")
    write_npz(tiny, paths[-1])
    paths.append(trained.with_name("checkpoint.npz"))
    for path in paths:
        with pytest.raises(WeightsError, match=f"{path.name}: .*(damaged|format)"):
            load_weights(path)
    with pytest.raises(FileNotFoundError):
        load_weights(tmp_path / "none.npz")


def changed(path, **fields):
    """The path of a copy whose header has other fields (None: lacks them)."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    header = json.loads(str(arrays.pop("header")))
    header.update(fields)
    text = json.dumps({name: value for name, value in header.items() if value is not None})
    np.savez(path.with_name("changed.npz"), header=np.array(text), **arrays)
    return path.with_name("changed.npz")


@pytest.mark.parametrize(
    "fields",
    [
        dict(m=0.5),
        dict(m="3"),
        dict(m=None),
        dict(input="pixels"),
        dict(z_dim=9, input="z"),
        dict(weight_network=dict(in_dim=8, hidden=[16, 10**9])),
        dict(weight_network=dict(in_dim=8, hidden=["a"])),
        dict(weight_network=[1]),
        dict(critic=dict(kind="oracle")),
        dict(critic={}),
        dict(surplus=1),
    ],
)
def test_a_header_that_does_not_fit_is_told(trained, fields):
    with pytest.raises(WeightsError, match="damaged"):
        load_weights(changed(trained, **fields))


def test_weights_that_are_no_numbers_are_refused(tmp_path, tiny):
    network, critic = WeightNetwork(8, (4,)), ImageCritic(16, 1, 64, 64)
    with torch.no_grad():
        network.out.bias.fill_(float("nan"))
    figures = dict(input="w", m=3.0, schedule={}, steps=1, seed=0, mean_weight=1.0, acceptance=0.3)
    save_weights(tmp_path / "w.npz", tiny, network, critic, **figures)
    with pytest.raises(WeightsError, match="NaN"):
        load_weights(tmp_path / "w.npz")


def test_networks_below_four_pixels_get_a_critic_of_vectors(tmp_path):
    generator = SplineGenerator()
    run(generator, torch.randn(50, 3, 1, 1), tmp_path / "a")
    assert load_weights(tmp_path / "a" / "weights.npz").critic.settings["in_dim"] == 3


def test_the_hinge_loss_weights_what_it_penalises():
    real, fake = torch.tensor([2.0, 0.5]), torch.tensor([-3.0, 0.0, 1.0])
    w = torch.tensor([1.0, 2.0, 0.0])
    assert critic_loss(real, fake, w, "hinge").item() == pytest.approx((0 + 0.5) / 2 + (0 + 2 * 1 + 0) / 3)
    assert distance(real, fake, w).item() == pytest.approx(1.25 - (-3 + 0 + 0) / 3)
    assert critic_loss(real, fake, w).item() == -distance(real, fake, w).item()


def test_the_logistic_loss_is_least_at_the_log_density_ratio():
    """Real data p = (0.2, 0.8) on two points, generator q = (0.5, 0.5) with weights w: D = log p / (q w / E w)."""
    p, w = torch.tensor([0.2, 0.8]), torch.tensor([1.0, 3.0])
    scores = (p / (w / w.sum())).log().requires_grad_(True)
    real = torch.cat([scores[:1], *[scores[1:]] * 4])  # five draws that hold p exactly
    critic_loss(real, scores, w, "logistic").backward()
    assert scores.grad.tolist() == pytest.approx([0, 0], abs=1e-6)


def test_smoothed_weights_are_a_regression_of_the_reward():
    """With smoothing s alone, E[s σ (w − 1)² − w r] is least at w = 1 + r / 2sσ, whatever the rewards are scaled by."""
    reward = torch.tensor([0.0, 0.4, 1.2])
    w = (1 + reward / reward.std(correction=0) / (2 * 0.6)).requires_grad_(True)
    weight_loss(w, reward, lambda1=0, lambda2=0, m=3, smoothing=0.6).backward()
    assert w.grad.tolist() == pytest.approx([0, 0, 0], abs=1e-7)


def test_smoothing_ends():
    schedule = dataclasses.replace(SMALL, smoothing=0.6, smoothing_steps=4)
    assert [schedule.smoothing_at(step) for step in (0, 2, 4, 9)] == pytest.approx([0.6, 0.3, 0, 0])


def test_a_training_goes_on_from_a_given_critic(tmp_path, tiny, pictures):
    critic = ImageCritic(16, 1, 64, 64)
    before = {name: tensor.clone() for name, tensor in critic.state_dict().items()}
    schedule = dataclasses.replace(SMALL, critic_loss="hinge", critic_batch=3, critic_lr=1e-9, smoothing=0.5)
    run(tiny, pictures, tmp_path / "a", schedule, critic=critic)
    found = load_weights(tmp_path / "a" / "weights.npz").critic
    x = torch.randn(3, 1, 16, 16)
    torch.testing.assert_close(found(x), critic(x), atol=1e-4, rtol=0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in critic.state_dict().items())  # a copy was trained
    with pytest.raises(WeightsError, match="another critic"):
        train(tiny, pictures, schedule, outdir=tmp_path / "a")
    with pytest.raises(ValueError, match="class Linear: give one of a kind in image, vector"):
        train(tiny, pictures, schedule, outdir=tmp_path, critic=torch.nn.Linear(1, 1))


@pytest.mark.bitwise
def test_a_step_makes_as_many_updates_as_the_schedule_says(tmp_path, tiny, pictures, monkeypatch):
    """With a critic that stands still, two steps of three updates are six steps of one."""
    monkeypatch.setattr(Trainer, "critic_step", lambda self, real, number: (torch.zeros(()), torch.zeros(())))
    for name, count, steps in (("a", 3, 2), ("b", 1, 6)):
        run(tiny, pictures, tmp_path / name, dataclasses.replace(SMALL, weights_steps=count, steps=steps))
    a, b = (load_weights(tmp_path / name / "weights.npz").weight_network.state_dict() for name in "ab")
    assert all(torch.equal(a[name], b[name]) for name in a)
