"""Products for few tokens against the plain ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from alignment_jax.models import layers

# Sums of at most 6 products of float32, in another order.
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


@pytest.mark.parametrize(
  ("shape", "axes", "contract"),
  [
    ((6, 2, 3), ("width", "heads", "head_width"), 1),
    ((2, 3, 5), ("heads", "head_width", "width"), 2),
    ((6, 5), ("mlp", "width"), 1),
  ],
)
def test_a_projection_for_few_tokens_is_the_same_map(shape, axes, contract):
  layer = layers.Projection(shape, axes, contract, jnp.float32, bias=True)
  keys = jax.random.split(jax.random.key(0), 3)
  x = jax.random.normal(keys[0], (4, 1, *shape[:contract]))
  params = nn.meta.unbox(layer.init(keys[1], x))["params"]
  params["bias"] = jax.random.normal(keys[2], params["bias"].shape)
  kinds = {"kernel": axes, "bias": axes[contract:]}
  few = layers.for_few(params, kinds)
  assert "kernel" not in few
  np.testing.assert_allclose(
    layer.apply({"params": few}, x), layer.apply({"params": params}, x), **CLOSE
  )


def test_logits_of_few_states_are_those_of_many():
  embedding = layers.Embedding(7, 4, 1.0, jnp.float32)
  x = jax.random.normal(jax.random.key(0), (20, 3, 4))
  ids = jnp.zeros((1, 1), jnp.int32)
  params = nn.meta.unbox(embedding.init(jax.random.key(1), ids))
  many = embedding.apply(params, x, method="logits")
  few = embedding.apply(params, x[:5], method="logits")
  np.testing.assert_allclose(few, many[:5], **CLOSE)
