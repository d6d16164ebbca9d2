"""One pass over images that feeds every accumulator at once."""

from latent_plugins import distributed


def collect(batches, detectors, accumulators):
    """Feed `accumulators` with the features of images until they are full or the images end.

    batches: an iterator over this process's share of the images, uint8 [n, C, H, W]: every world-th batch from the
    rank-th on, so that the features come together in the order, and from the batches, of a single process.
    detectors: {name: Detector}. accumulators: {(detector name, output): [accumulator, …]}. Every detector sees every
    batch once per output. Yields the number of images taken after each round, for a progress bar.
    """
    finished = False
    while not finished:
        images = next(batches, None)
        computed = {}
        for (name, output), group in accumulators.items():
            if any(accumulator.missing for accumulator in group):
                computed[name, output] = None if images is None else detectors[name](images, output).cpu()
        taken = 0
        for features, count in distributed.gather((computed, 0 if images is None else len(images))):
            taken += count
            for key, rows in features.items():
                for accumulator in accumulators[key]:
                    if rows is not None and accumulator.missing:
                        accumulator.add(rows)
        yield taken
        finished = taken == 0 or not any(a.missing for group in accumulators.values() for a in group)


def share(n, batch):
    """[(first, last + 1), …] of the batches of n items that fall to this process."""
    starts = range(distributed.rank() * batch, n, batch * distributed.world())
    return [(start, min(start + batch, n)) for start in starts]
