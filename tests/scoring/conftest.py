import jax
import pytest

from alignment_jax import models
from tests.scoring_worlds import QUICK, VOCABULARY


@pytest.fixture(scope="module", params=["decoder_tiny", "t5_tiny"])
def network(request):
  model = models.make_model(request.param, vocabulary_size=VOCABULARY)
  return model, jax.jit(model.init, compiler_options=QUICK)(jax.random.key(0))
