"""Networks behind one border; they know no loss, no pad id and no mesh."""

from alignment_jax.models.base import Cache, Context, Model
from alignment_jax.models.zoo import MODELS, family_of, make_model

__all__ = ["MODELS", "Cache", "Context", "Model", "family_of", "make_model"]
