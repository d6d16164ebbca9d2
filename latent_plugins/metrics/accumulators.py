"""What is kept of a stream of features: their first two moments, or the features themselves."""

import numpy as np
import torch

from latent_plugins.metrics.names import HALF_TABLE, MOMENTS, TABLE

BLOCK = 1024  # rows whose products are summed at once


class Accumulator:
    """Takes rows of features until it has `limit` of them; `count` is how many it has."""

    def __init__(self, limit):
        self.limit, self.count = limit, 0

    @property
    def missing(self):
        """How many more rows are taken."""
        return self.limit - self.count


class Moments(Accumulator):
    """Streaming mean and covariance of features: memory does not grow with their number. Sums are float64.

    Rows are summed in blocks, which costs a fraction of adding batch by batch and makes batches of no account.
    """

    def __init__(self, limit):
        super().__init__(limit)
        self.total = self.products = self._block = None
        self._waiting = 0  # rows of the block that are not summed yet

    def add(self, features):
        """Take rows of a tensor [N, F], as many as are missing."""
        rows = features[: self.missing].to("cpu", torch.float64).numpy()
        if self.total is None:
            n = rows.shape[1]
            self.total, self.products, self._block = np.zeros(n), np.zeros((n, n)), np.empty((BLOCK, n))
        self.count += len(rows)
        while len(rows):
            part = rows[: BLOCK - self._waiting]
            self._block[self._waiting : self._waiting + len(part)] = part
            self._waiting += len(part)
            rows = rows[len(part) :]
            if self._waiting == BLOCK:
                self._sum_block()

    def _sum_block(self):
        rows = self._block[: self._waiting]
        self.total += rows.sum(axis=0)
        self.products += rows.T @ rows  # NumPy knows that this is symmetric, and computes half of it
        self._waiting = 0

    def mean_cov(self, ddof=0):
        """(mean [F], covariance [F, F]) float64. The covariance divides by N − ddof; the ecosystem's has ddof 0."""
        sums = self.arrays()
        mean = sums["total"] / self.count
        cov = sums["products"] / self.count - np.outer(mean, mean)
        return mean, cov * (self.count / (self.count - ddof))

    def arrays(self):
        """The content as arrays, for a file."""
        if self._waiting:
            self._sum_block()
        return dict(total=self.total, products=self.products, count=np.array(self.count))

    @classmethod
    def from_arrays(cls, arrays):
        """The accumulator that `arrays` was made from."""
        moments = cls(int(arrays["count"]))
        moments.count = moments.limit
        moments.total, moments.products = arrays["total"], arrays["products"]
        n = len(moments.total)
        if moments.products.shape != (n, n):
            raise ValueError(f"moments of shapes {list(moments.total.shape)} and {list(moments.products.shape)}")
        return moments


class Table(Accumulator):
    """All features [limit, F], as float32 or, where the metric rounds them anyway, as float16."""

    def __init__(self, limit, dtype=None):
        super().__init__(limit)
        self.dtype, self.rows = torch.float32 if dtype is None else dtype, None

    def add(self, features):
        """Take rows of a tensor [N, F], as many as are missing."""
        rows = features[: self.missing].to("cpu", self.dtype)
        if self.rows is None:
            self.rows = torch.empty(self.limit, rows.shape[1], dtype=self.dtype)
        self.rows[self.count : self.count + len(rows)] = rows
        self.count += len(rows)

    def features(self):
        """The features taken so far [count, F]."""
        return self.rows[: self.count]

    def arrays(self):
        """The content as arrays, for a file."""
        return dict(rows=self.features().numpy())

    @classmethod
    def from_arrays(cls, arrays):
        """The accumulator that `arrays` was made from."""
        rows = torch.tensor(arrays["rows"])
        if rows.ndim != 2:
            raise ValueError(f"a table of shape {list(rows.shape)}")
        table = cls(len(rows), rows.dtype)
        table.rows, table.count = rows, len(rows)
        return table


def new_accumulator(storage, limit):
    """An empty accumulator of the kind that `names` calls `storage`."""
    return {
        MOMENTS: lambda: Moments(limit),
        TABLE: lambda: Table(limit),
        HALF_TABLE: lambda: Table(limit, torch.float16),
    }[storage]()


def restore_accumulator(storage, arrays):
    """The accumulator stored as `arrays`. Raises ValueError or KeyError when they do not fit."""
    return (Moments if storage == MOMENTS else Table).from_arrays(arrays)
