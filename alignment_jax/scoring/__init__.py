"""The only place where model output meets token ids.

Every loss takes what comes from here, in response coordinates, `[B, K, T]` for
K responses to each of B prompts: numbers of each token (`tokens`), of each
state (`states`), and of two responses that are read together (`comparisons`).
The prompt is read once for all K.
"""

from alignment_jax.scoring.comparisons import (
  Template,
  pairwise_prompt,
  preference_logits,
  preferences,
  swap_averaged,
  template_of,
)
from alignment_jax.scoring.states import (
  POOLINGS,
  Values,
  response_state,
  rewards,
  token_values,
)
from alignment_jax.scoring.tokens import (
  Statistic,
  entropy,
  is_greedy,
  logit,
  logprob,
  response_hidden,
  token_logprobs,
  token_statistics,
)

__all__ = [
  "POOLINGS",
  "Statistic",
  "Template",
  "Values",
  "entropy",
  "is_greedy",
  "logit",
  "logprob",
  "pairwise_prompt",
  "preference_logits",
  "preferences",
  "response_hidden",
  "response_state",
  "rewards",
  "swap_averaged",
  "template_of",
  "token_logprobs",
  "token_statistics",
  "token_values",
]
