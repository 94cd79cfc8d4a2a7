"""PPO: the mechanics of the N+ paper in NumPy, and the exact gradient."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from alignment_jax import algorithms, errors, rollouts, scoring, types
from alignment_jax.training import state

BETA, GAMMA, LAMBDA, CLIP = 0.3, 0.9, 0.8, 0.1
REWARDS = jnp.asarray(np.random.default_rng(3).normal(size=7), jnp.float32)
KEY = jax.random.key(0)


def sampling(**changes):
  return rollouts.Sampling(
    **{
      "samples": 1,
      "max_tokens": 2,
      "temperature": 0.7,
      "eos_id": 1,
      **changes,
    }
  )


def method(world, **settings):
  given = {
    "beta": BETA,
    "gamma": GAMMA,
    "lambda_": LAMBDA,
    "clip": CLIP,
    **settings,
  }
  return algorithms.ppo(world.model, **{"sampling": sampling(), **given})


def critic(network, seed):
  weight = np.random.default_rng(seed).normal(size=3)
  return {
    "network": network,
    "head": {
      "weight": jnp.asarray(weight, jnp.float32),
      "bias": jnp.float32(0.3),
    },
  }


def trainable(world):
  return {"policy": world.policy, "value": critic(world.other, 0)}


def sampled(world, width):
  """All 7 responses, one to a row, in arrays of this many tokens."""
  rollout, _ = world.rollout(1, world.policy, 0.7)
  more = [(0, 0), (0, 0), (0, width - 2)]
  responses = jax.tree.map(lambda a: jnp.pad(a, more), rollout.responses)
  return rollouts.rollout_of(
    world.model, world.policy, rollout.prompt, responses, sampling()
  )


def prepared(world, algorithm, width):
  return algorithm.rollouts.prepare(
    trainable(world),
    {"reference": world.reference},
    sampled(world, width),
    types.Feedback(rewards=REWARDS[:, None]),
  )


def values_by_prefix(world, params, rollout):
  """[7, T] of the state after t tokens: each read off that many tokens."""
  mask = rollout.responses.mask
  index = jnp.arange(mask.shape[2])[None, None]
  columns = [
    scoring.rewards(
      world.model,
      params,
      rollout.prompt,
      rollout.responses.replace(mask=mask & (index < t)),
    )[:, 0]
    for t in range(mask.shape[2])
  ]
  return np.stack(columns, axis=1)


class Paper:
  """The arrays of the authors' code, [7, T], from its index arithmetic."""

  def __init__(self, world, rollout, *, missing_eos, whiten_rewards):
    ids = np.asarray(rollout.responses.ids)[:, 0]
    real = np.asarray(rollout.responses.mask)[:, 0]
    width = ids.shape[1]
    index = np.arange(width)[None]
    seq_len = real.sum(axis=1, keepdims=True) - 1
    self.padding, padding_p1 = index > seq_len, index > seq_len + 1
    self.padding_p1 = padding_p1
    self.logprobs = self.of_tokens(world, world.policy, rollout)
    reference = self.of_tokens(world, world.reference, rollout)
    values = values_by_prefix(world, trainable(world)["value"], rollout)
    self.values = np.where(padding_p1, 0.0, values)
    ended = np.any((ids == 1) & real, axis=1)
    scores = np.where(ended, REWARDS, missing_eos)
    rewards = -BETA * (self.logprobs - reference)
    rows = np.arange(len(ids))
    rewards[rows, np.minimum(seq_len[:, 0] + 1, width - 1)] += scores
    if whiten_rewards:
      kept = rewards[~padding_p1]
      rewards = (rewards - kept.mean()) / np.sqrt(kept.var() + 1e-8)
      rewards = np.where(padding_p1, 0.0, rewards + kept.mean())
    advantages = np.zeros_like(rewards)
    last = np.zeros(len(ids))
    for t in reversed(range(width)):
      after = self.values[:, t + 1] if t + 1 < width else 0.0
      delta = rewards[:, t] + GAMMA * after - self.values[:, t]
      last = delta + GAMMA * LAMBDA * last
      advantages[:, t] = last
    self.returns = advantages + self.values
    kept = advantages[~self.padding]
    whitened = (advantages - kept.mean()) / np.sqrt(kept.var() + 1e-8)
    self.advantages = np.where(self.padding, 0.0, whitened)

  def of_tokens(self, world, params, rollout):
    """An impossible log-probability where padded, as in the authors' code."""
    tokens = scoring.token_logprobs(
      world.model, params, rollout.prompt, rollout.responses, temperature=0.7
    )
    return np.where(self.padding, 1.0, np.asarray(tokens, np.float64)[:, 0])

  def losses(self, world, moved, rollout, value_clip):
    """Policy and value loss of parameters that have moved."""
    ratio = np.exp(
      self.of_tokens(world, moved["policy"], rollout) - self.logprobs
    )
    clipped = np.clip(ratio, 1 - CLIP, 1 + CLIP)
    policy = np.maximum(-self.advantages * ratio, -self.advantages * clipped)
    values = values_by_prefix(world, moved["value"], rollout)
    near = self.values + np.clip(values - self.values, -value_clip, value_clip)
    value = 0.5 * np.maximum(
      (values - self.returns) ** 2, (near - self.returns) ** 2
    )
    return policy[~self.padding].mean(), value[~self.padding_p1].mean()


