"""How far a policy has moved, and how well it still predicts people."""

import jax
import numpy as np
from jaxtyping import Array, Float

from alignment_jax import parallel, scoring
from alignment_jax.models import base
from alignment_jax.types import Tokens


def response_logprobs(
  model: base.Model,
  params: base.Params,
  prompt: Tokens,
  responses: Tokens,
  *,
  mesh: jax.sharding.Mesh,
  batch_size: int,
) -> Float[np.ndarray, " n"]:
  """Log-probability of each response, summed over its tokens, in nats."""

  def score(
    params: base.Params, prompt: Tokens, responses: Tokens
  ) -> Float[Array, " batch"]:
    responses = jax.tree.map(lambda a: a[:, None], responses)
    logprobs = scoring.token_logprobs(model, params, prompt, responses)
    return logprobs.sum(axis=(1, 2))

  run = parallel.jit(score, out_shardings=parallel.replicated(mesh))
  return parallel.map_batches(
    lambda *rows: run(params, *rows),
    (prompt, responses),
    mesh=mesh,
    batch_size=batch_size,
  )


def kl_to_reference(
  policy_logprobs: np.ndarray, reference_logprobs: np.ndarray
) -> tuple[float, float]:
  """KL(policy || reference) per response in nats, and its standard error.

  The mean over the policy's own samples of log policy - log reference: unbiased
  (the estimator k1), and so possibly negative by chance.

  Args:
    policy_logprobs: of responses that the policy sampled, [N], in nats.
    reference_logprobs: of the same responses, [N].
  """
  if (
    policy_logprobs.shape != reference_logprobs.shape
    or policy_logprobs.ndim != 1
  ):
    raise ValueError(
      f"log-probabilities {policy_logprobs.shape} of the policy and"
      f" {reference_logprobs.shape} of the reference must both be [N]"
    )
  ratio = policy_logprobs - reference_logprobs
  return float(ratio.mean()), float(ratio.std() / np.sqrt(len(ratio)))


def perplexity(logprobs: np.ndarray, lengths: np.ndarray) -> float:
  """exp of the mean negative log-probability per token, over all responses.

  A long response counts for more than a short one.

  Args:
    logprobs: of each response, summed over its tokens, in nats.
    lengths: tokens of each response.
  """
  return float(np.exp(-logprobs.sum() / max(lengths.sum(), 1)))
