"""The Jacobian of a map as an operator, known by its products: what every method of spectra and norms is made of."""

import contextlib
import functools

import torch

from latent_plugins.volume.spectrum.composition import parts_of
from latent_plugins.volume.spectrum.memory import BYTES_PER_ENTRY, bytes_per_row, in_chunks
from latent_plugins.volume.spectrum.precision import arithmetic
from latent_plugins.volume.spectrum.products import (
    jacobian_columns,
    jacobian_columns_each,
    jacobian_rows,
    jacobian_rows_each,
)


class JacobianOperator:
    """J [N, out, in] of a map at the rows x [N, in], as products; never held whole unless `dense` asks for it.

    space_map: callable [N, in] → [N, out], rows independent of each other; where it has `parts` (z → w → image),
    products with directions of each row's own go through the second part alone, behind the first one's Jacobian, which
    is computed once, in the time of about one image. max_memory: bound in bytes for what products keep alive (None:
    `automatic_memory`). precision: one of PRECISIONS, of the products. at_once: how many directions are pushed through
    together, for rows that fit memory as they are (as those of `chunks`); None: rows and directions are divided by
    `max_memory`.

    Results have the dtype of x where the precision is float32. Products raise ValueError for a bound too small for a
    single row in a single direction. Attributes: `map`, `x`, `in_dim`, `out_dim`, `row_bytes`, `first`.
    """

    def __init__(self, space_map, x, *, max_memory=None, precision="float32", at_once=None):
        self.map, self.x = space_map, x
        self.max_memory, self.precision, self.at_once = max_memory, precision, at_once
        self.in_dim = x.shape[1]

    def __len__(self):
        return len(self.x)

    @functools.cached_property
    def out_dim(self):
        """The length of an output."""
        known = getattr(self.map, "out_dim", None)
        if known is None:
            with self.arithmetic():
                known = self.map(self.x[:1]).shape[1]
        return known

    @property
    def forward(self):
        """Whether the whole Jacobian takes fewer columns (forward mode) than rows (reverse mode)."""
        return self.in_dim <= self.out_dim

    @functools.cached_property
    def row_bytes(self):
        """Bytes that a forward product of one row in one direction keeps alive; a reverse product takes twice that."""
        with self.arithmetic():
            return bytes_per_row(self.map, self.x)

    def cost(self, products, own=False):
        """What `products` of one row take, in evaluations of the map, which a product costs about.

        own: directions of each row's own, for which a composition's first part is differentiated besides.
        """
        return products + (own and parts_of(self.map) is not None)

    @contextlib.contextmanager
    def arithmetic(self):
        """Without gradients and in this operator's precision."""
        with torch.no_grad(), arithmetic(self.precision, self.x.device):
            yield

    @functools.cached_property
    def _composed(self):
        """(Jacobian of the first part [N, mid, in] or None, the second part or the map, its input)."""
        parts = parts_of(self.map)
        if parts is None:
            return None, self.map, self.x
        first, second = parts
        with self.arithmetic():
            directions = torch.eye(first.in_dim, dtype=self.x.dtype, device=self.x.device)
            return jacobian_columns(first, self.x, directions), second, first(self.x)

    @property
    def first(self):
        """The Jacobian [N, mid, in] of a composition's first part; None for other maps."""
        return self._composed[0]

    def chunks(self, directions, block_bytes, reverse=False):
        """Yield operators of a few rows each, in order: as many as fit memory in so many directions, else one row.

        block_bytes: what one row's products and their copies take beside the map's own; reverse: whether there are
        products in reverse mode, which keep the activations of the forward pass and their gradients.
        """
        row_bytes = (2 if reverse else 1) * self.row_bytes
        for rows, m in in_chunks([self.x], directions, row_bytes, block_bytes, self.max_memory):
            yield self._at(rows, m)

    def _at(self, rows, at_once):
        part = JacobianOperator(self.map, rows, max_memory=self.max_memory, precision=self.precision, at_once=at_once)
        vars(part).update(out_dim=self.out_dim)  # known already
        return part

    def columns(self, v):
        """J v in forward mode, for directions v [N, in, k] of each row's own or shared ones [in, k]: [N, out, k]."""
        if self.at_once is None:
            return self._divided(JacobianOperator.columns, v, v.shape[-1], self.out_dim, reverse=False)
        with self.arithmetic():
            if v.ndim == 2:
                chunks = v.T.contiguous().split(self.at_once)
                return torch.cat([jacobian_columns(self.map, self.x, chunk) for chunk in chunks], dim=2)
            first, space_map, x = self._composed
            v = v if first is None else first @ v
            return torch.cat([jacobian_columns_each(space_map, x, chunk) for chunk in v.split(self.at_once, 2)], dim=2)

    def rows(self, u):
        """uᵀJ in reverse mode, for directions u [N, k, out] of each row's own or shared ones [k, out]: [N, k, in]."""
        if self.at_once is None:
            return self._divided(JacobianOperator.rows, u, u.shape[-2], self.in_dim, reverse=True)
        with self.arithmetic():
            if u.ndim == 2:
                chunks = u.split(self.at_once)
                return torch.cat([jacobian_rows(self.map, self.x, chunk) for chunk in chunks], dim=1)
            first, space_map, x = self._composed
            rows = torch.cat([jacobian_rows_each(space_map, x, chunk) for chunk in u.split(self.at_once, 1)], dim=1)
            return rows if first is None else rows @ first

    def blocks(self, forward=None):
        """Yield the whole Jacobian's columns [N, out, m] in turn (`forward`), or its rows [N, m, in].

        forward None: whichever are fewer. As many at a time as go through together, so that nobody holds it whole. For
        rows that fit memory.
        """
        forward = self.forward if forward is None else forward
        product, side = (jacobian_columns, self.in_dim) if forward else (jacobian_rows, self.out_dim)
        directions = torch.eye(side, dtype=self.x.dtype, device=self.x.device)
        for chunk in directions.split(self.at_once or len(directions)):
            with self.arithmetic():
                block = product(self.map, self.x, chunk)
            yield block

    def dense(self):
        """J [N, out, in]: forward mode where the input is the smaller side, reverse mode otherwise."""
        if self.at_once is None:
            short, long = sorted((self.in_dim, self.out_dim))
            parts = self.chunks(short, short * long * BYTES_PER_ENTRY, reverse=not self.forward)
            return torch.cat([part.dense() for part in parts])
        return torch.cat(list(self.blocks()), dim=2 if self.forward else 1)

    def _divided(self, product, directions, k, side, reverse):
        """A product for all rows, a few at a time. side: length of one result."""
        parts, done = [], 0
        for part in self.chunks(k, k * side * BYTES_PER_ENTRY, reverse):
            parts.append(product(part, directions if directions.ndim == 2 else directions[done : done + len(part)]))
            done += len(part)
        return torch.cat(parts)
