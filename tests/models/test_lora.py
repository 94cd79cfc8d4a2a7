"""Adapters on kernels: they start at nothing and merge exactly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import errors, models
from alignment_jax.models import lora


@pytest.fixture(scope="module", params=["decoder_tiny", "t5_tiny"])
def world(request):
  model = models.make_model(request.param, vocabulary_size=19)
  random = np.random.default_rng(0)
  params = jax.tree.map(
    lambda leaf: jnp.asarray(random.normal(size=leaf.shape), leaf.dtype),
    jax.eval_shape(model.init, jax.random.key(0)),
  )
  return model, params


def _adapters(world, rank=2, targets=lora.ATTENTION):
  model, params = world
  adapters = lora.init(
    jax.random.key(1), params, model.axes, rank=rank, targets=targets
  )
  return adapters, jax.tree.map(
    lambda leaf: jax.random.normal(jax.random.key(2), leaf.shape), adapters
  )


def test_a_new_adapter_changes_nothing(world):
  model, params = world
  new, _ = _adapters(world)
  merged = lora.merge(params, new, model.axes, alpha=4.0)
  for a, b in zip(
    jax.tree.leaves(merged), jax.tree.leaves(params), strict=True
  ):
    np.testing.assert_array_equal(a, b)


def test_a_kernel_gains_the_scaled_product_of_its_own_layer(world):
  model, params = world
  _, adapters = _adapters(world, targets=("*/attention/*/kernel", "*/mlp/*"))
  merged = lora.merge(params, adapters, model.axes, alpha=6.0)
  side = "decoder" if "decoder" in params else "blocks"

  def part(tree, *path):
    for name in (side, *path, "kernel"):
      tree = tree[name]
    return np.asarray(tree, np.float64)

  pair = adapters[f"{side}/attention/query/kernel"]
  a, b = (np.asarray(pair[name], np.float64) for name in "ab")
  expected = part(params, "attention", "query") + 3.0 * np.einsum(
    "ldr,lrhw->ldhw", a, b
  )
  np.testing.assert_allclose(
    part(merged, "attention", "query"), expected, rtol=1e-4, atol=1e-4
  )
  pair = adapters[f"{side}/attention/out/kernel"]
  a, b = (np.asarray(pair[name], np.float64) for name in "ab")
  expected = part(params, "attention", "out") + 3.0 * np.einsum(
    "lhwr,lrd->lhwd", a, b
  )
  np.testing.assert_allclose(
    part(merged, "attention", "out"), expected, rtol=1e-4, atol=1e-4
  )


def test_what_is_no_target_stays(world):
  model, params = world
  _, adapters = _adapters(world)
  merged = lora.merge(params, adapters, model.axes, alpha=6.0)
  np.testing.assert_array_equal(
    merged["embedding"]["table"], params["embedding"]["table"]
  )
  side = "decoder" if "decoder" in params else "blocks"
  np.testing.assert_array_equal(
    merged[side]["mlp"]["up"]["kernel"], params[side]["mlp"]["up"]["kernel"]
  )


def test_a_pattern_without_a_kernel_and_no_rank_are_refused(world):
  with pytest.raises(errors.UserError, match="no kernel '\\*/nothing'; avail"):
    _adapters(world, targets=("*/nothing",))
  with pytest.raises(errors.UserError, match="rank must be at least 1, got 0"):
    _adapters(world, rank=0)
