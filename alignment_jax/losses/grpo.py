"""Group-relative policy optimization, and its ways to average over tokens."""

from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from alignment_jax import errors
from alignment_jax.ops import guards, masking, means, ratios

Scale = Literal["group", "none"]
GrpoAggregation = Literal["grpo", "bnpo", "dr_grpo", "dapo"]
GRPO_AGGREGATIONS: tuple[GrpoAggregation, ...] = get_args(GrpoAggregation)


def grpo_advantages(
  rewards: Float[Array, "*batch K"],
  *,
  scale: Scale = "group",
  epsilon: float = 1e-4,
) -> Float[Array, "*batch K"]:
  """Rewards relative to the other responses to the same prompt.

  Shao et al., 2024 (arXiv:2402.03300), section 4.1.2:
  (R - mean) / (std + epsilon), with the unbiased standard deviation, as in TRL.
  Dr. GRPO (Liu et al., 2025, arXiv:2503.20783) leaves the division out
  (`scale="none"`), because it favors prompts whose rewards hardly differ.

  Args:
    rewards: rewards of K >= 2 responses to each prompt; held constant.
    scale: `group` to divide by the standard deviation, `none` not to.
    epsilon: keeps the division finite, > 0.

  Returns:
    Advantages that sum to 0 over K.

  Raises:
    ValueError: K < 2, an unknown scale, rewards that are not floating-point, or
      epsilon <= 0.

  Example:
    The mean is 2 and the unbiased deviation sqrt((1 + 0 + 1) / 2) = 1.

    >>> advantages = losses.grpo_advantages(jnp.array([3.0, 2.0, 1.0]))
    >>> [f"{x:.3f}" for x in advantages]
    ['1.000', '0.000', '-1.000']
  """
  (rewards,) = guards.same_shape_floats(rewards=rewards)
  guards.positive(epsilon=epsilon)
  if scale not in get_args(Scale):
    raise errors.unknown("scale", scale, get_args(Scale))
  guards.groups(rewards=rewards)
  rewards = jax.lax.stop_gradient(rewards)
  centered = rewards - jnp.mean(rewards, axis=-1, keepdims=True)
  if scale == "none":
    return centered
  deviation = jnp.std(rewards, axis=-1, keepdims=True, ddof=1)
  return centered / (deviation + epsilon)


def grpo_loss(
  policy_logprobs: Float[Array, "*batch T"],
  old_logprobs: Float[Array, "*batch T"],
  reference_logprobs: Float[Array, "*batch T"],
  advantages: Float[Array, "*batch"],
  *,
  clip_low: float,
  clip_high: float,
  beta: float,
) -> Float[Array, "*batch T"]:
  """The clipped surrogate of each token, and a KL penalty.

  Shao et al., 2024 (arXiv:2402.03300), eq. 3 and 4; with clip_high above
  clip_low it is the decoupled clip of DAPO (Yu et al., 2025, arXiv:2503.14476,
  eq. 8):

      -min(r A, clip(r, 1 - clip_low, 1 + clip_high) A) + beta k3
      k3 = exp(d) - d - 1,  d = log reference - log policy

  k3 is >= 0 with mean KL(policy || reference) over the policy's tokens; its
  gradient is that of KL(reference || policy) there.

  Args:
    policy_logprobs: log-probability of each sampled token, in nats.
    old_logprobs: the same under the policy that sampled it; held constant.
    reference_logprobs: the same under the reference; held constant.
    advantages: advantage of each response; held constant.
    clip_low: how far the ratio may fall below 1, in (0, 1).
    clip_high: how far the ratio may rise above 1, > 0.
    beta: weight of the penalty, >= 0.

  Returns:
    One loss per token, also for padding, which `grpo_aggregate` masks.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or a
      coefficient is out of range.

  Example:
    The ratio 2 is clipped to 1.25; d = log 2, so k3 = 2 - log 2 - 1 = 0.3069.

    >>> policy, old = jnp.log(jnp.array([[[0.5]], [[0.25]]]))
    >>> reference = jnp.log(jnp.array([[1.0]]))
    >>> loss = losses.grpo_loss(
    ...   policy, old, reference, jnp.array([1.0]),
    ...   clip_low=0.25, clip_high=0.25, beta=1.0,
    ... )
    >>> f"{loss[0, 0]:.4f}"
    '-0.9431'
  """
  policy_logprobs, old_logprobs, reference_logprobs = guards.same_shape_floats(
    policy_logprobs=policy_logprobs,
    old_logprobs=old_logprobs,
    reference_logprobs=reference_logprobs,
  )
  (advantages,) = guards.floats_of_shape(
    policy_logprobs.shape[:-1],
    "a token of each response",
    advantages=advantages,
  )
  guards.between(0.0, 1.0, clip_low=clip_low)
  guards.positive(clip_high=clip_high)
  guards.non_negative(beta=beta)
  surrogate = ratios.clipped_surrogate(
    policy_logprobs - jax.lax.stop_gradient(old_logprobs),
    jnp.broadcast_to(advantages[..., None], policy_logprobs.shape),
    low=clip_low,
    high=clip_high,
  )
  difference = jax.lax.stop_gradient(reference_logprobs) - policy_logprobs
  return surrogate + beta * (ratios.exp(difference) - difference - 1)


