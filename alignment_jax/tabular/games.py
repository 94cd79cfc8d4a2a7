"""Preference games: two policies, each rewarded when its response is preferred.

A game is P `[*batch, A, A]`, P[i, j] = probability that i is preferred to j,
with P + P^T = 1 and 1/2 on the diagonal. Policies are log-probabilities
`[*batch, A]`. Leading axes are independent games. In the regularized game each
player also pays tau times its KL from the reference. Exploitability is by how
much a best response wins more than 1/2: zero at a Nash equilibrium, in units of
win rate.
"""

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float

from alignment_jax.ops import guards
from alignment_jax.tabular import bandits, checks

Scalar = bandits.Scalar


def random_game(
  key: Array, *, actions: int, batch: tuple[int, ...] = ()
) -> Float[Array, "*games A A"]:
  """Draws games with independent uniform P[i, j] for i < j; most are cyclic.

  Args:
    key: consumed.
    actions: A, at least 1.
    batch: leading axes, one game each.

  Raises:
    ValueError: actions < 1.
  """
  checks.at_least(1, actions=actions)
  draws = jax.random.uniform(key, (*batch, actions, actions))
  above = jnp.triu(draws, 1)
  below = jnp.swapaxes(jnp.triu(1 - draws, 1), -1, -2)
  ties = jnp.eye(actions, dtype=draws.dtype) / 2
  return above + below + jnp.broadcast_to(ties, draws.shape)


def cyclic_game(actions: int, *, win: float = 1.0) -> Float[Array, "A A"]:
  """A circle of actions, each of which beats the half that follows it.

  Three actions and `win` 1 are rock, paper, scissors, where 0 beats 1 beats 2
  beats 0. With an even number the opposite action is a tie. The Nash policy
  is uniform.

  Args:
    actions: A, at least 1.
    win: probability with which it beats them, in [0, 1].

  Raises:
    ValueError: actions < 1 or `win` outside [0, 1].
  """
  checks.at_least(1, actions=actions)
  if not 0 <= win <= 1:
    raise ValueError(f"win must be in [0, 1], got {win}")
  # How many places of the circle the column's action is ahead of the row's.
  index = jnp.arange(actions)
  ahead = (index[None, :] - index[:, None]) % actions
  wins = (ahead > 0) & (2 * ahead < actions)
  losses = 2 * ahead > actions
  return jnp.where(wins, win, jnp.where(losses, 1 - win, 0.5)).astype(float)


def dice_game(faces: Float[Array, "A S"]) -> Float[Array, "A A"]:
  """P[i, j] = probability that die i shows more than die j; ties count half.

  Args:
    faces: the numbers on each die, all equally likely.
  """
  (faces,) = guards.same_shape_floats(faces=faces)
  # [A, A, S, S]: every face of one die against every face of the other.
  die, other = faces[:, None, :, None], faces[None, :, None, :]
  return 0.5 + jnp.mean(jnp.sign(die - other), axis=(-1, -2)) / 2


def dice_example() -> Float[Array, "3 3"]:
  """Three dice that beat each other in a circle, each with probability 5/9.

  Munos et al., 2023 (arXiv:2312.00886, v4): {2, 4, 9}, {1, 6, 8}, {3, 5, 7}.
  The Nash policy is uniform.
  """
  return dice_game(jnp.array([[2.0, 4, 9], [1, 6, 8], [3, 5, 7]]))


