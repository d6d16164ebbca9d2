"""The flat Python API: what the README shows runs, every public name explains itself by an example that holds."""

import doctest
import importlib
import inspect
import re
import subprocess
import sys

import pytest
import torch
from conftest import ROOT

import latent_plugins as lp


def readme_example():
    text = (ROOT / "README.md").read_text()
    return re.search(r"```python\n(import torch, latent_plugins as lp\n.*?)```", text, re.DOTALL)[1]


def test_the_ten_lines_of_the_readme_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = readme_example()
    assert len([line for line in code.splitlines() if line]) <= 12
    names = {}
    quick = code.replace("fid5k_full,pr5k3_full", "fid70_full,pr70_full").replace(
        "candidates=20_000", "candidates=2000"
    )
    quick = quick.replace("keep=0.9", "keep=0.9, calibration=100")
    assert quick.count("2000") == 1 and quick.count("calibration") == 1
    exec(compile(quick, "README.md", "exec"), names)
    assert names["images"].shape == (16, 1, 32, 32) and names["latents"].z.shape == (16, 64)
    assert names["volume"](torch.randn(3, 64)).shape == (3,)
    assert names["sampler"].record()["keep"] == 0.9 and names["sampler"].record()["rho"] == -0.2
    z = torch.randn(2, names["better"].z_dim)
    assert names["better"](z, torch.zeros(2, 0)).shape == (2, 1, 32, 32)
    assert "pr70_full_precision" in capsys.readouterr().out


@pytest.mark.parametrize("name", lp.PUBLIC)
def test_every_public_name_has_an_example_that_holds(name):
    found = getattr(lp, name)
    module = importlib.import_module(lp.PUBLIC[name].partition(":")[0])
    examples = doctest.DocTestFinder(recurse=False).find(found, name, module=module, globs=dict(vars(module)))
    assert found.__doc__ and sum(len(each.examples) for each in examples), f"lp.{name} has no example"
    for each in examples:
        outcome = doctest.DocTestRunner(verbose=False).run(each)
        assert outcome.failed == 0


def test_the_package_s_own_example_holds():
    assert doctest.testmod(lp).failed == 0 and lp.__doc__.count(">>>") == 3


def test_public_names_are_listed_and_others_are_told():
    assert sorted(lp.PUBLIC) == sorted(lp.__all__) and set(lp.__all__) <= set(dir(lp))
    with pytest.raises(AttributeError, match="no attribute 'nosuch'"):
        lp.nosuch  # noqa: B018


def test_importing_the_package_imports_no_torch():
    code = "import sys, latent_plugins; assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_types_are_shipped():
    for package in ("latent_plugins", "dnnlib_compat"):
        assert (ROOT / package / "py.typed").exists()


@pytest.mark.parametrize("name", lp.PUBLIC)
def test_public_names_are_annotated(name):
    found = getattr(lp, name)
    functions = [found] if not inspect.isclass(found) else [found.__init__]
    if inspect.isclass(found):
        own = (value for key, value in vars(found).items() if not key.startswith("_"))
        functions += [f for f in map(unwrapped, own) if inspect.isfunction(f)]
    for function in functions:
        if function is object.__init__:
            continue
        for parameter in inspect.signature(function).parameters.values():
            assert parameter.name == "self" or parameter.annotation is not parameter.empty, (function, parameter)
        assert function.__name__ == "__init__" or "return" in function.__annotations__, function


def unwrapped(value):
    """The function of a method, property, class or static method."""
    return value.fget if isinstance(value, property) else getattr(value, "__func__", value)


def test_former_import_paths_and_the_functions_of_the_same_name():
    code = """
from latent_plugins.attach import attach
from latent_plugins.wrap import wrap
import latent_plugins as lp, latent_plugins.attach, latent_plugins.wrap, torch
assert callable(lp.attach) and callable(lp.wrap)
G = lp.wrap(torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.Unflatten(1, (1, 4, 4))), z_dim=4)
assert lp.attach(G, lp.sampler("prior", G))(torch.randn(1, 4), torch.zeros(1, 0)).shape == (1, 1, 4, 4)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_errors_are_in_terms_of_arguments():
    G = lp.load("mnist32")
    for name, options, message in [
        ("nosuch", {}, "unknown sampler 'nosuch'"),
        ("prior", dict(steps=3), "the sampler prior has no option `steps`"),
        ("prior", dict(rho=1.0), "the sampler prior has no `rho`"),
        ("pcn", dict(rho=1.0, steps=3), "steps must be at least 8, not 3"),
        ("pcn", dict(rho=1.0, method="hybrid"), "`method`=hybrid needs an atlas"),
        ("truncated-normal", {}, "the sampler truncated-normal needs `threshold`"),
        ("latentrs", {}, "the sampler latentrs needs `weights`"),
        ("magnet", dict(space="nowhere"), "unknown space 'nowhere'"),
    ]:
        with pytest.raises(ValueError, match=re.escape(message)):
            lp.sampler(name, G, **options)
    with pytest.raises(ValueError, match="unknown metric"):
        lp.evaluate("fud50k", G)
