"""Latents of any sampler that pass filters."""

import abc
import contextlib
import copy
import dataclasses
import time
import warnings

import numpy as np
import torch

from latent_plugins.importance.report import ROOM
from latent_plugins.randomness import torch_seed
from latent_plugins.samplers.base import UNKNOWN, Latents, Needs, Sampler, by_class, check_labels
from latent_plugins.samplers.effort import Effort
from latent_plugins.samplers.keys import KEY_BYTES, hashed
from latent_plugins.samplers.prior import PriorSampler
from latent_plugins.settings import Settings

BLOCK = 64  # latents of a base with a capacity that are gone through at once


class Filter(abc.ABC):
    """Decides which latents are kept, each on its own.

    Subclasses set `name`, by which commands put them before a sampler (NAME+polarity), `needs` (of WEIGHTS, TRUNCATION)
    and `Settings` as samplers do; their constructor takes the generator, or `make` makes one.
    """

    name: str
    needs = Needs.NOTHING

    class Settings(Settings):
        """None."""

    settings = Settings()

    @classmethod
    def make(cls, generator, **options):
        """The filter for a generator, from its settings and what it needs, by keyword."""
        return cls(generator, **options)

    def record(self):
        """{name: value} of all settings, defaults included, as JSON can hold them."""
        return self.settings.record()

    @abc.abstractmethod
    def accept(self, z, c, u):
        """Which latents are kept: bool tensor [N] on the CPU.

        z: [N, z_dim] float32 and c: [N, c_dim], on the CPU; u: uniform numbers in (0, 1), float64 [N], independent of z
        and of what other filters get, for filters that decide by chance.
        """

    def decide(self, z, c, u):
        """(which latents are kept, as `accept`; {field of Latents: float64 [N]} that was measured for it)."""
        return self.accept(z, c, u), {}


