"""What a method of singular values says of itself: one class a file, known by its name."""

from typing import NamedTuple

from latent_plugins.settings import Settings

# What these names mean is decided elsewhere, so that no method has settings of these names.
RESERVED = frozenset(
    "network z_dim c_dim space domain candidates top_k base radius seed psi cutoff method classes max_memory format "
    "precision compile detector features layer generator directions method_settings space_map x".split()
)
# Settings with a place of their own in atlas.json: whole numbers, whatever method has them.
NUMBERS = ("projection", "oversample", "iterations", "basis", "labels")


class Block(NamedTuple):
    """One latent's largest block of products: what decides the memory that a method takes.

    directions: how many products; length: entries of each; reverse: whether there are products in reverse mode.
    """

    directions: int
    length: int
    reverse: bool


class Method:
    """A method of singular values, with its settings.

    A subclass gives `name`, `help` (half a sentence), its `Settings` where it has any, and `compute`; it may give the
    rest. `stored`: how many singular values an atlas stores unless it is told. `with_basis`: whether `compute` needs a
    basis that is learned once for all latents (`shared_basis`); such a method has the settings `basis` (its directions)
    and `labels` (latents that it is learned from). `predicted`: whether it gives volumes instead of singular values.
    """

    name = None
    help = None
    stored = 128
    with_basis = False
    predicted = False
    unrecorded = ()  # settings that decide what is refused, not which numbers come out

    class Settings(Settings):
        """None."""

    def __init__(self, settings=None, **values):
        """settings: made already, or else `values`, those that differ from the defaults."""
        self.settings = self.Settings(**values) if settings is None else settings

    def limit(self, space_map):
        """The largest top_k that it can give in a space."""
        return space_map.max_rank

    def completed(self, space_map, top_k):
        """The same method with the settings filled in that nobody said. Raises ValueError for what does not fit."""
        return self

    def block(self, space_map, top_k):
        """Its Block in a space, for top_k singular values; those of a basis after `completed`."""
        short, long = sorted((space_map.in_dim, space_map.out_dim))
        return Block(short, long, space_map.in_dim > space_map.out_dim)

    def cost(self, space_map, top_k):
        """How many products one latent takes; each takes about as long as an evaluation of the map."""
        return self.block(space_map, top_k).directions

    def compute(self, operator, top_k, rng=None, basis=None):
        """The top_k largest singular values [N, top_k] float32, descending, of a JacobianOperator.

        rng: CPU torch.Generator of random directions, the same for all latents that are compared (None: torch's own).
        basis: what was learned, of methods `with_basis`. Raises ValueError for a basis that does not fit.
        """
        raise NotImplementedError

    def replaced(self, **changes):
        """The same method with other settings."""
        return type(self)(self.settings.replace(**changes))


def settings_of(method, values):
    """The settings of a method class from {name: value}. Raises ValueError for a name that it does not have."""
    known = method.Settings.described()
    unknown = [name for name in values if name not in known]
    if unknown:
        theirs = f"its settings: {', '.join(known)}" if known else "it has none"
        raise ValueError(f"the method {method.name} has no setting {unknown[0]!r}; {theirs}")
    return method.Settings(**values)
