"""Maximum likelihood, the loss of supervised fine-tuning."""

from jaxtyping import Array, Float

from alignment_jax.ops import guards


def cross_entropy_loss(
  token_logprobs: Float[Array, "*batch"],
  token_entropies: Float[Array, "*batch"] | None = None,
  *,
  entropy_weight: float = 0.0,
) -> Float[Array, "*batch"]:
  """Negative log-likelihood of each token of a demonstration.

  Its mean over real tokens is minimal, and equal to the entropy of the data,
  when the policy is the distribution that the demonstrations come from. With
  an entropy weight w (the baseline of Wulfmeier et al., 2024, arXiv:2409.01369)

      -log policy(token) - w entropy

  the optimum is flatter: even where all demonstrations agree, the policy keeps
  some probability on the other tokens.

  Args:
    token_logprobs: log-probability of each demonstrated token given the tokens
      before it, in nats.
    token_entropies: entropy of the policy at the same positions, in nats;
      required if the weight is not 0.
    entropy_weight: w, >= 0.

  Returns:
    One loss per token, in nats.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, the weight is
      negative, or only one of entropies and weight is passed.

  Example:
    2 nats of surprise, less 3 * 0.5 nats of entropy.

    >>> logprobs, entropies = jnp.array([-2.0]), jnp.array([0.5])
    >>> losses.cross_entropy_loss(logprobs).tolist()
    [2.0]
    >>> losses.cross_entropy_loss(
    ...   logprobs, entropies, entropy_weight=3.0
    ... ).tolist()
    [0.5]
  """
  (token_logprobs,) = guards.same_shape_floats(token_logprobs=token_logprobs)
  guards.non_negative(entropy_weight=entropy_weight)
  if token_entropies is None:
    if isinstance(entropy_weight, (int, float)) and entropy_weight == 0:
      return -token_logprobs
    raise ValueError(
      f"entropy_weight is {entropy_weight}, which needs token_entropies"
    )
  (token_entropies,) = guards.floats_of_shape(
    token_logprobs.shape, "token_logprobs", token_entropies=token_entropies
  )
  return -token_logprobs - entropy_weight * token_entropies
