"""What methods that sample while they learn share.

A rollout is K responses to each prompt. Every log-probability here is at the
temperature of sampling, so that the policy that is trained is the one that was
sampled.
"""

import dataclasses
from collections.abc import Callable

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from alignment_jax import sampling as engine
from alignment_jax import scoring
from alignment_jax.algorithms import base
from alignment_jax.models.base import Model
from alignment_jax.ops import divergences, guards, masking
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
  """`Collect.sample`: K responses of the policy to each prompt.

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


def prepare_with_reference(
  model: Model, sampling: Sampling, extra: Callable | None = None
) -> Callable:
  """`Collect.prepare`: penalised scores, and the log-probabilities under the
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


def collect(
  model: Model,
  sampling: Sampling,
  *,
  wants: str = "reward",
  sample: Callable | None = None,
  extra: Callable | None = None,
) -> base.Collect:
  """The usual way: sample the policy, judge, score under the reference."""
  return base.Collect(
    sample or sample_policy(model, sampling),
    wants,
    prepare_with_reference(model, sampling, extra),
  )


def first(rollout: Rollout, count: int) -> Rollout:
  """The rollout of the first `count` responses to each prompt."""

  def cut(array):
    return array[:, :count]

  return rollout.replace(
    responses=jax.tree.map(cut, rollout.responses),
    logprobs=cut(rollout.logprobs),
    ended=cut(rollout.ended),
  )


def sequence(tokens: Float[Array, "B K T"], rollout: Rollout):
  """Log-probability of each response, [B, K]."""
  return masking.masked_sum(tokens, rollout.responses.mask)


def mean(values: Array) -> masking.Mean:
  """The plain mean of numbers per response or prompt."""
  return masking.weighted(values, jnp.ones_like(values))


def report(
  experience: Experience, policy: Float[Array, "B K T"]
) -> base.Metrics:
  """What every online method says about a batch: `drift` and `verdicts`."""
  return {
    **drift(experience.rollout, experience.reference, policy),
    **verdicts(experience.scores),
  }


def report_elsewhere(
  experience: Experience, policy: Float[Array, "B K T"]
) -> base.Metrics:
  """`report` on responses that another policy sampled.

  No KL or entropy of the policy can be read off them: the mean log-ratio to the
  reference is called `log_ratio`.
  """
  metrics = report(experience, policy)
  del metrics["entropy"]
  return {"log_ratio": metrics.pop("kl"), **metrics}


def drift(
  rollout: Rollout,
  reference: Float[Array, "B K T"],
  policy: Float[Array, "B K T"],
) -> base.Metrics:
  """How far the policy is from its reference, and from who sampled.

  `ratio/...` compare the policy with the parameters under which the rollout was
  scored: mean ratio and effective sample size of responses, mean absolute
  log-ratio of tokens.
  """
  mask = rollout.responses.mask
  now = sequence(policy, rollout)
  moved = now - sequence(rollout.logprobs, rollout)
  flat = moved.reshape(-1)
  size = divergences.effective_sample_size(flat)
  count = jnp.asarray(flat.shape[0], jnp.float32)
  mismatch = jnp.where(mask, jnp.abs(policy - rollout.logprobs), 0.0)
  metrics = {
    "kl": mean(now - sequence(reference, rollout)),
    "entropy": mean(-now),
    "responses/length": mean(masking.lengths(mask).astype(jnp.float32)),
    "responses/ended": mean(rollout.ended.astype(jnp.float32)),
    "ratio/mean": mean(jnp.exp(jnp.clip(moved, -20.0, 20.0))),
    "ratio/effective_sample_size": masking.Mean(size * count, count),
    "ratio/logprob_mismatch": masking.weighted(
      mismatch, mask.astype(jnp.float32)
    ),
  }
  return jax.tree.map(jax.lax.stop_gradient, metrics)


def verdicts(scores: Array) -> base.Metrics:
  """What the judge said of a batch: rewards [B, K] or preferences.

  A single response has none to differ from: no `spread` then.
  """
  if scores.ndim == 2 and scores.shape[1] == 1:
    return {"rewards/mean": mean(scores)}
  if scores.ndim == 2:
    spread = jnp.max(scores, axis=-1) - jnp.min(scores, axis=-1)
    return {
      "rewards/mean": mean(scores),
      "rewards/spread": mean(spread),
      "rewards/all_equal": mean((spread == 0).astype(jnp.float32)),
    }
  undecided = jnp.abs(scores[:, 0, 1] - 0.5) < 1e-6
  return {
    "preferences/first": mean(scores[:, 0, 1]),
    "preferences/undecided": mean(undecided.astype(jnp.float32)),
  }


def _widened(array, length):
  return jnp.pad(array, [(0, 0), (0, 0), (0, length - array.shape[-1])])
