"""Methods: which arrays go to which loss. One file, one factory, one name."""

from alignment_jax.algorithm import Method
from alignment_jax.algorithms.best_of_n import best_of_n
from alignment_jax.algorithms.best_response import best_response
from alignment_jax.algorithms.copg import copg
from alignment_jax.algorithms.dapo import dapo
from alignment_jax.algorithms.dpo import dpo
from alignment_jax.algorithms.dr_grpo import dr_grpo
from alignment_jax.algorithms.dro import dro
from alignment_jax.algorithms.gail import gail
from alignment_jax.algorithms.grpo import grpo
from alignment_jax.algorithms.gspo import gspo
from alignment_jax.algorithms.inpo import inpo
from alignment_jax.algorithms.ipo import ipo
from alignment_jax.algorithms.ipo_md import ipo_md
from alignment_jax.algorithms.jbond import jbond
from alignment_jax.algorithms.kto import kto
from alignment_jax.algorithms.nash_ema import nash_ema
from alignment_jax.algorithms.nash_md import nash_md
from alignment_jax.algorithms.online_dpo import online_dpo
from alignment_jax.algorithms.online_ipo import online_ipo
from alignment_jax.algorithms.ppo import ppo
from alignment_jax.algorithms.preference_model import preference_model
from alignment_jax.algorithms.rcfd import rcfd
from alignment_jax.algorithms.reinforce import reinforce
from alignment_jax.algorithms.reward_model import reward_model
from alignment_jax.algorithms.rloo import rloo
from alignment_jax.algorithms.self_play import self_play
from alignment_jax.algorithms.sft import sft
from alignment_jax.algorithms.soft_q import soft_q
from alignment_jax.algorithms.soft_q_online import soft_q_online
from alignment_jax.algorithms.sppo import sppo
from alignment_jax.algorithms.srpo import srpo
from alignment_jax.algorithms.warp import warp
from alignment_jax.algorithms.xpo import xpo
from alignment_jax.types import (
  Demonstration,
  PreferencePair,
  Prompts,
  ScoredResponses,
)

__all__ = [
  "ALGORITHMS",
  "best_of_n",
  "best_response",
  "copg",
  "dapo",
  "dpo",
  "dr_grpo",
  "dro",
  "gail",
  "grpo",
  "gspo",
  "inpo",
  "ipo",
  "ipo_md",
  "jbond",
  "kto",
  "nash_ema",
  "nash_md",
  "online_dpo",
  "online_ipo",
  "ppo",
  "preference_model",
  "rcfd",
  "reinforce",
  "reward_model",
  "rloo",
  "self_play",
  "sft",
  "soft_q",
  "soft_q_online",
  "sppo",
  "srpo",
  "warp",
  "xpo",
]

