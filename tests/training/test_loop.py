"""The loop: exact resume, trip-wires, checkpoints."""

import contextlib
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import errors, parallel
from alignment_jax.training import (
  batch_sources,
  checkpoint,
  loop,
  metrics,
  state,
)


def noisy_update(now, batch, key):
  """An update that depends on step, key, batch and state alike."""
  noise = jax.random.normal(jax.random.fold_in(key, now.step), (4,))
  params = now.trainable["policy"] * 0.9 + noise + batch.mean(axis=0)
  loss = jnp.sum(jnp.square(params))
  return now.replace(step=now.step + 1, trainable={"policy": params}), {
    "loss": loss,
    "gradient_norm": loss,
  }


def first_state():
  return state.TrainState(
    step=jnp.zeros((), jnp.int32),
    trainable={"policy": jnp.zeros(4)},
    slow=(),
    optimizer_state=(),
  )


def batches(step):
  rng = np.random.default_rng(step)
  return rng.normal(size=(8, 4)).astype(np.float32), {"data/cut": step}


def run(workdir, *, update=noisy_update, batches=batches, steps=10, **settings):
  mesh = parallel.make_mesh(data=8, fsdp=1, tensor=1)
  return loop.train(
    loop.Spec(
      update=update,
      make_state=first_state,
      open_batches=lambda start: contextlib.nullcontext(
        batch_sources.offline(batches, mesh)
      ),
      key=jax.random.key(3),
      mesh=mesh,
      axes={},
      workdir=pathlib.Path(workdir),
      title="test",
      steps=steps,
      **{
        "log_every": 1,
        "checkpoint_every": 3,
        "schedule": lambda step: jnp.float32(0.1),
        "progress": False,
        **settings,
      },
    )
  )


class Killed(Exception):
  pass


def killed_at(step):
  def stop(now):
    if now == step:
      raise Killed
    return batches(now)

  return stop


def test_a_run_that_was_killed_ends_like_one_that_was_not(tmp_path):
  whole = run(tmp_path / "whole")
  with pytest.raises(Killed):
    run(tmp_path / "killed", batches=killed_at(5))
  resumed = run(tmp_path / "killed")
  np.testing.assert_array_equal(
    whole.trainable["policy"], resumed.trainable["policy"]
  )
  lines = [
    metrics.read_metrics(tmp_path / name / "metrics.jsonl")
    for name in ("whole", "killed")
  ]
  assert lines[0] == lines[1]
  assert [line["step"] for line in lines[0]] == list(range(1, 11))


def test_a_resumed_run_does_not_do_again_what_is_saved(tmp_path):
  with pytest.raises(Killed):
    run(tmp_path, batches=killed_at(5))
  asked = []

  def watched(step):
    asked.append(step)
    return batches(step)

  run(tmp_path, batches=watched)
  assert asked == list(range(3, 10))  # checkpoints are at 3, 6, 9


def test_a_finished_run_does_nothing(tmp_path):
  done = run(tmp_path)
  again = run(tmp_path, batches=killed_at(10))
  np.testing.assert_array_equal(
    done.trainable["policy"], again.trainable["policy"]
  )


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(
  tmp_path,
):
  def explode(now, batch, key):
    now, scalars = noisy_update(now, batch, key)
    loss = jnp.where(now.step == 5, jnp.nan, scalars["loss"])
    return now, {**scalars, "loss": loss}

  with pytest.raises(errors.UserError, match="nan at step 5.*step 3 is kept"):
    run(tmp_path, update=explode)
  assert (tmp_path / "checkpoints" / "3").is_dir()


def test_a_batch_of_another_shape_trips_the_compile_counter(tmp_path):
  def growing(step):
    batch, data_stats = batches(step)
    return (np.concatenate([batch, batch]) if step == 4 else batch), data_stats

  with pytest.raises(RuntimeError, match="compiled again at step 5"):
    run(tmp_path, batches=growing)


def test_a_checkpoint_moves_to_another_mesh(tmp_path):
  params = {"kernel": jnp.arange(32.0).reshape(8, 4)}
  axes = {"kernel": jax.P("width", "mlp")}
  for sizes in ((1, 4, 2), (8, 1, 1)):
    mesh = parallel.make_mesh(data=sizes[0], fsdp=sizes[1], tensor=sizes[2])
    placed = parallel.shardings(mesh, params, axes)
    if sizes == (1, 4, 2):
      checkpoint.save_tree(tmp_path / "t", jax.device_put(params, placed))
    restored = checkpoint.restore_tree(
      tmp_path / "t", checkpoint.target_of(params, placed)
    )
    np.testing.assert_array_equal(restored["kernel"], params["kernel"])
    assert restored["kernel"].sharding == placed["kernel"]


