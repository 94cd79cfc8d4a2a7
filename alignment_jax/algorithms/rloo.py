"""REINFORCE leave-one-out (Ahmadian et al., 2024, arXiv:2402.14740)."""

from alignment_jax import losses
from alignment_jax.algorithms import base, online
from alignment_jax.models.base import Model
from alignment_jax.ops import guards
from alignment_jax.types import Prompts


def rloo(
  model: Model, *, sampling: online.Sampling, beta: float, clip: float = 0.0
) -> base.Algorithm:
  """RLOO: the other responses to a prompt are the baseline.

  The reward of a response is the judge's less beta times its log-ratio to the
  reference under the policy that sampled it, so the expected gradient is that
  of reward - beta KL(policy || reference), whole sequences.

  Args:
    model: the network.
    sampling: at least two samples.
    beta: strength of the KL regularisation, >= 0, reward per nat.
    clip: 0 is the paper's; above 0 Proximal RLOO, with the ratio of whole
      responses clipped there (Noukhovitch et al., 2024, arXiv:2410.18252), for
      several epochs or rollouts of an older policy.
  """
  sampling.at_least(2, "rloo")
  guards.non_negative(beta=beta, clip=clip)

  def loss(trainable, slow, batch, key):
    del slow, key
    rollout = batch.rollout
    tokens = online.token_logprobs(
      model, trainable["policy"], rollout.prompt, rollout.responses, sampling
    )
    policy = online.sequence(tokens, rollout)
    old = online.sequence(rollout.logprobs, rollout)
    log_ratio = old - online.sequence(batch.reference, rollout)
    advantages = losses.rloo_advantages(batch.scores - beta * log_ratio)
    per_response = (
      losses.proximal_rloo_loss(policy, old, advantages, clip=clip)
      if clip
      else losses.reinforce_loss(policy, advantages)
    )
    total = online.mean(per_response)
    return total, {"loss": total, **online.report(batch, tokens)}

  return base.Algorithm(
    online.with_reference,
    online.collect(model, sampling),
    loss,
    base.frozen,
    Prompts,
  )
