"""Which of a training's snapshots to keep: the one whose samples are nearest to held-out images.

"Latent reweighting" (Issenhuth et al. 2022, "Implementation of baselines") selects critics by the earth mover's
distance of what the sampler draws with them; here weights are chosen in the same way.
"""

import json
import os
import shutil

import numpy as np
import torch

from dnnlib_compat.arguments import is_number, is_whole
from dnnlib_compat.errors import quoted, reason
from dnnlib_compat.json_text import parse_json
from dnnlib_compat.util import atomic_output
from latent_plugins.metrics.earth_mover import LARGEST, earth_mover_distance
from latent_plugins.pictures.rendering import render
from latent_plugins.reweighting.training_data import HELD_OUT, SELECTED, random_key
from latent_plugins.reweighting.weight_files import WeightsError

LOG, BEST, CANDIDATE = "selection.json", "best.npz", "candidate.npz"
BATCH = 64  # images at once
REMEDY = "remove it, and the checkpoint beside it, to start again"


class Selection:
    """Judges the snapshots of a training by the earth mover's distance to held-out images, and keeps the best one.

    held_out: an ImageDataset of the generator's size that the training does not see; detector: a Detector, in whose
    features distances are taken; images: how many of either kind, of the held-out ones a random choice; sampler_of:
    function of a snapshot's file to the sampler whose images are judged; named: its name, for the record. The latents
    and the real images are the same for every snapshot, functions of `seed`.

    Folders get `selection.json`, the distance at every snapshot, and `best.npz`. Raises ValueError for too few images
    or more than the distance takes.
    """

    def __init__(self, generator, held_out, detector, sampler_of, *, named, images=1024, seed=0):
        if not 2 <= images <= min(len(held_out), LARGEST):
            raise ValueError(
                f"{images} images for the selection, of {len(held_out)} held-out ones: give 2 to "
                f"{min(len(held_out), LARGEST)}"
            )
        self.generator, self.held_out, self.detector, self.sampler_of = generator, held_out, detector, sampler_of
        self.n, self.seed, self._features = images, seed, None
        self.about = dict(
            held_out=held_out.fingerprint(), detector=detector.digest, images=images, sampler=named, seed=seed
        )

    def check(self, outdir, data):
        """Raise WeightsError where a folder holds a selection of another kind, or a damaged one; ValueError where the
        training's own images, of the fingerprint `data`, are said to be held out."""
        if self.about["held_out"] == data:
            raise ValueError("the held-out images of the selection are those of the training: give held-out ones")
        self.rows(outdir)

    def rows(self, outdir):
        """[{"step", "emd"}] of the snapshots that were judged so far. Raises WeightsError as `check`."""
        path = outdir / LOG
        if not path.exists():
            return []
        try:
            found = parse_json(path.read_text(encoding="utf-8"))
            rows, about = found["snapshots"], found["of"]
            sound = all(is_whole(row["step"], -(1 << 60), 1 << 60) and is_number(row["emd"]) for row in rows)
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise WeightsError(f"{path}: damaged ({reason(error)}); {REMEDY}") from None
        if not sound:
            raise WeightsError(f"{path}: damaged, its distances are no numbers; {REMEDY}")
        differing = [name for name in self.about if about.get(name) != self.about[name]]
        if differing:
            text = f"{quoted(str(about.get(differing[0])))}, wanted {quoted(str(self.about[differing[0]]))}"
            raise WeightsError(
                f"{path}: a selection with another {differing[0].replace('_', '-')} ({text}): choose another folder"
            )
        return rows

    def look(self, outdir, step, write):
        """Judge the snapshot at a step, which write(path) puts into a file; the distance.

        Steps from here on are forgotten first: a training that goes on from an earlier checkpoint makes them anew.
        """
        rows = [row for row in self.rows(outdir) if row["step"] < step]
        candidate = outdir / CANDIDATE
        try:
            write(candidate)
            found = self.distance(self.sampler_of(candidate))
            if not rows or found < min(row["emd"] for row in rows):
                os.replace(candidate, outdir / BEST)
        finally:
            candidate.unlink(missing_ok=True)
        rows.append(dict(step=step, emd=found))
        with atomic_output(outdir / LOG) as tmp:
            tmp.write_text(json.dumps(dict(of=self.about, snapshots=rows), indent=1) + "\n", encoding="utf-8")
        return found

    def distance(self, sampler):
        """The earth mover's distance between images of a sampler and the held-out ones."""
        if self._features is None:
            random = torch.Generator().manual_seed(random_key(self.seed, 0, HELD_OUT))
            chosen = np.sort(torch.randperm(len(self.held_out), generator=random)[: self.n].numpy())
            self._labels = self.held_out.label_batch(chosen)
            self._features = self._of(self.held_out.batches(chosen, batch=BATCH))
        rng = torch.Generator().manual_seed(random_key(self.seed, 0, SELECTED))
        latents = sampler.sample(self.n, rng, self._labels if self.generator.c_dim else None)
        images = render(self.generator, latents, batch=BATCH)
        return earth_mover_distance(self._features, self._of(torch.from_numpy(x).permute(0, 3, 1, 2) for x in images))

    def best(self, outdir):
        """The row of the snapshot that was kept, of equal ones the first; None where none was judged."""
        return min(self.rows(outdir), key=lambda row: row["emd"], default=None)

    def keep(self, outdir, result):
        """Make the best snapshot the `result` of the training in a folder."""
        if self.best(outdir) is None or not (outdir / BEST).exists():
            raise WeightsError(f"{outdir}: a finished training whose snapshots nobody judged: choose another folder")
        with atomic_output(result) as tmp:
            shutil.copyfile(outdir / BEST, tmp)

    def _of(self, batches):
        """Features [N, F] of uint8 batches [n, C, H, W]."""
        with torch.no_grad():
            return torch.cat([self.detector(batch.to(self.detector.device)).cpu() for batch in batches]).numpy()
