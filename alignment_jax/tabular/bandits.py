"""One decision and a few actions: optima known in closed form.

Policies are log-probabilities `[*batch, A]`, in nats; an action that is never
taken has -inf. Leading axes are independent worlds. Nothing is sampled here.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from alignment_jax.ops import guards
from alignment_jax.tabular import checks

Scalar = float | Float[Array, ""]
Psi = Callable[[Array], Array]


def kl(
  log_p: Float[Array, "*batch A"], log_q: Float[Array, "*batch A"]
) -> Float[Array, "*batch"]:
  """KL(p, q) = sum_y p(y) log(p(y) / q(y)), in nats.

  Returns:
    One number per world; inf when p takes an action that q never takes.

  Raises:
    ValueError: shapes differ or an argument is not floating-point.
  """
  log_p, log_q = guards.same_shape_floats(log_p=log_p, log_q=log_q)
  # 0 log(0 / q) is 0, but -inf times 0 would be NaN.
  taken = log_p > -jnp.inf
  ratio = jnp.where(taken, log_p, 0) - jnp.where(taken, log_q, 0)
  return jnp.sum(jnp.exp(log_p) * ratio, axis=-1)


def expected(
  log_policy: Float[Array, "*batch A"], values: Float[Array, "*batch A"]
) -> Float[Array, "*batch"]:
  """E_{y ~ policy} values(y).

  Raises:
    ValueError: shapes differ or an argument is not floating-point.
  """
  log_policy, values = guards.same_shape_floats(
    log_policy=log_policy, values=values
  )
  return jnp.sum(jnp.exp(log_policy) * values, axis=-1)


def regularized_objective(
  log_policy: Float[Array, "*batch A"],
  log_reference: Float[Array, "*batch A"],
  rewards: Float[Array, "*batch A"],
  *,
  tau: Scalar,
) -> Float[Array, "*batch"]:
  """J(pi) = E_pi r - tau KL(pi, ref), in units of reward.

  Azar et al., 2023 (arXiv:2310.12036, v2).

  Args:
    log_policy: log pi.
    log_reference: log ref.
    rewards: r, one per action.
    tau: strength of the regularization, > 0, reward per nat.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or tau <= 0.
  """
  guards.positive(tau=tau)
  return expected(log_policy, rewards) - tau * kl(log_policy, log_reference)


def tilted(
  log_reference: Float[Array, "*batch A"],
  rewards: Float[Array, "*batch A"],
  *,
  tau: Scalar,
) -> Float[Array, "*batch A"]:
  """The maximizer of E_pi r - tau KL(pi, ref): log of ref exp(r / tau) / Z.

  Azar et al., 2023 (arXiv:2310.12036, v2), appendix A.1; Richemond et al.,
  2024 (arXiv:2405.19107, v1), eq. 2.

  Args:
    log_reference: log ref.
    rewards: r, one per action.
    tau: strength of the regularization, > 0, reward per nat.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or tau <= 0.
  """
  log_reference, rewards = guards.same_shape_floats(
    log_reference=log_reference, rewards=rewards
  )
  guards.positive(tau=tau)
  # Rewards only count up to a constant; a large one would eat the digits.
  centered = rewards - jnp.max(rewards, axis=-1, keepdims=True)
  return jax.nn.log_softmax(log_reference + centered / tau, axis=-1)


def regularized_value(
  log_reference: Float[Array, "*batch A"],
  rewards: Float[Array, "*batch A"],
  *,
  tau: Scalar,
) -> Float[Array, "*batch"]:
  """The maximum of E_pi r - tau KL(pi, ref): tau log E_ref exp(r / tau).

  Richemond et al., 2024 (arXiv:2405.19107, v1), eq. 2.

  Returns:
    One value per world, in units of reward.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or tau <= 0.
  """
  log_reference, rewards = guards.same_shape_floats(
    log_reference=log_reference, rewards=rewards
  )
  guards.positive(tau=tau)
  top = jnp.max(rewards, axis=-1, keepdims=True)
  log_mean = jax.nn.logsumexp(log_reference + (rewards - top) / tau, axis=-1)
  return top[..., 0] + tau * log_mean


def policy_gradient(
  logits: Float[Array, "*batch A"],
  log_reference: Float[Array, "*batch A"],
  rewards: Float[Array, "*batch A"],
  *,
  tau: Scalar,
) -> Float[Array, "*batch A"]:
  """The exact gradient of E_pi r - tau KL(pi, ref) with respect to logits.

  With pi = softmax(logits) and R = r - tau log(pi / ref) it is
  pi (R - E_pi R): the expectation of the score times R. Differentiating R as
  well adds nothing, because the score has mean zero. An ascent direction.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or tau <= 0.
  """
  logits, log_reference, rewards = guards.same_shape_floats(
    logits=logits, log_reference=log_reference, rewards=rewards
  )
  guards.positive(tau=tau)
  log_policy = jax.nn.log_softmax(logits, axis=-1)
  regularized = rewards - tau * (log_policy - log_reference)
  baseline = expected(log_policy, regularized)[..., None]
  return jnp.exp(log_policy) * (regularized - baseline)


def psipo_optimum(
  log_reference: Float[Array, "*batch A"],
  preferences: Float[Array, "*batch A A"],
  log_behavior: Float[Array, "*batch A"],
  *,
  psi: Psi,
  tau: Scalar,
) -> Float[Array, "*batch A"]:
  """The optimum of PsiPO: ref exp(g / tau) / Z, g = E_{y' ~ mu} Psi(P(y, y')).

  Azar et al., 2023 (arXiv:2310.12036, v2). The identity
  gives IPO; the log-odds give DPO when P is a Bradley-Terry model.

  Args:
    log_reference: log ref.
    preferences: P[i, j] = probability that i is preferred to j.
    log_behavior: log mu, the distribution of the other response.
    psi: a non-decreasing function, applied to the whole matrix P at once.
    tau: strength of the regularization, > 0.

  Returns:
    The log-probabilities of the optimum.

  Raises:
    ValueError: shapes or dtypes differ, tau <= 0, or `preferences` is not a
      preference matrix.
  """
  preferences, log_reference, log_behavior = checks.game(
    preferences, log_reference=log_reference, log_behavior=log_behavior
  )
  scores = jnp.sum(
    jnp.exp(log_behavior)[..., None, :] * psi(preferences), axis=-1
  )
  return tilted(log_reference, scores, tau=tau)


def bradley_terry(
  rewards: Float[Array, "*batch A"],
) -> Float[Array, "*batch A A"]:
  """P[i, j] = sigmoid(r_i - r_j), the preferences of a Bradley-Terry rater."""
  (rewards,) = guards.same_shape_floats(rewards=rewards)
  return jax.nn.sigmoid(rewards[..., :, None] - rewards[..., None, :])


def bradley_terry_fit(
  preferences: Float[Array, "*batch A A"],
  log_behavior: Float[Array, "*batch A"],
  *,
  steps: int = 40,
) -> Float[Array, "*batch A"]:
  """Rewards of maximum likelihood under a Bradley-Terry model, mean zero.

  Maximizes sum_ij mu_i mu_j P[i, j] log sigmoid(r_i - r_j) by Newton's method;
  each step takes the best of eight step lengths. The preferences need not be
  Bradley-Terry.

  The maximum is finite if every action can be reached from every other along
  pairs with P > 0. With P in {0, 1} the rewards diverge (Azar et al., 2023,
  arXiv:2310.12036, v2), and the result depends on `steps`.

  Args:
    preferences: P[i, j] = probability that i is preferred to j.
    log_behavior: log mu; each pair counts mu_i mu_j, all mu > 0.
    steps: Newton steps; 40 are plenty.

  Returns:
    One reward per action, in nats.

  Raises:
    ValueError: shapes or dtypes differ, or `preferences` is not a preference
      matrix.
  """
  preferences, log_behavior = checks.game(
    preferences, log_behavior=log_behavior
  )
  checks.at_least(1, steps=steps)
  weights = jnp.exp(log_behavior[..., :, None] + log_behavior[..., None, :])
  diagonal = jnp.broadcast_to(
    jnp.eye(weights.shape[-1], dtype=bool), weights.shape
  )
  lengths = jnp.asarray(0.5 ** np.arange(8), weights.dtype)

  def likelihood(rewards: Float[Array, "*batch A"]) -> Float[Array, "*batch"]:
    margins = rewards[..., :, None] - rewards[..., None, :]
    terms = weights * preferences * jax.nn.log_sigmoid(margins)
    return jnp.sum(terms, axis=(-1, -2))

  def newton(
    _: Array | int, rewards: Float[Array, "*batch A"]
  ) -> Float[Array, "*batch A"]:
    # The transpose is sigmoid(-m); 1 - sigmoid(m) is 0 from 17 nats on.
    wins = bradley_terry(rewards)
    losses = jnp.swapaxes(wins, -1, -2)
    surplus = preferences * losses - (1 - preferences) * wins
    gradient = jnp.sum(weights * surplus, axis=-1)
    curvature = jnp.where(diagonal, 0, weights * wins * losses)
    laplacian = _diagonal(jnp.sum(curvature, axis=-1)) - curvature
    # The Laplacian is singular along constants, which the likelihood does not
    # see: adding any positive multiple of ones makes it invertible.
    scale = jnp.max(curvature, axis=(-1, -2), keepdims=True)
    direction = jnp.linalg.solve(laplacian + scale, gradient[..., None])[..., 0]
    # Where rewards diverge, the curvature underflows and the solve fails: stay.
    direction = jnp.where(jnp.isfinite(direction), direction, 0)
    # [8, *batch, A]: one candidate per step length.
    candidates = jax.vmap(lambda length: rewards + length * direction)(lengths)
    best = jnp.argmax(jax.vmap(likelihood)(candidates), axis=0)
    best = jnp.take_along_axis(candidates, best[None, ..., None], axis=0)[0]
    return best - jnp.mean(best, axis=-1, keepdims=True)

  start = jnp.zeros_like(log_behavior)
  return jax.lax.fori_loop(0, steps, newton, start)


def dpo_optimum(
  log_reference: Float[Array, "*batch A"],
  preferences: Float[Array, "*batch A A"],
  log_behavior: Float[Array, "*batch A"],
  *,
  tau: Scalar,
  steps: int = 40,
) -> Float[Array, "*batch A"]:
  """DPO's optimum over all pairs from mu: fit Bradley-Terry rewards, then tilt.

  Azar et al., 2023 (arXiv:2310.12036, v2), proposition 4; it holds for any P
  whose fit is finite. Arguments and errors are those of `bradley_terry_fit`
  and `tilted`.

  Returns:
    The log-probabilities of the optimum.
  """
  rewards = bradley_terry_fit(preferences, log_behavior, steps=steps)
  return tilted(log_reference, rewards, tau=tau)


def _diagonal(vectors: Float[Array, "*batch A"]) -> Float[Array, "*batch A A"]:
  return vectors[..., None] * jnp.broadcast_to(
    jnp.eye(vectors.shape[-1], dtype=vectors.dtype),
    (*vectors.shape, vectors.shape[-1]),
  )
