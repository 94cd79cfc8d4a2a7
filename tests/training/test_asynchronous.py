"""Generation beside learning: who sampled what, exact resume, failures."""

import contextlib
import gc
import pathlib
import threading
import time
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import errors, parallel, types
from alignment_jax.algorithm import Rollouts
from alignment_jax.training import asynchronous, batch_sources, loop, state

ROWS, STEPS, EVERY = 8, 11, 4
KEY = jax.random.key(3)


def mesh_of(devices):
  return parallel.make_mesh(data=-1, fsdp=1, tensor=1, devices=devices)


def sample(trainable, slow, batch, key):
  """A response that depends on policy, prompt and key alike."""
  del slow
  noise = jax.random.normal(key, (ROWS, 1, 2))
  table = trainable["policy"]["table"][None, None]
  ids = jnp.round(100 * (noise + table)).astype(jnp.int32)
  ids = ids + batch.prompt.ids[:, None]
  return types.Rollout(
    prompt=batch.prompt,
    responses=types.Tokens(ids, jnp.ones(ids.shape, bool)),
    logprobs=jnp.zeros(ids.shape),
    ended=jnp.ones((ROWS, 1), bool),
    version=jnp.zeros((ROWS,), jnp.int32),
  )


def prepare(trainable, slow, rollout, feedback):
  del trainable, slow
  ids = rollout.responses.ids.astype(jnp.float32)
  return ids, feedback.rewards, rollout.version


COLLECT = Rollouts(sample, "reward", prepare)


def judge(rollout, index):
  del index
  return types.Feedback(rewards=rollout.responses.ids.sum(axis=-1) / 100)


def update(now, batch, key):
  del key
  ids, scores, _ = batch
  table = 0.9 * now.trainable["policy"]["table"] + 0.01 * (
    ids.mean() + scores.mean()
  )
  loss = jnp.sum(jnp.square(table))
  return now.replace(
    step=now.step + 1, trainable={"policy": {"table": table}}
  ), {"loss": loss, "gradient_norm": loss}


def first_state():
  return state.TrainState(
    step=jnp.zeros((), jnp.int32),
    trainable={"policy": {"table": jnp.zeros(2)}},
    slow=(),
    optimizer_state=(),
  )


def prompts(step):
  ids = np.full((ROWS, 2), step, np.int32)
  return types.Prompts(types.Tokens(ids, np.ones(ids.shape, bool))), {}


def run(workdir, staleness, *, judge=judge, steps=STEPS, versions=None):
  """A run; staleness None is `batch_sources.synchronous`."""
  everywhere = mesh_of(jax.devices())
  learner, generator = everywhere, everywhere
  if staleness:
    generator, learner = mesh_of(jax.devices()[:2]), mesh_of(jax.devices()[2:4])

  def watched(made):
    def feed(step, now):
      batch, data_stats = made(step, now)
      if versions is not None:
        versions[step] = int(batch[2][0])
        assert data_stats["staleness"] == step - versions[step]
      return batch, data_stats

    return feed

  @contextlib.contextmanager
  def open_feed(start):
    if staleness is None:
      yield watched(
        batch_sources.synchronous(COLLECT, judge, prompts, KEY, mesh=learner)
      )
      return
    with asynchronous.Asynchronous(
      batch_sources.sampler(COLLECT, judge, prompts, KEY, mesh=generator),
      batch_sources.preparer(COLLECT, learner),
      transfer=asynchronous.transfer_to(generator, {}),
      start=start,
      steps=steps,
      staleness=staleness,
      restart_every=EVERY,
    ) as feed:
      yield watched(feed)

  final = loop.train(
    loop.Spec(
      update=update,
      make_state=first_state,
      open_batches=open_feed,
      key=KEY,
      mesh=learner,
      axes={},
      workdir=pathlib.Path(workdir),
      title="test",
      steps=steps,
      log_every=1,
      checkpoint_every=EVERY,
      schedule=lambda step: jnp.float32(0.1),
      progress=False,
    )
  )
  return np.asarray(final.trainable["policy"]["table"])


def test_staleness_zero_is_the_synchronous_run_bit_for_bit(tmp_path):
  together = run(tmp_path / "a", None)
  apart = run(tmp_path / "b", 0)
  np.testing.assert_array_equal(together, apart)
  assert np.any(together != 0)


