"""The KL to the reference: where a method holds it, and how strongly."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from alignment_jax import errors, rollouts
from alignment_jax.algorithm import Metrics
from alignment_jax.ops import divergences, guards

# In the reward, or as a loss whose gradient is that of the named divergence.
KLForm = Literal["reward", "reverse", "forward"]
# Of the relative error that moves the coefficient (Ziegler et al., 2019).
MAX_ERROR = 0.2
COEFFICIENT = "kl_coefficient"


@dataclasses.dataclass(frozen=True, kw_only=True)
class KLControl:
  """Keeps a policy near its reference.

  With a target the coefficient is kept in the slow state and moved after each
  optimizer step, as in Ziegler et al., 2019 (arXiv:1909.08593), section 2.2:

      e = clip((KL - target) / target, -0.2, 0.2)
      coefficient <- coefficient (1 + gain e)

  KL is that of the responses as they were sampled, so several epochs over them
  move it several times the same way.

  Attributes:
    beta: the coefficient, or where it starts, >= 0, reward per nat.
    kl: `reward` takes k1 of whole responses off the reward; `reverse` adds a
      loss with the gradient of KL(policy || reference), `forward` one with that
      of KL(reference || policy), both on responses of the policy.
    target: nats per response, > 0; None fixes the coefficient.
    gain: how fast it moves; 0.1 in the paper, which moves it once a batch.
  """

  beta: float
  kl: KLForm = "reward"
  target: float | None = None
  gain: float = 0.1

  def __post_init__(self) -> None:
    guards.non_negative(beta=self.beta)
    guards.positive(kl_gain=self.gain)
    if self.target is not None:
      guards.positive(kl_target=self.target)
    if self.kl not in get_args(KLForm):
      raise errors.unknown("kl", self.kl, get_args(KLForm))
    if self.target is not None and not self.beta:
      raise ValueError(
        f"beta must be > 0 to be moved towards kl_target {self.target}, got"
        f" {self.beta}"
      )

  def init(
    self, key: Key[Array, ""] | None, policy_params: PyTree
  ) -> tuple[PyTree, PyTree]:
    """`Algorithm.init`: policy, reference, and the coefficient if it moves."""
    trainable, slow = rollouts.with_reference(key, policy_params)
    if self.target is not None:
      slow[COEFFICIENT] = jnp.asarray(self.beta, jnp.float32)
    return trainable, slow

  def coefficient(self, slow: PyTree) -> Float[Array, ""]:
    """What it is now, in reward per nat."""
    if self.target is not None:
      return slow[COEFFICIENT]
    return jnp.asarray(self.beta, jnp.float32)

  def rewards(
    self, slow: PyTree, experience: rollouts.Experience
  ) -> Float[Array, "B K"]:
    """Rewards, less the KL where it is held in the reward."""
    rewards = experience.feedback.need("rewards")
    if self.kl != "reward":
      return rewards
    return rewards - self.coefficient(slow) * sampled(experience)

  def penalty(
    self,
    slow: PyTree,
    policy: Float[Array, "B K"],
    experience: rollouts.Experience,
  ) -> Float[Array, "B K"]:
    """What a loss adds for each response; 0 where the KL is in the reward.

    Args:
      slow: of the method.
      policy: log-probability of each response, in nats; not held constant.
      experience: whose reference is held constant.
    """
    if self.kl == "reward":
      return jnp.zeros_like(policy)
    reference = rollouts.sequence_logprobs(
      experience.reference, experience.rollout.responses
    )
    estimate = divergences.KL_LOSSES[self.kl]
    return self.coefficient(slow) * estimate(policy - reference)

  def metrics(self, slow: PyTree, experience: rollouts.Experience) -> Metrics:
    """The coefficient, and the KL that moves it, for `refresh`."""
    kl = sampled(experience)
    return {
      "kl/sampled": rollouts.batch_mean(kl),
      "kl/coefficient": rollouts.batch_mean(
        jnp.broadcast_to(self.coefficient(slow), kl.shape)
      ),
    }

  def refresh(
    self,
    trainable: PyTree,
    slow: PyTree,
    step: Any,
    metrics: Mapping[str, Any],
  ) -> tuple[PyTree, PyTree]:
    """`Algorithm.refresh`: moves the coefficient."""
    del step
    if self.target is None:
      return trainable, slow
    error = (metrics["kl/sampled"] - self.target) / self.target
    factor = 1 + self.gain * jnp.clip(error, -MAX_ERROR, MAX_ERROR)
    return trainable, {**slow, COEFFICIENT: slow[COEFFICIENT] * factor}


def sampled(experience: rollouts.Experience) -> Float[Array, "B K"]:
  """k1 of each response as it was sampled: log-ratio to the reference."""
  rollout = experience.rollout
  return jax.lax.stop_gradient(
    rollouts.sequence_logprobs(
      rollout.logprobs - experience.reference, rollout.responses
    )
  )
