"""The best of n draws from a reference policy, exactly, ties included.

Sessa et al., 2024 (arXiv:2407.14622, BOND). Arguments that recur:
`log_reference [*batch, A]` in nats; `scores [*batch, A]`, of which only the
order matters; `n` draws with replacement, >= 1, a Python integer. Ties for the
top score are broken in proportion to the reference.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from alignment_jax.ops import guards
from alignment_jax.tabular import checks


def best_of_n(
  log_reference: Float[Array, "*batch A"],
  scores: Float[Array, "*batch A"],
  *,
  n: int,
) -> Float[Array, "*batch A"]:
  """Log-probabilities of the best of n draws.

  Sessa et al., 2024: ref(y) p_le^(n-1) sum_{i=1..n} (p_lt / p_le)^(i-1), where
  p_lt(y) and p_le(y) are the reference's mass of lower, and of lower or equal,
  scores.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or n < 1.
  """
  log_reference, scores = guards.same_shape_floats(
    log_reference=log_reference, scores=scores
  )
  checks.at_least(1, n=n)
  log_at_most, log_ties = _log_factors(log_reference, scores, n)
  return log_reference + (n - 1) * log_at_most + log_ties


def bond_rewards(
  log_reference: Float[Array, "*batch A"],
  scores: Float[Array, "*batch A"],
  *,
  n: int,
) -> Float[Array, "*batch A"]:
  """The reward whose regularized optimum, at tau = 1 / (n - 1), is best-of-n.

  Sessa et al., 2024: log p_le + log(sum_i (p_lt / p_le)^(i-1)) / (n - 1),
  in nats. Its normalizer is 1: tau log E_ref exp(r / tau) = 0.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or n < 2.
  """
  log_reference, scores = guards.same_shape_floats(
    log_reference=log_reference, scores=scores
  )
  checks.at_least(2, n=n)
  log_at_most, log_ties = _log_factors(log_reference, scores, n)
  return log_at_most + log_ties / (n - 1)


def _log_factors(
  log_reference: Float[Array, "*batch A"],
  scores: Float[Array, "*batch A"],
  n: int,
) -> tuple[Float[Array, "*batch A"], Float[Array, "*batch A"]]:
  """log p_le and log sum_{i<n} (p_lt / p_le)^i, both [*batch, A]."""
  mass = log_reference[..., None, :]  # [*batch, y, y']
  score, other = scores[..., :, None], scores[..., None, :]

  def log_mass(counted: Bool[Array, "*batch A A"]) -> Float[Array, "*batch A"]:
    return jax.nn.logsumexp(jnp.where(counted, mass, -jnp.inf), axis=-1)

  log_at_most = log_mass(other <= score)
  # Below and at an action without mass there may be no mass at all: 0 / 0.
  empty = log_at_most == -jnp.inf
  ratio = jnp.exp(log_mass(other < score) - jnp.where(empty, 0, log_at_most))
  ones = jnp.ones_like(ratio)
  # Horner's rule: a closed geometric sum would divide 0 by 0 at ratio 1.
  ties = jax.lax.fori_loop(1, n, lambda _, total: 1 + ratio * total, ones)
  return log_at_most, jnp.log(ties)
