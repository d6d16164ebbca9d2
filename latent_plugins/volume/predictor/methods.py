"""Methods whose volumes a predictor gives: they describe themselves like methods of singular values."""

from latent_plugins.settings import Settings, setting
from latent_plugins.volume.predictor.inputs import predictor_inputs
from latent_plugins.volume.spectrum.method import Method
from latent_plugins.volume.spectrum.registry import Registry

HYBRID_DIRECTIONS = 8
PREDICTOR_LABELS, FEWEST_LABELS = 5000, 100
MIN_SPEARMAN = 0.85

LABELS_HELP = "spectra that the predictor learns from"
SPEARMAN_HELP = "refuse volumes whose rank correlation with held-out true ones is below"


class Predictor(Method):
    """A method of predicted volumes, those of one top_k. Its settings include `labels` and `min_spearman`.

    remedy: what a user may do besides where its predictions are too poor.
    """

    predicted = True
    unrecorded = ("min_spearman",)
    remedy = "--method=hybrid"

    def inputs(self, space_map, x, *, basis=None, max_memory=None):
        """What it predicts from, for rows x [N, in] of a SpaceMap: float32 [N, F]. basis: of methods `with_basis`."""
        directions = self.settings.basis if self.with_basis else None
        return predictor_inputs(space_map, x, basis=basis, directions=directions, max_memory=max_memory)


class Hybrid(Predictor):
    """Volumes predicted from the latent, its style, channel energies and few products with the Jacobian."""

    name = "hybrid"
    help = "volumes predicted from few products"
    with_basis = True
    remedy = "more --basis"

    class Settings(Settings):
        basis: int | None = setting(
            None, low=1, metavar="Q", default_text=str(HYBRID_DIRECTIONS), help="directions of a latent"
        )
        labels: int = setting(PREDICTOR_LABELS, low=FEWEST_LABELS, metavar="N", help=LABELS_HELP)
        min_spearman: float = setting(MIN_SPEARMAN, low=-1, high=1, metavar="R", help=SPEARMAN_HELP)

    def completed(self, space_map, top_k):
        """See Method.completed."""
        basis = self.settings.basis or min(HYBRID_DIRECTIONS, space_map.in_dim)
        if basis > space_map.in_dim:
            n = space_map.in_dim
            raise ValueError(f"a basis of {basis} directions is outside 1 to {n}, the inputs of the space")
        return self.replaced(basis=basis)

    def cost(self, space_map, top_k):
        """See Method.cost."""
        return self.completed(space_map, top_k).settings.basis


class Amortized(Predictor):
    """Volumes predicted from the latent, its style and channel energies: one evaluation each."""

    name = "amortized"
    help = "volumes predicted from no product at all"

    class Settings(Settings):
        labels: int = setting(PREDICTOR_LABELS, low=FEWEST_LABELS, metavar="N", help=LABELS_HELP)
        min_spearman: float = setting(MIN_SPEARMAN, low=-1, high=1, metavar="R", help=SPEARMAN_HELP)

    def cost(self, space_map, top_k):
        """See Method.cost."""
        return 1


PREDICTORS = Registry(Predictor, "latent_plugins.predictors", (Hybrid, Amortized))
