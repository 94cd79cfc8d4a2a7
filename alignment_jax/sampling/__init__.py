"""Generation, token by token.

`distributions` says what the next token is drawn from, a policy or a mixture of
two; `generation` draws until every response has ended.
"""

from alignment_jax.sampling.distributions import (
  NextToken,
  as_distribution,
  geometric_mixture,
  policy,
)
from alignment_jax.sampling.generation import (
  Samples,
  Settings,
  State,
  advance,
  finish,
  generate,
  start,
)

__all__ = [
  "NextToken",
  "Samples",
  "Settings",
  "State",
  "advance",
  "as_distribution",
  "finish",
  "generate",
  "geometric_mixture",
  "policy",
  "start",
]
