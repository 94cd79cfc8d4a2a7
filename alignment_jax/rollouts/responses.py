"""Responses sampled to learn from, and their log-probabilities.

Every log-probability here is at the temperature of sampling, so that the
policy that is trained is the one that was sampled.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from alignment_jax import sampling as engine
from alignment_jax import scoring
from alignment_jax.models.base import Model
from alignment_jax.ops import guards, masking
from alignment_jax.types import Demonstration, Rollout, Tokens


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampling:
  """How the responses are sampled that a method learns from.

  Nothing is cut (no top-k, no top-p): the gradient of a policy needs samples of
  that policy.

  Attributes:
    samples: K, responses of the policy to each prompt.
    max_tokens: length of a response, its end-of-sequence token included.
    temperature: logits are divided by it, in sampling and in learning.
    eos_id: ends a response.
    missing_eos_penalty: taken off the reward of a response that did not end;
      it never wins a comparison with one that did if this is above 0.
  """

  samples: int
  max_tokens: int
  temperature: float
  eos_id: int
  missing_eos_penalty: float = 0.0

  def __post_init__(self):
    guards.positive(temperature=self.temperature)
    guards.non_negative(missing_eos_penalty=self.missing_eos_penalty)
    if self.samples < 1 or self.max_tokens < 1:
      raise ValueError(
        "samples and max_tokens must be at least 1, got"
        f" {self.samples} and {self.max_tokens}"
      )

  def at_least(self, samples: int, method: str) -> None:
    """Refuses fewer samples than the method needs.

    Raises:
      ValueError: says how many it needs.
    """
    if self.samples < samples:
      raise ValueError(
        f"{method} needs sampling.samples >= {samples}, got {self.samples}"
      )


def respond(
  model: Model | engine.NextToken,
  params,
  prompt: Tokens,
  key,
  sampling: Sampling,
  samples: int,
) -> Tokens:
  """`samples` responses to each prompt, [B, K, T]."""
  return engine.generate(
    model,
    params,
    prompt,
    key,
    eos_id=sampling.eos_id,
    max_tokens=sampling.max_tokens,
    samples=samples,
    temperature=sampling.temperature,
  ).responses


def rollout_of(
  model: Model,
  params,
  prompt: Tokens,
  responses: Tokens,
  sampling: Sampling,
  *,
  demonstration: Tokens | None = None,
) -> Rollout:
  """Responses with their log-probabilities under these parameters.

  They are computed anew from the whole sequence, as the loss will do it, so
  that the ratio to the policy that sampled is 1 where it has not moved.
  """
  return Rollout(
    prompt=prompt,
    responses=responses,
    logprobs=token_logprobs(model, params, prompt, responses, sampling),
    ended=jnp.any(responses.mask & (responses.ids == sampling.eos_id), axis=-1),
    version=jnp.zeros(prompt.ids.shape[:1], jnp.int32),
    demonstration=demonstration,
  )


def token_logprobs(
  model: Model, params, prompt: Tokens, responses: Tokens, sampling: Sampling
) -> Float[Array, "B K T"]:
  """Log-probabilities at the temperature of sampling."""
  return scoring.token_logprobs(
    model, params, prompt, responses, temperature=sampling.temperature
  )


def sample_policy(model: Model, sampling: Sampling) -> Callable:
  """`Rollouts.sample`: K responses of the policy to each prompt.

  A demonstration in the batch is handed on in the rollout.
  """

  def sample(trainable, slow, batch, key):
    del slow
    policy = trainable["policy"]
    responses = respond(
      model, policy, batch.prompt, key, sampling, sampling.samples
    )
    return rollout_of(
      model,
      policy,
      batch.prompt,
      responses,
      sampling,
      demonstration=(
        batch.response if isinstance(batch, Demonstration) else None
      ),
    )

  return sample


def with_demonstration(rollout: Rollout) -> Tokens:
  """The responses and, as the last of each prompt, the demonstration.

  Both are padded to the longer of the two, [B, K + 1, T].
  """
  longest = max(
    tokens.ids.shape[-1]
    for tokens in (rollout.responses, rollout.demonstration)
  )

  def join(sampled, written):
    return jnp.concatenate(
      [_widened(sampled, longest), _widened(written[:, None], longest)], axis=1
    )

  return jax.tree.map(join, rollout.responses, rollout.demonstration)


def take_responses(rollout: Rollout, count: int) -> Rollout:
  """The rollout of the first `count` responses to each prompt."""

  def cut(array):
    return array[:, :count]

  return rollout.replace(
    responses=jax.tree.map(cut, rollout.responses),
    logprobs=cut(rollout.logprobs),
    ended=cut(rollout.ended),
  )


def sequence_logprobs(tokens: Float[Array, "B K T"], rollout: Rollout):
  """Log-probability of each response, [B, K]."""
  return masking.masked_sum(tokens, rollout.responses.mask)


def _widened(array, length):
  return jnp.pad(array, [(0, 0), (0, 0), (0, length - array.shape[-1])])
