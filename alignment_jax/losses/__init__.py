"""Losses of the field as pure functions: arrays in, one number per unit out.

Nothing is reduced, logged or configured here. Log-probabilities of responses
are summed over their tokens unless a docstring says otherwise. Advantages,
rewards and averages of weights that belong to a method stand beside its loss.
"""

from alignment_jax.losses.aot import aot_loss as aot_loss
from alignment_jax.losses.aot import aot_unpaired_loss as aot_unpaired_loss
from alignment_jax.losses.apo import apo_down_loss as apo_down_loss
from alignment_jax.losses.apo import apo_zero_loss as apo_zero_loss
from alignment_jax.losses.bco import bco_pair_loss as bco_pair_loss
from alignment_jax.losses.bco import bco_unpaired_loss as bco_unpaired_loss
from alignment_jax.losses.bradley_terry import (
  bradley_terry_loss as bradley_terry_loss,
)
from alignment_jax.losses.copg import copg_group_loss as copg_group_loss
from alignment_jax.losses.copg import copg_loss as copg_loss
from alignment_jax.losses.cpo import cpo_loss as cpo_loss
from alignment_jax.losses.cross_entropy import (
  cross_entropy_loss as cross_entropy_loss,
)
from alignment_jax.losses.discopop import discopop_loss as discopop_loss
from alignment_jax.losses.dno import dno_loss as dno_loss
from alignment_jax.losses.dpo import dpo_loss as dpo_loss
from alignment_jax.losses.dro import (
  dro_batch_variance_loss as dro_batch_variance_loss,
)
from alignment_jax.losses.dro import dro_policy_loss as dro_policy_loss
from alignment_jax.losses.dro import dro_value_loss as dro_value_loss
from alignment_jax.losses.elastic_reset import elastic_reset as elastic_reset
from alignment_jax.losses.ema import ema as ema
from alignment_jax.losses.ema import ema_cosine_decay as ema_cosine_decay
from alignment_jax.losses.ema import ema_warmup_decay as ema_warmup_decay
from alignment_jax.losses.exo import exo_loss as exo_loss
from alignment_jax.losses.f_dpo import (
  alpha_divergence_score as alpha_divergence_score,
)
from alignment_jax.losses.f_dpo import f_dpo_loss as f_dpo_loss
from alignment_jax.losses.f_dpo import forward_kl_score as forward_kl_score
from alignment_jax.losses.f_dpo import (
  jensen_shannon_score as jensen_shannon_score,
)
from alignment_jax.losses.f_dpo import reverse_kl_score as reverse_kl_score
from alignment_jax.losses.flex_dpo import flex_dpo_loss as flex_dpo_loss
from alignment_jax.losses.gail import (
  gail_discriminator_loss as gail_discriminator_loss,
)
from alignment_jax.losses.gail import gail_reward as gail_reward
from alignment_jax.losses.grpo import GRPO_AGGREGATIONS as GRPO_AGGREGATIONS
from alignment_jax.losses.grpo import grpo_advantages as grpo_advantages
from alignment_jax.losses.grpo import grpo_aggregate as grpo_aggregate
from alignment_jax.losses.grpo import grpo_loss as grpo_loss
from alignment_jax.losses.gspo import gspo_loss as gspo_loss
from alignment_jax.losses.inpo import inpo_loss as inpo_loss
from alignment_jax.losses.ipo import ipo_loss as ipo_loss
from alignment_jax.losses.jbond import jbond_loss as jbond_loss
from alignment_jax.losses.jbond import jbond_reward as jbond_reward
from alignment_jax.losses.kto import kto_kl as kto_kl
from alignment_jax.losses.kto import kto_loss as kto_loss
from alignment_jax.losses.ld_dpo import ld_dpo_scores as ld_dpo_scores
from alignment_jax.losses.nash_md import nash_md_pg_loss as nash_md_pg_loss
from alignment_jax.losses.nash_md import (
  nash_md_pg_one_token_loss as nash_md_pg_one_token_loss,
)
from alignment_jax.losses.nca import nca_loss as nca_loss
from alignment_jax.losses.online_ipo import ipo_md_loss as ipo_md_loss
from alignment_jax.losses.online_ipo import online_ipo_loss as online_ipo_loss
from alignment_jax.losses.orpo import orpo_loss as orpo_loss
from alignment_jax.losses.ppo import ppo_policy_loss as ppo_policy_loss
from alignment_jax.losses.ppo import ppo_value_loss as ppo_value_loss
from alignment_jax.losses.preference_model import (
  preference_model_loss as preference_model_loss,
)
from alignment_jax.losses.psipo import clipped_logit as clipped_logit
from alignment_jax.losses.psipo import identity as identity
from alignment_jax.losses.psipo import logit as logit
from alignment_jax.losses.psipo import psipo_loss as psipo_loss
from alignment_jax.losses.psipo import (
  psipo_regression_loss as psipo_regression_loss,
)
from alignment_jax.losses.rcfd import (
  rcfd_composite_reward as rcfd_composite_reward,
)
from alignment_jax.losses.rcfd import rcfd_reward as rcfd_reward
from alignment_jax.losses.reinforce import reinforce_loss as reinforce_loss
from alignment_jax.losses.rloo import proximal_rloo_loss as proximal_rloo_loss
from alignment_jax.losses.rloo import rloo_advantages as rloo_advantages
from alignment_jax.losses.robust_dpo import robust_dpo_loss as robust_dpo_loss
from alignment_jax.losses.simpo import simpo_loss as simpo_loss
from alignment_jax.losses.slic import hinge_loss as hinge_loss
from alignment_jax.losses.slic import slic_loss as slic_loss
from alignment_jax.losses.soft_q import soft_q_loss as soft_q_loss
from alignment_jax.losses.soft_q import soft_q_mixed_loss as soft_q_mixed_loss
from alignment_jax.losses.soft_q import soft_q_rewards as soft_q_rewards
from alignment_jax.losses.sppo import sppo_loss as sppo_loss
from alignment_jax.losses.srpo import srpo_loss as srpo_loss
from alignment_jax.losses.warp import interpolate_to_init as interpolate_to_init
from alignment_jax.losses.warp import slerp_merge as slerp_merge
from alignment_jax.losses.warp import weight_average as weight_average
from alignment_jax.losses.wpo import wpo_weights as wpo_weights
from alignment_jax.losses.xpo import xpo_loss as xpo_loss
