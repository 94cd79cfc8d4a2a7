"""LD-DPO: scores that depend less on length."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from alignment_jax.ops import guards, masking


def ld_dpo_scores(
  token_logprobs: Float[Array, "*batch T"],
  mask: Bool[Array, "*batch T"],
  common_lengths: Int[Array, "*batch"],
  *,
  alpha: float,
) -> Float[Array, "*batch"]:
  """Sequence log-probability that discounts tokens past the common length.

  Liu et al., 2024 (arXiv:2409.06411): tokens up to the length of the shorter
  response of a pair count in full, later ones count `alpha`. Pass the scores of
  policy and reference to `dpo_loss`.

  Args:
    token_logprobs: log-probability of each token, in nats.
    mask: which tokens are real.
    common_lengths: length of the shorter response of the pair, in tokens.
    alpha: weight of later tokens, in [0, 1]; 1 gives the plain sum.

  Returns:
    One score per response, in nats.

  Raises:
    ValueError: shapes differ, an argument has the wrong dtype, or alpha is out
      of range.

  Example:
    -1 - 2 in full, -4 by half.

    >>> scores = losses.ld_dpo_scores(
    ...   jnp.array([[-1.0, -2.0, -4.0]]), jnp.full((1, 3), True),
    ...   jnp.array([2]), alpha=0.5,
    ... )
    >>> scores.tolist()
    [-5.0]
  """
  (token_logprobs,) = guards.same_shape_floats(token_logprobs=token_logprobs)
  guards.flags_of_shape(token_logprobs.shape, "token_logprobs", mask=mask)
  guards.fraction(alpha=alpha)
  # Counted over real tokens, so that either side may be padded.
  common = masking.positions(mask) < jnp.expand_dims(common_lengths, -1)
  return masking.masked_sum(
    jnp.where(common, token_logprobs, alpha * token_logprobs), mask
  )
