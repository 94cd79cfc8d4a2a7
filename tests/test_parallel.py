"""Meshes, shardings, and that they change places and nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import (
  algorithms,
  errors,
  models,
  optimizers,
  parallel,
  types,
)
from alignment_jax.training import state, step


def test_the_rest_of_the_devices_go_to_data():
  mesh = parallel.make_mesh(data=-1, fsdp=2, tensor=2)
  assert dict(mesh.shape) == {"data": 2, "fsdp": 2, "tensor": 2}


@pytest.mark.parametrize("sizes", [(3, 1, 1), (-1, 3, 1), (1, 1, 1)])
def test_a_mesh_that_does_not_fit_says_how_many_devices_there_are(sizes):
  with pytest.raises(errors.UserError, match="8 devices"):
    parallel.make_mesh(data=sizes[0], fsdp=sizes[1], tensor=sizes[2])


def test_moments_and_reference_lie_where_the_parameter_lies():
  mesh = parallel.make_mesh(data=1, fsdp=4, tensor=2)
  axes = {"mlp": {"kernel": jax.P("width", "mlp")}}
  leaf = jax.ShapeDtypeStruct((8, 6), jnp.float32)
  tree = {
    "trainable": {"policy": {"mlp": {"kernel": leaf}}},
    "moments": ({"policy": {"mlp": {"kernel": leaf}}},),
    "count": jax.ShapeDtypeStruct((), jnp.int32),
  }
  placed = parallel.shardings(mesh, tree, axes)
  split = jax.P("fsdp", "tensor")
  assert placed["trainable"]["policy"]["mlp"]["kernel"].spec == split
  assert placed["moments"][0]["policy"]["mlp"]["kernel"].spec == split
  assert placed["count"].spec == jax.P()


def test_an_axis_that_cannot_be_divided_stays_whole():
  mesh = parallel.make_mesh(data=1, fsdp=4, tensor=2)
  placed = parallel.shardings(
    mesh,
    {"kernel": jax.ShapeDtypeStruct((6, 6), jnp.float32)},
    {"kernel": jax.P("width", "mlp")},
  )
  assert placed["kernel"].spec == jax.P(None, "tensor")


def test_a_batch_that_cannot_be_dealt_out_names_the_multiple():
  mesh = parallel.make_mesh(data=2, fsdp=2, tensor=2)
  parallel.check_batch_size(mesh, 8, 2)
  with pytest.raises(errors.UserError, match="multiple of 8"):
    parallel.check_batch_size(mesh, 12, 2)


def pair_batch(rows=8):
  rng = np.random.default_rng(0)

  def tokens(length, left):
    ids = rng.integers(3, 40, (rows, length)).astype(np.int32)
    counts = rng.integers(1, length + 1, (rows, 1))
    place = np.arange(length)[None]
    mask = place >= length - counts if left else place < counts
    return types.Tokens(ids=ids, mask=mask)

  return types.PreferencePair(
    tokens(4, True),
    tokens(6, False),
    tokens(6, False),
    np.ones(rows, np.float32),
    rng.uniform(size=rows).astype(np.float32),
  )


def losses_on(mesh, name):
  """Three steps of IPO, parameters born sharded."""
  model = models.make_model(name, vocabulary_size=40)
  algorithm = algorithms.ALGORITHMS["ipo"].factory(model, tau=0.1)
  schedule = optimizers.make_schedule(
    "constant", learning_rate=1e-3, warmup_steps=0, total_steps=9
  )
  optimizer = optimizers.make_optimizer(
    "sgd", schedule, weight_decay=0.0, clip_norm=1.0
  )
  key = jax.random.key(0)

  def make():
    return state.make_state(algorithm, optimizer, key, model.init(key))

  placed = parallel.shardings(mesh, jax.eval_shape(make), model.axes)
  now = parallel.jit(make, out_shardings=placed)()
  update = parallel.jit(
    step.make_update(algorithm, optimizer),
    donate_argnums=0,
    out_shardings=(placed, parallel.replicated(mesh)),
  )
  batch = parallel.put_batch(mesh, pair_batch())
  history = []
  for _ in range(3):
    now, metrics = update(now, batch, key)
    history.append(float(metrics["loss"]))
  return history, now, update


@pytest.mark.parametrize("name", ["decoder_tiny", "t5_tiny"])
def test_eight_devices_give_the_losses_of_one(name):
  sharded, now, update = losses_on(
    parallel.make_mesh(data=1, fsdp=4, tensor=2), name
  )
  one = jax.sharding.Mesh(
    np.array(jax.devices()[:1]).reshape(1, 1, 1),
    ("data", "fsdp", "tensor"),
    axis_types=(jax.sharding.AxisType.Auto,) * 3,
  )
  single, _, _ = losses_on(one, name)
  assert single[2] < single[0]
  np.testing.assert_allclose(sharded, single, rtol=1e-4)
  table = now.trainable["policy"]["embedding"]["table"]
  assert table.addressable_shards[0].data.shape == (20, 8)  # of (40, 32)
  assert parallel.compilations(update) == 1


def test_one_program_too_many_is_told_with_its_shapes():
  run = parallel.guarded(parallel.jit(jnp.sum), "the sum", programs=2)
  for length in (2, 3, 2):
    run(jnp.ones(length))
  with pytest.raises(RuntimeError, match=r"the sum.*3 times.*float32\[4\]"):
    run(jnp.ones(4))
