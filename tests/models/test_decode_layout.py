"""The layout for decoding holds the same numbers and computes the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from alignment_jax import models
from alignment_jax.models import decode_layout, layers
from alignment_jax.types import Tokens

PROMPTS = Tokens(
  ids=jnp.array([[0, 5, 6], [7, 8, 9]]),
  mask=jnp.array([[False, True, True], [True, True, True]]),
)


@pytest.fixture(scope="module", params=["decoder_tiny", "t5_tiny"])
def network(request):
  model = models.make_model(request.param, vocabulary_size=11)
  return model, jax.jit(model.init)(jax.random.key(0))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize(
  ("shape", "axes", "contract"),
  [
    ((6, 2, 3), ("width", "heads", "head_width"), 1),
    ((2, 3, 5), ("heads", "head_width", "width"), 2),
    ((6, 5), ("mlp", "width"), 1),
  ],
)
def test_a_projection_by_rows_is_the_same_map(shape, axes, contract, dtype):
  layer = layers.Projection(
    shape, axes, contract, dtype, bias=True, output_dtype=jnp.float32
  )
  keys = jax.random.split(jax.random.key(0), 3)
  # Small integers: products and sums are exact in both dtypes and any order.
  x = jax.random.randint(keys[0], (4, 1, *shape[:contract]), -3, 4)
  params = nn.meta.unbox(layer.init(keys[1], x))["params"]
  params = jax.tree.map(
    lambda leaf: jnp.round(8 * jax.random.normal(keys[2], leaf.shape)), params
  )
  stack = {
    "stack": jax.tree.map(lambda leaf: jnp.stack([leaf - 1, leaf]), params)
  }
  names = {"kernel": jax.P("layers", *axes), "bias": jax.P("layers", *axes)}
  laid_out = decode_layout.for_decoding(stack, {"stack": names}, stack="stack")
  by_rows = laid_out["stack"][1]
  assert isinstance(by_rows["kernel"], decode_layout.Rows)
  actual = layer.apply({"params": by_rows}, x)
  expected = layer.apply({"params": params}, x)
  assert actual.dtype == jnp.float32 and actual.shape == expected.shape
  np.testing.assert_array_equal(actual, expected)


def test_only_the_stack_that_decodes_is_laid_out_and_once(network):
  model, params = network
  once = model.for_decoding(params)
  changed = {name for name in params if once[name] is not params[name]}
  assert changed == {"blocks" if "blocks" in params else "decoder"}
  assert model.for_decoding(once) is once
  assert sum(leaf.size for leaf in jax.tree.leaves(once)) == sum(
    leaf.size for leaf in jax.tree.leaves(params)
  )


def test_a_step_and_its_logits_take_either_layout(network):
  model, params = network

  @jax.jit
  def logits(params, cache):
    state, cache = model.step(params, cache, jnp.array([3, 4]))
    return model.unembed(params, state), cache

  cache = model.init_cache(model.encode(params, PROMPTS), 2)
  plain = logits(params, cache)
  laid_out = logits(model.for_decoding(params), cache)
  for one, other in zip(
    jax.tree.leaves(plain), jax.tree.leaves(laid_out), strict=True
  ):
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_a_model_needs_no_layout_of_its_own(network):
  model, params = network
  plain = models.Model(*model[:8])
  assert plain.settings is model.settings
  assert plain.for_decoding(params) is params


def test_keys_and_values_come_back_from_the_slots():
  key, value = jax.random.normal(jax.random.key(0), (2, 2, 5, 3, 4))
  in_slots = decode_layout.in_slots(key, value)
  # [B, S, H, D] to [B, H, D, S] and [B, H, S, D].
  assert [array.shape for array in in_slots] == [(2, 3, 4, 5), (2, 3, 5, 4)]
  assert in_slots[0][1, 2, 3, 4] == key[1, 4, 2, 3]
  assert in_slots[1][1, 2, 4, 3] == value[1, 4, 2, 3]
  for back, array in zip(
    decode_layout.from_slots(*in_slots), (key, value), strict=True
  ):
    np.testing.assert_array_equal(back, array)
