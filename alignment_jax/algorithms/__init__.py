"""Methods: which arrays go to which loss. One file, one factory, one name."""

from collections.abc import Callable

from alignment_jax.algorithms.base import Algorithm as Algorithm
from alignment_jax.algorithms.copg import copg
from alignment_jax.algorithms.dapo import dapo
from alignment_jax.algorithms.dpo import dpo
from alignment_jax.algorithms.dr_grpo import dr_grpo
from alignment_jax.algorithms.dro import dro
from alignment_jax.algorithms.grpo import grpo
from alignment_jax.algorithms.gspo import gspo
from alignment_jax.algorithms.ipo import ipo
from alignment_jax.algorithms.kto import kto
from alignment_jax.algorithms.ppo import ppo
from alignment_jax.algorithms.reinforce import reinforce
from alignment_jax.algorithms.reward_model import reward_model
from alignment_jax.algorithms.rloo import rloo
from alignment_jax.algorithms.sft import sft

# A factory takes the model, then keywords that are the method's configuration.
ALGORITHMS: dict[str, Callable[..., Algorithm]] = {
  "copg": copg,
  "dapo": dapo,
  "dpo": dpo,
  "dr_grpo": dr_grpo,
  "dro": dro,
  "grpo": grpo,
  "gspo": gspo,
  "ipo": ipo,
  "kto": kto,
  "ppo": ppo,
  "reinforce": reinforce,
  "reward_model": reward_model,
  "rloo": rloo,
  "sft": sft,
}
