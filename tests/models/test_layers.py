"""Logits of few states against those of many."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from alignment_jax.models import layers

# Sums of at most 4 products of float32, in another order.
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def test_logits_of_few_states_are_those_of_many():
  embedding = layers.Embedding(7, 4, 1.0, jnp.float32)
  x = jax.random.normal(jax.random.key(0), (20, 3, 4))
  ids = jnp.zeros((1, 1), jnp.int32)
  params = nn.meta.unbox(embedding.init(jax.random.key(1), ids))
  many = embedding.apply(params, x, method="logits")
  few = embedding.apply(params, x[:5], method="logits")
  np.testing.assert_allclose(few, many[:5], **CLOSE)