def test_a_checkpoint_of_another_shape_is_one_clear_error(tmp_path):
  mesh = parallel.make_mesh(data=8, fsdp=1, tensor=1)
  checkpoint.save_tree(tmp_path / "t", {"kernel": jnp.zeros((8, 4))})
  other = {"kernel": jnp.zeros((4, 4))}
  target = checkpoint.target_of(other, parallel.shardings(mesh, other, {}))
  with pytest.raises(errors.UserError, match="does not fit this model"):
    checkpoint.restore_tree(tmp_path / "t", target)
  with pytest.raises(errors.UserError, match="no finished parameters"):
    checkpoint.restore_tree(tmp_path / "none", target)


def test_lines_and_checkpoints_come_when_they_are_asked_for(tmp_path):
  run(
    tmp_path,
    steps=11,
    log_every=4,
    checkpoint_every=6,
    schedule=lambda step: jnp.float32(step) / 8,
    metadata={"seed": 7},
  )
  lines = metrics.read_metrics(tmp_path / "metrics.jsonl")
  # Every fourth step, those of the checkpoints, and the last.
  assert [line["step"] for line in lines] == [4, 6, 8, 11]
  for line in lines:
    assert line["learning_rate"] == (line["step"] - 1) / 8
    assert line["data/cut"] == line["step"] - 1
    assert line["gradient_norm"] == line["loss"] > 0
  saved = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
  assert saved == ["11", "6"]
  with checkpoint.Checkpoints(tmp_path / "checkpoints") as checkpoints:
    assert checkpoints.latest() == 11
  described = (tmp_path / "checkpoints" / "6" / "meta" / "metadata").read_text()
  assert json.loads(described) == {"seed": 7, "step": 6}


def test_the_newest_two_checkpoints_are_kept(tmp_path):
  run(tmp_path, steps=10)  # saved at 3, 6, 9 and 10
  saved = sorted(int(p.name) for p in (tmp_path / "checkpoints").iterdir())
  assert saved == [9, 10]


def test_a_checkpoint_holds_the_state_of_its_step(tmp_path):
  final = run(tmp_path, steps=3)
  mesh = parallel.make_mesh(data=8, fsdp=1, tensor=1)
  target = checkpoint.target_of(
    first_state(), parallel.shardings(mesh, first_state(), {})
  )
  with checkpoint.Checkpoints(tmp_path / "checkpoints") as checkpoints:
    assert checkpoints.latest() == 3
    restored = checkpoints.restore(3, target)
    checkpoints.save(3, first_state(), {})  # it is there already
  assert restored.step == 3
  np.testing.assert_array_equal(
    restored.trainable["policy"], final.trainable["policy"]
  )
  with checkpoint.Checkpoints(tmp_path / "checkpoints") as checkpoints:
    assert checkpoints.restore(3, target).step == 3
  other = first_state().replace(trainable={"policy": jnp.zeros(5)})
  target = checkpoint.target_of(other, parallel.shardings(mesh, other, {}))
  with checkpoint.Checkpoints(tmp_path / "checkpoints") as checkpoints:
    with pytest.raises(
      errors.UserError,
      match="3 does not fit .* trainable.policy has shape .4,. there, not .5,.",
    ):
      checkpoints.restore(3, target)


def test_a_gradient_that_is_not_finite_stops_the_run_before_it_is_saved(
  tmp_path,
):
  def explode(now, batch, key):
    now, scalars = noisy_update(now, batch, key)
    return now, {**scalars, "gradient_norm": jnp.float32(jnp.inf)}

  with pytest.raises(
    errors.UserError, match="gradient_norm of 'test' is inf at step 1 .none sav"
  ):
    run(tmp_path, update=explode)
  assert not list((tmp_path / "checkpoints").iterdir())
  assert metrics.read_metrics(tmp_path / "metrics.jsonl") == []


def test_parameters_that_are_replaced_are_gone_from_the_disk(tmp_path):
  mesh = parallel.make_mesh(data=8, fsdp=1, tensor=1)
  for value in (1.0, 2.0):
    tree = {"kernel": jnp.full((8, 4), value)}
    checkpoint.save_tree(tmp_path / "t", tree)
  target = checkpoint.target_of(tree, parallel.shardings(mesh, tree, {}))
  restored = checkpoint.restore_tree(tmp_path / "t", target)
  np.testing.assert_array_equal(restored["kernel"], tree["kernel"])
