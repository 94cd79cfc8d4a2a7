"""Published sizes have as many parameters as their papers and cards say."""

import math

import jax
import pytest

from alignment_jax.models import zoo
from alignment_jax.models.sizes import SIZES

# Millions of parameters, embeddings counted once where they are tied, as the
# model cards and papers give them.
PUBLISHED = {
  "t5_small": 60.5,
  "t5_base": 222.9,
  "t5_large": 737.7,
  "t5_xl": 2851.6,
  "t5_xxl": 11307.3,
  "flan_t5_small": 77.0,
  "flan_t5_base": 247.6,
  "flan_t5_large": 783.2,
  "flan_t5_xl": 2849.8,
  "flan_t5_xxl": 11135.3,
  "gpt2": 124.4,
  "gpt2_medium": 354.8,
  "gpt2_large": 774.0,
  "gpt2_xl": 1557.6,
  "pythia_70m": 70.4,
  "pythia_160m": 162.3,
  "pythia_410m": 405.3,
  "pythia_1b": 1011.8,
  "pythia_1.4b": 1414.6,
  "pythia_2.8b": 2775.2,
  "pythia_6.9b": 6857.3,
  "pythia_12b": 11846.1,
  "llama3_8b": 8030.3,
  "llama3_70b": 70553.7,
  "llama3.1_8b": 8030.3,
  "llama3.2_1b": 1235.8,
  "llama3.2_3b": 3212.7,
  "smollm2_135m": 134.5,
  "mistral_7b": 7241.7,
  "qwen2.5_0.5b": 494.0,
  "qwen2.5_1.5b": 1543.7,
  "qwen2.5_7b": 7615.6,
  "qwen3_0.6b": 596.0,
  "qwen3_1.7b": 1720.6,
  "qwen3_4b": 4022.5,
  "qwen3_8b": 8190.7,
  "qwen3_14b": 14768.3,
  "qwen3_32b": 32762.1,
  "gemma_2b": 2506.2,
  "gemma_7b": 8537.7,
  "gemma2_2b": 2614.3,
  "gemma2_9b": 9241.7,
  "gemma2_27b": 27227.1,
  "gemma3_270m": 268.1,
  "gemma3_1b": 999.9,
}


def test_every_size_is_compared():
  assert PUBLISHED.keys() == SIZES.keys()


@pytest.mark.parametrize("name", SIZES)
def test_the_number_of_parameters_is_the_published_one(name):
  model = zoo.build(SIZES[name])
  shapes = jax.eval_shape(model.init, jax.random.key(0))
  count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))
  assert count / 1e6 == pytest.approx(PUBLISHED[name], rel=1e-3)
