"""Damaged files of every format: each is read as it was, or refused in one line with its path; nothing hangs or grows.

`pytest tests/test_fuzz.py --fuzz=N` makes N files of each format instead of 200. A failure names the number of the
file, which `--fuzz-first=NUMBER --fuzz=1` makes again. A new format is a line in FORMATS; one whose files carry
checksums says so there, and then its content may not change unnoticed either.
"""

import dataclasses
import hashlib
import json
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import small_stylegan2
from helpers.detector_files import SmallDetector, write_torchscript
from helpers.family_files import (
    write_biggan,
    write_biggan_deep,
    write_biggan_hf,
    write_nvae,
    write_progan,
    write_stylegan2_tf,
)
from helpers.image_zips import random_images, write_zip
from helpers.mutations import mutated, mutated_entry
from helpers.pickles import official_content, record, write_pickle

from cli.sweep import read_rows
from cli.sweep_charts import AXES, figures_of, grouped, pareto_lines
from cli.train_weights import read_log
from dnnlib_compat.checkpoint import read_checkpoint
from dnnlib_compat.datasets import ImageDataset
from dnnlib_compat.detectors import load_detector
from dnnlib_compat.errors import DatasetError, NetworkFileError
from dnnlib_compat.loader import load_network
from dnnlib_compat.networks.mnist_classifier import WEIGHTS
from dnnlib_compat.plain_files import write_npz, write_safetensors
from dnnlib_compat.pretrained import catalogue, locate
from dnnlib_compat.torch_archives import read_torchscript_tensors
from latent_plugins.atlas import Atlas, AtlasError, open_atlas
from latent_plugins.atlas.true_volumes import read_known, write_known
from latent_plugins.geometry.report.sequential import is_sequential_file, read_sequential
from latent_plugins.metrics.real import ReferenceStatistics
from latent_plugins.reweighting.presets import Schedule
from latent_plugins.reweighting.training import CHECKPOINT, Trainer, steps_done, train
from latent_plugins.reweighting.weight_files import WeightsError, load_weights
from latent_plugins.volume.predictor import load_predictor
from latent_plugins.volume.predictor.volumes import PredictorError

SECONDS, GROWTH = 10, 1 << 30  # of one file; bytes, of all files of a format
SCHEDULE = Schedule(hidden=(4,), batch=4, critic_batch=4, channel_base=64, channel_max=8, steps=2)


class Hang(BaseException):
    """Raised by the alarm, and caught by no reader."""


@dataclasses.dataclass(frozen=True)
class Format:
    """A kind of file: `make(folder)` writes a good one and returns its path; `read(path)` gives its content, or raises
    one of `errors`. zipped: damage its entries too, with their checksums mended. checked: damage of the bytes alone
    never changes the content unnoticed, because the file has checksums."""

    make: Callable
    read: Callable
    errors: tuple = (NetworkFileError,)
    zipped: bool = False
    checked: bool = False


def network(path):
    """What loading a network file gives, as a digest; of weights and arguments alike."""
    return digest(load_network(path))


def digest(module):
    found = hashlib.sha256(repr(getattr(module, "init_kwargs", None)).encode())
    for name, tensor in module.state_dict().items():
        found.update(name.encode() + tensor.detach().numpy().tobytes())
    return found.hexdigest()


def tensors(found):
    return {name: (tuple(value.shape), value.numpy().tobytes()) for name, value in found.items()}


def small():
    """Two blocks: damage finds the same places as in a larger network, sooner."""
    return small_stylegan2(img_resolution=8)


def pickled(protocol):
    return lambda folder: write_pickle(folder / "net.pkl", official_content(small()), protocol)


def npz(folder):
    write_npz(small(), folder / "net.npz")
    return folder / "net.npz"


def safetensors(folder):
    write_safetensors(small(), folder / "net.safetensors")
    return folder / "net.safetensors"


def small_state():
    return {f"layers.{i}.weight": torch.randn(3, 4) for i in range(4)}


def checkpoint(folder, zipped=True):
    content = dict(state_dict=small_state(), args=dict(a=1), epoch=3, optimizer=dict(state={}))
    torch.save(content, folder / "a.pt", _use_new_zipfile_serialization=zipped)
    return folder / "a.pt"


def detector_pickle(folder):
    weight = torch.nn.Parameter(torch.randn(4, 4))
    return write_pickle(folder / "d.pkl", record("InceptionV3", dict(_parameters={"weight": weight}, _modules={})))


