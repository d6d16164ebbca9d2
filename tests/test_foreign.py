"""The explicit way in for forks: a pickle whose own code runs, and everything around it that must hold."""

import itertools
import pickle
import re
import sys
import types

import numpy as np
import pytest
import scipy.signal
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from conftest import golden_network

from cli.gen_images import main as gen_images
from dnnlib_compat import foreign
from dnnlib_compat.errors import NetworkFileError
from dnnlib_compat.foreign import ForeignGenerator, load_with_code
from dnnlib_compat.loader import load_network
from dnnlib_compat.shims import MODULES, filters, misc, stand_ins

# A small fork: a style-based generator with a constructor keyword, `glow`, that official code doesn't have.
SOURCE = """
import pathlib
import numpy as np
import torch
import dnnlib
from torch_utils import misc, persistence
from torch_utils.ops import bias_act, conv2d_resample, fma, upfirdn2d

with pathlib.Path(FLAG).open("a") as file:
    file.write("ran\\n")
PROLOGUE

@persistence.persistent_class
class MappingNetwork(torch.nn.Module):
    def __init__(self, z_dim, c_dim, w_dim, num_ws):
        super().__init__()
        self.num_ws = num_ws
        self.weight = torch.nn.Parameter(torch.randn(w_dim, z_dim + c_dim))
        self.register_buffer("w_avg", torch.randn(w_dim))

    def forward(self, z, c, truncation_psi=1, truncation_cutoff=None):
        x = torch.cat([z / z.norm(dim=1, keepdim=True), c], dim=1)
        x = bias_act.bias_act(x @ self.weight.T, act="lrelu").unsqueeze(1).repeat(1, self.num_ws, 1)
        if truncation_psi != 1:
            x[:, :truncation_cutoff] = self.w_avg.lerp(x[:, :truncation_cutoff], truncation_psi)
        return x


@persistence.persistent_class
class SynthesisBlock(torch.nn.Module):
    def __init__(self, w_dim, n_in, n_out, up, glow, use_fp16):
        super().__init__()
        self.up, self.glow, self.use_fp16 = up, glow, use_fp16
        self.affine = torch.nn.Parameter(torch.randn(w_dim, n_in) / np.sqrt(w_dim))
        self.weight = torch.nn.Parameter(torch.randn(n_out, n_in, 3, 3) / np.sqrt(9 * n_in))
        self.bias = torch.nn.Parameter(torch.randn(n_out))
        self.register_buffer("taps", upfirdn2d.setup_filter([1, 3, 3, 1]))
        self.register_buffer("noise", torch.randn(1, 1, 1, 1))

    @misc.profiled_function
    def forward(self, x, w, noise_mode="random", force_fp32=False):
        if self.use_fp16 and not force_fp32:
            raise RuntimeError("half precision")
        misc.assert_shape(w, [x.shape[0], None])
        x = x * (w @ self.affine)[:, :, None, None]
        x = conv2d_resample.conv2d_resample(x, self.weight, f=self.taps, up=self.up, padding=1, flip_weight=False)
        if noise_mode != "none":
            x = x.add_(self.noise if noise_mode == "const" else torch.randn_like(x))
        x = fma.fma(x, misc.constant(self.glow), x.square() * 0.01)
        return bias_act.bias_act(x, self.bias, act="lrelu", clamp=256)


@persistence.persistent_class
class SynthesisNetwork(torch.nn.Module):
    def __init__(self, w_dim, img_resolution, img_channels, glow):
        super().__init__()
        self.settings = dnnlib.EasyDict(glow=glow)
        self.start = torch.nn.Parameter(torch.randn(1, 4, 4, 4))
        self.b4 = SynthesisBlock(w_dim, 4, 4, 2, glow, use_fp16=False)
        self.b8 = SynthesisBlock(w_dim, 4, img_channels, 1, glow, use_fp16=True)

    def forward(self, ws, **block_kwargs):
        x = self.start.repeat(len(ws), 1, 1, 1)
        for block, w in zip((self.b4, self.b8), ws.unbind(dim=1)):
            x = block(x, w, **block_kwargs)
        return upfirdn2d.filter2d(x, self.b4.taps) * self.settings.glow


@persistence.persistent_class
class Generator(torch.nn.Module):
    def __init__(self, z_dim, c_dim, w_dim, img_resolution, img_channels, glow=1.0):
        super().__init__()
        self.z_dim, self.c_dim, self.w_dim = z_dim, c_dim, w_dim
        self.img_resolution, self.img_channels, self.num_ws = img_resolution, img_channels, 2
        self.mapping = MappingNetwork(z_dim, c_dim, w_dim, self.num_ws)
        self.synthesis = SynthesisNetwork(w_dim, img_resolution, img_channels, glow)
"""
KWARGS = {"z_dim": 6, "c_dim": 2, "w_dim": 5, "img_resolution": 8, "img_channels": 3, "glow": 0.7}


