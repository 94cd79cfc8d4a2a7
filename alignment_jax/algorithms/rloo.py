"""REINFORCE leave-one-out (Ahmadian et al., 2024, arXiv:2402.14740)."""

from jaxtyping import Array, Key, PyTree

from alignment_jax import losses, rollouts
from alignment_jax.algorithm import Algorithm, Metrics
from alignment_jax.families import kl_control
from alignment_jax.models.base import Model
from alignment_jax.ops import guards
from alignment_jax.ops.means import Mean


def rloo(
  model: Model,
  *,
  sampling: rollouts.Sampling,
  beta: float,
  clip: float | None = None,
  kl: kl_control.KLForm = "reward",
  kl_target: float | None = None,
  kl_gain: float = 0.1,
) -> Algorithm:
  """RLOO: the other responses to a prompt are the baseline.

  The reward of a response is the judge's less beta times its log-ratio to the
  reference under the policy that sampled it, so the expected gradient is that
  of reward - beta KL(policy || reference), whole sequences.

  Args:
    model: the network.
    sampling: at least two samples.
    beta: strength of the KL regularization, >= 0, reward per nat.
    clip: None is the paper's; a number in (0, 1) makes it Proximal RLOO, with
      the ratio of whole responses clipped there (Noukhovitch et al., 2024,
      arXiv:2410.18252), for several epochs or rollouts of an older policy.
    kl: `reward`, as in the paper, or the divergence whose gradient a loss
      follows in its place: `reverse` or `forward`; see `kl_control`.
    kl_target: nats per response that beta is moved towards, > 0; None
      keeps beta.
    kl_gain: how fast it is moved, at each optimizer step.
  """
  sampling.at_least(2, "rloo")
  if clip is not None:
    guards.between(0.0, 1.0, clip=clip)
  control = kl_control.KLControl(
    beta=beta, kl=kl, target=kl_target, gain=kl_gain
  )

  def extra(
    trainable: PyTree, slow: PyTree, experience: rollouts.Experience
  ) -> dict[str, Array]:
    del trainable
    rewards = control.rewards(slow, experience)
    return {"advantages": losses.rloo_advantages(rewards)}

  def loss(
    trainable: PyTree,
    slow: PyTree,
    batch: rollouts.Experience,
    key: Key[Array, ""] | None,
  ) -> tuple[Mean, Metrics]:
    del key
    rollout = batch.rollout
    tokens = rollouts.token_logprobs(
      model, trainable["policy"], rollout.prompt, rollout.responses, sampling
    )
    policy = rollouts.sequence_logprobs(tokens, rollout.responses)
    advantages = batch.extra["advantages"]
    if clip is not None:
      old = rollouts.sequence_logprobs(rollout.logprobs, rollout.responses)
      gain = losses.proximal_rloo_loss(policy, old, advantages, clip=clip)
    else:
      gain = losses.reinforce_loss(policy, advantages)
    total = rollouts.batch_mean(gain + control.penalty(slow, policy, batch))
    return total, {
      "loss": total,
      **control.metrics(slow, batch),
      **rollouts.rollout_metrics(batch, tokens),
    }

  return Algorithm(
    control.init,
    rollouts.sampled_from_policy(model, sampling, extra=extra),
    loss,
    control.refresh,
  )
