"""What both forms of inverse soft-Q learning read off a network."""

from typing import Any

from jaxtyping import Array, Float

from alignment_jax import scoring
from alignment_jax.models.base import Model, Params
from alignment_jax.types import Tokens


def q_and_values(
  model: Model,
  params: Params,
  prompt: Tokens,
  responses: Tokens,
  **options: Any,
) -> tuple[Float[Array, "B K T"], Float[Array, "B K T"]]:
  """Logit of each token, and the logsumexp of the logits beside it.

  Args and options are those of `scoring.token_statistics`.
  """
  chosen_q, logprobs = scoring.token_statistics(
    model, params, prompt, responses, scoring.logit, scoring.logprob, **options
  )
  return chosen_q, chosen_q - logprobs
