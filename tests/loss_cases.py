"""Every loss with typical coefficients, and what it holds constant."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from alignment_jax import losses


class Case(NamedTuple):
  loss: Callable
  coefficients: dict[str, Any]
  held_constant: set[str]

  @property
  def names(self):
    """The floating-point arguments, in order."""
    parameters = inspect.signature(self.loss).parameters.values()
    return [
      p.name
      for p in parameters
      if p.kind == p.POSITIONAL_OR_KEYWORD and p.default is p.empty
    ]

  def __call__(self, *arrays):
    return self.loss(*arrays, **self.coefficients)

  def draw(self, *shape, dtype=jnp.float32):
    random = np.random.default_rng(0)
    return [
      jnp.asarray(
        random.uniform(0.1, 0.9, shape)
        if "preferences" in name
        else random.normal(size=shape),
        dtype,
      )
      for name in self.names
    ]

  def gradients(self, *arrays):
    return jax.grad(
      lambda *arrays: self(*arrays).sum(), argnums=range(len(arrays))
    )(*arrays)


REFERENCE = {"reference_chosen", "reference_rejected"}


REFERENCES = {
  f"reference_{side}{shown}"
  for side in ("chosen", "rejected")
  for shown in ("", "_given_chosen", "_given_rejected")
}


PREVIOUS = {"previous_first", "previous_second"}


REWARDS = {"rewards_first", "rewards_second"}


OLD = {"old_logprobs", "advantages"}


def _given(loss):
  """The loss with its flags and scalars fixed, as a function of the rest."""

  def call(policy_logprobs, reference_logprobs, **coefficients):
    shape = jnp.shape(policy_logprobs)
    # Alternating, so that both kinds are there.
    desirable = jnp.arange(max(1, np.prod(shape, dtype=int))) % 2 == 0
    return loss(
      policy_logprobs,
      reference_logprobs,
      desirable.reshape(shape),
      jnp.float32(0.3),
      **coefficients,
    )

  call.__name__ = loss.__name__
  return call


def _labeled(loss):
  def call(logits):
    shape = jnp.shape(logits)
    is_expert = jnp.arange(max(1, np.prod(shape, dtype=int))) % 2 == 0
    return loss(logits, is_expert.reshape(shape))

  call.__name__ = loss.__name__
  return call


# Losses whose units are independent and whose arrays all have one shape.
CASES = {
  "ipo": Case(losses.ipo_loss, {"tau": 0.3}, REFERENCE),
  "dpo": Case(losses.dpo_loss, {"beta": 0.2}, REFERENCE),
  "conservative_dpo": Case(
    losses.dpo_loss, {"beta": 0.2, "label_smoothing": 0.1}, REFERENCE
  ),
  "robust_dpo": Case(
    losses.robust_dpo_loss, {"beta": 0.2, "label_smoothing": 0.1}, REFERENCE
  ),
  "psipo": Case(
    losses.psipo_loss,
    {"tau": 0.3, "psi": losses.logit},
    REFERENCE | {"preferences"},
  ),
  "psipo_regression": Case(
    losses.psipo_regression_loss,
    {"tau": 0.3},
    REFERENCE | {"chosen_scores", "rejected_scores"},
  ),
  "hinge": Case(losses.hinge_loss, {"beta": 0.2}, REFERENCE),
  "exo": Case(
    losses.exo_loss, {"beta": 0.2, "label_smoothing": 0.01}, REFERENCE
  ),
  "nca": Case(losses.nca_loss, {"beta": 0.2}, REFERENCE),
  "bco_pair": Case(losses.bco_pair_loss, {"beta": 0.2}, REFERENCE),
  "sppo": Case(
    losses.sppo_loss,
    {"eta": 2.0},
    REFERENCE | {"chosen_preferences", "rejected_preferences"},
  ),
  "apo_zero": Case(losses.apo_zero_loss, {"beta": 0.2}, REFERENCE),
  "apo_down": Case(losses.apo_down_loss, {"beta": 0.2}, REFERENCE),
  "discopop": Case(losses.discopop_loss, {"beta": 0.2, "tau": 0.05}, REFERENCE),
  "discopop_wide": Case(
    losses.discopop_loss, {"beta": 0.2, "tau": 2.0}, REFERENCE
  ),
  "f_dpo_reverse_kl": Case(
    losses.f_dpo_loss,
    {"beta": 0.2, "score": losses.reverse_kl_score},
    REFERENCE,
  ),
  "f_dpo_forward_kl": Case(
    losses.f_dpo_loss,
    {"beta": 0.2, "score": losses.forward_kl_score},
    REFERENCE,
  ),
  "f_dpo_jensen_shannon": Case(
    losses.f_dpo_loss,
    {"beta": 0.2, "score": losses.jensen_shannon_score},
    REFERENCE,
  ),
  "f_dpo_alpha": Case(
    losses.f_dpo_loss,
    {
      "beta": 0.2,
      "score": functools.partial(losses.alpha_divergence_score, alpha=0.5),
    },
    REFERENCE,
  ),
  "flex_dpo": Case(
    losses.flex_dpo_loss, {"beta_chosen": 0.2, "beta_rejected": 0.1}, REFERENCE
  ),
  "srpo": Case(losses.srpo_loss, {"beta": 0.2, "alpha": 0.4}, REFERENCES),
  "inpo": Case(
    losses.inpo_loss,
    {"eta": 0.4, "tau": 0.1},
    REFERENCE | {"previous_chosen", "previous_rejected"},
  ),
  "dno": Case(losses.dno_loss, {"eta": 0.4}, PREVIOUS | REWARDS),
  "online_ipo": Case(
    losses.online_ipo_loss,
    {"tau": 0.3},
    {"reference_first", "reference_second", "preferences"},
  ),
  "xpo": Case(losses.xpo_loss, {"beta": 0.2, "alpha": 0.1}, REFERENCE),
  "slic": Case(losses.slic_loss, {"delta": 1.0, "lam": 0.1}, set()),
  "simpo": Case(losses.simpo_loss, {"beta": 2.0, "gamma": 0.5}, set()),
  "cpo": Case(losses.cpo_loss, {"beta": 0.2, "alpha": 1.0}, set()),
  "orpo": Case(losses.orpo_loss, {"lam": 0.1}, set()),
  "dro_policy": Case(
    losses.dro_policy_loss,
    {"tau": 0.4},
    {"reference_logprobs", "rewards", "values"},
  ),
  "dro_value": Case(
    losses.dro_value_loss,
    {"tau": 0.4},
    {"policy_logprobs", "reference_logprobs", "rewards"},
  ),
  "kto": Case(_given(losses.kto_loss), {"beta": 0.2}, {"reference_logprobs"}),
  "bco_unpaired": Case(
    _given(losses.bco_unpaired_loss), {"beta": 0.2}, {"reference_logprobs"}
  ),
  "reinforce": Case(losses.reinforce_loss, {}, {"advantages"}),
  "proximal_rloo": Case(losses.proximal_rloo_loss, {"clip": 0.2}, OLD),
  "ppo_policy": Case(losses.ppo_policy_loss, {"clip": 0.2}, OLD),
  "ppo_value": Case(
    losses.ppo_value_loss, {"clip": 0.2}, {"old_values", "returns"}
  ),
  "gspo": Case(losses.gspo_loss, {"clip_low": 0.2, "clip_high": 0.3}, OLD),
  "copg": Case(
    losses.copg_loss,
    {"beta": 0.3},
    {"reference_first", "reference_second"} | REWARDS,
  ),
  "nash_md_pg": Case(
    losses.nash_md_pg_loss, {"tau": 0.3}, {"reference_logprobs", "preferences"}
  ),
  "jbond": Case(
    losses.jbond_loss,
    {"beta": 0.5, "gamma": 0.1},
    {"anchor_logprobs", "rewards", "baselines"},
  ),
  "gail_discriminator": Case(
    _labeled(losses.gail_discriminator_loss), {}, set()
  ),
  "bradley_terry": Case(losses.bradley_terry_loss, {}, set()),
  "preference_model": Case(losses.preference_model_loss, {}, {"preferences"}),
  "cross_entropy": Case(losses.cross_entropy_loss, {}, set()),
}


# Their units share a batch or a response: see `test_structured.py` and
# `test_tokens.py`.
STRUCTURED = {
  "aot_loss",
  "aot_unpaired_loss",
  "copg_group_loss",
  "dro_batch_variance_loss",
  "grpo_loss",
  "ipo_md_loss",
  "nash_md_pg_one_token_loss",
  "soft_q_loss",
  "soft_q_mixed_loss",
}


WRAPPED = {"kto", "bco_unpaired", "gail_discriminator"}