@pytest.mark.parametrize("staleness", [1, 2, 3])
def test_each_rollout_is_of_the_version_that_the_schedule_says(
  tmp_path, staleness
):
  versions = {}
  run(tmp_path, staleness, versions=versions)
  # At each checkpoint (0, 4, 8) the pipeline starts anew.
  assert versions == {
    step: max(step - staleness, step // EVERY * EVERY) for step in range(STEPS)
  }


def test_a_stale_run_can_be_replayed_and_resumed(tmp_path):
  whole = run(tmp_path / "whole", 2)
  np.testing.assert_array_equal(whole, run(tmp_path / "again", 2))
  run(tmp_path / "parts", 2, steps=8)
  np.testing.assert_array_equal(whole, run(tmp_path / "parts", 2))
  assert np.any(whole != run(tmp_path / "fresh", None))


@pytest.mark.parametrize("staleness", [None, 0, 2])
def test_a_judge_that_fails_stops_the_run_and_saves_what_was_learnt(
  tmp_path, staleness
):
  def failing(rollout, index):
    if rollout.prompt.ids[0, 0] == 6:
      raise OSError("no space")
    return judge(rollout, index)

  begun = time.monotonic()
  with pytest.raises(
    errors.UserError, match=r"judge failed at step 6.*no space.*step 6 is saved"
  ):
    run(tmp_path, staleness, judge=failing)
  assert time.monotonic() - begun < 60
  assert (tmp_path / "checkpoints" / "6").is_dir()
  assert not [t for t in threading.enumerate() if t.name == "generator"]


@pytest.mark.parametrize(
  "changed, message",
  [
    (lambda rewards: rewards[:, :0], r"shape \(8, 0\).*expected \(8, 1\)"),
    (
      lambda rewards: rewards * np.nan,
      r"returned nan at step 0, entry \[0, 0\] of rewards",
    ),
  ],
)
def test_what_is_no_score_is_one_clear_error(tmp_path, changed, message):
  def bad(rollout, index):
    return types.Feedback(rewards=changed(judge(rollout, index).rewards))

  with pytest.raises(errors.UserError, match=message):
    run(tmp_path, None, judge=bad)


def test_a_generator_that_dies_is_noticed(tmp_path):
  def dying(rollout, index):
    raise SystemExit(3)

  with pytest.raises(
    errors.UserError, match="failed at step 0.*nothing was learnt"
  ):
    run(tmp_path, 1, judge=dying)


def wait_until(condition):
  end = time.monotonic() + 30
  while not condition():
    assert time.monotonic() < end
    time.sleep(0.001)


class Generator:
  """Rollouts that say who sampled them, made on the learner's own devices."""

  def __init__(self, **settings):
    self.made, self.held = [], []

    def transfer(tree):
      self.held.append(weakref.ref(tree[0]["policy"]["table"]))
      return tree

    self.source = asynchronous.Asynchronous(
      self.make,
      lambda step, now, rollout: (rollout, {}),
      transfer=transfer,
      **{"start": 0, "restart_every": 100, "steps": 8, **settings},
    )

  def make(self, step, version, trainable, slow):
    del slow
    self.made.append(step)
    return step, version, int(trainable["policy"]["table"][0])

  def take(self, step):
    """The rollout of a step, for a state that is donated right after."""
    now = first_state()
    table = jnp.full(2, float(step))
    now = now.replace(trainable={"policy": {"table": table}})
    rollout, _ = self.source(step, now)
    table.delete()
    return rollout

  def alive(self):
    gc.collect()
    return sum(table() is not None for table in self.held)


@pytest.mark.parametrize("staleness", [0, 1, 3])
def test_the_generator_is_ahead_by_the_staleness_and_no_further(staleness):
  generator = Generator(staleness=staleness)
  with generator.source:
    for step in range(8):
      version = max(0, step - staleness)
      assert generator.take(step) == (step, version, version)
      ahead = list(range(min(8, step + 1 + staleness)))
      wait_until(lambda ahead=ahead: len(generator.made) >= len(ahead))
      time.sleep(0.02)
      assert generator.made == ahead
      # The versions of the rollouts to come, and the last one that sampled.
      assert generator.alive() <= staleness + 1


def test_a_run_that_goes_on_begins_with_the_version_of_its_checkpoint():
  generator = Generator(staleness=2, start=4)
  with generator.source:
    rollouts = [generator.take(step) for step in range(4, 8)]
  assert rollouts == [(4, 4, 4), (5, 4, 4), (6, 4, 4), (7, 5, 5)]


def test_leaving_ends_a_generator_that_waits():
  generator = Generator(staleness=1)
  begun = time.monotonic()
  with generator.source:
    generator.take(0)
  assert time.monotonic() - begun < 10
  assert not [t for t in threading.enumerate() if t.name == "generator"]
  assert generator.made in ([0], [0, 1])


def test_a_step_beyond_the_last_is_an_error(monkeypatch):
  monkeypatch.setattr(asynchronous, "POLL_SECONDS", 0.01)
  generator = Generator(staleness=0, steps=1)
  with generator.source:
    generator.take(0)
    with pytest.raises(
      batch_sources.BatchSourceError, match="without a rollout for step 1"
    ):
      generator.take(1)


def test_a_negative_staleness_is_refused():
  with pytest.raises(ValueError, match="staleness must be >= 0, got -1"):
    Generator(staleness=-1)
