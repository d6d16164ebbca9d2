"""What is kept of a stream of features: their first two moments, or the features themselves."""

import numpy as np
import torch

from latent_plugins.metrics.names import HALF_TABLE, MOMENTS, TABLE


class Accumulator:
    """Takes rows of features until it has `limit` of them; `count` is how many it has."""

    def __init__(self, limit):
        self.limit, self.count = limit, 0

    @property
    def missing(self):
        """How many more rows are taken."""
        return self.limit - self.count


class Moments(Accumulator):
    """Streaming mean and covariance of features: memory does not grow with their number. Sums are float64."""

    def __init__(self, limit):
        super().__init__(limit)
        self.total = self.products = None

    def add(self, features):
        """Take rows of a tensor [N, F], as many as are missing."""
        rows = features[: self.missing].to("cpu", torch.float64)
        if self.total is None:
            self.total = torch.zeros(rows.shape[1], dtype=torch.float64)
            self.products = torch.zeros(rows.shape[1], rows.shape[1], dtype=torch.float64)
        self.count += len(rows)
        self.total += rows.sum(dim=0)
        self.products.addmm_(rows.T, rows)

    def mean_cov(self, ddof=0):
        """(mean [F], covariance [F, F]) float64. The covariance divides by N − ddof; the ecosystem's has ddof 0."""
        mean = self.total / self.count
        cov = self.products / self.count - torch.outer(mean, mean)
        return mean.numpy(), (cov * (self.count / (self.count - ddof))).numpy()

    @property
    def width(self):
        return len(self.total)

    def arrays(self):
        """The content as arrays, for a file."""
        return dict(total=self.total.numpy(), products=self.products.numpy(), count=np.array(self.count))

    @classmethod
    def from_arrays(cls, arrays):
        """The accumulator that `arrays` was made from."""
        moments = cls(int(arrays["count"]))
        moments.count = moments.limit
        moments.total, moments.products = torch.from_numpy(arrays["total"]), torch.from_numpy(arrays["products"])
        if moments.products.shape != (moments.width, moments.width):
            raise ValueError(f"moments of shapes {list(moments.total.shape)} and {list(moments.products.shape)}")
        return moments


class Table(Accumulator):
    """All features [limit, F], as float32 or, where the metric rounds them anyway, as float16."""

    def __init__(self, limit, dtype=torch.float32):
        super().__init__(limit)
        self.dtype, self.rows = dtype, None

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

    @property
    def width(self):
        return self.rows.shape[1]

    def arrays(self):
        """The content as arrays, for a file."""
        return dict(rows=self.features().numpy())

    @classmethod
    def from_arrays(cls, arrays):
        """The accumulator that `arrays` was made from."""
        rows = torch.from_numpy(arrays["rows"])
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
