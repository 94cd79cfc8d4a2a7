"""SRPO's two policies in closed form: a generator and a reviser.

`log_reviser[..., y1, y2]` is the log-probability of the response y2 after the
response y1 was shown; each row is a policy. Choi et al., 2024
(arXiv:2406.01660): min over the generator, max over the reviser of

    P(y2 > y1) - beta KL(reviser, ref | y1) + beta KL(generator, ref).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from alignment_jax.ops import guards
from alignment_jax.tabular import bandits, checks


def srpo_reviser(
  log_reviser_reference: Float[Array, "*batch A A"],
  preferences: Float[Array, "*batch A A"],
  *,
  beta: bandits.Scalar,
) -> Float[Array, "*batch A A"]:
  """The best reviser: ref(y2 | y1) exp(P(y2 > y1) / beta) / Z(y1).

  Args:
    log_reviser_reference: log ref(y2 | y1), a policy in each row.
    preferences: P[i, j] = probability that i is preferred to j.
    beta: strength of the regularization, > 0, win rate per nat.

  Raises:
    ValueError: shapes differ, beta <= 0, or `preferences` is not a preference
      matrix.
  """
  preferences, log_reviser_reference = _checked(
    preferences, log_reviser_reference, beta
  )
  gains = jnp.swapaxes(preferences, -1, -2)  # [y1, y2]: y2 beats y1
  return bandits.tilted(log_reviser_reference, gains, tau=beta)


def srpo_generator(
  log_reference: Float[Array, "*batch A"],
  log_reviser_reference: Float[Array, "*batch A A"],
  preferences: Float[Array, "*batch A A"],
  *,
  beta: bandits.Scalar,
) -> Float[Array, "*batch A"]:
  """The best generator against the best reviser: proportional to ref(y) / Z(y).

  Z(y) = E_{y2 ~ ref(. | y)} exp(P(y2 > y) / beta): responses that are easy to
  improve lose mass. No behavior policy appears.

  Args:
    log_reference: log ref(y), with no response shown.
    log_reviser_reference: log ref(y2 | y1), a policy in each row.
    preferences: P[i, j] = probability that i is preferred to j.
    beta: strength of the regularization, > 0, win rate per nat.

  Raises:
    ValueError: shapes or dtypes differ, beta <= 0, or `preferences` is not a
      preference matrix.
  """
  preferences, log_reference = checks.game(
    preferences, log_reference=log_reference
  )
  preferences, log_reviser_reference = _checked(
    preferences, log_reviser_reference, beta
  )
  gains = jnp.swapaxes(preferences, -1, -2)
  value = bandits.regularized_value(log_reviser_reference, gains, tau=beta)
  return jax.nn.log_softmax(log_reference - value / beta, axis=-1)


def _checked(
  preferences: Array, log_reviser_reference: Array, beta: bandits.Scalar
) -> tuple[Float[Array, "*batch A A"], Float[Array, "*batch A A"]]:
  (preferences,) = checks.game(preferences)
  guards.positive(beta=beta)
  preferences, log_reviser_reference = guards.same_shape_floats(
    preferences=preferences, log_reviser_reference=log_reviser_reference
  )
  return preferences, log_reviser_reference
