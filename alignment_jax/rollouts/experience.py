"""A rollout and what was said of it, made ready for a loss."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.struct
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key, PyTree

from alignment_jax.algorithm import FeedbackKind, Prepare, Rollouts, Sample
from alignment_jax.models.base import Model
from alignment_jax.rollouts.responses import (
  Sampling,
  has_ended,
  sample_policy,
  token_logprobs,
)
from alignment_jax.types import Feedback, Rollout


@flax.struct.dataclass
class Experience:
  """A rollout with its feedback, ready for a loss.

  Attributes:
    rollout: what was sampled.
    feedback: what the judge returned, less the penalty for a missing end.
    reference: log-probability of each token of the responses under the
      reference, [B, K, T].
    extra: what else the method computed once for all its epochs.
  """

  rollout: Rollout
  feedback: Feedback
  reference: Float[Array, "B K T"]
  extra: dict[str, Any]


# (trainable, slow, Experience) -> `Experience.extra`
Extra = Callable[[PyTree, PyTree, Experience], dict[str, Any]]


def with_reference(
  key: Key[Array, ""] | None, policy_params: PyTree
) -> tuple[dict[str, PyTree], dict[str, PyTree]]:
  """`init` of a method with a policy, and the same as the reference."""
  del key
  return {"policy": policy_params}, {"reference": policy_params}


def prepare_with_reference(
  model: Model, sampling: Sampling, extra: Extra | None = None
) -> Prepare:
  """`Rollouts.prepare`: penalized feedback, and the log-probabilities under the
  reference.

  Args:
    model: the network.
    sampling: how the rollout was made.
    extra: (trainable, slow, Experience) -> `Experience.extra`. What needs the
      whole batch, such as whitening, belongs here: `loss` may see parts of it.
  """

  def prepare(
    trainable: PyTree, slow: PyTree, rollout: Rollout, feedback: Feedback
  ) -> Experience:
    experience = Experience(
      rollout=rollout,
      feedback=penalized(feedback, rollout, sampling),
      reference=token_logprobs(
        model, slow["reference"], rollout.prompt, rollout.responses, sampling
      ),
      extra={},
    )
    if extra is None:
      return experience
    return dataclasses.replace(
      experience, extra=extra(trainable, slow, experience)
    )

  return prepare


def penalized(
  feedback: Feedback, rollout: Rollout, sampling: Sampling
) -> Feedback:
  """Feedback that makes a response that did not end worse, anybody's.

  Rewards lose `sampling.missing_eos_penalty` (Noukhovitch et al., 2024,
  arXiv:2410.18252). Of two responses the one that ended is preferred. The
  reward of a demonstration is left as it is.
  """
  if not sampling.missing_eos_penalty:
    return feedback
  if feedback.rewards is not None:
    feedback = dataclasses.replace(
      feedback,
      rewards=penalized_rewards(feedback.rewards, rollout.ended, sampling),
    )
  if feedback.opponents is not None:
    ended = has_ended(rollout.need("opponents"), sampling.eos_id)
    feedback = dataclasses.replace(
      feedback,
      opponents=penalized_rewards(feedback.opponents, ended, sampling),
    )
  if feedback.preferences is not None:
    preferences = feedback.preferences
    first = rollout.ended[:, :, None]
    others = rollout.ended
    if rollout.opponents is not None:
      others = has_ended(rollout.opponents, sampling.eos_id)
    second = others[:, None, :]
    certain = jnp.broadcast_to(first, preferences.shape)
    feedback = dataclasses.replace(
      feedback,
      preferences=jnp.where(
        first == second, preferences, certain.astype(preferences.dtype)
      ),
    )
  return feedback


def penalized_rewards(
  rewards: Float[Array, "B K"], ended: Bool[Array, "B K"], sampling: Sampling
) -> Float[Array, "B K"]:
  """Rewards, less the penalty where a response did not end."""
  return jnp.where(ended, rewards, rewards - sampling.missing_eos_penalty)


def sampled_from_policy(
  model: Model,
  sampling: Sampling,
  *,
  feedback: FeedbackKind = "reward",
  sample: Sample | None = None,
  extra: Extra | None = None,
) -> Rollouts:
  """The usual way: sample the policy, judge, score under the reference."""
  return Rollouts(
    sample or sample_policy(model, sampling),
    feedback,
    prepare_with_reference(model, sampling, extra),
  )
