"""Methods that describe themselves: the registry, one of somebody else's, and imports without torch."""

import dataclasses
import importlib.metadata
import inspect
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import ROOT, small_stylegan2
from helpers.maps import FunctionMap, bent_map

from dnnlib_compat.checksums import sealed_json
from latent_plugins.atlas import Atlas, open_atlas
from latent_plugins.atlas.build import missing_shards
from latent_plugins.atlas.record import AtlasSettings
from latent_plugins.atlas.settings import PREDICTED, WITH_BASIS, AtlasError, make_settings, read_settings
from latent_plugins.settings import Settings, setting
from latent_plugins.spaces import get_space
from latent_plugins.volume.defaults import default_method
from latent_plugins.volume.methods import is_method, method_class, method_names, register
from latent_plugins.volume.predictor import PREDICTORS, Predictor
from latent_plugins.volume.spectrum import METHODS, Method, Registry, spectrum
from latent_plugins.volume.spectrum.method import NUMBERS, RESERVED
from latent_plugins.volume.spectrum.operator import JacobianOperator
from latent_plugins.volume.spectrum.products import top_singular_values

LIGHT = [
    "dnnlib_compat.detectors",
    "latent_plugins.atlas.settings",
    "latent_plugins.volume.defaults",
    "latent_plugins.volume.methods",
    "latent_plugins.volume.predictor",
    "latent_plugins.priors",
    "latent_plugins.spaces",
    "latent_plugins.volume.spectrum",
    "latent_plugins.volume",
]


