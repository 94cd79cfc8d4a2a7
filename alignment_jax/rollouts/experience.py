"""A scored rollout, made ready for a loss."""

from collections.abc import Callable

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from alignment_jax.algorithm import Rollouts
from alignment_jax.models.base import Model
from alignment_jax.rollouts.responses import (
  Sampling,
  sample_policy,
  token_logprobs,
)
from alignment_jax.types import Rollout


@flax.struct.dataclass
class Experience:
  """A judged rollout, ready for a loss.

  Attributes:
    rollout: what was sampled.
    scores: rewards [B, K] with the penalty for a missing end, or preferences
      [B, K, K], P(response i beats response j).
    reference: log-probability of each token under the reference, [B, K, T].
    extra: what else the method computed once for all its epochs.
  """

  rollout: Rollout
  scores: Array
  reference: Float[Array, "B K T"]
  extra: dict[str, Array]


def with_reference(key, policy_params):
  """`init` of a method with a policy and a copy of it as the reference."""
  del key
  # A copy: the train state is donated, and no buffer can be donated twice.
  reference = jax.tree.map(jnp.copy, policy_params)
  return {"policy": policy_params}, {"reference": reference}


def prepare_with_reference(
  model: Model, sampling: Sampling, extra: Callable | None = None
) -> Callable:
  """`Rollouts.prepare`: penalised scores, and the log-probabilities under the
  reference.

  Args:
    model: the network.
    sampling: how the rollout was made.
    extra: (trainable, slow, Experience) -> `Experience.extra`. What needs the
      whole batch, such as whitening, belongs here: `loss` may see parts of it.
  """

  def prepare(trainable, slow, rollout, scores):
    experience = Experience(
      rollout=rollout,
      scores=penalised(scores, rollout.ended, sampling),
      reference=token_logprobs(
        model, slow["reference"], rollout.prompt, rollout.responses, sampling
      ),
      extra={},
    )
    if extra is None:
      return experience
    return experience.replace(extra=extra(trainable, slow, experience))

  return prepare


def penalised(scores, ended, sampling: Sampling):
  """Scores that make a response that did not end worse.

  Rewards [B, K] lose the penalty (Noukhovitch et al., 2024, arXiv:2410.18252).
  Of preferences [B, K, K] the one that ended wins.
  """
  if not sampling.missing_eos_penalty:
    return scores
  if scores.ndim == 2:
    return jnp.where(ended, scores, scores - sampling.missing_eos_penalty)
  first, second = ended[:, :, None], ended[:, None, :]
  return jnp.where(
    first == second, scores, first.astype(scores.dtype) * jnp.ones_like(scores)
  )


def sampled_from_policy(
  model: Model,
  sampling: Sampling,
  *,
  feedback: str = "reward",
  sample: Callable | None = None,
  extra: Callable | None = None,
) -> Rollouts:
  """The usual way: sample the policy, judge, score under the reference."""
  return Rollouts(
    sample or sample_policy(model, sampling),
    feedback,
    prepare_with_reference(model, sampling, extra),
  )
