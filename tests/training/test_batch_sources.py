"""Further prompts for those whose responses are all judged the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import parallel, types
from alignment_jax.algorithm import Rollouts
from alignment_jax.training import batch_sources

ROWS = 4


def batches(step):
  """Prompts that say which batch and row they are of."""
  ids = np.stack([np.full(ROWS, step), np.arange(ROWS)], axis=1)
  mask = np.ones(ids.shape, bool)
  return types.Prompts(types.Tokens(ids.astype(np.int32), mask)), {"cut": step}


def sample(trainable, slow, batch, key):
  """Two responses, the second one larger by one in odd rows alone."""
  del trainable, slow, key
  first = batch.prompt.ids[:, :1, None]
  second = first + (batch.prompt.ids[:, 1:, None] % 2)
  ids = jnp.concatenate([first, second], axis=1)
  return types.Rollout(
    prompt=batch.prompt,
    responses=types.Tokens(ids, jnp.ones(ids.shape, bool)),
    logprobs=jnp.zeros(ids.shape),
    ended=jnp.ones(ids.shape[:2], bool),
    version=jnp.zeros((ROWS,), jnp.int32),
  )


def judged(judge, rounds):
  rollouts = Rollouts(
    sample,
    "reward",
    lambda *given: given,
    keep=lambda feedback: np.ptp(feedback.rewards, axis=-1) > 0,
    extra_rounds=rounds,
  )
  run = batch_sources.sampler(
    rollouts,
    judge,
    batches,
    jax.random.key(0),
    mesh=parallel.make_mesh(
      data=-1, fsdp=1, tensor=1, devices=jax.devices()[:1]
    ),
  )
  return run(3, 3, (), ())


def first_tokens(rollout):
  return rollout.responses.ids[:, :, 0].astype(np.float32)


def by_response(rollout, index):
  del index
  return types.Feedback(rewards=first_tokens(rollout))


@pytest.mark.parametrize("rounds", [1, 2])
def test_groups_of_equal_rewards_make_room_for_useful_ones(rounds):
  got = judged(by_response, rounds)
  # Rows 1 and 3 are useful in every batch: one more batch fills 0 and 2.
  far = 3 + batch_sources.EXTRA_ROUND_OFFSET
  assert got.rollout.prompt.ids.tolist() == [[far, 1], [3, 1], [far, 3], [3, 3]]
  rewards = got.feedback.rewards
  assert rewards.tolist() == first_tokens(got.rollout).tolist()
  assert (rewards[:, 1] - rewards[:, 0]).tolist() == [1, 1, 1, 1]
  assert got.rollout.version.tolist() == [3] * ROWS
  assert got.data_stats == {"cut": 3, "groups/rounds": 1}


@pytest.mark.parametrize("rounds", [0, 2])
def test_the_rounds_are_bounded_and_counted(rounds):
  got = judged(
    lambda rollout, index: types.Feedback(rewards=np.ones((ROWS, 2))), rounds
  )
  assert got.rollout.prompt.ids.tolist() == [[3, row] for row in range(ROWS)]
  assert got.data_stats["groups/rounds"] == rounds


def test_what_one_round_leaves_the_next_one_fills():
  def judge(rollout, index):
    # One useful group a batch, the last.
    last = rollout.prompt.ids[:, 1:] == 3
    return types.Feedback(rewards=first_tokens(rollout) * last)

  got = judged(judge, 5)
  indices = [3 + k * batch_sources.EXTRA_ROUND_OFFSET for k in (1, 2, 3)]
  assert got.rollout.prompt.ids[:, 0].tolist() == [*indices, 3]
  assert got.data_stats["groups/rounds"] == 3
