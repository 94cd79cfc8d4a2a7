"""Self-improving robust preference optimization."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from alignment_jax.ops import guards, ratios


def srpo_loss(
  policy_chosen: Float[Array, "*batch"],
  policy_rejected: Float[Array, "*batch"],
  policy_chosen_given_rejected: Float[Array, "*batch"],
  policy_chosen_given_chosen: Float[Array, "*batch"],
  policy_rejected_given_rejected: Float[Array, "*batch"],
  policy_rejected_given_chosen: Float[Array, "*batch"],
  reference_chosen: Float[Array, "*batch"],
  reference_rejected: Float[Array, "*batch"],
  reference_chosen_given_rejected: Float[Array, "*batch"],
  reference_chosen_given_chosen: Float[Array, "*batch"],
  reference_rejected_given_rejected: Float[Array, "*batch"],
  reference_rejected_given_chosen: Float[Array, "*batch"],
  *,
  beta: float,
  alpha: float,
) -> Float[Array, "*batch"]:
  """Train a reviser of responses, and a generator that needs no revision.

  Choi et al., 2024 (arXiv:2406.01660), the sampled loss. With rho the
  log-ratio to the reference of a plain response y or of a revision y2 | y1, w
  the chosen and l the rejected response:

      (1 - alpha) (beta [rho(w|l) + rho(w) - rho(l|w) - rho(l)] - 1)^2
      + alpha (1/2 - beta [rho(w|l) - rho(l|l)])^2
      + alpha (1/2 - beta [rho(w|w) - rho(l|w)])^2

  At the optimum the reviser is reference(y2|y1) exp(P(y2 beats y1) / beta) /
  Z(y1) and the generator is reference(y) / Z(y), up to its normalizer, whatever
  distribution the pairs were drawn from.

  Args:
    policy_chosen: log-probability of the preferred response, in nats, summed
      over its tokens, as are all others.
    policy_rejected: the rejected response.
    policy_chosen_given_rejected: the preferred response after a prompt that
      shows the rejected one.
    policy_chosen_given_chosen: the preferred one after itself.
    policy_rejected_given_rejected: the rejected one after itself.
    policy_rejected_given_chosen: the rejected one after the preferred one.
    reference_chosen: the six again under the reference, held constant.
    reference_rejected: see `policy_rejected`.
    reference_chosen_given_rejected: see `policy_chosen_given_rejected`.
    reference_chosen_given_chosen: see `policy_chosen_given_chosen`.
    reference_rejected_given_rejected: see `policy_rejected_given_rejected`.
    reference_rejected_given_chosen: see `policy_rejected_given_chosen`.
    beta: strength of the KL regularization, > 0, per nat.
    alpha: weight of the reviser's terms, in [0, 1].

  Returns:
    One loss per pair, >= 0; 1 - alpha / 2 where the policy equals the
    reference.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or a
      coefficient is out of range.

  Example:
    rho = 1 for the plain chosen response and 0 elsewhere, beta = 2:
    (3/4) (2 - 1)^2 + (1/4) (1/4 + 1/4).

    >>> arrays = jnp.zeros(12).at[0].set(1.0)
    >>> float(losses.srpo_loss(*arrays, beta=2.0, alpha=0.25))
    0.875
  """
  # All twelve in one check, so that the error names the argument at fault.
  guards.same_shape_floats(
    policy_chosen=policy_chosen,
    policy_rejected=policy_rejected,
    policy_chosen_given_rejected=policy_chosen_given_rejected,
    policy_chosen_given_chosen=policy_chosen_given_chosen,
    policy_rejected_given_rejected=policy_rejected_given_rejected,
    policy_rejected_given_chosen=policy_rejected_given_chosen,
    reference_chosen=reference_chosen,
    reference_rejected=reference_rejected,
    reference_chosen_given_rejected=reference_chosen_given_rejected,
    reference_chosen_given_chosen=reference_chosen_given_chosen,
    reference_rejected_given_rejected=reference_rejected_given_rejected,
    reference_rejected_given_chosen=reference_rejected_given_chosen,
  )
  guards.positive(beta=beta)
  guards.fraction(alpha=alpha)
  chosen = ratios.of_response(policy_chosen, reference_chosen)
  rejected = ratios.of_response(policy_rejected, reference_rejected)
  chosen_given_rejected = ratios.of_response(
    policy_chosen_given_rejected, reference_chosen_given_rejected
  )
  chosen_given_chosen = ratios.of_response(
    policy_chosen_given_chosen, reference_chosen_given_chosen
  )
  rejected_given_rejected = ratios.of_response(
    policy_rejected_given_rejected, reference_rejected_given_rejected
  )
  rejected_given_chosen = ratios.of_response(
    policy_rejected_given_chosen, reference_rejected_given_chosen
  )
  joint = (chosen_given_rejected - rejected_given_chosen) + (chosen - rejected)
  after_rejected = chosen_given_rejected - rejected_given_rejected
  after_chosen = chosen_given_chosen - rejected_given_chosen
  generator = jnp.square(beta * joint - 1)
  reviser = jnp.square(0.5 - beta * after_rejected) + jnp.square(
    0.5 - beta * after_chosen
  )
  return (1 - alpha) * generator + alpha * reviser
