"""Latents of any sampler that pass filters."""

import abc
import hashlib
import time

import numpy as np
import torch

from latent_plugins.samplers.base import Latents, Sampler, check_labels
from latent_plugins.samplers.effort import Effort
from latent_plugins.samplers.independent import KEY_BYTES, independent
from latent_plugins.samplers.prior import PriorSampler


class Filter(abc.ABC):
    """Decides which latents are kept, each on its own."""

    @abc.abstractmethod
    def accept(self, z, c, u):
        """Which latents are kept: bool tensor [N] on the CPU.

        z: [N, z_dim] float32 and c: [N, c_dim], on the CPU; u: uniform numbers in (0, 1), float64 [N], independent of z
        and of what other filters get, for filters that decide by chance.
        """


def hashed(size, *parts):
    """A number of `size` bytes that is a function of `parts` (names and integers): BLAKE2b of their text."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=size).digest(), "little")


class FilterSampler(Sampler):
    """Draws from a base sampler and keeps what all filters accept.

    base: any Sampler, the prior by default; filters: Filters, asked in their order, each about what the ones before it
    kept. The law of the latents is the base's, conditional on being accepted. A seed first proposes what the base gives
    for the seed itself, so that accepted seeds keep their image. Its later proposals are the base's latents for 32-bit
    keys, BLAKE2b hashes of seed and attempt, and its chances are such hashes too: they share no stream of random
    numbers. A base without replacement draws with replacement from the second attempt on. Labels stay as they are asked
    for.

    `last_effort` is the Effort of the last draw or sample, None before; without an acceptance at all, the Effort of
    what was tried. batch: latents that the filters see at once in `sample`. max_tries: proposals rejected in a row
    after which a draw gives up. Raises ValueError for no filters, or a batch or max_tries below 1, and, from a draw,
    when it gives up.
    """

    name = "filtered"

    def __init__(self, generator, base=None, filters=(), *, batch=1024, max_tries=10_000):
        if not filters:
            raise ValueError("no filters were given: without them, use the base sampler itself")
        if batch < 1:
            raise ValueError(f"a batch of {batch} latents: give 1 or more")
        if max_tries < 1:
            raise ValueError(f"max_tries={max_tries} leaves no proposals: give 1 or more")
        self.generator, self.filters, self.batch, self.max_tries = generator, tuple(filters), batch, max_tries
        self.base = PriorSampler(generator) if base is None else base
        self.again = independent(self.base)  # for attempts after the first
        self.last_effort = None

    def draw(self, seeds, c=None):
        """See Sampler.draw. Filters see one latent at a time, so that no decision depends on the batch."""
        seeds = [int(seed) for seed in seeds]
        kept = Kept(check_labels(c, len(seeds), self.generator.c_dim), self.generator.z_dim)
        for attempt in range(self.max_tries):
            if attempt == 0:
                drawn = self.base.draw(seeds, kept.c)
            else:
                keys = [hashed(KEY_BYTES, "latent", seeds[row], attempt) for row in kept.pending.tolist()]
                drawn = self.again.draw(keys, kept.c[kept.pending])
            u = [self._chances(seeds[row], attempt) for row in kept.pending.tolist()]
            rows = zip(drawn.z.split(1), drawn.c.split(1), u)
            accepted = [self._accept(*row) for row in rows]
            kept.take(drawn, torch.cat([torch.empty(0, dtype=torch.bool), *accepted]))
            if not len(kept.pending):
                return self._account(kept)
        raise self._rejected(kept, self.max_tries)

    def sample(self, n, generator, c=None):
        """See Sampler.sample. Latents that are rejected are replaced in further rounds."""
        kept = Kept(check_labels(c, n, self.generator.c_dim), self.generator.z_dim)
        source, rejected = self.base, 0
        while True:
            drawn = source.sample(len(kept.pending), generator, kept.c[kept.pending])
            u = torch.rand(len(drawn.z), len(self.filters), generator=generator, dtype=torch.float64)
            parts = zip(*(x.split(self.batch) for x in (drawn.z, drawn.c, u)))
            accepted = torch.cat([self._accept(*part) for part in parts])
            # Rejections in a row over all latents: where nothing passes nobody waits long.
            places = torch.nonzero(accepted)[:, 0]
            rejected = rejected + len(accepted) if not len(places) else len(accepted) - 1 - int(places[-1])
            kept.take(drawn, accepted)
            if not len(kept.pending):
                return self._account(kept)
            if rejected >= self.max_tries:
                raise self._rejected(kept, rejected)
            source = self.again

    def _chances(self, seed, attempt):
        """Uniform numbers float64 [1, filters] of one attempt of a seed."""
        bits = [hashed(8, "chance", seed, attempt, number) >> 11 for number in range(len(self.filters))]
        return (torch.tensor([bits], dtype=torch.float64) + 0.5) * 2.0**-53

    def _accept(self, z, c, u):
        """Which rows all filters accept: bool [n]. u: [n, filters]."""
        passing = torch.arange(len(z))
        for number, each in enumerate(self.filters):
            if len(passing):
                passing = passing[each.accept(z[passing], c[passing], u[passing, number])]
        accepted = torch.zeros(len(z), dtype=torch.bool)
        accepted[passing] = True
        return accepted

    def _account(self, kept):
        self.last_effort = kept.effort()
        return kept.latents()

    def _rejected(self, kept, tries):
        self.last_effort = found = kept.effort()
        return ValueError(
            f"none of {tries} latents in a row was accepted, {found.accepted} of {len(kept.c)} had been before: the "
            "filters leave (almost) nothing of the base sampler's latents; relax them, or raise max_tries"
        )


class Kept:
    """The latents accepted so far. `pending` are the rows without one [n], `c` the labels of all rows."""

    def __init__(self, c, z_dim):
        self.c, self.z, self.pending = c, torch.empty(len(c), z_dim), torch.arange(len(c))
        self.index = self.log_volume = None
        self.proposed, self.start = 0, time.perf_counter()

    def take(self, drawn, accepted):
        """Put the accepted [n] ones of Latents drawn for the pending rows in their places."""
        rows, chosen = self.pending[accepted], accepted.numpy()
        self.proposed += len(accepted)
        self.z[rows] = drawn.z[accepted]
        if drawn.index is not None:
            if self.index is None:
                self.index = np.full(len(self.c), -1, dtype=np.int64)
                self.log_volume = np.full(len(self.c), np.nan)
            self.index[rows.numpy()] = drawn.index[chosen]
            self.log_volume[rows.numpy()] = drawn.log_volume[chosen]
        self.pending = self.pending[~accepted]

    def effort(self):
        """The Effort so far."""
        return Effort(self.proposed, len(self.c) - len(self.pending), time.perf_counter() - self.start)

    def latents(self):
        """All of them as Latents."""
        return Latents(self.z, self.c, self.index, self.log_volume)
