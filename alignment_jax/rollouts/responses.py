"""Responses sampled to learn from, and their log-probabilities.

Every log-probability here is at the temperature of sampling, so that the
policy that is trained is the one that was sampled.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key, PyTree

from alignment_jax import scoring
from alignment_jax.algorithm import Sample
from alignment_jax.models.base import Model
from alignment_jax.ops import guards, masking
from alignment_jax.sampling import NextToken, generate
from alignment_jax.types import Demonstration, Prompts, Rollout, Tokens


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

  def __post_init__(self) -> None:
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
  model: Model | NextToken,
  params: PyTree,
  prompt: Tokens,
  key: Key[Array, ""],
  sampling: Sampling,
  samples: int,
) -> Tokens:
  """`samples` responses to each prompt, [B, K, T]."""
  return generate(
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
  params: PyTree,
  prompt: Tokens,
  responses: Tokens,
  sampling: Sampling,
  *,
  opponents: Tokens | None = None,
  demonstration: Tokens | None = None,
) -> Rollout:
  """Responses with their log-probabilities under these parameters.

  They are computed anew from the whole sequence, as the loss will do it, so
  that the ratio to the policy that sampled is 1 where it has not moved. What
  opponents or a person responded is handed on and not scored.
  """
  return Rollout(
    prompt=prompt,
    responses=responses,
    logprobs=token_logprobs(model, params, prompt, responses, sampling),
    ended=has_ended(responses, sampling.eos_id),
    # Known to the host alone; `batch_sources` fills it in.
    version=jnp.zeros(prompt.ids.shape[:1], jnp.int32),
    opponents=opponents,
    demonstration=demonstration,
  )


def has_ended(responses: Tokens, eos_id: int) -> Bool[Array, "B K"]:
  """Whether each response has an end-of-sequence token."""
  return jnp.any(responses.mask & (responses.ids == eos_id), axis=-1)


def token_logprobs(
  model: Model,
  params: PyTree,
  prompt: Tokens,
  responses: Tokens,
  sampling: Sampling,
) -> Float[Array, "B K T"]:
  """Log-probabilities at the temperature of sampling."""
  return scoring.token_logprobs(
    model, params, prompt, responses, temperature=sampling.temperature
  )


def sample_policy(model: Model, sampling: Sampling) -> Sample:
  """`Rollouts.sample`: K responses of the policy to each prompt.

  A demonstration in the batch is handed on in the rollout.
  """

  def sample(
    trainable: PyTree,
    slow: PyTree,
    batch: Prompts | Demonstration,
    key: Key[Array, ""],
  ) -> Rollout:
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


def in_one_pass(
  function: Callable[[Tokens], PyTree], **parts: Tokens
) -> dict[str, Any]:
  """A function of responses, of several sets of them at once, by their names.

  The model then reads each prompt once for all of them.

  Args:
    function: responses [B, N, T] -> arrays [B, N] or [B, N, T], or a tree of
      such.
    **parts: responses to the same prompts, [B, N, T] each; the numbers N and
      the lengths T may differ.

  Returns:
    For each name what `function` returns of that part, as long as the part.
  """
  longest = max(tokens.ids.shape[-1] for tokens in parts.values())

  def join(*arrays: Array | np.ndarray) -> Array | np.ndarray:
    # What is on the host stays there: a judge of texts may read it.
    array = np if isinstance(arrays[0], np.ndarray) else jnp
    widened = [
      array.pad(a, [(0, 0), (0, 0), (0, longest - a.shape[-1])]) for a in arrays
    ]
    return array.concatenate(widened, axis=1)

  together = jax.tree.map(join, *parts.values())
  values = function(together)
  results, start = {}, 0
  for name, tokens in parts.items():
    _, count, length = tokens.ids.shape
    results[name] = jax.tree.map(
      lambda a, rows=slice(start, start + count), length=length: (
        a[:, rows] if a.ndim == 2 else a[:, rows, :length]
      ),
      values,
    )
    start += count
  return results


def sequence_logprobs(
  tokens: Float[Array, "B K T"], responses: Tokens
) -> Float[Array, "B K"]:
  """Log-probability of each response, from those of its tokens."""
  return masking.masked_sum(tokens, responses.mask)