def grpo_aggregate(
  token_losses: Float[Array, "*batch T"],
  mask: Bool[Array, "*batch T"],
  *,
  aggregation: GrpoAggregation,
  max_length: int | None = None,
) -> means.Mean:
  """Average token losses over the batch, as the papers do.

  The denominator decides how much a token of a long response counts:

      grpo     mean over responses of the mean over tokens
      bnpo     sum over tokens / tokens of this batch
      dapo     the same, over all the batches whose means are added
      dr_grpo  sum over tokens / (responses * max_length)

  Shao et al., 2024 (arXiv:2402.03300); DAPO, 2025 (arXiv:2503.14476), eq. 12;
  Dr. GRPO, 2025 (arXiv:2503.20783), whose constant removes the length bias.

  Args:
    token_losses: one number per token.
    mask: which tokens are real; an empty response is not counted.
    aggregation: one of the four names.
    max_length: length of the longest possible response, in tokens; required by
      `dr_grpo`, ignored by the others.

  Returns:
    Total and weight. Means of parts of a batch add up, except for `bnpo`.

  Raises:
    ValueError: an unknown name, a missing max_length, or shapes that differ.

  Example:
    Two tokens, 1 and 2, and one token, 4: (1.5 + 4) / 2, or 7 / (2 * 2).

    >>> tokens = jnp.array([[1.0, 2.0], [4.0, 9.0]])
    >>> mask = jnp.array([[True, True], [True, False]])
    >>> float(losses.grpo_aggregate(tokens, mask, aggregation="grpo").value())
    2.75
    >>> mean = losses.grpo_aggregate(
    ...   tokens, mask, aggregation="dr_grpo", max_length=2
    ... )
    >>> float(mean.value())
    1.75
  """
  (token_losses,) = guards.same_shape_floats(token_losses=token_losses)
  guards.flags_of_shape(token_losses.shape, "token_losses", mask=mask)
  if aggregation not in GRPO_AGGREGATIONS:
    raise errors.unknown("aggregation", aggregation, GRPO_AGGREGATIONS)
  real = jnp.any(mask, axis=-1).astype(token_losses.dtype)
  if aggregation == "grpo":
    return means.weighted_mean(masking.masked_mean(token_losses, mask), real)
  if aggregation == "dr_grpo":
    if max_length is None or max_length < 1:
      raise ValueError(
        f"dr_grpo needs max_length, a number of tokens >= 1, got {max_length}"
      )
    sums = masking.masked_sum(token_losses, mask)
    return means.weighted_mean(sums / max_length, real)
  mean = means.weighted_mean(token_losses, mask.astype(token_losses.dtype))
  if aggregation == "dapo":
    return mean
  # bnpo divides now: each batch counts once, however many tokens it has.
  counted = (mean.weight > 0).astype(token_losses.dtype)
  return means.Mean(mean.value(), counted)
