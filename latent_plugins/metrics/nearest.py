"""The training images nearest to generated ones, by pixels and by features."""

import numpy as np
import torch

from latent_plugins.metrics.neighbours import unwatched
from latent_plugins.pictures.contact_sheet import CELL, enlarged, image_grid
from latent_plugins.pictures.strips import captioned

COMPARED = 32  # pixels: the side at which images are compared pixel by pixel
BATCH = 128  # training images at once
SHORT = dict(pixels="px", features="feat")  # in captions


class Nearest:
    """The k nearest of the rows seen so far to each of the queries [Q, D]: `k_distances` (L2), ascending, [Q, k].

    `distances` and `index`, both [Q], are those of the nearest one; of equal ones the first.
    """

    def __init__(self, queries, k=1):
        self.queries, self.k = queries, k
        self.k_distances = torch.full((len(queries), k), torch.inf)
        self.k_index = torch.zeros(len(queries), k, dtype=torch.long)

    @property
    def distances(self):
        return self.k_distances[:, 0]

    @property
    def index(self):
        return self.k_index[:, 0]

    def add(self, rows, first):
        """Take in rows [n, D], whose numbers start at `first`."""
        # Plain differences: products would lose the distances of near copies to rounding.
        found = torch.cdist(self.queries, rows, compute_mode="donot_use_mm_for_euclid_dist").cpu()
        numbers = torch.arange(first, first + len(rows)).expand(len(found), -1)
        distances, index = torch.cat([self.k_distances, found], dim=1), torch.cat([self.k_index, numbers], dim=1)
        order = distances.sort(dim=1, stable=True).indices[:, : self.k]
        self.k_distances, self.k_index = distances.gather(1, order), index.gather(1, order)

    def part(self, start, stop):
        """The queries from start to stop alone."""
        part = Nearest(self.queries[start:stop], self.k)
        part.k_distances, part.k_index = self.k_distances[start:stop], self.k_index[start:stop]
        return part


def pixel_rows(images):
    """uint8 images [N, C, H, W] as rows of pixel values in [0, 255], averaged to COMPARED pixels a side if larger."""
    images = images.to(torch.float32)
    large = images.shape[2] > COMPARED
    return (torch.nn.functional.adaptive_avg_pool2d(images, COMPARED) if large else images).flatten(1)


def nearest_of(images, dataset, detector=None, *, k=1, progress=unwatched):
    """{name: {"pixels": Nearest, "features": Nearest}} in one pass over a data set.

    images: {name: uint8 [N, H, W, C]}; dataset: an ImageDataset of images of the same shape; detector: a Detector, None
    for pixels alone; k: how many of the nearest; progress(counts, total, label) wraps the loop. ("Polarity Sampling",
    Sec. 5.1: whether modes are copies of training images; Fig. 6: distances to the k = 3 nearest, by pixels.) Raises
    ValueError for a data set of fewer than k images.
    """
    if len(dataset) < k:
        raise ValueError(f"the data set has {len(dataset)} images, the {k} nearest need {k} or more")
    by, device = dict(pixels=pixel_rows), torch.device("cpu")
    if detector is not None:
        by["features"], device = detector, detector.device
    with torch.no_grad():
        queries = torch.from_numpy(np.concatenate(list(images.values()))).permute(0, 3, 1, 2).to(device)
        all_of = {key: Nearest(torch.cat([rows(part) for part in queries.split(BATCH)]), k) for key, rows in by.items()}

        def rounds():
            first = 0
            for batch in dataset.batches(range(len(dataset)), batch=BATCH):
                for key, rows in by.items():
                    all_of[key].add(rows(batch.to(device)), first)
                first += len(batch)
                yield len(batch)

        for _ in progress(rounds(), len(dataset), "training images"):
            pass
    stops = np.cumsum([len(each) for each in images.values()]).tolist()
    spans = zip(images, [0, *stops], stops)
    return {name: {key: near.part(*span) for key, near in all_of.items()} for name, *span in spans}


def nearest_figure(images, found, dataset, *, cell=CELL):
    """Generated images [N, H, W, C] and their nearest training images: N columns, three rows, distances below.

    found: what `nearest_of` gives for these images; cell: as for `contact_sheet`.
    """
    rows = [images]
    for near in found.values():
        training = np.stack([dataset.image(int(i)) for i in near.index])
        rows.append(training.transpose(0, 2, 3, 1))
    columns = [list(near.distances.tolist()) for near in found.values()]
    texts = ["\n".join(f"{SHORT[key]} {d:.4g}" for key, d in zip(found, pair)) for pair in zip(*columns)]
    return captioned(image_grid(enlarged(np.concatenate(rows), cell), columns=len(images)), texts, below=True)


def summary(distances):
    """{"mean", "standard_error", "images"} of distances [N]; no error of a single one."""
    x = distances.double()
    error = float(x.std() / len(x) ** 0.5) if len(x) > 1 else None
    return dict(mean=float(x.mean()), standard_error=error, images=len(x))
