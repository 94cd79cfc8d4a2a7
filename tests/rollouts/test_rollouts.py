"""Every method that samples: one collected batch, one step, the shared parts.

What each one learns is in its own file; here is what holds for all.
"""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import algorithms, models, optimizers, rollouts, types
from alignment_jax.parallel import make_mesh
from alignment_jax.training import batch_sources, state, step

ONLINE = {
  name: method
  for name, method in algorithms.ALGORITHMS.items()
  if method.samples
}
ROWS, TARGET = 8, 5


def prompts(number):
  random = np.random.default_rng(number)
  ids = random.integers(2, 16, (ROWS, 4)).astype(np.int32)
  prompt = types.Tokens(ids, np.ones(ids.shape, bool))
  answer = types.Tokens(ids[:, :3], np.ones((ROWS, 3), bool))
  return prompt, answer


def counts_of(tokens):
  """How often each response says one token."""
  return ((tokens.ids == TARGET) & tokens.mask).sum(-1).astype(np.float32)


def judge_for(feedback):
  """Counts one token; the better of two wins by its sigmoid."""

  def reward(rollout, index):
    del index
    opponents = rollout.opponents
    return types.Feedback(
      rewards=counts_of(rollout.responses),
      opponents=None if opponents is None else counts_of(opponents),
    )

  def rewards(rollout, index):
    del index
    counts = counts_of(rollout.responses)
    return types.Feedback(
      rewards=np.stack([counts, 2 * counts], axis=-1),
      demonstration=np.tile(np.float32([1, 2]), (ROWS, 1)),
    )

  def preferences(rollout, index):
    del index
    counts = counts_of(rollout.responses)
    others = counts
    if rollout.opponents is not None:
      others = counts_of(rollout.opponents)
    odds = np.exp(others[:, None, :] - counts[:, :, None])
    return types.Feedback(preferences=1 / (1 + odds))

  def never(rollout, index):
    raise AssertionError("a method that needs no judge was judged")

  known = {
    "reward": reward,
    "rewards": rewards,
    "preference": preferences,
    "none": never,
  }
  return known[feedback]


def method(name, model, **changes):
  sampling = rollouts.Sampling(
    **{
      "samples": 4,
      "max_tokens": 3,
      "temperature": 1.0,
      "eos_id": 1,
      **changes,
    }
  )
  entry = ONLINE[name]
  return entry.factory(model, sampling=sampling, **entry.tiny)


def one_update(name, model, *, devices=1, **options):
  """States before and after one step, its metrics, and the batch."""
  algorithm = method(name, model)
  optimizer = optimizers.make_optimizer(
    "sgd",
    optimizers.make_schedule(
      "constant", learning_rate=1e-2, warmup_steps=0, total_steps=9
    ),
    weight_decay=0.0,
    clip_norm=None,
  )
  key = jax.random.key(0)
  first = jax.jit(
    lambda: state.make_state(algorithm, optimizer, key, model.init(key))
  )()

  def batches(number):
    prompt, answer = prompts(number)
    data = {
      types.Prompts: lambda: types.Prompts(prompt),
      types.Demonstration: lambda: types.Demonstration(prompt, answer),
    }
    return data[ONLINE[name].data](), {}

  mesh = make_mesh(data=-1, fsdp=1, tensor=1, devices=jax.devices()[:devices])
  judge = judge_for(algorithm.rollouts.feedback)
  source = batch_sources.synchronous(
    algorithm.rollouts, judge, batches, key, mesh=mesh
  )
  batch, data_stats = source(0, first)
  update = jax.jit(step.make_update(algorithm, optimizer, **options))
  last, metrics = update(first, batch, key)
  return first, last, jax.device_get(metrics), batch, data_stats


@pytest.mark.parametrize("name", sorted(ONLINE))
def test_an_entry_names_the_feedback_of_its_method(name, table_of):
  entry = ONLINE[name]
  expected = entry.feedback_for(entry.tiny)
  assert method(name, table_of(16)).rollouts.feedback == expected
  parameters = inspect.signature(entry.factory).parameters
  if entry.feedback_keyword is None:
    return
  # The entry says the default of the keyword.
  assert parameters[entry.feedback_keyword].default == entry.feedback


