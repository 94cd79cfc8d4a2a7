"""REINFORCE with a KL-regularized reward (Williams, 1992)."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

import jax.numpy as jnp
from jaxtyping import Array, Key, PyTree

from alignment_jax import errors, losses, rollouts
from alignment_jax.algorithm import Algorithm, Metrics
from alignment_jax.families import kl_control
from alignment_jax.models.base import Model
from alignment_jax.ops import guards, means
from alignment_jax.ops.means import Mean

Baseline = Literal["none", "batch", "running"]


def reinforce(
  model: Model,
  *,
  sampling: rollouts.Sampling,
  beta: float,
  baseline: Baseline = "running",
  decay: float = 0.99,
  kl: kl_control.KLForm = "reward",
  kl_target: float | None = None,
  kl_gain: float = 0.1,
) -> Algorithm:
  """The policy gradient of whole responses, each one action.

  The form that Ahmadian et al., 2024 (arXiv:2402.14740) return to: no value
  network, no ratio, no clipping. So it is on-policy: responses of an older
  policy, or several epochs, make it biased.

  Args:
    model: the network.
    sampling: one sample is enough.
    beta: strength of the KL regularization, >= 0, reward per nat.
    baseline: taken off the rewards (less their KL). `none`; `batch`, the mean
      of this batch: it holds the response's own reward, which makes the
      expected gradient (1 - 1 / N) of the policy's for N responses; `running`,
      the mean of earlier batches, which leaves it unbiased.
    decay: share of the running mean that stays at an optimizer step, in
      [0, 1). It is 0 before the first.
    kl: `reward`, or the divergence whose gradient a loss follows in its place:
      `reverse` or `forward`; see `kl_control`.
    kl_target: nats per response that beta is moved towards, > 0; None
      keeps beta.
    kl_gain: how fast it is moved, at each optimizer step.
  """
  if baseline not in get_args(Baseline):
    raise errors.unknown("baseline", baseline, get_args(Baseline))
  guards.within(0.0, 1.0, decay=decay)
  control = kl_control.KLControl(
    beta=beta, kl=kl, target=kl_target, gain=kl_gain
  )
  running = baseline == "running"

  def init(
    key: Key[Array, ""] | None, policy_params: PyTree
  ) -> tuple[PyTree, PyTree]:
    trainable, slow = control.init(key, policy_params)
    if running:
      # A total and a weight: their ratio has no bias towards 0.
      slow["baseline"] = {"total": jnp.zeros(()), "weight": jnp.zeros(())}
    return trainable, slow

  def extra(
    trainable: PyTree, slow: PyTree, experience: rollouts.Experience
  ) -> dict[str, Array]:
    del trainable
    rewards = control.rewards(slow, experience)
    if running:
      level = means.divide(**slow["baseline"])
    else:
      level = jnp.mean(rewards) if baseline == "batch" else jnp.zeros(())
    return {"rewards": rewards, "advantages": rewards - level}

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
    rewards, advantages = batch.extra["rewards"], batch.extra["advantages"]
    total = rollouts.batch_mean(
      losses.reinforce_loss(policy, advantages)
      + control.penalty(slow, policy, batch)
    )
    return total, {
      "loss": total,
      "rewards/regularized": rollouts.batch_mean(rewards),
      "baseline": rollouts.batch_mean(rewards - advantages),
      **control.metrics(slow, batch),
      **rollouts.rollout_metrics(batch, tokens),
    }

  def refresh(
    trainable: PyTree, slow: PyTree, step: Any, metrics: Mapping[str, Any]
  ) -> tuple[PyTree, PyTree]:
    trainable, slow = control.refresh(trainable, slow, step, metrics)
    if running:
      old = slow["baseline"]
      new = {"total": metrics["rewards/regularized"], "weight": jnp.ones(())}
      slow = {
        **slow,
        "baseline": {
          name: decay * old[name] + (1 - decay) * new[name] for name in old
        },
      }
    return trainable, slow

  return Algorithm(
    init,
    rollouts.sampled_from_policy(model, sampling, extra=extra),
    loss,
    refresh,
  )