class FilterSampler(Sampler):
    """Draws from a base sampler and keeps what all filters accept.

    base: any Sampler, the prior by default; filters: Filters, asked in their order, each about what the ones before it
    kept. The law of the latents is the base's, conditional on being accepted. A seed first proposes what the base gives
    for the seed itself, so that accepted seeds keep their image. Its later proposals are the base's latents for 32-bit
    keys, BLAKE2b hashes of seed and attempt, and its chances are such hashes too: they share no stream of random
    numbers. The filters of a base that is a FilterSampler itself stand before these, side by side with them. A base
    with a capacity (a population, an order without replacement) is gone through in its order instead: seed s is the
    s-th of its latents that pass. Labels stay as they are asked for.

    `last_effort` is the Effort of the last draw or sample, None before; without an acceptance at all, the Effort of
    what was tried. batch: latents that the filters see at once in `sample`. max_tries: proposals rejected in a row
    after which a draw gives up. Raises ValueError for no filters, or a batch or max_tries below 1, and, from a draw,
    when it gives up, or when fewer latents of a base with a capacity pass than there are seeds.
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
        if isinstance(self.base, FilterSampler):  # filters upon filters are filters side by side
            self.base, self.filters = self.base.base, (*self.base.filters, *self.filters)
        self.depth, self.last_effort = 1 + getattr(self.base, "depth", 0), None

    def record(self):
        """See Sampler.record: of the base and the filters, whose names stand before its own."""
        found = self.base.record()
        for each in self.filters:
            found |= each.record()
        return dict(found, sampler="+".join([*(each.name for each in self.filters), self.base.name]))

    @property
    def truncates(self):
        """See Sampler."""
        return self.base.truncates

    @property
    def capacity(self):
        """See Sampler.capacity: the base's, of which fewer may pass."""
        return self.base.capacity

    def independent(self):
        """See Sampler.independent."""
        options = dict(batch=self.batch, max_tries=self.max_tries)
        return FilterSampler(self.generator, self.base.independent(), self.filters, **options)

    def draw(self, seeds, c=None):
        """See Sampler.draw. Filters see one latent at a time, so that no decision depends on the batch."""
        seeds = [int(seed) for seed in seeds]
        kept = Kept(check_labels(c, len(seeds), self.generator.c_dim), self.generator.z_dim)
        if self.base.capacity is not None:
            return self._in_order(np.array(seeds, dtype=np.int64), kept)
        for attempt in range(self.max_tries):
            keys = seeds
            if attempt:
                keys = [hashed(KEY_BYTES, "latent", self.depth, seeds[row], attempt) for row in kept.pending.tolist()]
            with told_once(attempt):
                drawn = self.base.draw(keys, kept.c[kept.pending])
            kept.take(*self._each(drawn, [(seeds[row], attempt) for row in kept.pending.tolist()]))
            if not len(kept.pending):
                return self._account(kept)
        raise self._rejected(kept, self.max_tries)

    def _in_order(self, seeds, kept):
        """Latents of a base with a capacity: of every class from the first on, until enough have passed."""
        capacity = self.base.capacity
        for _, rows in by_class(kept.c):
            wanted, passing, measured, first = int(seeds[rows].max()) + 1, np.empty(0, dtype=np.int64), {}, 0
            while len(passing) < wanted and first < capacity:
                numbers = np.arange(first, min(first + BLOCK, capacity))
                with told_once(1):  # this is only looked at; what is taken is drawn again below
                    drawn = self.base.draw(numbers, kept.c[rows[:1]].expand(len(numbers), -1))
                judged, accepted = self._each(drawn, [(int(number), 0) for number in numbers])
                accepted = accepted.numpy()
                for name in self._measured(judged):
                    measured.setdefault(name, []).append(getattr(judged, name)[accepted])
                passing, first = np.append(passing, numbers[accepted]), first + len(numbers)
                kept.proposed, kept.passed = kept.proposed + len(numbers), kept.passed + int(accepted.sum())
            if len(passing) < wanted:
                raise ValueError(
                    f"{len(passing)} of the {capacity} latents of {self.base.name} pass the filters, so there is none "
                    f"for seed {wanted - 1}: draw from more, or relax the filters"
                )
            drawn = self.base.draw(passing[seeds[rows]], kept.c[rows])
            found = {name: np.concatenate(parts)[seeds[rows]] for name, parts in measured.items()}
            kept.put(rows, dataclasses.replace(drawn, **found))
        return self._account(kept, looked_at=True)

    def _each(self, drawn, numbers):
        """As `_judge`, one row at a time. numbers: (seed, attempt) of each."""
        u = [self._chances(*number) for number in numbers]
        return self._judge(drawn, zip(drawn.z.split(1), drawn.c.split(1), u))

    def sample(self, n, generator, c=None):
        """See Sampler.sample. Latents that are rejected are replaced in further rounds.

        An order without replacement is gone through instead, in an order of its own.
        """
        kept = Kept(check_labels(c, n, self.generator.c_dim), self.generator.z_dim)
        if self.base.capacity is not None and hasattr(self.base, "reordered"):
            numbers = np.empty(n, dtype=np.int64)
            for _, rows in by_class(kept.c):
                numbers[rows] = np.arange(len(rows))
            twin = copy.copy(self)
            twin.base = self.base.reordered(torch_seed(generator))
            latents = twin._in_order(numbers, kept)
            self.last_effort = twin.last_effort
            return latents
        rejected, rounds = 0, 0
        while True:
            with told_once(rounds):
                drawn = self.base.sample(len(kept.pending), generator, kept.c[kept.pending])
            rounds += 1
            u = torch.rand(len(drawn.z), len(self.filters), generator=generator, dtype=torch.float64)
            drawn, accepted = self._judge(drawn, zip(*(x.split(self.batch) for x in (drawn.z, drawn.c, u))))
            # Rejections in a row over all latents: where nothing passes nobody waits long.
            places = torch.nonzero(accepted)[:, 0]
            rejected = rejected + len(accepted) if not len(places) else len(accepted) - 1 - int(places[-1])
            kept.take(drawn, accepted)
            if not len(kept.pending):
                return self._account(kept)
            if rejected >= self.max_tries:
                raise self._rejected(kept, rejected)

    def _chances(self, seed, attempt):
        """Uniform numbers float64 [1, filters] of one attempt of a seed."""
        bits = [hashed(8, "chance", self.depth, seed, attempt, number) >> 11 for number in range(len(self.filters))]
        return (torch.tensor([bits], dtype=torch.float64) + 0.5) * 2.0**-53

    def _judge(self, drawn, parts):
        """(Latents with what filters measured of them, which rows all filters accept: bool [n]).

        parts: (z, c, u [n, filters]) of the rows, one after the other.
        """
        accepted, measured, first = torch.zeros(len(drawn.z), dtype=torch.bool), {}, 0
        for z, c, u in parts:
            passing = torch.arange(len(z))
            for number, each in enumerate(self.filters):
                if not len(passing):
                    break
                kept, told = each.decide(z[passing], c[passing], u[passing, number])
                for name, values in told.items():
                    unknown, dtype = UNKNOWN[name]
                    whole = measured.setdefault(name, np.full(len(accepted), unknown, dtype=dtype))
                    whole[first + passing.numpy()] = values
                passing = passing[kept]
            accepted[first + passing] = True
            first += len(z)
        return dataclasses.replace(drawn, **measured), accepted

    @staticmethod
    def _measured(judged):
        """The fields of Latents that filters may have measured, where they are known."""
        return [name for name in ("jacobian_norm", "weight") if getattr(judged, name) is not None]

    def _account(self, kept, looked_at=False):
        """Latents of what was kept, and the last effort. looked_at: of an order, whose law its own draw judges."""
        self.last_effort = kept.effort()
        ess = kept.report.get("ess")
        if ess is not None and not looked_at and ess < ROOM * kept.proposed:
            warnings.warn(
                f"few candidates behind the filters: an effective sample size of {ess:.1f} before them, for "
                f"{kept.proposed} proposals; more candidates, a smaller |rho| or milder filters help",
                stacklevel=3,
            )
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
        self.arrays, self.report = {}, {}
        self.proposed, self.passed, self.start = 0, 0, time.perf_counter()

    def take(self, drawn, accepted):
        """Put the accepted [n] ones of Latents drawn for the pending rows in their places."""
        self.proposed, self.passed = self.proposed + len(accepted), self.passed + int(accepted.sum())
        self.put(self.pending[accepted].numpy(), drawn, np.flatnonzero(accepted.numpy()))

    def put(self, rows, drawn, chosen=slice(None)):
        """Put the chosen ones of Latents into `rows`."""
        self.z[rows] = drawn.z[chosen]
        for field, (unknown, dtype) in UNKNOWN.items():
            values = getattr(drawn, field)
            if values is not None:
                own = self.arrays.setdefault(field, np.full(len(self.c), unknown, dtype=dtype))
                own[rows] = values[chosen]
        self.report = drawn.report | self.report  # what the first draw said of the base
        self.pending = self.pending[~torch.isin(self.pending, torch.as_tensor(rows))]

    def effort(self):
        """The Effort so far."""
        return Effort(self.proposed, self.passed, time.perf_counter() - self.start)

    def latents(self):
        """All of them as Latents. What the base said of its own draw stands under `before_filters`."""
        found = Latents(self.z, self.c, **self.arrays)
        found.report = dict(acceptance=self.effort().acceptance, before_filters=self.report)
        if found.index is not None:
            known = found.index >= 0
            labels = self.c.argmax(dim=1).numpy() if self.c.shape[1] else np.zeros(len(self.c))
            pairs = np.stack([labels, found.index])[:, known]
            found.report.update(drawn=int(known.sum()), distinct=np.unique(pairs, axis=1).shape[1])
        if found.log_volume is not None and np.isfinite(found.log_volume).any():
            found.report["drawn_log_volume"] = float(np.nanmean(found.log_volume))
        return found


@contextlib.contextmanager
def told_once(number):
    """While this lasts, warnings are shown in round 0 alone."""
    with warnings.catch_warnings():
        if number:
            warnings.simplefilter("ignore")
        yield
