"""Images made again from their lines of samples.jsonl: what stands in a line is all that decides an image."""

from __future__ import annotations

import contextlib
import functools
import json
from typing import TYPE_CHECKING

import numpy as np
import torch

from dnnlib_compat.download import needs_download
from dnnlib_compat.errors import quoted, reason, shown, what
from dnnlib_compat.loader import load_network
from dnnlib_compat.pretrained import catalogue, detectors
from latent_plugins.atlas.settings import one_hot
from latent_plugins.files.sample_records import checked
from latent_plugins.importance.weights import rho_from_json
from latent_plugins.pictures.projected import projected_styles, rendered
from latent_plugins.pictures.rendering import apply_transform, inverse_transform, render
from latent_plugins.samplers import Latents
from latent_plugins.samplers.options import options_of
from latent_plugins.samplers.recipe import Recipe
from latent_plugins.watching import SILENT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    import numpy as np
    import torch

    from latent_plugins.watching import Watch

# What differs from line to line, or follows.
OWN = ("file", "seed", "row", "candidate", "log_volume", "jacobian_norm", "weight", "draw", "ess")


def remake(
    lines: Iterable[dict[str, Any]],
    *,
    device: str | torch.device = "cpu",
    allow_code: bool = False,
    watch: Watch = SILENT,
) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """Yield (line, image uint8 [H, W, C]) for records of samples.jsonl: those images again.

    lines: dicts as `sample_records.read_lines` gives them; those that differ in their seed alone are made together.
    They come in the order of such groups. The bytes are those of the first time on the same kind of machine, with the
    same number of threads: an image's last bits depend on the number of images that are computed at once (`batch` of a
    line), not on which these are. allow_code: for networks that are FILE.py:function, or need it; device: where the
    first run was.

    Raises ValueError for a line from which something is missing or that is damaged, with the name of its image, as also
    where its network, atlas or weights cannot be had. A line may be anybody's: an address in it is not followed unless
    its file was fetched before.

    >>> line = dict(file="seed0005.png", network="mnist32", sampler="prior", seed=5)
    >>> [(_, image)] = remake([dict(line, trunc=1, noise_mode="const", batch=16)])
    >>> image.shape, image.dtype
    ((32, 32, 1), dtype('uint8'))
    """
    makers = Makers(device, allow_code, watch)
    groups = {}
    for line in map(checked, lines):
        shared = {name: value for name, value in line.items() if name not in OWN}
        groups.setdefault(json.dumps(shared, sort_keys=True), []).append(line)
    for group in groups.values():
        with of_record(group[0]):
            check_addresses(group[0])
            yield from zip(group, makers.projected(group) if "projected_w" in group[0] else makers.drawn(group))


@contextlib.contextmanager
def of_record(line):
    """Name the image of a record in whatever goes wrong with it, as a ValueError; errors of memory are left alone."""
    where = f"the record of {quoted(line['file'])}"
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    except OSError as error:
        file = "" if error.filename is None else f"{shown(error.filename)}: "
        raise ValueError(f"{where}: {file}{reason(error)}") from error
    except (LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"{where}: damaged ({what(error)})") from error


def check_addresses(line):
    """Raise ValueError for addresses in a record that somebody would have to be asked for."""
    for name, known in (("network", catalogue()), ("detector", detectors())):
        source = line.get(name, "")
        if source not in known and needs_download(source):
            raise ValueError(
                f"its {name} is {quoted(source)}, which is not on this machine and is not followed unasked: if you "
                f"trust it, fetch it first, as `describe ADDRESS` does"
            )


class Makers:
    """Makes images of groups of lines; networks are opened once."""

    def __init__(self, device, allow_code, watch):
        self.device, self.watch = device, watch
        self.load = functools.lru_cache(maxsize=2)(
            functools.partial(load_network, device=device, allow_code=allow_code)
        )

    def network(self, line):
        """The generator of a line, smoothed and transformed as it says."""
        self.watch.say(f'Loading networks from "{line["network"]}"...')
        generator = self.load(line["network"])
        if line.get("smooth", 1) != 1:
            from latent_plugins.geometry.smoothing import smoothed

            generator = smoothed(generator, line["smooth"])
        return generator

    def projected(self, lines):
        """Images [H, W, C] of lines whose styles come from a file."""
        first = lines[0]
        generator = self.network(first)
        styles, rows = projected_styles(first["projected_w"], generator), [line["row"] for line in lines]
        if max(rows) >= len(styles):
            raise ValueError(f"its row is {max(rows)}, but {first['projected_w']} has {len(styles)} styles")
        apply_transform(generator, transform_of(first))
        return rendered(generator, styles[rows], first["noise_mode"])

    def drawn(self, lines):
        """Images [H, W, C] of lines whose latents a sampler drew."""
        first = lines[0]
        generator, label = self.network(first), first.get("class")
        psi, cutoff = first["trunc"], first.get("trunc_cutoff")
        taken = options_of(first["sampler"], first.get("method")) - {"rho", "critic"}
        options = {name: first[name] for name in taken if name in first}
        options["min_spearman"] = -1  # judged the first time
        weights = options.get("weights")
        if first.get("critic", weights) != weights:  # nobody gave them: both come with the network, as they did then
            options.pop("weights", None)
        for name, value in first.get("method_settings", {}).items():
            options[f"method_{name}" if f"method_{name}" in taken else name] = value
        seeds = [line["seed"] for line in lines]
        about = dict(source=first["network"], cutoff=cutoff, label=label, needed=max(seeds) + 1, watch=self.watch)
        rho = rho_from_json(first["rho"]) if "rho" in options_of(first["sampler"]) else None
        sampler, _ = Recipe(generator, first["sampler"], options, **about).make(rho, psi, first.get("atlas_seed", 0))
        apply_transform(generator, transform_of(first))
        synthesis = dict(psi=psi, cutoff=cutoff, noise_mode=first["noise_mode"])
        size = first["batch"]
        for start in range(0, len(seeds), size):
            part = seeds[start : start + size]
            full = part + part[:1] * (size - len(part))  # which latents fill the batch changes nothing
            c = None if label is None else one_hot([label] * len(part), generator.c_dim)
            latents = repeated(sampler.draw(part, c), size)
            outputs = dict(output_seeds=full) if first.get("output") == "sample" else {}
            (images,) = render(generator, latents, batch=size, noise_seeds=full, **synthesis, **outputs)
            yield from images[: len(part)]


def transform_of(line):
    """The input transform that a line asks for."""
    return inverse_transform(line.get("translate", (0, 0)), line.get("rotate", 0))


def repeated(latents, n):
    """Latents filled up to n rows with copies of the first one."""
    rows = [*range(len(latents.z)), *[0] * (n - len(latents.z))]
    psi = None if latents.psi is None else np.asarray(latents.psi)[rows]
    return Latents(torch.as_tensor(latents.z)[rows], latents.c[rows], psi=psi)