def classifier(folder):
    (folder / "classifier.npz").write_bytes(WEIGHTS.read_bytes())
    return folder / "classifier.npz"


def published(folder):
    random = np.random.RandomState(0)
    labels = np.eye(2)[random.randint(2, size=20)]
    np.savez(folder / "pub.npz", latents=random.randn(20, 8), svds=random.rand(20, 5), labels=labels)
    return folder / "pub.npz"


def atlas(path):
    found = open_atlas(path)
    labels = found.classes or (None,)
    return repr(found.settings), [found.spectra(label).tobytes() for label in labels], labels


def built(name):
    """make() for a file of an atlas that is there already."""

    def make(folder):
        Atlas.build(small_stylegan2(), folder / "atlas", candidates=20, top_k=3, max_memory=1 << 30)
        return folder / "atlas" / name

    return make


def predictor(folder):
    options = dict(space="pixel", method="amortized", candidates=8, labels=100, top_k=3, min_spearman=-1)
    Atlas.build(small_stylegan2(), folder / "atlas", **options)
    return folder / "atlas" / "predictor.npz"


def volumes(path):
    found, agreement = load_predictor(path)
    return digest(found.network), repr(agreement), found.matrix.numpy().tobytes(), found.center.numpy().tobytes()


def trained(name):
    def make(folder):
        images = torch.from_numpy(random_images(20)).permute(0, 3, 1, 2).float() / 127.5 - 1
        list(train(small_stylegan2(), images, SCHEDULE, outdir=folder))
        return folder / name

    return make


def weights(path):
    found = load_weights(path)
    fields = {name: value for name, value in vars(found).items() if name not in ("path", "weight_network", "critic")}
    return repr(fields), digest(found.weight_network), digest(found.critic)


def training(path):
    images = torch.from_numpy(random_images(20)).permute(0, 3, 1, 2).float() / 127.5 - 1
    trainer = Trainer(small_stylegan2(), images, SCHEDULE, 0, "w")
    trainer.load(path)
    return steps_done(path.parent), trainer.strikes, digest(trainer.weights), digest(trainer.average)


def statistics(folder):
    entry = next(entry for entry in catalogue().values() if "statistics" in entry)
    (folder / "statistics.npz").write_bytes(small_statistics(Path(locate(entry["statistics"]))))
    return folder / "statistics.npz"


def small_statistics(path):
    import io

    out = io.BytesIO()
    with np.load(path) as file:
        arrays = {name: file[name] for name in ("name", "detector", "digest", "total", "products", "count")}
        np.savez_compressed(out, rows=file["rows"][:50], **arrays)
    return out.getvalue()


def reference(path):
    found = ReferenceStatistics(path)
    return found.name, found.detector, found.digest, {name: array.tobytes() for name, array in found.arrays.items()}


def images(path):
    data = ImageDataset(path, use_labels=True)
    return [data.image(i).tobytes() for i in range(len(data))], data.label_batch(range(len(data))).numpy().tobytes()


def sweep_rows(folder):
    row = dict(sampler="polarity", space="pixel", rho=0.5, trunc=1, mix=1, identity=dict(a=1), fid50_full=3.5)
    row |= dict(fid50_full_low=3, fid50_full_high=4)
    lines = [row, row | dict(rho=1.0), row | dict(rho=None, trunc=0.7)]
    (folder / "sweep.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder / "sweep.jsonl"


def swept(path):
    """What the table and the charts are made of."""
    rows = read_rows(path)
    lines = [grouped(rows, key, axis) for key in figures_of(rows, "fid") for axis in AXES]
    return rows, lines, pareto_lines(rows, "pr50_full")


def log(folder):
    names = "step,mean_weight,max_weight,acceptance,zero_share,wasserstein,penalty,weight_loss"
    (folder / "training.csv").write_text(names + "\n" + "\n".join(f"{k},1,2,0.5,0,1,1,1" for k in range(1, 5)) + "\n")
    return folder / "training.csv"


def known(folder):
    write_known(folder / "true-volumes.npz", {3: 1.5, 7: -2.0})
    return folder / "true-volumes.npz"


def sequential(folder):
    torch.save(torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 9)), folder / "mlp.pt")
    return folder / "mlp.pt"


def layers(path):
    return digest(read_sequential(path)) if is_sequential_file(path) else None


