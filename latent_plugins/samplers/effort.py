"""What a draw of latents took."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Effort:
    """What a draw took: latents `proposed` and `accepted`, and `seconds` of wall-clock time for all of them."""

    proposed: int
    accepted: int
    seconds: float

    @property
    def acceptance(self):
        """The share of the proposed latents that were accepted."""
        return self.accepted / max(self.proposed, 1)

    @property
    def seconds_per_sample(self):
        """Seconds of wall-clock time for each accepted latent."""
        return self.seconds / max(self.accepted, 1)