class Record:
    """A persistent object with a source of its own, to be pickled by `Fork.write`."""

    def __init__(self, class_name, source):
        self.class_name, self.source = class_name, source


class Placeholder(torch.nn.Module):
    """A module that holds a record."""

    def __init__(self, record):
        super().__init__()
        self.record = [record]


class Fork:
    """A fork's pickle with the network that is in it: `path`, `flag` (a file that the code writes to), `network`."""

    def __init__(self, folder, prologue=""):
        self.folder, self.path, self.flag = folder, folder / "fork.pkl", folder / "it-ran"
        good = SOURCE.replace("FLAG", repr(str(self.flag)))
        self.source = good.replace("PROLOGUE", prologue)
        module = types.ModuleType("fork_networks")
        torch.manual_seed(0)
        with stand_ins():
            exec(good.replace("PROLOGUE", ""), vars(module))  # our own source, from above
            self.network = module.Generator(**KWARGS)
        self.flag.unlink()

    def runs(self):
        return len(self.flag.read_text().splitlines()) if self.flag.exists() else 0

    def write(self, content=None):
        """Pickle {G_ema: the network} or `content`, modules as records with `source`."""
        content = {"G_ema": self.network} if content is None else content

        def _reconstruct_persistent_obj(meta):
            raise AssertionError

        module = types.ModuleType("torch_utils.persistence")
        module._reconstruct_persistent_obj = reconstruct = _reconstruct_persistent_obj
        reconstruct.__module__, reconstruct.__qualname__ = module.__name__, reconstruct.__name__
        fork = self

        class Pickler(pickle.Pickler):
            def reducer_override(self, obj):
                if isinstance(obj, Record):
                    source, name, state = obj.source, obj.class_name, {}
                elif isinstance(obj, torch.nn.Module) and hasattr(obj, "_init_kwargs"):
                    source, name, state = fork.source, type(obj).__name__, vars(obj)
                else:
                    return NotImplemented
                meta = {"type": "class", "version": 6, "module_src": source, "class_name": name, "state": state}
                return reconstruct, (meta,)

        with stand_ins(), pytest.MonkeyPatch.context() as patch, open(self.path, "wb") as file:
            patch.setitem(sys.modules, "torch_utils", types.ModuleType("torch_utils"))
            patch.setitem(sys.modules, "torch_utils.persistence", module)
            patch.setattr(sys.modules["dnnlib"].EasyDict, "__module__", "dnnlib.util")
            Pickler(file).dump(content)
        return self.path


@pytest.fixture
def fork(tmp_path):
    return Fork(tmp_path)


def latents(n=3):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, 6, generator=generator), torch.eye(2)[torch.arange(n) % 2]


def refusal(path, key="G_ema", error=NetworkFileError):
    """The message of the refusal: one line that begins with the path."""
    with pytest.raises(error) as caught:
        load_network(path, allow_code=True, key=key)
    message = str(caught.value)
    assert "\n" not in message and message.startswith(f"{path}: ")
    return message


def test_the_safe_path_refuses_a_fork_and_runs_nothing(fork):
    fork.write()
    with pytest.raises(NetworkFileError, match="glow.*--allow-code"):
        load_network(fork.path)
    fork.network.extra = torch.optim.Optimizer
    with pytest.raises(NetworkFileError, match="Optimizer"):
        load_network(fork.write())
    assert fork.runs() == 0


