"""A few rollouts of a world of tables, and what is true of them, in NumPy.

The logits of the world are tables, so a log-probability is a sum of entries.
Responses have unequal lengths, some do not end, rewards are tied and negative,
and the policy is neither its reference nor the one that sampled.
"""

import jax
import jax.numpy as jnp
import numpy as np

from alignment_jax import types
from alignment_jax.algorithms import ALGORITHMS

EOS, ROWS, K = 1, 12, 3
REWARDS = np.array([-1.5, 0.25, 2.0, 0.25, -0.8, 3.0, 0.75])
# How many responses of another policy the method samples beside K of its own.
OPPONENTS = {
  **dict.fromkeys(["nash_md", "nash_ema", "best_response", "xpo"], K),
  "jbond": 2,
}


def preferences_of(world):
  """The world's, with one pair tied."""
  preferences = np.array(world.preferences(), np.float64)
  preferences[2, 4] = preferences[4, 2] = 0.5
  return preferences


def table_of(params):
  """Logits of the first token, and of a token after each other."""
  return (np.asarray(params[name], np.float64) for name in ("first", "next"))


class Case:
  """Rows of responses, by their index in the world, and what is said of them.

  `policy`, `reference` and `sampler` are log-probabilities of all seven
  responses, from the tables.
  """

  def __init__(self, world, name):
    self.world, self.name = world, name
    random = np.random.default_rng(4)
    self.count = K * (2 if name == "warp" else 1)
    self.indices = random.integers(0, 7, (ROWS, self.count))
    self.indices[0] = 1  # all equal
    self.indices[1, :2] = 2, 4  # tied
    self.opponents = random.integers(0, 7, (ROWS, OPPONENTS.get(name, 0)))
    self.demonstration = random.integers(0, 7, ROWS)
    self.lengths = np.asarray(world.responses.mask[0]).sum(-1)
    ids = np.asarray(world.responses.ids[0])
    self.ended = np.array(
      [EOS in ids[i, :n] for i, n in enumerate(self.lengths)]
    )
    self.policy = self.sequence(world.policy)
    self.reference = self.sequence(world.reference)
    self.sampler = self.sequence(world.other)

  def tokens(self, params):
    """[7, T] log-probabilities, 0 where padded."""
    first, after = (
      np.asarray(params[n], np.float64) for n in ("first", "next")
    )
    ids = np.asarray(self.world.responses.ids[0])
    values = np.zeros(ids.shape)
    for row, length in enumerate(self.lengths):
      for t in range(length):
        logits = after[ids[row, t - 1]] if t else first
        values[row, t] = logits[ids[row, t]] - np.log(np.exp(logits).sum())
    return values

  def sequence(self, params):
    return self.tokens(params).sum(-1)

  def responses(self, indices):
    return jax.tree.map(lambda a: a[0][indices], self.world.responses)

  def rollout(self):
    world = self.world
    responses = self.responses(self.indices)
    demonstration = None
    if ALGORITHMS[self.name].data is types.Demonstration:
      demonstration = self.responses(self.demonstration)
    return types.Rollout(
      prompt=jax.tree.map(lambda a: jnp.repeat(a, ROWS, axis=0), world.prompt),
      responses=responses,
      logprobs=jnp.asarray(self.tokens(world.other), jnp.float32)[self.indices],
      ended=jnp.asarray(self.ended[self.indices]),
      version=jnp.zeros(ROWS, jnp.int32),
      opponents=(
        self.responses(self.opponents) if self.opponents.size else None
      ),
      demonstration=demonstration,
    )

  def feedback(self, kind):
    if kind == "none":
      return types.Feedback()

    def of(values):
      return jnp.asarray(values, jnp.float32)

    if kind == "reward":
      opponents = REWARDS[self.opponents] if self.opponents.size else None
      return types.Feedback(
        rewards=of(REWARDS[self.indices]),
        opponents=None if opponents is None else of(opponents),
      )
    if kind == "rewards":  # of two judges
      both = np.stack([REWARDS, REWARDS[::-1]], -1)
      return types.Feedback(
        rewards=of(both[self.indices]),
        demonstration=of(both[self.demonstration]),
      )
    return types.Feedback(preferences=of(self.won()))

  def won(self):
    others = self.opponents if self.opponents.size else self.indices
    return preferences_of(self.world)[
      self.indices[:, :, None], others[:, None, :]
    ]

  def state(self):
    world = self.world
    head = {"weight": jnp.array([0.3, -0.8, 0.5]), "bias": jnp.array(0.2)}
    network = {"network": world.other, "head": head}
    trainable = {
      "policy": world.policy,
      "member_2": world.reference,
      "value": network,
      "discriminator": network,
    }
    slow = {
      "reference": world.reference,
      "previous": world.reference,
      "average": world.other,
      "anchor": world.other,
      "anchors": {"policy": world.other, "member_2": world.policy},
      "baseline": {"total": jnp.array(3.0), "weight": jnp.array(4.0)},
    }
    return trainable, slow
