"""Length-desensitized scores for DPO."""

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
  """Sequence log-probability with tokens past the common length played down.

  Liu et al., 2024 (arXiv:2409.06411): the length that both responses of a
  pair have in common counts in full, what is longer counts `alpha`. Put the
  scores of policy and reference into `dpo_loss`.

  Args:
    token_logprobs: log-probability of each token, in nats.
    mask: which tokens are real.
    common_lengths: the smaller of the two lengths, in tokens.
    alpha: weight of the tokens after it, in [0, 1]; 1 gives the plain sum.

  Returns:
    One score per response, in nats.

  Raises:
    ValueError: shapes differ, an argument has the wrong dtype, or alpha is out
      of range.
  """
  (token_logprobs,) = guards.same_shape_floats(token_logprobs=token_logprobs)
  guards.flags_of_shape(token_logprobs.shape, "token_logprobs", mask=mask)
  guards.fraction(alpha=alpha)
  # Counted over real tokens, whichever side is padded.
  common = masking.positions(mask) < jnp.expand_dims(common_lengths, -1)
  return masking.masked_sum(
    jnp.where(common, token_logprobs, alpha * token_logprobs), mask
  )