class Columns(Method):
    """The singular values of some columns of the Jacobian, as somebody else might add them."""

    name = "columns"
    help = "of every n-th column"
    stored = 3

    class Settings(Settings):
        every: int = setting(2, low=1, help="which columns count")
        scale: float = setting(1.0, low=0, infinite=True, help="what the values are multiplied by")
        iterations: int = setting(1, low=0, help="shared with another method")

    def limit(self, space_map):
        return min(-(-space_map.in_dim // self.settings.every), space_map.max_rank)

    def compute(self, operator, top_k, rng=None, basis=None):
        units = torch.eye(operator.in_dim)[:, :: self.settings.every]
        return self.settings.scale * top_singular_values(operator.columns(units), top_k)


@pytest.fixture
def columns(monkeypatch):
    monkeypatch.setattr(METHODS, "_classes", dict(METHODS._classes))  # as before, afterwards
    return register(Columns)


# --- the registry -----------------------------------------------------------------------------------------------------


def test_built_in_methods_say_what_they_are():
    assert method_names() == ["exact", "projected", "subspace", "shared", "hybrid", "amortized"]
    assert list(PREDICTED) == ["hybrid", "amortized"] and list(WITH_BASIS) == ["shared", "hybrid"]
    assert "hybrid" in WITH_BASIS and "subspace" not in WITH_BASIS and "nothing" not in WITH_BASIS
    defaults = {
        "exact": {},
        "projected": dict(projection=None),  # the papers' for the family
        "subspace": dict(oversample=8, iterations=1),
        "shared": dict(basis=None, labels=256),
        "hybrid": dict(basis=None, labels=5000, min_spearman=0.85),
        "amortized": dict(labels=5000, min_spearman=0.85),
    }
    for name, values in defaults.items():
        method = method_class(name)
        assert method.name == name and method.help and method().settings.record() == values
        assert all(each.help for each in method.Settings.described().values())
        assert method.predicted == (name in PREDICTED) == issubclass(method, Predictor)


def test_a_setting_cannot_have_the_name_of_something_else():
    """Reserved is what atlases and `spectrum` already mean something by; numbers have their own place in the record."""
    taken = {field.name for field in dataclasses.fields(AtlasSettings)} - set(NUMBERS)
    for function in (spectrum, make_settings):
        kinds = inspect.signature(function).parameters.values()
        taken |= {each.name for each in kinds if each.kind is not each.VAR_KEYWORD} - {"basis"}
    assert taken - RESERVED == set()


def test_costs_are_numbers_of_products():
    space_map = FunctionMap(None, 60, 90)
    found = {name: METHODS[name]().cost(space_map, 10) for name in METHODS}
    assert found == dict(exact=60, projected=256, subspace=54, shared=16)
    assert METHODS["subspace"]().cost(space_map, 55) == 60  # the whole Jacobian
    assert PREDICTORS["hybrid"]().cost(space_map, 10) == 8 and PREDICTORS["amortized"]().cost(space_map, 10) == 1


def test_the_default_method_takes_fewer_products():
    for n in range(1, 300):
        for top_k in (None, *range(1, min(n, 60))):
            subspace_wins = 3 * ((top_k or 40) + 8) < n
            assert default_method(FunctionMap(None, n, 400), top_k) == ("subspace" if subspace_wins else "exact")


class Wrong(Method):
    name, help = "wrong", "whatever"

    class Settings(Settings):
        top_k: int = setting(1, help="taken")


class NoNumber(Method):
    name, help = "no-number", "whatever"

    class Settings(Settings):
        basis: float = setting(1.0, help="not a number of directions")


class NoBasis(Method):
    name, help, with_basis = "no-basis", "whatever", True


class Another(Method):
    name, help = "exact", "whatever"


class AnotherPredictor(Predictor):
    name, help = "exact", "whatever"


class Nameless(Method):
    help = "whatever"


@pytest.mark.parametrize(
    "method, message",
    [
        (Wrong, "the method wrong cannot have a setting 'top_k': the name is taken"),
        (NoNumber, "the setting 'basis' of the method no-number must be a whole number"),
        (NoBasis, "the method no-basis learns a basis, so it needs the settings basis and labels"),
        (Another, "there is a method 'exact' already"),
        (AnotherPredictor, "there is a method 'exact' already"),
        (Nameless, "Nameless needs a name"),
        (dict, "is no subclass of Method"),
        (3, "3 is no subclass of Method"),
    ],
)
def test_what_is_no_method_is_refused(method, message):
    with pytest.raises(ValueError, match=message):
        register(method)
    assert method_names() == ["exact", "projected", "subspace", "shared", "hybrid", "amortized"]


def test_methods_of_installed_packages_are_imported_when_they_are_asked_for(monkeypatch):
    asked = []

    class Entry:
        def __init__(self, name, found):
            self.name, self.value, self.found = name, f"package:{name}", found

        def load(self):
            asked.append(self.name)
            if isinstance(self.found, Exception):
                raise self.found
            return self.found

    entries = [Entry("columns", Columns), Entry("broken", ImportError("no package")), Entry("named", Columns)]
    groups = {"latent_plugins.methods": entries}
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: groups[group])
    registry = Registry(Method, "latent_plugins.methods", (method_class("exact"),))
    assert list(registry) == ["exact", "columns", "broken", "named"] and "columns" in registry and not asked
    assert registry["columns"] is Columns is registry["columns"] and asked == ["columns"]
    with pytest.raises(ValueError, match=r"the method 'broken' of package:broken cannot be used \(no package\)"):
        registry["broken"]
    with pytest.raises(ValueError, match=r"'named' of package:named cannot be used \(it has the name 'columns'\)"):
        registry["named"]
    with pytest.raises(KeyError):
        registry["nothing"]


# --- a method of somebody else ----------------------------------------------------------------------------------------


def test_a_registered_method_computes_spectra(columns):
    described = columns.Settings.described()
    assert list(described) == ["every", "scale", "iterations"] and described["every"].range == "at least 1"
    space_map, x = bent_map(6, 9), torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    whole = spectrum(space_map, x, top_k=3, method="columns", every=1, scale=2)
    torch.testing.assert_close(whole, 2 * spectrum(space_map, x, top_k=3))
    half = spectrum(space_map, x, top_k=3, method="columns")
    assert torch.equal(spectrum(space_map, x, top_k=3, method=Columns(every=2)), half) and (half < whole).all()
    with pytest.raises(ValueError, match="top_k 4 is outside 1 to 3, what the method columns gives here"):
        spectrum(space_map, x, top_k=4, method="columns")
    with pytest.raises(ValueError, match="every must be at least 1, not 0"):
        spectrum(space_map, x, top_k=1, method="columns", every=0)


def test_an_atlas_of_a_registered_method(columns, tmp_path):
    network = small_stylegan2()
    options = dict(space="pixel", candidates=120, method="columns", every=3, scale=0.5)
    atlas = Atlas.build(network, tmp_path / "a", **options)
    assert atlas.top_k == 3 and atlas.settings.made_by.settings.record() == dict(every=3, scale=0.5, iterations=1)
    fields = json.loads((tmp_path / "a" / "atlas.json").read_text())
    assert fields["method"] == "columns" and fields["method_settings"] == dict(every=3, scale=0.5)
    assert fields["iterations"] == 1 and fields["oversample"] is None
    assert hash(atlas.settings) == hash(read_settings(tmp_path / "a")) and atlas.settings == read_settings(
        tmp_path / "a"
    )
    # Its rows are those of `spectrum`, resumed they are the same bytes, and other settings are another atlas.
    space_map = get_space(network, "pixel")
    x = space_map.enter(atlas.latents(range(50)))
    expected = spectrum(space_map, x, top_k=3, method="columns", every=3, scale=0.5)
    assert np.array_equal(atlas.spectra()[:50], expected.numpy())
    lost = tmp_path / "a" / "shard00001.npy"
    before = lost.read_bytes()
    lost.unlink()
    with pytest.raises(AtlasError, match="unfinished"):
        open_atlas(tmp_path / "a")
    assert len(missing_shards(tmp_path / "a", atlas.settings)) == 1
    Atlas.build(network, tmp_path / "a", **options)
    assert lost.read_bytes() == before
    for changes, message in ((dict(every=2), r"another every \(3, wanted 2\)"), (dict(iterations=2), "another iterat")):
        with pytest.raises(AtlasError, match=message):
            Atlas.build(network, tmp_path / "a", **options | changes)


def test_infinite_settings_come_back(columns, tmp_path):
    settings = make_settings(small_stylegan2(), space="style", method="columns", scale=float("inf"))
    assert settings.method_settings == (("every", 2), ("scale", "inf")) and settings.made_by.settings.scale == np.inf


def test_settings_of_a_registered_method_are_checked_when_they_are_read(columns, tmp_path):
    Atlas.build(small_stylegan2(), tmp_path / "a", space="style", candidates=10, method="columns")
    file = tmp_path / "a" / "atlas.json"
    good = {
        name: value for name, value in json.loads(file.read_text()).items() if name in AtlasSettings.__annotations__
    }
    wrong = [
        (dict(method_settings=None), "its settings of the method columns are missing, not every, scale"),
        (dict(method_settings=dict(every=2)), "columns are 'every', not every, scale"),
        (dict(method_settings=dict(every=2, scale=1.0, more=1)), "columns are 'every', 'scale', 'more', not every"),
        (dict(method_settings=dict(every=0, scale=1.0)), "every must be at least 1, not 0"),
        (dict(method_settings=dict(every=[1], scale=1.0)), "every must be a whole number"),
        (dict(method_settings=[1]), r"its method_settings is \[1\], which no atlas has"),
        (dict(method="exact"), "its settings of the method exact are 'every', 'scale', not none"),
    ]
    for changes, message in wrong:
        file.write_text(json.dumps(sealed_json(good | changes)))
        with pytest.raises(AtlasError, match=message) as error:
            open_atlas(tmp_path / "a")
        assert str(error.value).startswith(str(file)) and "\n" not in str(error.value)


def test_an_atlas_of_a_method_that_is_not_here(columns, tmp_path, monkeypatch):
    Atlas.build(small_stylegan2(), tmp_path / "a", space="style", candidates=10, method="columns")
    METHODS._classes.pop("columns")
    assert not is_method("columns")
    with pytest.raises(
        AtlasError, match="its method is 'columns', which is not known here: .* of a package to install"
    ):
        open_atlas(tmp_path / "a")
    with pytest.raises(
        ValueError, match="unknown spectrum method 'columns'; known methods: exact, projected, subspace"
    ):
        make_settings(small_stylegan2(), method="columns")


def test_settings_that_no_method_has_are_told(columns):
    with pytest.raises(ValueError, match="no method has a setting 'evry'; known ones: basis, every, iterations"):
        make_settings(small_stylegan2(), space="style", evry=3)
    # Those of other methods are left aside, so that one call serves all of them; None is the default.
    settings = make_settings(small_stylegan2(), space="style", method="exact", every=3, projection=3, basis=None)
    assert settings.projection is settings.basis is settings.method_settings is None


def test_built_in_methods_leave_no_trace_of_other_settings(tmp_path):
    settings = Atlas.build(small_stylegan2(), tmp_path / "a", space="style", candidates=10).settings
    assert "method_settings" not in (tmp_path / "a" / "atlas.json").read_text()
    assert "method_settings" not in vars(settings) and settings.method_settings is None
    assert dataclasses.replace(settings, seed=1) != settings == dataclasses.replace(settings)


# --- the operator -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_memory", [None, 8000])
@pytest.mark.parametrize("n_in, n_out", [(6, 9), (9, 6)])
def test_products_are_those_of_the_whole_jacobian(n_in, n_out, max_memory):
    random = torch.Generator().manual_seed(1)
    space_map, x = bent_map(n_in, n_out), torch.randn(7, n_in, generator=random)
    operator = JacobianOperator(space_map, x, max_memory=max_memory)
    rows = [torch.autograd.functional.jacobian(lambda r: space_map(r[None])[0], row) for row in x]
    whole = torch.stack(rows)
    close = dict(rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(operator.dense(), whole, **close)
    for own in (False, True):
        v, u = torch.randn(7, n_in, 5, generator=random), torch.randn(7, 4, n_out, generator=random)
        v, u = (v, u) if own else (v[0], u[0])
        torch.testing.assert_close(operator.columns(v), whole @ v, **close)
        torch.testing.assert_close(operator.rows(u), u @ whole, **close)
    assert operator.cost(5) == operator.cost(5, own=True) == 5 and operator.first is None and len(operator) == 7


def test_products_of_a_composition_start_between_its_parts():
    space_map = get_space(small_stylegan2(), "pixel")
    x = space_map.enter(torch.randn(3, 8, generator=torch.Generator().manual_seed(0)))
    operator = JacobianOperator(space_map, x)
    assert operator.first.shape == (3, 8, 8) and operator.cost(5, own=True) == 6 and operator.cost(5) == 5
    v = torch.randn(3, 8, 2, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(operator.columns(v), operator.dense() @ v, rtol=1e-3, atol=1e-3)


def test_the_length_of_outputs_may_be_unknown():
    operator = JacobianOperator(lambda x: torch.cat([x, x.square()], dim=1), torch.ones(2, 3))
    assert operator.out_dim == 6 and operator.dense().shape == (2, 6, 3)


# --- imports ----------------------------------------------------------------------------------------------------------

STUB = """
import importlib, importlib.machinery, sys, types
class Unused(types.ModuleType):
    def __getattr__(self, name):
        raise RuntimeError(f"torch.{name} is used")
torch = Unused("torch")
torch.__path__, torch.__spec__ = [], importlib.machinery.ModuleSpec("torch", None)
sys.modules["torch"] = torch
for name in sys.argv[1:]:
    importlib.import_module(name)
from latent_plugins.volume.methods import method_class, method_names
print(len([method_class(name).Settings.described() for name in method_names()]))
"""


def test_descriptions_are_there_without_torch():
    """torch stands in the list of modules, but nothing of it may be touched while these are imported."""
    command = [sys.executable, "-c", STUB, *LIGHT]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout == "6\n", done.stderr
