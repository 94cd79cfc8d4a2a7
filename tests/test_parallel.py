"""Meshes and shardings: they change where arrays are and nothing else."""

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


def test_a_batch_that_cannot_be_split_evenly_names_the_multiple():
  mesh = parallel.make_mesh(data=2, fsdp=2, tensor=2)
  parallel.check_batch_size(mesh, 8, 2)
  with pytest.raises(errors.UserError, match="multiple of 8"):
    parallel.check_batch_size(mesh, 12, 2)


@pytest.mark.parametrize("batch_size", [0, -8])
def test_a_batch_has_rows(batch_size):
  mesh = parallel.make_mesh(data=2, fsdp=2, tensor=2)
  with pytest.raises(errors.UserError, match=f"batch_size {batch_size} must"):
    parallel.check_batch_size(mesh, batch_size, 1)


@pytest.mark.parametrize("sizes", [(0, 1, 8), (-2, 1, 8), (8, 0, 1), (8, 1, 0)])
def test_a_mesh_size_below_one_is_refused(sizes):
  with pytest.raises(errors.UserError, match="mesh sizes must be >= 1"):
    parallel.make_mesh(data=sizes[0], fsdp=sizes[1], tensor=sizes[2])


def test_a_mesh_over_some_devices_is_of_those():
  devices = jax.devices()[2:6]
  mesh = parallel.make_mesh(data=-1, fsdp=2, tensor=1, devices=devices)
  assert dict(mesh.shape) == {"data": 2, "fsdp": 2, "tensor": 1}
  assert set(mesh.devices.flat) == set(devices)


def test_a_leaf_of_another_rank_or_path_is_replicated():
  mesh = parallel.make_mesh(data=1, fsdp=4, tensor=2)
  tree = {
    "mlp": {"kernel": jax.ShapeDtypeStruct((8,), jnp.float32)},
    "kernel": jax.ShapeDtypeStruct((8, 6), jnp.float32),
  }
  shardings = parallel.shardings(
    mesh, tree, {"mlp": {"kernel": jax.P("width", "mlp")}}
  )
  assert all(leaf.spec == jax.P() for leaf in jax.tree.leaves(shardings))


def test_each_device_holds_its_rows_of_a_batch():
  mesh = parallel.make_mesh(data=2, fsdp=2, tensor=2)
  rows = np.arange(8 * 3).reshape(8, 3)
  batch = parallel.put_batch(mesh, {"rows": rows})["rows"]
  np.testing.assert_array_equal(batch, rows)
  for shard in batch.addressable_shards:
    # Over data and fsdp, four parts of two rows; tensor holds copies.
    assert shard.data.shape == (2, 3)
    np.testing.assert_array_equal(shard.data, rows[shard.index])
  firsts = [shard.index[0].start for shard in batch.addressable_shards]
  assert sorted(firsts) == [0, 0, 2, 2, 4, 4, 6, 6]


def test_the_table_says_what_each_parameter_is_split_over():
  mesh = parallel.make_mesh(data=1, fsdp=4, tensor=2)
  tree = {
    "mlp": {"kernel": jax.ShapeDtypeStruct((8, 6), jnp.float32)},
    "norm": jax.ShapeDtypeStruct((6,), jnp.float32),
  }
  axes = {"mlp": {"kernel": jax.P("width", "mlp")}, "norm": jax.P("width")}
  table = parallel.describe(mesh, tree, axes)
  assert [line.split() for line in table.splitlines()] == [
    ["parameter", "shape", "split", "over"],
    ["mlp/kernel", "(8,", "6)", "fsdp,", "tensor"],
    # Six numbers do not divide over four devices.
    ["norm", "(6,)", "-"],
  ]
  columns = {line.index("(") for line in table.splitlines()[1:]}
  assert columns == {len("mlp/kernel") + 2}


def pair_batch(rows=8):
  rng = np.random.default_rng(0)

  def tokens(length, left):
    ids = rng.integers(3, 40, (rows, length)).astype(np.int32)
    counts = rng.integers(1, length + 1, (rows, 1))
    index = np.arange(length)[None]
    mask = index >= length - counts if left else index < counts
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


def test_by_default_one_program_is_expected():
  # A function of its own: programs of `jnp.sum` are counted in all tests.
  run = parallel.guarded(parallel.jit(lambda x: jnp.sum(x)), "the sum")
  assert run(jnp.ones(2)) == 2
  assert run(jnp.zeros(2)) == 0
  with pytest.raises(RuntimeError, match="2 times where 1 was expected"):
    run(jnp.ones(3))


def test_parts_of_one_size_repeat_the_last_row():
  rows = {"a": np.arange(5), "b": np.arange(10).reshape(5, 2)}
  parts = list(parallel.batches(rows, 2))
  assert [part["a"].tolist() for part in parts] == [[0, 1], [2, 3], [4, 4]]
  np.testing.assert_array_equal(parts[2]["b"], [[8, 9], [8, 9]])


def test_what_is_computed_in_parts_has_a_row_for_each_row():
  mesh = parallel.make_mesh(data=2, fsdp=1, tensor=4)
  first, second = np.arange(7.0), np.arange(14.0).reshape(7, 2)
  run = parallel.jit(
    lambda a, b: {"sum": a + b.sum(axis=1), "double": 2 * a},
    out_shardings=parallel.replicated(mesh),
  )
  out = parallel.map_batches(run, (first, second), mesh=mesh, batch_size=4)
  np.testing.assert_array_equal(out["sum"], first + second.sum(axis=1))
  np.testing.assert_array_equal(out["double"], 2 * first)
  assert parallel.compilations(run) == 1
