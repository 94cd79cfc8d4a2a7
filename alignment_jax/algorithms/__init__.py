"""Methods: which arrays go to which loss. One file, one factory, one name."""

from collections.abc import Callable

from alignment_jax.algorithm import Algorithm as Algorithm
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

# A factory takes the model, then keywords that are the method's configuration.
ALGORITHMS: dict[str, Callable[..., Algorithm]] = {
  "best_of_n": best_of_n,
  "best_response": best_response,
  "copg": copg,
  "dapo": dapo,
  "dpo": dpo,
  "dr_grpo": dr_grpo,
  "dro": dro,
  "gail": gail,
  "grpo": grpo,
  "gspo": gspo,
  "inpo": inpo,
  "ipo": ipo,
  "ipo_md": ipo_md,
  "jbond": jbond,
  "kto": kto,
  "nash_ema": nash_ema,
  "nash_md": nash_md,
  "online_dpo": online_dpo,
  "online_ipo": online_ipo,
  "ppo": ppo,
  "preference_model": preference_model,
  "rcfd": rcfd,
  "reinforce": reinforce,
  "reward_model": reward_model,
  "rloo": rloo,
  "self_play": self_play,
  "sft": sft,
  "soft_q": soft_q,
  "soft_q_online": soft_q_online,
  "sppo": sppo,
  "srpo": srpo,
  "warp": warp,
  "xpo": xpo,
}
