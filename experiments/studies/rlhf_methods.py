"""The methods that `rlhf_small` compares, and their settings."""

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Method:
  """How one method is run.

  Attributes:
    algorithm: `name` and its settings.
    family: what it learns from; decides the color.
    samples: responses to each prompt; 0 for a method that does not sample.
    judge: what scores them.
  """

  algorithm: Mapping[str, Any]
  family: str
  samples: int = 0
  judge: str = "reward_model"


# None was tuned: the coefficients are those of this repository's configs, or
# bring a run of this length a few nats from its start.
METHODS = {
  "DPO": Method(algorithm=dict(name="dpo", beta=0.1), family="offline, pairs"),
  "IPO": Method(algorithm=dict(name="ipo", tau=0.058), family="offline, pairs"),
  "KTO": Method(
    algorithm=dict(name="kto", beta=0.1), family="offline, ratings"
  ),
  "DRO": Method(algorithm=dict(name="dro", tau=0.2), family="offline, ratings"),
  "PPO": Method(
    algorithm=dict(name="ppo", beta=0.05), family="online, reward", samples=4
  ),
  "RLOO": Method(
    algorithm=dict(name="rloo", beta=0.05), family="online, reward", samples=4
  ),
  "GRPO": Method(
    algorithm=dict(name="grpo", beta=0.05, clip=0.2),
    family="online, reward",
    samples=4,
  ),
  "CoPG": Method(
    algorithm=dict(name="copg", beta=0.05), family="online, reward", samples=4
  ),
  "RCfD": Method(
    algorithm=dict(name="rcfd", beta=0.05), family="online, reward", samples=4
  ),
  "online DPO": Method(
    algorithm=dict(name="online_dpo", beta=0.1, feedback="reward"),
    family="online, preference",
    samples=4,
  ),
  "online IPO": Method(
    algorithm=dict(name="online_ipo", tau=0.1),
    family="online, preference",
    samples=4,
    judge="preference_model",
  ),
  "Nash-MD": Method(
    algorithm=dict(name="nash_md", tau=0.02, beta=0.125),
    family="online, preference",
    samples=2,
    judge="preference_model",
  ),
}
