"""Every number that a method reports on its samples, against NumPy.

On a few rollouts of `sampled_case.py`; nothing here calls a function of the
library for an expectation.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import algorithms, rollouts
from alignment_jax.algorithms import ALGORITHMS
from tests.algorithms.sampled_case import (
  EOS,
  OPPONENTS,
  REWARDS,
  ROWS,
  Case,
  K,
  table_of,
)

ONLINE = sorted(name for name, m in ALGORITHMS.items() if m.samples)
# Tested with the values of the critic, in test_ppo.py.
CRITIC = {
  *("loss/policy", "loss/value", "value/mean", "value/error"),
  *("value/clipped", "returns/mean", "policy/clipped"),
}
SETTINGS = {
  "dapo": {"clip_low": 0.2, "clip_high": 0.28},
  "inpo": {"eta": 0.3, "tau": 0.1, "choice": "all", "refresh_every": 2},
  "reinforce": {"beta": 0.3},
  "rloo": {"beta": 0.3},
  "ppo": {"beta": 0.3},
}


def common(case):
  """What all report: how far the policy is from reference and sampler."""
  at = case.indices
  policy, reference = case.policy[at], case.reference[at]
  tokens = case.tokens(case.world.policy)[at]
  if case.name == "sppo":
    reference = case.sampler[at]
  if case.name == "warp":  # the second half is of the second member
    policy = np.concatenate([policy[:, :K], case.reference[at[:, K:]]], axis=1)
    tokens = np.concatenate(
      [tokens[:, :K], case.tokens(case.world.reference)[at[:, K:]]], axis=1
    )
  weights = np.exp(policy - case.sampler[at])
  real = case.lengths[at].sum()
  moved = np.abs(tokens - case.tokens(case.world.other)[at]).sum()
  return {
    "kl": (policy - reference).mean(),
    "entropy": -policy.mean(),
    "responses/length": case.lengths[at].mean(),
    "responses/ended": case.ended[at].mean(),
    "ratio/mean": weights.mean(),
    "ratio/effective_sample_size": (
      weights.sum() ** 2 / (weights**2).sum() / weights.size
    ),
    "ratio/logprob_mismatch": moved / real,
  }


def of_rewards(rewards):
  spread = rewards.max(1) - rewards.min(1)
  return {
    "rewards/mean": rewards.mean(),
    "rewards/spread": spread.mean(),
    "rewards/all_equal": (spread == 0).mean(),
  }


def of_preferences(case):
  first = case.won()[:, 0, 1]
  return {
    "preferences/first": first.mean(),
    "preferences/undecided": (np.abs(first - 0.5) < 1e-6).mean(),
  }


def of_pairs(case, pairs, scale):
  """Margins over (first, second, P, weight) of pairs of log-ratios."""
  margins, right, ties, total = 0.0, 0.0, 0, 0.0
  for first, second, probability, weight in pairs:
    if weight == 0 or abs(probability - 0.5) < 1e-6:
      ties += 1
      continue
    margin = scale * (first - second) * (1 if probability > 0.5 else -1)
    margins += weight * margin
    right += weight * (margin > 0)
    total += weight
  return {
    "rewards/margins": margins / total,
    "rewards/accuracies": right / total,
    "pairs/tied": ties / len(pairs),
  }


def all_pairs(case):
  ratio = (case.policy - case.reference)[case.indices]
  won = case.won()
  return [
    (ratio[row, i], ratio[row, j], won[row, i, j], 1)
    for row in range(ROWS)
    for i in range(K)
    for j in range(i + 1, K)
  ]


def best_and_worst(case):
  ratio = (case.policy - case.reference)[case.indices]
  rewards = REWARDS[case.indices]
  return [
    (ratio[row, best], ratio[row, worst], 1.0, float(rewards[row].std() > 0))
    for row, (best, worst) in enumerate(
      # Of equally bad ones the last.
      zip(rewards.argmax(1), K - 1 - rewards[:, ::-1].argmin(1), strict=True)
    )
  ]


def group_advantages(case, scale=True):
  rewards = REWARDS[case.indices]
  centered = rewards - rewards.mean(1, keepdims=True)
  if not scale:
    return centered
  return centered / (rewards.std(1, ddof=1, keepdims=True) + 1e-4)


def further(case):
  """What the method alone reports."""
  at, name = case.indices, case.name
  rewards = REWARDS[at]
  ratio = case.policy - case.reference
  sampled = (case.sampler - case.reference)[at]
  if name in ("reinforce", "rloo", "ppo"):
    numbers = {
      "kl/sampled": sampled.mean(),
      "kl/coefficient": 0.3,
      **of_rewards(rewards),
    }
    if name == "reinforce":
      numbers["rewards/regularized"] = (rewards - 0.3 * sampled).mean()
      numbers["baseline"] = 3 / 4
    return numbers
  if name in ("grpo", "gspo", "dapo", "dr_grpo"):
    size = np.abs(group_advantages(case, scale=name != "dr_grpo")).mean()
    numbers = {"advantages/size": size, **of_rewards(rewards)}
    if name == "dapo":
      numbers["groups/dropped"] = (np.ptp(rewards, axis=1) == 0).mean()
    return numbers
  if name == "copg":
    return of_rewards(rewards)
  if name == "best_of_n":
    return {"rewards/best": rewards.max(1).mean(), **of_rewards(rewards)}
  if name == "warp":
    anchor = np.concatenate(
      [case.sampler[at[:, :K]], case.policy[at[:, K:]]], axis=1
    )
    return {
      "kl/anchor": (case.sampler[at] - anchor).mean(),
      **of_rewards(rewards),
    }
  if name == "jbond":
    of_anchor = REWARDS[case.opponents]
    best = case.opponents[np.arange(ROWS), of_anchor.argmax(1)]
    return {
      "loss/best_of_anchor": -case.policy[best].mean(),
      "kl/anchor": (case.policy - case.sampler)[at].mean(),
      "rewards/anchor": of_anchor.mean(),
      "rewards/below_anchor": (rewards < of_anchor.min(1)[:, None]).mean(),
      **of_rewards(rewards),
    }
  if name in ("nash_md", "nash_ema", "best_response", "self_play"):
    wins = case.won()
    if name == "self_play":
      rates = (wins.sum(-1) - 0.5) / (K - 1)
    else:
      rates = wins.mean(-1)
    return {
      "win_rate": rates.mean(),
      "win_rate/undecided": (np.abs(rates - 0.5) < 1e-6).mean(),
    }
  if name == "online_dpo":
    return {
      **of_pairs(case, best_and_worst(case), 0.1),
      **of_rewards(rewards),
    }
  if name in ("online_ipo", "ipo_md", "inpo"):
    return {**of_pairs(case, all_pairs(case), 0.1), **of_preferences(case)}
  if name == "sppo":
    rates = case.won().mean(-1)
    return {
      "win_rate/best": rates.max(1).mean(),
      "win_rate/worst": rates.min(1).mean(),
      **of_preferences(case),
    }
  if name == "xpo":
    wins = np.diagonal(case.won(), axis1=1, axis2=2)
    pairs = list(
      zip(
        ratio[at].ravel(),
        ratio[case.opponents].ravel(),
        wins.ravel(),
        np.ones(wins.size),
        strict=True,
      )
    )
    return {"win_rate": wins.mean(), **of_pairs(case, pairs, 0.1)}
  return OF_DEMONSTRATIONS[name](case)


def of_rcfd(case):
  both = np.stack([REWARDS, REWARDS[::-1]], -1)
  rewards, goals = both[case.indices], both[case.demonstration]

  def divergence(goal, actual):
    low, high = min(goal.min(), actual.min()), max(goal.max(), actual.max())
    edges = np.linspace(low, high, 11)
    p, q = (1 + np.histogram(x, edges)[0] for x in (goal, actual))
    p, q = p / p.sum(), q / q.sum()
    return np.sum(p * np.log(p / q))

  return {
    "rewards/demonstration": goals.sum(-1).mean(),
    "calibration/squared_error": np.square(rewards - goals[:, None])
    .sum(-1)
    .mean(),
    "calibration/alignment": np.mean(
      [divergence(goals[:, n], rewards[..., n]) for n in range(2)]
    ),
    **of_rewards(rewards.sum(-1)),
  }


def of_gail(case):
  weight, bias = np.array([0.3, -0.8, 0.5]), 0.2
  # The state behind a response is the row of logits of its last token.
  ids = np.asarray(case.world.responses.ids[0])
  last = ids[np.arange(7), case.lengths - 1]
  _, last_logits = table_of(case.world.other)
  logits = (
    np.asarray(case.world.other["next"], np.float64)[last] @ weight + bias
  )
  samples, experts = logits[case.indices], logits[case.demonstration]
  mistakes = np.log1p(np.exp(samples)).mean(1) + np.log1p(np.exp(-experts))
  return {
    "loss/imitation": -case.policy[case.demonstration].mean(),
    "loss/discriminator": mistakes.mean(),
    "discriminator/right_of_samples": (samples <= 0).mean(),
    "discriminator/right_of_demonstrations": (experts > 0).mean(),
    **of_rewards(np.log1p(np.exp(samples))),
  }


def of_soft_q_online(case):
  """Rewards Q_t - V_{t+1}, with 0 behind an end; not known behind a cut."""
  first, after = table_of(case.world.policy)
  ids = np.asarray(case.world.responses.ids[0])
  sums = np.zeros(7)
  for row, length in enumerate(case.lengths):
    logits = [first, *(after[i] for i in ids[row, : length - 1])]
    for t in range(length):
      q = logits[t][ids[row, t]]
      if t + 1 < length:
        sums[row] += q - np.log(np.exp(logits[t + 1]).sum())
      elif case.ended[row]:
        sums[row] += q
  demonstration = case.demonstration
  return {
    "loss/likelihood": -case.policy[demonstration].sum()
    / case.lengths[demonstration].sum(),
    "rewards/demonstration": sums[demonstration].mean(),
    "rewards/sample": sums[case.indices].mean(),
  }


OF_DEMONSTRATIONS = {
  "rcfd": of_rcfd,
  "gail": of_gail,
  "soft_q_online": of_soft_q_online,
}


@pytest.mark.parametrize("name", ONLINE)
def test_every_reported_number_is_what_it_is_called(table_world, name):
  case = Case(table_world, name)
  method = ALGORITHMS[name]
  settings = SETTINGS.get(name, method.tiny)
  sampling = rollouts.Sampling(
    samples=K, max_tokens=2, temperature=1.0, eos_id=EOS
  )
  algorithm = method.factory(table_world.model, sampling=sampling, **settings)
  trainable, slow = case.state()
  kind = method.feedback_for(settings)
  batch = jax.jit(algorithm.rollouts.prepare)(
    trainable, slow, case.rollout(), case.feedback(kind)
  )
  total, metrics = jax.jit(algorithm.loss)(trainable, slow, batch, None)
  expected = {**common(case), **further(case)}
  if name in ("sppo", "ipo_md", "inpo"):
    del expected["entropy"]
    expected["log_ratio"] = expected.pop("kl")
  assert metrics["loss"].value() == total.value()
  got = {n: float(mean.value()) for n, mean in metrics.items()}
  del got["loss"]
  got = {n: value for n, value in got.items() if n not in CRITIC}
  assert got == pytest.approx(expected, rel=2e-4, abs=1e-5)
  # Parts of a batch add up to it: each number is a total and a weight.
  parts = [
    jax.jit(algorithm.loss)(
      trainable, slow, jax.tree.map(lambda a, p=part: a[p], batch), None
    )[1]
    for part in (slice(0, 5), slice(5, None))
  ]
  for key in sorted(got.keys() - {"ratio/effective_sample_size"}):
    added = jax.tree.map(jnp.add, parts[0][key], parts[1][key])
    assert float(added.value()) == pytest.approx(got[key], rel=1e-3, abs=1e-5)


def test_the_test_world_has_unequal_lengths_cuts_and_ties(table_world):
  case = Case(table_world, "online_ipo")
  assert len(set(case.lengths[case.indices].ravel())) > 1
  assert 0 < case.ended[case.indices].mean() < 1
  assert 0 < (np.abs(case.won() - 0.5)[:, 0, 1] < 1e-6).mean() < 1
  assert 0 < (np.ptp(REWARDS[case.indices], axis=1) == 0).mean() < 1
  assert algorithms.ALGORITHMS.keys() >= set(OPPONENTS) | set(OF_DEMONSTRATIONS)
