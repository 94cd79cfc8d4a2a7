"""Maximum likelihood, the loss of supervised fine-tuning."""

from jaxtyping import Array, Float

from alignment_jax.ops import guards


def cross_entropy_loss(
  token_logprobs: Float[Array, "*batch"],
) -> Float[Array, "*batch"]:
  """Negative log-likelihood of each token of a demonstration.

  Its mean over real tokens is minimal, and equal to the entropy of the data,
  when the policy is the distribution that the demonstrations come from.

  Args:
    token_logprobs: log-probability of each demonstrated token given what stands
      before it, in nats.

  Returns:
    One loss per token, in nats.

  Raises:
    ValueError: `token_logprobs` is not floating-point.
  """
  (token_logprobs,) = guards.same_shape_floats(token_logprobs=token_logprobs)
  return -token_logprobs