FORMATS = {
    "official pickle": Format(pickled(4), network),
    "official pickle of protocol 2": Format(pickled(2), network),
    "official pickle of protocol 5": Format(pickled(5), network),
    "TensorFlow's StyleGAN2": Format(write_stylegan2_tf, network),
    "TensorFlow's ProGAN": Format(write_progan, network),
    "BigGAN": Format(write_biggan, network, zipped=True),
    "BigGAN-deep, older format": Format(lambda folder: write_biggan_deep(folder) / "G_ema.pth", network),
    "config.json": Format(write_biggan_hf, network),
    "NVAE": Format(write_nvae, network, zipped=True),
    "network.npz": Format(npz, network, zipped=True, checked=True),
    "network.safetensors": Format(safetensors, network, checked=True),
    "checkpoint": Format(checkpoint, lambda path: tensors(read_checkpoint(path)["state_dict"]), zipped=True),
    "checkpoint, older format": Format(
        lambda folder: checkpoint(folder, zipped=False), lambda path: str(read_checkpoint(path))
    ),
    "TorchScript": Format(
        lambda folder: write_torchscript(folder / "d.pt", SmallDetector()),
        lambda path: tensors(read_torchscript_tensors(path)),
        zipped=True,
    ),
    "detector pickle": Format(detector_pickle, load_detector),
    "classifier": Format(classifier, lambda path: digest(load_detector(path).network), zipped=True, checked=True),
    "published atlas": Format(published, atlas, (AtlasError,), zipped=True, checked=True),
    "atlas.json": Format(built("atlas.json"), lambda path: atlas(path.parent), (AtlasError,), checked=True),
    "atlas shard": Format(built("shard00000.npy"), lambda path: atlas(path.parent), (AtlasError,), checked=True),
    "predictor": Format(predictor, volumes, (PredictorError,), zipped=True, checked=True),
    "weights": Format(trained("weights.npz"), weights, (WeightsError,), zipped=True, checked=True),
    "checkpoint of train_weights": Format(trained(CHECKPOINT), training, (WeightsError,), zipped=True, checked=True),
    "reference statistics": Format(statistics, reference, (ValueError,), zipped=True, checked=True),
    "true volumes": Format(known, read_known, (), zipped=True),
    "data set": Format(
        lambda folder: write_zip(folder / "set.zip", random_images(3), [0, 1, 2]), images, (DatasetError,), zipped=True
    ),
    "sweep.jsonl": Format(sweep_rows, swept, ()),
    "training.csv": Format(log, read_log, ()),
    "Sequential": Format(sequential, layers, zipped=True),
}


@pytest.fixture
def alarm():
    """alarm(seconds) interrupts what takes longer; alarm(0) turns it off."""

    def ring(number, frame):
        raise Hang

    before = signal.signal(signal.SIGALRM, ring)
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def peak_memory():
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer that interrupts")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files_are_read_as_they_were_or_refused(tmp_path, request, alarm, name):
    count, first = request.config.getoption("--fuzz"), request.config.getoption("--fuzz-first")
    kind = FORMATS[name]
    path = kind.make(tmp_path)
    good, original = path.read_bytes(), outcome(kind, path)
    before, problems = peak_memory(), []
    for number in range(first, first + count):
        random = np.random.RandomState([number, len(name)])
        inside = kind.zipped and random.randint(2) == 0
        path.write_bytes(mutated_entry(good, random) if inside else mutated(good, random))
        alarm(SECONDS)
        try:
            found = kind.read(path)
            if kind.checked and not inside and found != original:
                problems.append(f"{number}: the content changed and nobody noticed")
        except kind.errors as error:
            text = str(error)
            if not (str(path) in text or str(path.parent) in text) or "\n" in text or not text.isprintable():
                problems.append(f"{number}: {text!r}")
        except Hang:
            problems.append(f"{number}: takes more than {SECONDS} s")
        except BaseException as error:
            problems.append(f"{number}: {type(error).__name__}: {error}")
        finally:
            alarm(0)
    assert not problems, f"{len(problems)} of {count}: " + "; ".join(problems[:5])
    assert peak_memory() - before < GROWTH


def outcome(kind, path):
    """The content of the good file; of a detector that no reader knows, the error."""
    try:
        return kind.read(path)
    except kind.errors as error:
        assert "not an Inception-v3 or VGG16" in str(error)
        return None


def test_the_mutations_are_the_same_in_every_run():
    data = bytes(range(256)) * 4
    first, second = (mutated(data, np.random.RandomState([3, 5])) for _ in range(2))
    assert first == second != data
    assert hashlib.sha256(first).hexdigest() != hashlib.sha256(mutated(data, np.random.RandomState([4, 5]))).hexdigest()
