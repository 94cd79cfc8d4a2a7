"""Losses of the field as pure functions: arrays in, one number per unit out.

Nothing is reduced, logged or configured here. Log-probabilities of responses
are summed over their tokens unless a docstring says otherwise. Advantages,
rewards and weight averages that belong to a method are in the same file as its
loss. Examples in the docstrings assume `import jax`, `import jax.numpy as jnp`
and `from alignment_jax import losses`.
"""

from alignment_jax.losses.aot import aot_loss, aot_unpaired_loss
from alignment_jax.losses.apo import apo_down_loss, apo_zero_loss
from alignment_jax.losses.bco import bco_pair_loss, bco_unpaired_loss
from alignment_jax.losses.bradley_terry import bradley_terry_loss
from alignment_jax.losses.copg import copg_group_loss, copg_loss
from alignment_jax.losses.cpo import cpo_loss
from alignment_jax.losses.cross_entropy import cross_entropy_loss
from alignment_jax.losses.discopop import discopop_loss
from alignment_jax.losses.dno import dno_loss
from alignment_jax.losses.dpo import dpo_loss
from alignment_jax.losses.dro import (
  dro_batch_variance_loss,
  dro_policy_loss,
  dro_value_loss,
)
from alignment_jax.losses.elastic_reset import elastic_reset
from alignment_jax.losses.ema import ema, ema_cosine_decay, ema_warmup_decay
from alignment_jax.losses.exo import exo_loss
from alignment_jax.losses.f_dpo import (
  alpha_divergence_score,
  f_dpo_loss,
  forward_kl_score,
  jensen_shannon_score,
  reverse_kl_score,
)
from alignment_jax.losses.flex_dpo import flex_dpo_loss
from alignment_jax.losses.gail import gail_discriminator_loss, gail_reward
from alignment_jax.losses.grpo import (
  GRPO_AGGREGATIONS,
  grpo_advantages,
  grpo_aggregate,
  grpo_loss,
)
from alignment_jax.losses.gspo import gspo_loss
from alignment_jax.losses.inpo import inpo_loss
from alignment_jax.losses.ipo import ipo_loss
from alignment_jax.losses.jbond import jbond_loss, jbond_reward
from alignment_jax.losses.kto import kto_kl, kto_loss
from alignment_jax.losses.ld_dpo import ld_dpo_scores
from alignment_jax.losses.nash_md import (
  nash_md_pg_loss,
  nash_md_pg_one_token_loss,
)
from alignment_jax.losses.nca import nca_loss
from alignment_jax.losses.online_ipo import ipo_md_loss, online_ipo_loss
from alignment_jax.losses.orpo import orpo_loss
from alignment_jax.losses.ppo import ppo_policy_loss, ppo_value_loss
from alignment_jax.losses.preference_model import preference_model_loss
from alignment_jax.losses.psipo import (
  clipped_logit,
  identity,
  logit,
  psipo_loss,
  psipo_regression_loss,
)
from alignment_jax.losses.rcfd import rcfd_composite_reward, rcfd_reward
from alignment_jax.losses.reinforce import reinforce_loss
from alignment_jax.losses.rloo import proximal_rloo_loss, rloo_advantages
from alignment_jax.losses.robust_dpo import robust_dpo_loss
from alignment_jax.losses.simpo import simpo_loss
from alignment_jax.losses.slic import hinge_loss, slic_loss
from alignment_jax.losses.soft_q import (
  soft_q_loss,
  soft_q_mixed_loss,
  soft_q_rewards,
)
from alignment_jax.losses.sppo import sppo_loss
from alignment_jax.losses.srpo import srpo_loss
from alignment_jax.losses.warp import (
  interpolate_to_init,
  slerp_merge,
  weight_average,
)
from alignment_jax.losses.wpo import wpo_weights
from alignment_jax.losses.xpo import xpo_loss

__all__ = [
  "GRPO_AGGREGATIONS",
  "alpha_divergence_score",
  "aot_loss",
  "aot_unpaired_loss",
  "apo_down_loss",
  "apo_zero_loss",
  "bco_pair_loss",
  "bco_unpaired_loss",
  "bradley_terry_loss",
  "clipped_logit",
  "copg_group_loss",
  "copg_loss",
  "cpo_loss",
  "cross_entropy_loss",
  "discopop_loss",
  "dno_loss",
  "dpo_loss",
  "dro_batch_variance_loss",
  "dro_policy_loss",
  "dro_value_loss",
  "elastic_reset",
  "ema",
  "ema_cosine_decay",
  "ema_warmup_decay",
  "exo_loss",
  "f_dpo_loss",
  "flex_dpo_loss",
  "forward_kl_score",
  "gail_discriminator_loss",
  "gail_reward",
  "grpo_advantages",
  "grpo_aggregate",
  "grpo_loss",
  "gspo_loss",
  "hinge_loss",
  "identity",
  "inpo_loss",
  "interpolate_to_init",
  "ipo_loss",
  "ipo_md_loss",
  "jbond_loss",
  "jbond_reward",
  "jensen_shannon_score",
  "kto_kl",
  "kto_loss",
  "ld_dpo_scores",
  "logit",
  "nash_md_pg_loss",
  "nash_md_pg_one_token_loss",
  "nca_loss",
  "online_ipo_loss",
  "orpo_loss",
  "ppo_policy_loss",
  "ppo_value_loss",
  "preference_model_loss",
  "proximal_rloo_loss",
  "psipo_loss",
  "psipo_regression_loss",
  "rcfd_composite_reward",
  "rcfd_reward",
  "reinforce_loss",
  "reverse_kl_score",
  "rloo_advantages",
  "robust_dpo_loss",
  "simpo_loss",
  "slerp_merge",
  "slic_loss",
  "soft_q_loss",
  "soft_q_mixed_loss",
  "soft_q_rewards",
  "sppo_loss",
  "srpo_loss",
  "weight_average",
  "wpo_weights",
  "xpo_loss",
]