@pytest.mark.parametrize("whiten_rewards", [False, True])
@pytest.mark.parametrize("width", [2, 4])
def test_it_computes_what_the_authors_code_does(
  table_world, width, whiten_rewards
):
  world = table_world
  algorithm = method(
    world,
    missing_eos_reward=-1.0,
    whiten_rewards=whiten_rewards,
    value_coefficient=0.1,
    value_clip=0.2,
  )
  batch = prepared(world, algorithm, width)
  paper = Paper(
    world, batch.rollout, missing_eos=-1.0, whiten_rewards=whiten_rewards
  )
  for name in ("values", "returns", "advantages"):
    np.testing.assert_allclose(
      batch.extra[name][:, 0], getattr(paper, name), atol=2e-5, err_msg=name
    )
  # So far that some ratios and values are clipped, and others are not.
  moved = jax.tree.map(
    lambda start, end: 0.9 * start + 0.1 * end,
    trainable(world),
    {"policy": world.other, "value": critic(world.policy, 1)},
  )
  loss, metrics = algorithm.loss(
    moved, {"reference": world.reference}, batch, KEY
  )
  policy, value = paper.losses(world, moved, batch.rollout, 0.2)
  close = {"rtol": 1e-4, "atol": 1e-5}
  np.testing.assert_allclose(metrics["loss/policy"].value(), policy, **close)
  np.testing.assert_allclose(metrics["loss/value"].value(), value, **close)
  np.testing.assert_allclose(loss.value(), policy + 0.1 * value, **close)
  counted, valued = ~paper.padding, ~paper.padding_p1
  ratio = np.exp(
    paper.of_tokens(world, moved["policy"], batch.rollout) - paper.logprobs
  )
  shift = values_by_prefix(world, moved["value"], batch.rollout) - paper.values
  reported = {
    "policy/clipped": (np.abs(ratio - 1) > CLIP)[counted].mean(),
    "value/clipped": (np.abs(shift) > 0.2)[valued].mean(),
    "value/mean": paper.values[valued].mean(),
    "value/error": np.square(paper.values - paper.returns)[valued].mean(),
    "returns/mean": paper.returns[valued].mean(),
  }
  assert 0.1 < reported["policy/clipped"] < 1
  assert 0 < reported["value/clipped"] < 1
  for name, expected in reported.items():
    np.testing.assert_allclose(metrics[name].value(), expected, **close)


def test_the_expected_gradient_is_that_of_the_regularised_reward(table_world):
  # The sum over tokens; with lambda = 1 whatever the critic says.
  world = table_world
  algorithm = method(world, gamma=1.0, lambda_=1.0, whiten_advantages=False)
  rollout, indices = world.rollout(1, world.policy, 0.7)
  got = world.expected_gradient(
    algorithm,
    trainable(world),
    {"reference": world.reference},
    rollout,
    types.Feedback(rewards=REWARDS[indices]),
    jnp.exp(world.logprobs(world.policy, 0.7)),
    number=lambda mean: mean.total,
  )["policy"]
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
    got,
    world.exact_gradient(REWARDS, BETA, 0.7),
  )


def test_before_the_first_step_every_ratio_is_1(table_world):
  algorithm = method(table_world)
  batch = prepared(table_world, algorithm, 4)
  slow = {"reference": table_world.reference}
  _, metrics = algorithm.loss(trainable(table_world), slow, batch, KEY)
  assert metrics["ratio/logprob_mismatch"].value() == 0
  assert metrics["policy/clipped"].value() == 0
  assert metrics["value/clipped"].value() == 0
  # Minus the mean of whitened advantages.
  assert abs(metrics["loss/policy"].value()) < 1e-6


def test_more_padding_changes_neither_loss_nor_gradient(table_world):
  world = table_world
  slow = {"reference": world.reference}
  algorithm = method(world)
  moved = {"policy": world.other, "value": critic(world.policy, 1)}

  def at(width):
    batch = prepared(world, algorithm, width)
    return jax.jit(
      jax.value_and_grad(
        lambda t: algorithm.loss(t, slow, batch, KEY)[0].value()
      )
    )(moved)

  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
    at(3),
    at(5),
  )


