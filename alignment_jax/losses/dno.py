"""Direct Nash optimization."""

import jax
from jaxtyping import Array, Float

from alignment_jax.ops import guards, ratios


def dno_loss(
  policy_first: Float[Array, "*batch"],
  policy_second: Float[Array, "*batch"],
  previous_first: Float[Array, "*batch"],
  previous_second: Float[Array, "*batch"],
  rewards_first: Float[Array, "*batch"],
  rewards_second: Float[Array, "*batch"],
  *,
  eta: float,
) -> Float[Array, "*batch"]:
  """Logistic regression on soft labels from win rates.

  Rosset et al., 2024 (arXiv:2404.03715). With d the margin of the log-ratios
  to the previous iteration's policy, and r a response's expected win rate
  against that policy:

      -sigmoid(r1 - r2) log sigmoid(eta d)
      - sigmoid(r2 - r1) log sigmoid(-eta d)

  The minimum is at eta d = r1 - r2: pi_{t+1} ~ pi_t exp(r / eta).

  Args:
    policy_first: log-probability of the first response, in nats, summed over
      its tokens. Likewise the next three.
    policy_second: the second response under the policy.
    previous_first: the first response under the previous iteration's policy;
      held constant.
    previous_second: the second response under it; held constant.
    rewards_first: win rate of the first response; held constant.
    rewards_second: win rate of the second response; held constant.
    eta: strength of the regularization towards the previous policy, > 0.

  Returns:
    One loss per pair, in nats; symmetric in the two responses.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or eta <= 0.

  Example:
    At the minimum eta d = r1 - r2 = 1 the loss is the entropy of a coin with
    probability s = sigmoid(1): log(1 + e) - s.

    >>> arrays = jnp.array([-1.0, -1.5, -1.0, -1.0, 1.0, 0.0])
    >>> f"{losses.dno_loss(*arrays, eta=2.0):.4f}"
    '0.5822'
  """
  (
    policy_first,
    policy_second,
    previous_first,
    previous_second,
    rewards_first,
    rewards_second,
  ) = guards.same_shape_floats(
    policy_first=policy_first,
    policy_second=policy_second,
    previous_first=previous_first,
    previous_second=previous_second,
    rewards_first=rewards_first,
    rewards_second=rewards_second,
  )
  guards.positive(eta=eta)
  logit = eta * (
    ratios.of_response(policy_first, previous_first)
    - ratios.of_response(policy_second, previous_second)
  )
  label = jax.nn.sigmoid(jax.lax.stop_gradient(rewards_first - rewards_second))
  return -label * jax.nn.log_sigmoid(logit) - (1 - label) * jax.nn.log_sigmoid(
    -logit
  )