@pytest.mark.parametrize("name", sorted(ONLINE))
def test_a_step_keeps_the_tree_and_reports_finite_numbers(name, table_of):
  first, last, metrics, _, data_stats = one_update(name, table_of(16))
  assert jax.tree.structure(first) == jax.tree.structure(last)
  for old, new in zip(
    jax.tree.leaves(first), jax.tree.leaves(last), strict=True
  ):
    assert old.dtype == new.dtype and old.shape == new.shape
  moved = [
    float(jnp.max(jnp.abs(a - b)))
    for a, b in zip(
      jax.tree.leaves(first.trainable["policy"]),
      jax.tree.leaves(last.trainable["policy"]),
      strict=True,
    )
  ]
  assert max(moved) > 0
  assert all(np.isfinite(value) for value in metrics.values()), metrics
  assert data_stats["staleness"] == 0
  assert set(ONLINE[name].headline) <= metrics.keys()
  # The policy is the one that sampled: before the update nothing has moved.
  assert metrics["ratio/mean"] == pytest.approx(1, abs=1e-4)
  assert metrics["ratio/logprob_mismatch"] < 1e-5


def test_eight_devices_sample_and_learn_as_one_does():
  model = models.make_model(
    "decoder_tiny", vocabulary_size=16, layers=1, width=8, mlp_width=8
  )
  _, one, alone, _, _ = one_update("rloo", model)
  _, eight, together, _, _ = one_update("rloo", model, devices=8)
  alone, together = (
    {name: float(value) for name, value in metrics.items()}
    for metrics in (alone, together)
  )
  assert alone == pytest.approx(together, rel=1e-4, abs=1e-5)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6),
    jax.device_get(one.trainable),
    jax.device_get(eight.trainable),
  )


def test_epochs_and_minibatches_make_that_many_optimiser_steps(table_of):
  _, last, metrics, _, _ = one_update(
    "rloo", table_of(16), epochs=2, minibatches=4
  )
  counts = [
    leaf for leaf in jax.tree.leaves(last.optimizer_state) if leaf.ndim == 0
  ]
  assert int(last.step) == 1
  assert {int(count) for count in counts} == {8}
  assert np.isfinite(metrics["loss"])


def test_a_response_without_an_end_loses_the_penalty():
  sampling = rollouts.Sampling(
    samples=2, max_tokens=4, temperature=1.0, eos_id=1, missing_eos_penalty=2.0
  )
  ended = jnp.array([[True, False]])
  responses = types.Tokens(
    jnp.array([[[5, 1], [5, 5]]]), jnp.ones((1, 2, 2), bool)
  )
  rollout = types.Rollout(
    prompt=types.Tokens(jnp.zeros((1, 1), jnp.int32), jnp.ones((1, 1), bool)),
    responses=responses,
    logprobs=jnp.zeros((1, 2, 2)),
    ended=ended,
    version=jnp.zeros(1, jnp.int32),
  )
  rewards = types.Feedback(rewards=jnp.array([[0.5, 0.5]]))
  np.testing.assert_array_equal(
    rollouts.penalized(rewards, rollout, sampling).rewards, [[0.5, -1.5]]
  )
  even = types.Feedback(preferences=jnp.full((1, 2, 2), 0.5))
  np.testing.assert_array_equal(
    rollouts.penalized(even, rollout, sampling).preferences,
    [[[0.5, 1.0], [0.0, 0.5]]],
  )
  # Of three opponents the first did not end, the second and third did.
  opponents = types.Tokens(
    jnp.array([[[5, 5], [1, 5], [5, 1]]]), jnp.ones((1, 3, 2), bool)
  )
  against = rollout.replace(opponents=opponents)
  third = types.Feedback(preferences=jnp.full((1, 2, 3), 0.3))
  np.testing.assert_allclose(
    rollouts.penalized(third, against, sampling).preferences,
    [[[1.0, 0.3, 0.3], [0.3, 0.0, 0.0]]],
  )
  both = types.Feedback(rewards=jnp.ones((1, 2)), opponents=jnp.ones((1, 3)))
  got = rollouts.penalized(both, against, sampling)
  np.testing.assert_array_equal(got.rewards, [[1, -1]])
  np.testing.assert_array_equal(got.opponents, [[-1, 1, 1]])


@pytest.mark.parametrize(
  "changes, message",
  [
    ({"samples": 0}, "samples and max_tokens must be at least 1, got 0 and 3"),
    ({"temperature": 0.0}, "temperature"),
    ({"missing_eos_penalty": -1.0}, "missing_eos_penalty"),
  ],
)
def test_settings_of_sampling_out_of_range_are_refused(
  changes, message, table_of
):
  with pytest.raises(ValueError, match=message):
    method("rloo", table_of(16), **changes)