def test_undiscounted_returns_add_up_to_the_score_less_the_kl(table_world):
  world = table_world
  algorithm = method(world, gamma=1.0, lambda_=1.0)
  batch = prepared(world, algorithm, 4)
  ratio = world.logprobs(world.policy, 0.7) - world.logprobs(
    world.reference, 0.7
  )
  returned = batch.extra["returns"][:, 0]
  np.testing.assert_allclose(returned[:, 0] + BETA * ratio, REWARDS, atol=1e-5)
  # Behind the end only the score is left.
  length = np.asarray(batch.rollout.responses.mask)[:, 0].sum(axis=1)
  np.testing.assert_allclose(returned[np.arange(7), length], REWARDS, atol=1e-5)


def test_parts_of_a_batch_add_up_to_its_loss(table_world):
  algorithm = method(table_world)
  batch = prepared(table_world, algorithm, 3)
  moved = {"policy": table_world.other, "value": critic(table_world.policy, 1)}

  @jax.jit
  def total(part):
    slow = {"reference": table_world.reference}
    return algorithm.loss(moved, slow, part, KEY)[0]

  def rows(first, last):
    return jax.tree.map(lambda a: a[first:last], batch)

  whole, first, rest = (total(rows(*r)) for r in ((0, 6), (0, 3), (3, 6)))
  np.testing.assert_allclose(first.total + rest.total, whole.total, rtol=1e-5)
  np.testing.assert_allclose(first.weight + rest.weight, whole.weight)


def test_a_response_without_an_end_gets_another_reward_or_a_worse_one(
  table_world,
):
  def scores(**settings):
    algorithm = method(table_world, beta=0.0, gamma=1.0, **settings)
    batch = prepared(table_world, algorithm, 2)
    ended = np.asarray(batch.rollout.ended)[:, 0]
    # The last token's return is the score.
    return ended, np.asarray(batch.extra["returns"])[:, 0, 1]

  settings = {"lambda_": 1.0}
  ended, plain = scores(**settings)
  _, replaced = scores(missing_eos_reward=-1.0, **settings)
  _, less = scores(sampling=sampling(missing_eos_penalty=2.0), **settings)
  assert ended.any() and not ended.all()
  np.testing.assert_allclose(plain, REWARDS, atol=1e-6)
  np.testing.assert_allclose(
    replaced, np.where(ended, REWARDS, -1.0), atol=1e-6
  )
  np.testing.assert_allclose(
    less, np.where(ended, REWARDS, REWARDS - 2), atol=1e-6
  )


def test_the_critic_starts_from_the_reward_model(table_world):
  world = table_world
  model = world.model._replace(settings=SimpleNamespace(width=3))
  algorithm = algorithms.ppo(model, sampling=sampling(), beta=BETA)
  reward_model = critic(world.other, 2)
  start, slow = algorithm.init(KEY, world.policy, reward_model)
  assert start.keys() == {"policy", "value"} and slow.keys() == {"reference"}
  jax.tree.map(np.testing.assert_array_equal, start["value"], reward_model)
  alone, _ = algorithm.init(KEY, world.policy)
  jax.tree.map(
    np.testing.assert_array_equal, alone["value"]["network"], world.policy
  )
  assert alone["value"]["head"]["weight"].shape == (3,)
  # All of it is donated to the update.
  made = state.make_state(algorithm, optax.sgd(0.1), KEY, world.policy)
  buffers = [id(leaf) for leaf in jax.tree.leaves((made.trainable, made.slow))]
  assert len(set(buffers)) == len(buffers) == 8
  with pytest.raises(errors.UserError, match="'network' and 'head', got: net"):
    algorithm.init(KEY, world.policy, {"network": world.other})


def test_dropout_is_off_wherever_a_network_is_read(table_world):
  model = table_world.model

  def refusing(function):
    def call(*arguments, key=None):
      assert key is None
      return function(*arguments)

    return call

  undropped = model._replace(
    encode=refusing(model.encode), hidden=refusing(model.hidden)
  )
  algorithm = algorithms.ppo(undropped, sampling=sampling(), beta=BETA)
  batch = prepared(table_world, algorithm, 2)
  slow = {"reference": table_world.reference}
  algorithm.loss(trainable(table_world), slow, batch, KEY)


@pytest.mark.parametrize(
  "settings, message",
  [
    ({"clip": 1.0}, "clip must be in"),
    ({"value_clip": 0.0}, "value_clip must be > 0"),
    ({"value_coefficient": -1.0}, "value_coefficient must be >= 0"),
    ({"gamma": 1.1}, "gamma must be in"),
    ({"lambda_": -0.1}, "lambda_ must be in"),
    (
      {
        "missing_eos_reward": -1.0,
        "sampling": sampling(missing_eos_penalty=2.0),
      },
      "missing_eos_reward -1.0 replaces the reward that sampling.missing_eos_p",
    ),
  ],
)
def test_settings_out_of_range_are_refused(table_world, settings, message):
  with pytest.raises(ValueError, match=message):
    method(table_world, **settings)
