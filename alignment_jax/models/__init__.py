"""Networks behind one border; they know no loss, no pad id and no mesh."""

from alignment_jax.models.base import Cache as Cache
from alignment_jax.models.base import Context as Context
from alignment_jax.models.base import Model as Model
from alignment_jax.models.zoo import MODELS as MODELS
from alignment_jax.models.zoo import family_of as family_of
from alignment_jax.models.zoo import make_model as make_model