def three_raters(epsilon: Scalar) -> Float[Array, "3 3"]:
  """Three kinds of raters, each with one opinion and indifferent otherwise.

  Munos et al., 2023 (arXiv:2312.00886, v4): a share 1/3 - epsilon of the raters
  prefers only y2 to y1; shares of 1/3 + epsilon / 2 each prefer only y1 to y3,
  and only y3 to y2. The Nash policy, (1/3 + epsilon / 2, 1/3 + epsilon / 2,
  1/3 - epsilon), is continuous in epsilon; the best action of a Bradley-Terry
  fit jumps from y2 to y1 at 0.

  Args:
    epsilon: in [-2/3, 1/3].

  Raises:
    ValueError: epsilon outside that range.
  """
  first = 1 / 3 - jnp.asarray(epsilon, float)
  rest = 1 / 3 + jnp.asarray(epsilon, float) / 2
  if not isinstance(first, Tracer) and not (-1e-6 <= first <= 1 + 1e-6):
    raise ValueError(f"epsilon must be in [-2/3, 1/3], got {epsilon}")
  # P[i, j] - P[j, i]: the share of raters for i less the share for j.
  zero = jnp.zeros_like(first)
  margins = jnp.stack(
    [
      jnp.stack([zero, -first, rest]),
      jnp.stack([first, zero, -rest]),
      jnp.stack([-rest, rest, zero]),
    ]
  )
  return (1 + margins) / 2


def elo_example() -> Float[Array, "3"]:
  """Rewards (0, log 9, log 2) of a Bradley-Terry game for `tied_policies`.

  Munos et al., 2023 (arXiv:2312.00886, v4). Among policies with
  pi(y1) = 2 pi(y2) the best mean reward is at (2/3, 1/3, 0), which loses to
  (0, 0, 1) with probability 50/99.
  """
  return jnp.log(jnp.array([1.0, 9, 2]))


def tied_policies(
  shares: Float[Array, "*batch"],
) -> Float[Array, "*batch 3"]:
  """Log of (2 s, s, 1 - 3 s) for shares s in [0, 1/3]: `elo_example`'s family.

  Raises:
    ValueError: a share lies outside [0, 1/3].
  """
  (shares,) = guards.same_shape_floats(shares=shares)
  guards.within(0.0, 1 / 3 + 1e-6, shares=shares)
  rest = jnp.maximum(1 - 3 * shares, 0)
  return jnp.log(jnp.stack([2 * shares, shares, rest], axis=-1))


def win_rates(
  log_opponent: Float[Array, "*batch A"],
  preferences: Float[Array, "*batch A A"],
) -> Float[Array, "*batch A"]:
  """P(y > opponent) of each action y.

  Raises:
    ValueError: shapes or dtypes differ, or `preferences` is not a preference
      matrix.
  """
  preferences, log_opponent = checks.game(
    preferences, log_opponent=log_opponent
  )
  return 0.5 + advantages(log_opponent, preferences)


def advantages(
  log_opponent: Float[Array, "*batch A"],
  preferences: Float[Array, "*batch A A"],
) -> Float[Array, "*batch A"]:
  """P(y > opponent) - 1/2 of each action y.

  Computed from P - 1/2, so that small differences between good actions keep
  their digits.

  Raises:
    ValueError: shapes or dtypes differ, or `preferences` is not a preference
      matrix.
  """
  preferences, log_opponent = checks.game(
    preferences, log_opponent=log_opponent
  )
  return jnp.einsum(
    "...ij,...j->...i",
    preferences - 0.5,
    jnp.exp(log_opponent),
    precision=jax.lax.Precision.HIGHEST,
  )


def win_rate(
  log_policy: Float[Array, "*batch A"],
  log_opponent: Float[Array, "*batch A"],
  preferences: Float[Array, "*batch A A"],
) -> Float[Array, "*batch"]:
  """P(policy > opponent), both responses drawn independently.

  Raises:
    ValueError: shapes or dtypes differ, or `preferences` is not a preference
      matrix.
  """
  preferences, log_policy, log_opponent = checks.game(
    preferences, log_policy=log_policy, log_opponent=log_opponent
  )
  return 0.5 + bandits.expected(
    log_policy, advantages(log_opponent, preferences)
  )


def regularized_preference(
  log_policy: Float[Array, "*batch A"],
  log_opponent: Float[Array, "*batch A"],
  log_reference: Float[Array, "*batch A"],
  preferences: Float[Array, "*batch A A"],
  *,
  tau: Scalar,
) -> Float[Array, "*batch"]:
  """P_tau = P(pi > pi') - tau KL(pi, mu) + tau KL(pi', mu).

  Munos et al., 2023 (arXiv:2312.00886, v4); mu is the reference.

  Raises:
    ValueError: shapes or dtypes differ, tau <= 0, or `preferences` is not a
      preference matrix.
  """
  guards.positive(tau=tau)
  return (
    win_rate(log_policy, log_opponent, preferences)
    - tau * bandits.kl(log_policy, log_reference)
    + tau * bandits.kl(log_opponent, log_reference)
  )