@pytest.mark.bitwise
def test_allow_code_runs_the_source_once_and_gives_its_images(fork):
    generator = load_network(fork.write(), allow_code=True)
    assert fork.runs() == 1
    assert isinstance(generator, ForeignGenerator) and generator.family == "foreign" and generator.normalizes_z
    assert {name: getattr(generator, name) for name in KWARGS if name != "glow"} | {"glow": 0.7} == KWARGS
    assert generator.num_ws == 2 and generator.init_kwargs["glow"] == 0.7
    assert not generator.training and not any(p.requires_grad for p in generator.parameters())

    z, c = latents()
    with torch.no_grad():
        for psi, cutoff in ((1, None), (0.5, None), (0.5, 1)):
            ws = fork.network.mapping(z, c, truncation_psi=psi, truncation_cutoff=cutoff)
            for noise_mode in ("const", "none"):
                expected = fork.network.synthesis(ws, noise_mode=noise_mode, force_fp32=True)
                images = generator(z, c, truncation_psi=psi, truncation_cutoff=cutoff, noise_mode=noise_mode)
                assert torch.equal(images, expected)
        assert generator.synthesis(ws, force_fp32=False).shape == (3, 3, 8, 8)  # a CPU computes in float32 all the same


def test_one_red_warning_on_stderr(fork, monkeypatch, capsys):
    fork.write()
    load_with_code(fork.path, "G_ema")
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert str(fork.path) in captured.err and "rights" in captured.err

    calls = []
    monkeypatch.setattr(foreign.click, "secho", lambda text, **style: calls.append((style, fork.runs())))
    runs = fork.runs()
    load_with_code(fork.path, "G_ema")
    assert calls == [({"fg": "red", "err": True}, runs)]


def test_the_warning_comes_before_the_code(fork, monkeypatch):
    seen = []
    monkeypatch.setattr(foreign.click, "secho", lambda *args, **style: seen.append(fork.runs()))
    load_with_code(fork.write(), "G_ema")
    assert seen == [0] and fork.runs() == 1


def test_nothing_stays_importable_afterwards(fork):
    load_with_code(fork.write(), "G_ema")
    assert not [name for name in MODULES if name in sys.modules]


def test_the_source_sees_a_module_of_its_own(tmp_path):
    fork = Fork(tmp_path, "import dataclasses\n@dataclasses.dataclass\nclass Options:\n    size: 'int' = 3\n")
    load_with_code(fork.write(), "G_ema")  # dataclasses look their module up by name