ALGORITHMS: dict[str, Method] = {
  "sft": Method(
    sft,
    data=Demonstration,
    section="From data",
    headline=("accuracy",),
    tiny={},
  ),
  "reward_model": Method(
    reward_model,
    data=PreferencePair,
    section="From data",
    headline=("rewards/accuracies", "rewards/margins"),
    tiny={},
    trains="reward",
  ),
  "preference_model": Method(
    preference_model,
    data=PreferencePair,
    section="From data",
    headline=("preferences/accuracies", "preferences/margins"),
    tiny={"template": ((3,), (4,), (5,))},
    trains="preference",
    token_keywords=("template",),
  ),
  "dpo": Method(
    dpo,
    data=PreferencePair,
    section="From data",
    headline=("rewards/accuracies", "rewards/margins", "logps/chosen"),
    tiny={"beta": 0.1},
  ),
  "ipo": Method(
    ipo,
    data=PreferencePair,
    section="From data",
    headline=("rewards/accuracies", "rewards/margins", "logps/chosen"),
    tiny={"tau": 0.1},
  ),
  "kto": Method(
    kto,
    data=ScoredResponses,
    section="From data",
    headline=("rewards/desirable", "rewards/undesirable", "logps/policy"),
    tiny={"beta": 0.1},
  ),
  "dro": Method(
    dro,
    data=ScoredResponses,
    section="From data",
    headline=("rewards/implicit", "rewards/mean", "logps/policy"),
    tiny={"tau": 1.0},
  ),
  "soft_q": Method(
    soft_q,
    data=Demonstration,
    section="From data",
    headline=("loss/likelihood", "rewards/token"),
    tiny={"lam": 0.1},
    needs_eos=True,
    headline_falls=True,
  ),
  "srpo": Method(
    srpo,
    data=PreferencePair,
    section="From data",
    headline=("joint/margins", "reviser/accuracies", "logps/chosen"),
    tiny={"beta": 0.1, "alpha": 0.8, "template": ((3,), (4,))},
    token_keywords=("template",),
    revises=True,
  ),
  "reinforce": Method(
    reinforce,
    data=Prompts,
    section="From rewards of its own samples",
    headline=("rewards/mean", "kl", "responses/length"),
    tiny={"beta": 0.05},
    feedback="reward",
  ),
  "rloo": Method(
    rloo,
    data=Prompts,
    section="From rewards of its own samples",
    headline=("rewards/mean", "kl", "responses/length"),
    tiny={"beta": 0.05},
    feedback="reward",
  ),
  "ppo": Method(
    ppo,
    data=Prompts,
    section="From rewards of its own samples",
    headline=("rewards/mean", "kl", "value/error"),
    tiny={"beta": 0.05},
    feedback="reward",
    critic_from="reward_model",
  ),
  "grpo": Method(
    grpo,
    data=Prompts,
    section="From rewards of its own samples",
    headline=("rewards/mean", "kl", "responses/length"),
    tiny={"clip": 0.2, "beta": 0.04},
    feedback="reward",
  ),
  "dr_grpo": Method(
    dr_grpo,
    data=Prompts,
    section="From rewards of its own samples",
    headline=("rewards/mean", "kl", "responses/length"),
    tiny={"clip": 0.2},
    feedback="reward",
  ),
  "dapo": Method(
    dapo,
    data=Prompts,
    section="From rewards of its own samples",
    headline=("rewards/mean", "kl", "responses/length"),
    tiny={"clip_low": 0.2, "clip_high": 0.28},
    feedback="reward",
  ),
  "gspo": Method(
    gspo,
    data=Prompts,
    section="From rewards of its own samples",
    headline=("rewards/mean", "kl", "responses/length"),
    tiny={"clip_low": 3e-4, "clip_high": 4e-4},
    feedback="reward",
  ),
  "copg": Method(
    copg,
    data=Prompts,
    section="From rewards of its own samples",
    headline=("rewards/mean", "kl", "responses/length"),
    tiny={"beta": 0.05},
    feedback="reward",
  ),
  "rcfd": Method(
    rcfd,
    data=Demonstration,
    section="From rewards of its own samples",
    headline=("calibration/squared_error", "rewards/mean", "kl"),
    tiny={},
    feedback="rewards",
    headline_falls=True,
  ),
  "best_of_n": Method(
    best_of_n,
    data=Prompts,
    section="From rewards of its own samples",
    headline=("rewards/mean", "kl", "responses/length"),
    tiny={},
    feedback="reward",
  ),
  "jbond": Method(
    jbond,
    data=Prompts,
    section="From rewards of its own samples",
    headline=("rewards/mean", "kl", "responses/length"),
    tiny={"beta": 0.5, "gamma": 0.1, "eta": 0.02},
    feedback="reward",
  ),
  "warp": Method(
    warp,
    data=Prompts,
    section="From rewards of its own samples",
    headline=("rewards/mean", "kl", "responses/length"),
    tiny={"beta": 0.1, "mu": 0.01, "eta": 0.3, "phase": 2},
    feedback="reward",
  ),
  "nash_md": Method(
    nash_md,
    data=Prompts,
    section="From preferences between its own samples",
    headline=("win_rate", "kl", "responses/length"),
    tiny={"tau": 0.1, "beta": 0.25},
    feedback="preference",
  ),
  "nash_ema": Method(
    nash_ema,
    data=Prompts,
    section="From preferences between its own samples",
    headline=("win_rate", "kl", "responses/length"),
    tiny={"tau": 0.1, "decay": 0.9},
    feedback="preference",
  ),
  "self_play": Method(
    self_play,
    data=Prompts,
    section="From preferences between its own samples",
    headline=("win_rate", "kl", "responses/length"),
    tiny={"tau": 0.1},
    feedback="preference",
  ),
  "best_response": Method(
    best_response,
    data=Prompts,
    section="From preferences between its own samples",
    headline=("win_rate", "kl", "responses/length"),
    tiny={"tau": 0.1},
    feedback="preference",
  ),
  "online_dpo": Method(
    online_dpo,
    data=Prompts,
    section="From preferences between its own samples",
    headline=("rewards/accuracies", "rewards/margins", "kl"),
    tiny={"beta": 0.1},
    feedback="reward",
    feedback_keyword="feedback",
  ),
  "online_ipo": Method(
    online_ipo,
    data=Prompts,
    section="From preferences between its own samples",
    headline=("rewards/accuracies", "rewards/margins", "kl"),
    tiny={"tau": 0.1},
    feedback="preference",
  ),
  "ipo_md": Method(
    ipo_md,
    data=Prompts,
    section="From preferences between its own samples",
    headline=("rewards/accuracies", "rewards/margins", "log_ratio"),
    tiny={"tau": 0.1, "beta": 0.25},
    feedback="preference",
  ),
  "xpo": Method(
    xpo,
    data=Prompts,
    section="From preferences between its own samples",
    headline=("win_rate", "kl", "responses/length"),
    tiny={"beta": 0.1, "alpha": 1e-3},
    feedback="preference",
  ),
  "sppo": Method(
    sppo,
    data=Prompts,
    section="From preferences between its own samples",
    headline=("win_rate/best", "log_ratio", "responses/length"),
    tiny={"eta": 10.0, "refresh_every": 2},
    feedback="preference",
  ),
  "inpo": Method(
    inpo,
    data=Prompts,
    section="From preferences between its own samples",
    headline=("rewards/accuracies", "rewards/margins", "log_ratio"),
    tiny={
      "eta": 0.3,
      "tau": 0.1,
      "choice": "best_and_worst",
      "refresh_every": 2,
    },
    feedback="preference",
  ),
  "soft_q_online": Method(
    soft_q_online,
    data=Demonstration,
    section="From demonstrations and its own samples",
    headline=("loss/likelihood", "rewards/demonstration", "kl"),
    tiny={"lam": 0.1, "mix": 0.1},
    feedback="none",
    headline_falls=True,
  ),
  "gail": Method(
    gail,
    data=Demonstration,
    section="From demonstrations and its own samples",
    headline=("discriminator/right_of_demonstrations", "rewards/mean", "kl"),
    tiny={"beta": 0.05, "imitation": 0.1},
    feedback="none",
    headline_falls=True,
  ),
}
