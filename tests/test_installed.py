"""Entry points of installed packages: looked up once, and again when something is installed."""

import importlib.metadata
import os

import pytest

from dnnlib_compat.installed import entry_points

GROUP = "latent_plugins.tests"


def install(folder, name, stamp):
    """Put a distribution with one entry point into a folder, which then changed `stamp` seconds after 1970."""
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[{GROUP}]\n{name} = {name}_module:Thing\n")
    os.utime(folder, (stamp, stamp))


@pytest.fixture
def looked_up(monkeypatch):
    """The groups that were looked up in the metadata of packages."""
    asked, real = [], importlib.metadata.entry_points

    def entry_points(group):
        asked.append(group)
        return real(group=group)

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    return asked


def test_metadata_is_read_again_only_when_something_was_installed(tmp_path, monkeypatch, looked_up):
    assert entry_points(GROUP) == ()
    install(tmp_path, "first", 1000)
    monkeypatch.syspath_prepend(tmp_path)
    for _ in range(3):
        assert [entry.value for entry in entry_points(GROUP)] == ["first_module:Thing"]
    assert looked_up == [GROUP] * 2
    install(tmp_path, "second", 2000)
    assert sorted(entry.name for entry in entry_points(GROUP)) == ["first", "second"]
    assert looked_up == [GROUP] * 3


def test_groups_are_apart(tmp_path, monkeypatch):
    install(tmp_path, "first", 1000)
    monkeypatch.syspath_prepend(tmp_path)
    assert entry_points("latent_plugins.others") == () and len(entry_points(GROUP)) == 1


def test_folders_of_the_import_path_need_not_exist(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path / "nowhere")
    assert entry_points(GROUP) == ()