def best_response(
  log_opponent: Float[Array, "*batch A"],
  preferences: Float[Array, "*batch A A"],
) -> Float[Array, "*batch A"]:
  """All mass on the action that wins most often; on the first if several do.

  Raises:
    ValueError: shapes or dtypes differ, or `preferences` is not a preference
      matrix.
  """
  gains = advantages(log_opponent, preferences)
  best = jnp.argmax(gains, axis=-1)
  return jnp.log(jax.nn.one_hot(best, gains.shape[-1], dtype=gains.dtype))


def regularized_best_response(
  log_opponent: Float[Array, "*batch A"],
  log_reference: Float[Array, "*batch A"],
  preferences: Float[Array, "*batch A A"],
  *,
  tau: Scalar,
) -> Float[Array, "*batch A"]:
  """argmax over pi of P_tau(pi > opponent): mu exp(P(y > opponent) / tau) / Z.

  Raises:
    ValueError: shapes or dtypes differ, tau <= 0, or `preferences` is not a
      preference matrix.
  """
  return bandits.tilted(
    log_reference, advantages(log_opponent, preferences), tau=tau
  )


def exploitability(
  log_policy: Float[Array, "*batch A"],
  preferences: Float[Array, "*batch A A"],
) -> Float[Array, "*batch"]:
  """max over y of P(y > policy) - 1/2, in [0, 1/2].

  Raises:
    ValueError: shapes or dtypes differ, or `preferences` is not a preference
      matrix.
  """
  return jnp.max(advantages(log_policy, preferences), axis=-1)


def regularized_exploitability(
  log_policy: Float[Array, "*batch A"],
  log_reference: Float[Array, "*batch A"],
  preferences: Float[Array, "*batch A A"],
  *,
  tau: Scalar,
) -> Float[Array, "*batch"]:
  """max over pi' of P_tau(pi' > policy) - 1/2.

  Computed as tau KL(policy, best response), which is equal: the regularized
  gain of a policy is its maximum less tau times that KL. Subtracting the two
  gains would lose all digits near the equilibrium.

  Raises:
    ValueError: shapes or dtypes differ, tau <= 0, or `preferences` is not a
      preference matrix.
  """
  response = regularized_best_response(
    log_policy, log_reference, preferences, tau=tau
  )
  return tau * bandits.kl(log_policy, response)


def duality_gap(
  log_policy: Float[Array, "*batch A"],
  log_opponent: Float[Array, "*batch A"],
  preferences: Float[Array, "*batch A A"],
) -> Float[Array, "*batch"]:
  """max_pi' P(pi' > opponent) - min_pi' P(policy > pi'), in [0, 1].

  Because the game is symmetric, this is the sum of the two exploitabilities.

  Raises:
    ValueError: shapes or dtypes differ, or `preferences` is not a preference
      matrix.
  """
  return exploitability(log_policy, preferences) + exploitability(
    log_opponent, preferences
  )


def regularized_duality_gap(
  log_policy: Float[Array, "*batch A"],
  log_opponent: Float[Array, "*batch A"],
  log_reference: Float[Array, "*batch A"],
  preferences: Float[Array, "*batch A A"],
  *,
  tau: Scalar,
) -> Float[Array, "*batch"]:
  """max_pi' P_tau(pi' > opponent) - min_pi' P_tau(policy > pi'), >= 0.

  Raises:
    ValueError: shapes or dtypes differ, tau <= 0, or `preferences` is not a
      preference matrix.
  """
  return regularized_exploitability(
    log_policy, log_reference, preferences, tau=tau
  ) + regularized_exploitability(
    log_opponent, log_reference, preferences, tau=tau
  )
