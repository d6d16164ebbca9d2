"""The points of a sweep over settings of a sampler."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Point:
    """One point of a sweep. rho is None for samplers without; mix is the share of the sampler; varied: ((option of the
    sampler, value), …)."""

    rho: float | None
    psi: float
    mix: float
    varied: tuple = ()

    @property
    def slug(self):
        """A name for files."""
        parts = [] if self.rho is None else [f"rho{self.rho:g}"]
        varied = [f"{name.replace('_', '')}{value:g}" for name, value in self.varied]
        return "-".join([*parts, f"trunc{self.psi:g}", f"mix{self.mix:g}", *varied])
