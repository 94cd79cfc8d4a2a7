"""Random inputs of the losses, on a grid that float32 holds exactly."""

import zlib

import numpy as np

B, K, T = 6, 4, 7
PAIR = ("chosen", "rejected")
SIDES = ("first", "second")


def grid(x):
  return np.round(np.asarray(x, np.float64) * 64) / 64


class Draw:
  """Random inputs; the seed is the name of the function and its number."""

  def __init__(self, *seed):
    self.random = np.random.default_rng([zlib.crc32(seed[0].encode()), seed[1]])

  def normal(self, *shape, scale=1.0, mean=0.0):
    return grid(self.random.normal(mean, scale, shape))

  def uniform(self, low, high, *shape):
    return grid(self.random.uniform(low, high, shape))

  def flags(self, *shape):
    """Both values occur."""
    flags = self.random.random(shape) < 0.5
    flags.flat[:2] = True, False
    return flags

  def sequence(self, *shape):
    return self.uniform(-80, -20, *shape)

  def tokens(self, *shape):
    return self.uniform(-4, -1 / 64, *shape)

  def near(self, x, scale=3.0):
    """Log-probabilities some nats from `x`."""
    return x + self.normal(*x.shape, scale=scale)

  def mask(self, rows, width):
    """Padded on the right: one row is empty, one is full."""
    lengths = self.random.integers(1, width + 1, rows)
    lengths[:2] = 0, width
    return np.arange(width) < lengths[:, None]

  def against(self, sides=PAIR, other="reference", shape=(B,)):
    """Two responses under the policy, then under the other one."""
    policy = {f"policy_{side}": self.sequence(*shape) for side in sides}
    return policy | {
      f"{other}_{side}": self.near(policy[f"policy_{side}"]) for side in sides
    }

  def trajectory(self, *shape):
    policy = self.sequence(*shape)
    return {"policy_logprobs": policy, "reference_logprobs": self.near(policy)}

  def rewards(self, sides):
    return {f"rewards_{side}": self.normal(B) for side in sides}

  def preferences(self, *shape):
    return self.uniform(2 / 64, 62 / 64, *shape)

  def two_policies(self, name, near, *shape):
    policy = self.tokens(*shape) - 2
    return {"policy_logprobs": policy, name: self.near(policy, near)}

  def values(self):
    """Soft Q-values of the chosen tokens and the values above them."""
    chosen_q = self.normal(B, T, scale=2.0)
    mask, terminal = self.mask(B, T), self.flags(B)
    # A full row that is cut, and one that ends.
    mask[1:3], terminal[1:3] = True, (False, True)
    return {
      "chosen_q": chosen_q,
      "values": chosen_q + self.uniform(1 / 64, 4, B, T),
      "mask": mask,
      "terminal": terminal,
    }

  def tree(self):
    return {"head": self.normal(3), "kernel": self.normal(2, 3)}


def pair(d):
  return d.against()


def psipo(d):
  return pair(d) | {"preferences": d.preferences(B)}


def psipo_regression(d):
  scores = {f"{side}_scores": d.preferences(B) for side in PAIR}
  return pair(d) | scores


def sppo(d):
  preferences = {f"{side}_preferences": d.preferences(B) for side in PAIR}
  return pair(d) | preferences


def srpo(d):
  sides = [*PAIR]
  for response in PAIR:
    sides += [f"{response}_given_{shown}" for shown in ("rejected", "chosen")]
  return d.against(sides)


def inpo(d):
  inputs = pair(d)
  return inputs | {
    f"previous_{side}": d.near(inputs[f"policy_{side}"], 2.0) for side in PAIR
  }


def online(d):
  return d.against(SIDES) | {"preferences": d.preferences(B)}


def score(d):
  inputs = d.trajectory(B)
  # So unlikely under the policy that exp(-rho) stops growing.
  inputs["reference_logprobs"][0] = inputs["policy_logprobs"][0] + 70
  return inputs


def ld_dpo(d):
  mask = d.mask(B, T)
  mask[-1] = np.arange(T) >= 2  # padded on the left
  lengths = d.random.integers(0, mask.sum(axis=-1) + 1)
  lengths[-1] = 3
  return {
    "token_logprobs": d.tokens(B, T),
    "mask": mask,
    "common_lengths": lengths,
  }


def wpo(d):
  inputs = {}
  for side, width in zip(PAIR, (T, T + 2), strict=True):
    logprobs = d.tokens(B, width)
    inputs |= {
      f"{side}_logprobs": logprobs,
      f"{side}_log_collisions": np.minimum(d.near(logprobs + 0.5, 1.0), 0),
      f"{side}_mask": d.mask(B, width),
    }
  return inputs


def responses(d, draw):
  return {f"policy_{side}": draw(B) for side in PAIR}


def kto(d, name):
  center = {"kl": abs(d.normal()), "shift": d.normal(scale=0.5)}[name]
  return d.trajectory(B) | {"desirable": d.flags(B), name: center}


def ppo(d, *shape):
  inputs = d.two_policies("old_logprobs", 0.25, *shape)
  return inputs | {"advantages": d.normal(*shape)}


def ppo_value(d):
  old = d.normal(B, T)
  return {
    "values": d.near(old, 0.3),
    "old_values": old,
    "returns": d.near(old, 1.0),
  }


def equal_rewards(d):
  return {"rewards": np.repeat(d.normal(2, 1), K, axis=1)}


def grpo(d):
  inputs = d.two_policies("old_logprobs", 0.25, B, T)
  return inputs | {
    "reference_logprobs": d.near(inputs["policy_logprobs"], 0.5),
    "advantages": d.normal(B),
  }


def rcfd(d, *shape):
  return {
    "rewards": d.normal(*shape),
    "demonstration_rewards": d.normal(*shape),
  }


def jbond(d):
  inputs = {"policy_logprobs": d.sequence(B)}
  return inputs | {
    "anchor_logprobs": d.near(inputs["policy_logprobs"]),
    "policy_best_anchor": d.sequence(B),
    "rewards": d.normal(B),
    "baselines": d.normal(B),
  }


def jbond_scores(d):
  anchors = d.normal(B, K)
  scores = d.normal(B) - 1
  scores[0] = anchors[0].min()  # as good as the worst, so not below it
  scores[1] = anchors[1].min() - 1
  return {"scores": scores, "anchor_scores": anchors}


def elastic_reset(d, step):
  trees = {name: d.tree() for name in ("params", "average", "initial")}
  return trees | {"step": np.array(step)}


def slerp(d, count):
  initial = d.tree()
  trees = [d.tree() for _ in range(count)]
  trees[1]["head"] = trees[0]["head"]  # no angle between the two
  return {"initial": initial, "trees": trees}
