"""Atlases on disk: complete, resumable to the byte, refused when they do not fit."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import scipy.stats
import torch
from conftest import ROOT, small_stylegan2

from dnnlib_compat.checksums import write_npy
from dnnlib_compat.plain_files import write_npz
from latent_plugins.atlas import Atlas, open_atlas
from latent_plugins.atlas import build as atlases
from latent_plugins.atlas.settings import AtlasError, make_settings
from latent_plugins.atlas.table import build_alone
from latent_plugins.spaces import get_space
from latent_plugins.volume.spectrum import spectrum


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_rows_are_the_spectra_of_the_candidates(tmp_path, tiny):
    atlas = Atlas.build(tiny, tmp_path / "a", space="pixel", candidates=1100, seed=3)
    assert atlas.spectra().shape == (1100, 7)
    indices = [0, 999, 1000, 1099]
    space_map = get_space(tiny, "pixel")
    expected = spectrum(space_map, space_map.enter(atlas.latents(indices)), top_k=7)
    np.testing.assert_allclose(atlas.spectra()[indices], expected, rtol=1e-4, atol=1e-6)
    volume = np.log(atlas.spectra()[:, :4].astype(np.float64)).sum(axis=1)
    np.testing.assert_allclose(atlas.log_volume(4), volume, rtol=1e-9)
    again = open_atlas(tmp_path / "a")
    assert np.array_equal(again.spectra(), atlas.spectra())
    again.check_network(tiny)


def test_w_pixel_takes_the_synthesis_at_the_candidates_style(tmp_path, tiny):
    atlas = Atlas.build(tiny, tmp_path / "a", space="w:pixel", candidates=3)
    w = get_space(tiny, "style").enter(atlas.latents(range(3)))
    styles = tiny.style(w, torch.zeros(3, 0))

    def image(w):
        return tiny.synthesis(w[None, None].expand(1, tiny.num_ws, -1)).flatten()

    jacobian = torch.stack([torch.func.jacrev(image)(row) for row in styles])
    np.testing.assert_allclose(atlas.spectra(), torch.linalg.svdvals(jacobian), rtol=1e-3, atol=1e-5)


@pytest.mark.bitwise
def test_an_interrupted_build_ends_in_the_same_bytes(tmp_path, tiny):
    settings = make_settings(tiny, space="style", candidates=3500)
    build_alone(tiny, tmp_path / "whole", settings)
    parts = tmp_path / "parts"
    shards = atlases.missing_shards(parts, atlases.claim(parts, settings))
    assert [stop - start for _, _, start, stop in shards] == [1000, 1000, 1000, 500]
    for shard in shards[:2]:
        atlases.write_shard(tiny, parts, settings, shard)
    with pytest.raises(AtlasError, match="unfinished .2 of 4 shards.; run build_atlas again"):
        open_atlas(parts)
    assert atlases.missing_shards(parts, settings) == shards[2:]
    build_alone(tiny, parts, settings)
    assert contents(parts) == contents(tmp_path / "whole")


@pytest.mark.bitwise
@pytest.mark.long
def test_a_killed_build_ends_in_the_same_bytes(tmp_path):
    """The real command, killed without warning in the middle, then run again."""
    network = small_stylegan2(z_dim=64, w_dim=64)
    write_npz(network, tmp_path / "net.npz")

    def command(outdir):
        options = [f"--network={tmp_path / 'net.npz'}", f"--outdir={outdir}", "--candidates=5000", "--device=cpu"]
        return [sys.executable, "-m", "cli.build_atlas", *options]

    run = dict(cwd=ROOT, env=dict(os.environ, OMP_NUM_THREADS="1"), stdout=subprocess.DEVNULL)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    build_alone(network, whole, make_settings(network, candidates=5000))
    process = subprocess.Popen(command(parts), **run)
    deadline = time.monotonic() + 120
    while not (parts / "shard00001.npy").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 2 <= len(list(parts.glob("shard*.npy"))) < 5
    subprocess.run(command(parts), check=True, **run)
    ours = {name: data for name, data in contents(parts).items() if not name.endswith(".tmp")}
    assert ours == contents(whole)


def test_the_memory_bound_may_change_when_a_build_goes_on(tmp_path, tiny):
    settings = make_settings(tiny, space="style", candidates=1500, max_memory=1 << 20)
    build_alone(tiny, tmp_path / "a", settings)
    (tmp_path / "a" / "shard00001.npy").unlink()
    before = contents(tmp_path / "a")
    other = make_settings(tiny, space="style", candidates=1500, max_memory=1 << 28)
    build_alone(tiny, tmp_path / "a", other)
    after = contents(tmp_path / "a")
    assert {name: after[name] for name in before} == before and "shard00001.npy" in after


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(space="pixel"), "another space .z:w, wanted z:pixel"),
        (dict(domain="gaussian"), "another domain .sphere, wanted gaussian"),
        (dict(seed=5), "another seed .0, wanted 5"),
        (dict(candidates=20), "another candidates .10, wanted 20"),
        (dict(top_k=3), "another top_k .7, wanted 3"),
        (dict(method="projected"), "another method .exact, wanted projected"),
    ],
)
def test_other_settings_are_refused(tmp_path, tiny, change, message):
    settings = dict(space="style", candidates=10)
    Atlas.build(tiny, tmp_path / "a", **settings)
    before = contents(tmp_path / "a")
    with pytest.raises(AtlasError, match=message):
        Atlas.build(tiny, tmp_path / "a", **{**settings, **change})
    assert contents(tmp_path / "a") == before


def test_another_network_is_refused(tmp_path, tiny, tiny_conditional):
    atlas = Atlas.build(tiny, tmp_path / "a", candidates=10)
    other = small_stylegan2(seed=1)
    with pytest.raises(AtlasError, match="another network"):
        Atlas.build(other, tmp_path / "a", candidates=10)
    with pytest.raises(AtlasError, match="an atlas of another network"):
        atlas.check_network(other)
    with pytest.raises(AtlasError, match="an atlas of another network"):
        atlas.check_network(tiny_conditional)


def test_a_folder_with_other_files_is_left_alone(tmp_path, tiny):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(AtlasError, match="a folder with other files"):
        Atlas.build(tiny, tmp_path, candidates=10)
    assert contents(tmp_path) == {"thesis.tex": b"years of work"}


def test_damaged_atlases_are_named(tmp_path, tiny):
    Atlas.build(tiny, tmp_path / "a", candidates=10)
    shard, header = tmp_path / "a" / "shard00000.npy", tmp_path / "a" / "atlas.json"
    whole, text = shard.read_bytes(), header.read_text()
    for damage in (whole[:100], b"", whole[:-4]):
        shard.write_bytes(damage)
        with pytest.raises(AtlasError, match="shard00000.npy: damaged"):
            open_atlas(tmp_path / "a")
    with open(shard, "wb") as file:
        write_npy(file, np.zeros((10, 3), np.float32))
    with pytest.raises(AtlasError, match="its shape is .10, 3.*run build_atlas again"):
        open_atlas(tmp_path / "a")
    for damage in ("{", "[]", "{}", json.dumps(dict(json.loads(text), surprise=1)), json.dumps(dict(format=99))):
        header.write_text(damage)
        with pytest.raises(AtlasError):
            open_atlas(tmp_path / "a")
    with pytest.raises(AtlasError, match="no atlas"):
        open_atlas(tmp_path)


def test_conditional_atlases_are_per_class(tmp_path, tiny_conditional):
    atlas = Atlas.build(tiny_conditional, tmp_path / "a", candidates=20, classes=[2, 0])
    assert atlas.classes == (0, 2)
    assert not np.array_equal(atlas.latents([0, 1], label=0), atlas.latents([0, 1], label=2))
    space_map = get_space(tiny_conditional, "style", c=torch.eye(3)[2])
    expected = spectrum(space_map, space_map.enter(atlas.latents([5], label=2)), top_k=7)
    np.testing.assert_allclose(atlas.spectra(label=2)[[5]], expected, rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="no class 1; its classes: 0, 2"):
        atlas.log_volume(label=1)
    with pytest.raises(ValueError, match="no class None"):
        atlas.log_volume()
    with pytest.raises(ValueError, match="class 3 is out of range, the network has classes 0 to 2"):
        make_settings(tiny_conditional, classes=[3])


def test_unusable_spectra_are_dropped_with_a_count(tmp_path):
    sigma = np.ones((6, 3), np.float32)
    sigma[1], sigma[3, 0], sigma[4, 2] = 0, np.nan, np.inf
    atlas = Atlas(tmp_path, {None: sigma}, latents={None: np.zeros((6, 2), np.float32)})
    with pytest.warns(UserWarning, match="3 of 6 candidates have a zero or non-finite spectrum"):
        volume = atlas.log_volume()
    assert np.isnan(volume).tolist() == [False, True, False, True, True, False]


@pytest.mark.parametrize(
    "settings, message",
    [
        (dict(base="uniform"), "use `base`=prior, or `domain`=gaussian"),
        (dict(base="uniform", domain="gaussian", radius=0), "radius .* must be positive"),
        (dict(top_k=9), "top-k 9 is outside 1 to 7"),
        (dict(top_k=5, method="projected", projection=4), "top-k 5 is outside 1 to 4"),
        (dict(candidates=0), "must be positive"),
        (dict(classes=[0]), "the network is unconditional"),
        (dict(method="magic"), "known methods"),
        (dict(space="fourier"), "unknown space"),
    ],
)
def test_impossible_settings_are_refused(tiny, settings, message):
    with pytest.raises(ValueError, match=message):
        make_settings(tiny, **settings)


def published(path, **arrays):
    rng = np.random.RandomState(0)
    latents, svds = rng.randn(1, 6, 8).astype(np.float32), np.sort(rng.rand(1, 6, 5))[..., ::-1].astype(np.float32)
    svds[0, 2] = 0
    np.savez(path, **{**dict(latents=latents, svds=svds), **arrays})
    return latents[0], svds[0]


def test_published_files_open(tmp_path, tiny):
    latents, svds = published(tmp_path / "a.npz")
    atlas = Atlas.open(tmp_path / "a.npz")
    finished = [0, 1, 3, 4, 5]
    assert np.array_equal(atlas.spectra(), svds[finished])
    assert np.array_equal(atlas.latents([0, 4]), latents[finished][[0, 4]])
    atlas.check_network(tiny)
    with pytest.raises(AtlasError, match="latents of 8 dimensions, the network takes 16"):
        atlas.check_network(small_stylegan2(z_dim=16))


def test_published_files_with_labels_open_per_class(tmp_path, tiny, tiny_conditional):
    labels = np.eye(3)[[0, 1, 1, 0, 1, 1]]
    latents, svds = published(tmp_path / "a.npz", labels=labels[None, None])
    atlas = Atlas.open(tmp_path / "a.npz")
    assert atlas.classes == (0, 1)
    assert np.array_equal(atlas.latents([0, 1, 2], label=1), latents[[1, 4, 5]])
    atlas.check_network(tiny_conditional)
    with pytest.raises(AtlasError, match="an atlas of a conditional network"):
        atlas.check_network(tiny)


@pytest.mark.parametrize(
    "arrays, message",
    [
        (dict(svds=np.zeros((6, 5))), "every row of its svds is zero"),
        (dict(svds=np.ones((7, 5))), "different lengths .6 latents, 7 svds"),
    ],
)
def test_useless_published_files(tmp_path, arrays, message):
    published(tmp_path / "a.npz", **arrays)
    with pytest.raises(AtlasError, match=message):
        Atlas.open(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", weights=np.ones(3))
    with pytest.raises(AtlasError, match="no array 'latents' and 'svds'"):
        Atlas.open(tmp_path / "b.npz")
    (tmp_path / "c.npz").write_bytes(b"PK\x03\x04 and nothing else")
    with pytest.raises(AtlasError, match="not an atlas"):
        Atlas.open(tmp_path / "c.npz")


@pytest.mark.bitwise
@pytest.mark.parametrize("method, loss", [("subspace", 1e-3), ("shared", 0.3)])
def test_cheaper_methods_give_nearly_the_exact_volumes(tmp_path, method, loss):
    network = small_stylegan2(z_dim=24, w_dim=24)
    options = dict(space="pixel", candidates=60, top_k=6)
    exact = Atlas.build(network, tmp_path / "exact", method="exact", **options).log_volume()
    cheap = Atlas.build(network, tmp_path / method, method=method, oversample=6, basis=12, labels=40, **options)
    volume = cheap.log_volume()
    assert (volume <= exact + 1e-4).all() and (exact - volume).mean() < loss * 6
    assert scipy.stats.spearmanr(exact, volume).statistic > (0.999 if method == "subspace" else 0.9)
    assert (tmp_path / "shared" / "basis.npy").exists() == (method == "shared")
    # In parts, and with what was lost computed again: the same bytes.
    lost = sorted((tmp_path / method).glob("shard*.npy"))[0]
    before = lost.read_bytes()
    lost.unlink()
    again = Atlas.build(network, tmp_path / method, method=method, oversample=6, basis=12, labels=40, **options)
    assert lost.read_bytes() == before and np.array_equal(again.log_volume(), volume)


def test_a_shared_basis_serves_all_classes(tmp_path):
    network = small_stylegan2(c_dim=3)
    atlas = Atlas.build(network, tmp_path / "a", space="pixel", candidates=20, method="shared", top_k=3, labels=10)
    assert atlas.classes == (0, 1, 2) and atlas.settings.basis == 8
    with pytest.raises(ValueError, match="a basis of 2 directions is outside 3"):
        make_settings(network, space="pixel", method="shared", top_k=3, basis=2)