def test_tensors_saved_on_a_gpu_come_to_the_cpu(fork, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        fork.write()
    assert b"cuda:0" in fork.path.read_bytes()
    generator = load_with_code(fork.path, "G_ema")
    assert {p.device.type for p in generator.parameters()} == {"cpu"}


def test_half_precision_weights_become_float32(fork):
    fork.network.half()
    generator = load_with_code(fork.write(), "G_ema")
    assert {p.dtype for p in generator.parameters()} == {torch.float32}
    assert generator(*latents()).dtype == torch.float32


def test_another_key_and_a_bare_generator(fork):
    path = fork.write({"G": fork.network, "G_ema": None, "training_set_kwargs": fork.network.synthesis.settings})
    assert load_with_code(path, "G").z_dim == 6
    assert "'G_ema'; its networks: G" in refusal(path)
    assert load_with_code(fork.write(fork.network), "G_ema").z_dim == 6
    assert "list" in refusal(fork.write([fork.network]))


@pytest.mark.parametrize(
    "prologue, said",
    [
        ("raise RuntimeError('two\\nlines')", r"RuntimeError: two lines"),
        ("raise RuntimeError('x' * 5000)", r"RuntimeError: x{300}…"),
        ("def broken(:", r"SyntaxError"),
        ("import sys; sys.exit(3)", r"SystemExit: 3"),
        ("import no_such_package.part", r"needs no_such_package,.*PYTHONPATH"),
        ("from torch_utils import training_stats", r"needs torch_utils\.training_stats,.*PYTHONPATH"),
        ("from torch_utils.misc import quantum", r"needs torch_utils\.misc\.quantum,.*PYTHONPATH"),
        ("import torch_utils.ops.wavelet", r"needs torch_utils\.ops\.wavelet,.*PYTHONPATH"),
        ("import dnnlib; dnnlib.util.open_url('x')", r"needs dnnlib\.util\.open_url,.*PYTHONPATH"),
        ("del Generator, torch", r"NameError"),
    ],
)
def test_failing_code_becomes_one_line(tmp_path, prologue, said):
    fork = Fork(tmp_path, prologue)
    assert re.search(said, refusal(fork.write()))
    assert fork.runs() == (0 if "SyntaxError" in said else 1)


def test_an_interrupt_passes(tmp_path):
    path = Fork(tmp_path, "raise KeyboardInterrupt").write()
    with pytest.raises(KeyboardInterrupt):
        load_network(path, allow_code=True)


def test_a_name_missing_only_when_images_are_made(fork):
    fork.source = fork.source.replace("x * (w @", "misc.quantum(x) * (w @")
    generator = load_with_code(fork.write(), "G_ema")
    with pytest.raises(NetworkFileError, match=r"torch_utils\.misc\.quantum.*PYTHONPATH"):
        generator(*latents())


def test_a_discriminator_that_cannot_be_made_is_left_alone(fork):
    discriminator = Record("Discriminator", "from timm_of_another_world import backbone")
    fork.write({"D": discriminator, "G_ema": fork.network, "loss": torch.nn.BCELoss()})
    fork.path.write_bytes(fork.path.read_bytes().replace(b"torch.nn.modules.loss", b"torch.nn.modules.gone"))
    assert load_with_code(fork.path, "G_ema").z_dim == 6
    assert "timm_of_another_world" in refusal(fork.path, key="D")
    assert "torch.nn.modules.gone" in refusal(fork.path, key="loss")
    assert "timm_of_another_world" in refusal(fork.write({"G_ema": torch.nn.Sequential(Placeholder(discriminator))}))


@pytest.mark.parametrize("name", ["z_dim", "c_dim", "w_dim", "img_channels", "mapping", "synthesis"])
def test_what_the_module_lacks_is_named(fork, name):
    delattr(fork.network, name)
    assert re.search(rf"no usable .*{name}", refusal(fork.write()))


@pytest.mark.parametrize("size", [0, 30, 3000])
def test_a_truncated_file(fork, size):
    data = fork.write().read_bytes()
    fork.path.write_bytes(data[:size])
    with pytest.raises(NetworkFileError) as caught:
        load_network(fork.path, allow_code=True)
    assert "\n" not in str(caught.value) and "download it again" in str(caught.value)
    with pytest.raises(OSError):
        load_with_code(fork.folder / "nowhere.pkl", "G_ema")


def test_a_mapping_without_truncation_refuses_it(fork):
    fork.source = fork.source.replace(
        "z, c, truncation_psi=1, truncation_cutoff=None):", "z, c):\n        truncation_psi = 1"
    )
    generator = load_with_code(fork.write(), "G_ema")
    assert generator(*latents()).shape == (3, 3, 8, 8)
    with pytest.raises(ValueError, match="truncation_psi"):
        generator(*latents(), truncation_psi=0.5)


CHECKOUT = {
    "torch_utils/__init__.py": "",
    "torch_utils/misc.py": "from dnnlib_compat.shims.misc import *\nquantum = 5",
    "torch_utils/persistence.py": "from dnnlib_compat.shims.persistence import *\n"
    "from dnnlib_compat.shims.persistence import _reconstruct_persistent_obj",
    "torch_utils/ops/__init__.py": "",
    **{
        f"torch_utils/ops/{name}.py": f"from dnnlib_compat.shims.filters import {', '.join(names)}"
        for name, names in {
            "bias_act": ["bias_act"],
            "conv2d_resample": ["conv2d_resample"],
            "fma": ["fma"],
            "upfirdn2d": ["setup_filter", "upfirdn2d", "filter2d"],
        }.items()
    },
}


def test_a_checkout_of_the_user_is_preferred(tmp_path, monkeypatch):
    for name, text in CHECKOUT.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    path = Fork(tmp_path, "assert misc.quantum == 5").write()
    assert "quantum" in refusal(path)
    with monkeypatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        try:
            generator = load_network(path, allow_code=True)  # dnnlib, which the checkout lacks, is stood in for
            assert sys.modules["torch_utils"].__file__.startswith(str(tmp_path)) and "dnnlib" not in sys.modules
            assert generator(*latents()).shape == (3, 3, 8, 8)
        finally:
            for name in [name for name in sys.modules if name.partition(".")[0] == "torch_utils"]:
                del sys.modules[name]


def test_derivatives_compose(fork):
    generator = load_network(fork.write(), allow_code=True)
    z, c = latents()

    def images(z):  # the source truncates in place
        return generator(z, c, truncation_psi=0.6, truncation_cutoff=1)

    check_derivatives(images, z)
    check_derivatives(generator.synthesis, generator.mapping(z, c))


def check_derivatives(function, x):
    """Forward mode, reverse mode, differences and batched directions of `function` at `x` must agree."""
    torch.manual_seed(0)
    v = torch.randn_like(x)
    y, push = torch.func.jvp(function, (x,), (v,))
    u = torch.randn_like(y)
    pull = torch.func.vjp(function, x)[1](u)[0]
    torch.testing.assert_close((u * push).sum(), (pull * v).sum(), rtol=1e-4, atol=1e-4)
    difference = (function(x + 1e-3 * v) - function(x - 1e-3 * v)) / 2e-3
    assert (difference - push).abs().max() < 0.02 * push.abs().max()
    pushes = torch.func.vmap(lambda v: torch.func.jvp(function, (x,), (v,))[1])(torch.stack([v, -2 * v]))
    torch.testing.assert_close(pushes, torch.stack([push, -2 * push]), rtol=1e-4, atol=1e-5)
    pulls = torch.func.vmap(lambda u: torch.func.vjp(function, x)[1](u)[0])(torch.stack([u, 3 * u]))
    torch.testing.assert_close(pulls, torch.stack([pull, 3 * pull]), rtol=1e-4, atol=1e-4)


# The stand-ins against the definitions of what they compute.


def by_definition(x, f, up, down, padding, flip_filter, gain):
    """`upfirdn2d` step by step in NumPy; f is two-dimensional, up and down are (x, y), padding has four numbers."""
    n, c, h, w = x.shape
    left, right, top, bottom = padding
    big = np.zeros((n, c, h * up[1], w * up[0]))
    big[:, :, :: up[1], :: up[0]] = x
    big = np.pad(big, ((0, 0), (0, 0), (max(top, 0), max(bottom, 0)), (max(left, 0), max(right, 0))))
    big = big[:, :, max(-top, 0) : big.shape[2] - max(-bottom, 0), max(-left, 0) : big.shape[3] - max(-right, 0)]
    kernel = np.asarray(f)[::-1, ::-1] if flip_filter else np.asarray(f)
    full = np.stack([scipy.signal.convolve2d(image, kernel, mode="valid") for image in big.reshape(-1, *big.shape[2:])])
    return gain * full.reshape(n, c, *full.shape[1:])[:, :, :: down[1], :: down[0]]


@pytest.mark.parametrize("taps", ["separable", "square", "none"])
@pytest.mark.parametrize("up, down, padding", [
    (1, 1, 0), (2, 1, 3), (1, 2, [2, 1]), (2, 2, [3, -1, 2, 4]),
    ([2, 1], 1, 2), (1, [1, 3], 3), ([1, 3], [2, 1], [4, 3]),
])  # fmt: skip
def test_upfirdn2d_is_what_it_says(taps, up, down, padding):
    torch.manual_seed(0)
    x = torch.randn(2, 3, 7, 6)
    f = {"separable": torch.randn(4), "square": torch.randn(3, 4), "none": None}[taps]
    full = {"separable": lambda: torch.outer(f, f), "square": lambda: f, "none": lambda: torch.ones(1, 1)}[taps]()
    pair = [padding, padding] if isinstance(padding, int) else padding
    sides = pair if len(pair) == 4 else [pair[0], pair[0], pair[1], pair[1]]
    scales = [(s, s) if isinstance(s, int) else tuple(s) for s in (up, down)]
    for flip, gain in itertools.product((False, True), (1, 2.5)):
        y = filters.upfirdn2d(x, f, up=up, down=down, padding=padding, flip_filter=flip, gain=gain)
        expected = by_definition(x.numpy(), full, *scales, sides, flip, gain)
        np.testing.assert_allclose(y.numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("taps", [None, [1.0, 3.0, 3.0, 1.0], [1.0, 2.0, 4.0]])
@pytest.mark.parametrize("up, down", [(1, 1), (2, 1), (1, 2), (4, 1), (2, 2)])
@pytest.mark.parametrize("size, padding, groups", [(3, 1, 1), (3, [2, 0, 1, 3], 2), (1, 0, 1)])
def test_conv2d_resample_is_what_it_says(taps, up, down, size, padding, groups):
    torch.manual_seed(0)
    x, w = torch.randn(2, 4, 6, 5), torch.randn(6, 4 // groups, size, size)
    f = None if taps is None else filters.setup_filter(taps)
    n = 1 if f is None else len(taps)
    left, right, top, bottom = [padding] * 4 if isinstance(padding, int) else padding
    low = (n + up - 1) // 2 * (up > 1) + (n - down + 1) // 2 * (down > 1)
    high = (n - up) // 2 * (up > 1) + (n - down) // 2 * (down > 1)
    for flip_weight, flip_filter in itertools.product((False, True), repeat=2):
        y = filters.conv2d_resample(x, w, f, up, down, padding, groups, flip_weight, flip_filter)
        sides = [left + low, right + high, top + low, bottom + high]
        one = torch.ones(1, 1)
        z = by_definition(
            x.numpy(), f if up > 1 and f is not None else one, (up, up), (1, 1), sides, flip_filter, up**2
        )
        z = F.conv2d(torch.as_tensor(z, dtype=torch.float32), w if flip_weight else w.flip((2, 3)), groups=groups)
        if down > 1:
            f_down = one if f is None else f
            z = by_definition(z.numpy(), f_down, (1, 1), (down, down), [0] * 4, flip_filter, 1)
        np.testing.assert_allclose(y.numpy(), np.asarray(z), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scale", [2, [2, 1], [1, 3]])
def test_resampling_keeps_sizes_and_brightness(scale):
    x_scale, y_scale = (scale, scale) if isinstance(scale, int) else scale
    f = filters.setup_filter([1, 3, 3, 1] if 3 not in (x_scale, y_scale) else [1, 2, 3, 2, 1])
    flat = torch.ones(1, 2, 12, 12)
    large = filters.upsample2d(flat, f, up=scale)
    small = filters.downsample2d(flat, f, down=scale)
    assert large.shape == (1, 2, 12 * y_scale, 12 * x_scale) and small.shape == (1, 2, 12 // y_scale, 12 // x_scale)
    assert filters.filter2d(flat, f, padding=[1, 0]).shape == (1, 2, 12, 14)
    if isinstance(scale, int):
        torch.testing.assert_close(large[:, :, 6:-6, 6:-6], torch.ones(1, 2, 12, 12))
    torch.testing.assert_close(small[:, :, 2:-2, 2:-2], torch.ones_like(small[:, :, 2:-2, 2:-2]))


def test_setup_filter():
    assert filters.setup_filter(None).shape == (1, 1) and filters.setup_filter(list(range(1, 9))).shape == (8,)
    torch.testing.assert_close(filters.setup_filter([1, 3], normalize=False, gain=2), torch.tensor([[2.0, 6], [6, 18]]))
    taps = filters.setup_filter([1, 3], separable=True, flip_filter=True, gain=4)
    torch.testing.assert_close(taps, torch.tensor([0.75, 0.25]) * 2)
    with pytest.raises(ValueError, match="separable"):
        filters.setup_filter([[1.0, 2.0]], separable=True)


def test_bias_act_along_any_dimension():
    x, b = torch.randn(2, 3, 4), torch.randn(4)
    torch.testing.assert_close(
        filters.bias_act(x, b, dim=2, act="relu", gain=1, clamp=0.5), F.relu(x + b).clamp(max=0.5)
    )
    spec = MODULES["torch_utils.ops.bias_act"].activation_funcs["lrelu"]
    assert spec.def_alpha == 0.2 and spec.def_gain == pytest.approx(2**0.5)
    torch.testing.assert_close(spec.func(x, alpha=0.3), F.leaky_relu(x, 0.3))


def test_misc_helpers():
    misc.assert_shape(torch.zeros(2, 3), [None, 3])
    for shape in ([None, 2], [6], [2, 3, None]):
        with pytest.raises(AssertionError):
            misc.assert_shape(torch.zeros(2, 3), shape)
    torch.testing.assert_close(misc.constant([1, 2], shape=[3, 2]), torch.tensor([[1.0, 2.0]] * 3))
    source, target = torch.nn.BatchNorm1d(3), torch.nn.BatchNorm1d(3)
    source.running_mean += 5
    misc.copy_params_and_buffers(source, target, require_all=True)
    assert torch.equal(target.running_mean, source.running_mean)
    with pytest.raises(KeyError, match="weight"):
        misc.copy_params_and_buffers(torch.nn.ReLU(), target, require_all=True)


def grouped(weight, styles, demodulate=True):
    """[N·O, I, k, k]: the filters of each sample of a batch, for one grouped convolution."""
    w = weight * styles[:, None, :, None, None]
    if demodulate:
        w = w / (w.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).sqrt()
    return w.flatten(0, 1)


@pytest.mark.parametrize("which", ["conv0", "conv1"])
def test_stand_ins_agree_with_our_stylegan2(which):
    network = golden_network("stylegan2-ada-skip")[0]
    layer = getattr(network.synthesis.b16, which)
    torch.manual_seed(0)
    x, w = torch.randn(3, layer.weight.shape[1], 16 // layer.up, 16 // layer.up), torch.randn(3, network.w_dim)
    y = filters.conv2d_resample(
        x.reshape(1, -1, *x.shape[2:]),
        grouped(layer.weight, layer.affine(w)),
        f=layer.resample_filter,
        up=layer.up,
        padding=1,
        groups=3,
        flip_weight=layer.up == 1,
    )
    y = y.reshape(3, -1, 16, 16) + layer.noise_const * layer.noise_strength
    y = filters.bias_act(y, layer.bias, act="lrelu", clamp=layer.conv_clamp)
    torch.testing.assert_close(y, layer(x, w), rtol=1e-4, atol=1e-4)


def test_stand_ins_agree_with_our_stylegan3():
    network = golden_network("stylegan3-t")[0]
    torch.manual_seed(0)
    x = network.synthesis.input(torch.randn(2, network.w_dim))
    for name in network.synthesis.layer_names[:3]:
        layer, w = getattr(network.synthesis, name), torch.randn(2, network.w_dim)
        kernels = grouped(layer.weight, layer.affine(w)) * layer.magnitude_ema.rsqrt()
        y = MODULES["torch_utils.ops.conv2d_gradfix"].conv2d(
            input=x.reshape(1, -1, *x.shape[2:]), weight=kernels, padding=layer.conv_kernel - 1, groups=2
        )
        y = filters.filtered_lrelu(
            y.reshape(2, -1, *y.shape[2:]),
            fu=layer.up_filter,
            fd=layer.down_filter,
            b=layer.bias,
            up=layer.up_factor,
            down=layer.down_factor,
            padding=list(layer.padding),
            clamp=layer.conv_clamp,
        )
        x = layer(x, w)
        torch.testing.assert_close(y, x, rtol=1e-3, atol=1e-4)


def test_the_command_runs_a_fork_only_when_told_to(fork, tmp_path):
    options = [f"--network={fork.write()}", "--class=1", "--seeds=0-1", f"--outdir={tmp_path / 'out'}"]
    refused = CliRunner().invoke(gen_images, options)
    assert refused.exit_code == 1 and fork.runs() == 0 and "--allow-code" in refused.output
    result = CliRunner().invoke(gen_images, [*options, "--allow-code", "--sampler=magnet", "--candidates=20"])
    assert result.exit_code == 0, result.output
    assert fork.runs() == 1 and "the Python code inside this file now runs" in result.output
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == ["seed0000.png", "seed0001.png"]
