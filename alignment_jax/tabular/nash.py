"""Solvers of the regularized preference game by proximal steps.

The target is pi*_tau, the Nash equilibrium of P(pi > pi') - tau KL(pi, mu) +
tau KL(pi', mu): the fixed point pi = mu exp(P(. > pi) / tau) / Z. mu is the
reference; its log-probabilities are finite. Each method is one `*_step` and
one `solve_*` that repeats it. The last iterate converges to:

  regularized_nash, mirror prox  pi*_tau, linearly
  Nash-MD, eta = 2 / (tau (t+2)) pi*_tau, KL(pi*_tau, pi_T) <= 8/(tau^2 (T+1))
  Nash-MD, eta fixed             near pi*_tau, at a KL proportional to eta^2
  mirror descent, INPO           pi*_tau if eta is small enough for the game
                                 (INPO: large enough), else it may cycle

`self_play` has the methods that follow a gradient, `no_regret` those that
solve the game without regularization, where only averages converge.
"""

from collections.abc import Callable

import jax
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from alignment_jax.ops import guards
from alignment_jax.tabular import bandits, checks, games, iteration

Scalar = bandits.Scalar
# t = 0, 1, ... -> step size.
Schedule = Callable[[Array], Array]


def geometric_mixture(
  log_policy: Float[Array, "*batch A"],
  log_reference: Float[Array, "*batch A"],
  *,
  weight: Scalar,
) -> Float[Array, "*batch A"]:
  """log of pi^(1 - weight) mu^weight / Z.

  Munos et al., 2023 (arXiv:2312.00886, v4). Unnormalized logits give the same
  policy.

  Args:
    log_policy: log pi, finite.
    log_reference: log mu, finite.
    weight: weight of the reference, in [0, 1].

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or the weight
      lies outside [0, 1].
  """
  log_policy, log_reference = guards.same_shape_floats(
    log_policy=log_policy, log_reference=log_reference
  )
  guards.within(0.0, 1 + 1e-6, weight=weight)
  return jax.nn.log_softmax(
    (1 - weight) * log_policy + weight * log_reference, axis=-1
  )


def nash_md_step(
  log_policy: Float[Array, "*batch A"],
  log_reference: Float[Array, "*batch A"],
  preferences: Float[Array, "*batch A A"],
  *,
  eta: Scalar,
  tau: Scalar,
) -> Float[Array, "*batch A"]:
  """One step of Nash-MD: from the mixture, against the mixture.

  Munos et al., 2023 (arXiv:2312.00886, v4):
  pi_t+1 = pi_t^mu exp(eta P(. > pi_t^mu)) / Z, with pi_t^mu the geometric
  mixture in which the reference has weight eta tau.

  Args:
    log_policy: log pi_t, finite.
    log_reference: log mu, finite.
    preferences: P[i, j] = probability that i is preferred to j.
    eta: step size, 0 < eta <= 1 / tau, nats per win rate.
    tau: strength of the regularization, > 0.

  Raises:
    ValueError: shapes or dtypes differ, `preferences` is not a preference
      matrix, or eta or tau is out of range.
  """
  _check_step(eta, tau)
  center = geometric_mixture(log_policy, log_reference, weight=eta * tau)
  # Advantages differ from win rates by 1/2, which normalization removes.
  gains = games.advantages(center, preferences)
  return jax.nn.log_softmax(center + eta * gains, axis=-1)


def mirror_descent_step(
  log_policy: Float[Array, "*batch A"],
  log_reference: Float[Array, "*batch A"],
  preferences: Float[Array, "*batch A A"],
  *,
  eta: Scalar,
  tau: Scalar,
) -> Float[Array, "*batch A"]:
  """One step of online mirror descent: from the mixture, against the policy.

  Munos et al., 2023 (arXiv:2312.00886, v4); as `nash_md_step`, but the opponent
  is pi_t. Arguments and errors are those of `nash_md_step`.
  """
  _check_step(eta, tau)
  center = geometric_mixture(log_policy, log_reference, weight=eta * tau)
  gains = games.advantages(log_policy, preferences)
  return jax.nn.log_softmax(center + eta * gains, axis=-1)


def inpo_step(
  log_policy: Float[Array, "*batch A"],
  log_reference: Float[Array, "*batch A"],
  preferences: Float[Array, "*batch A A"],
  *,
  eta: Scalar,
  tau: Scalar,
) -> Float[Array, "*batch A"]:
  """The exact minimizer of one INPO iteration.

  Zhang et al., 2024 (arXiv:2407.00617):
  exp(P(. > pi_t) / eta) ref^(tau / eta) pi_t^(1 - tau / eta) / Z. Here eta is
  an inverse step size: this is `mirror_descent_step` with step size 1 / eta.

  Args:
    log_policy: log pi_t, finite.
    log_reference: log ref, finite.
    preferences: P[i, j] = probability that i is preferred to j.
    eta: inverse step size, >= tau.
    tau: strength of the regularization, > 0.

  Raises:
    ValueError: shapes or dtypes differ, `preferences` is not a preference
      matrix, or eta or tau is out of range.
  """
  guards.positive(eta=eta, tau=tau)
  return mirror_descent_step(
    log_policy, log_reference, preferences, eta=1 / eta, tau=tau
  )


def mirror_prox_step(
  log_policy: Float[Array, "*batch A"],
  log_reference: Float[Array, "*batch A"],
  preferences: Float[Array, "*batch A A"],
  *,
  eta: Scalar,
  tau: Scalar,
) -> Float[Array, "*batch A"]:
  """One step of Nash mirror prox: look ahead, then respond to what was found.

  Tiapkin et al., 2025 (arXiv:2505.19731). Both the look-ahead, with opponent
  pi_k, and the step, with the result as opponent, solve
  argmax_pi P(pi > opponent) - tau KL(pi, ref) - (tau / eta) KL(pi, pi_k).
  At eta = 2 tau, KL(pi*_tau, pi_k) <= KL(pi*_tau, pi_0) (1 + 2 tau)^-k.

  Args:
    log_policy: log pi_k, finite.
    log_reference: log ref, finite.
    preferences: P[i, j] = probability that i is preferred to j.
    eta: step size, without unit, > 0; a larger one moves further from pi_k.
    tau: strength of the regularization, > 0 (the paper's beta).

  Raises:
    ValueError: shapes or dtypes differ, `preferences` is not a preference
      matrix, or eta or tau is not positive.
  """
  guards.positive(eta=eta, tau=tau)
  # The two KLs are tau (1 + 1 / eta) times one KL, to their geometric mixture.
  share = eta / (1 + eta)
  center = geometric_mixture(log_policy, log_reference, weight=share)

  def respond(opponent: Float[Array, "*batch A"]) -> Float[Array, "*batch A"]:
    gains = games.advantages(opponent, preferences)
    return bandits.tilted(center, gains, tau=tau / share)

  return respond(respond(log_policy))


def solve_nash_md(
  log_reference: Float[Array, "*batch A"],
  preferences: Float[Array, "*batch A A"],
  *,
  tau: Scalar,
  steps: int,
  eta: Scalar | Schedule | None = None,
  start: Float[Array, "*batch A"] | None = None,
  metric: iteration.Metric | None = None,
) -> iteration.Solution:
  """Repeats `nash_md_step`.

  With the paper's schedule, eta_t = 2 / (tau (t + 2)) for t = 0, 1, ..., the
  last iterate has KL(pi*_tau, pi_T) <= 8 / (tau^2 (T + 1)) (Munos et al.,
  2023, theorem 1), and pi_1 does not depend on the start.

  Args:
    log_reference: log mu, finite.
    preferences: P[i, j] = probability that i is preferred to j.
    tau: strength of the regularization, > 0.
    steps: T, at least 1.
    eta: a step size, a function from t to a step size, or None for the paper's
      schedule.
    start: log pi_0, finite; the reference when None.
    metric: see `iteration.iterate`.

  Raises:
    ValueError: as `nash_md_step`, or steps < 1.
  """
  guards.positive(tau=tau)

  def step_size(t: Array) -> Array | Scalar:
    if eta is None:
      # At t = 0 the mixture is the reference, whatever the start.
      return 2 / (tau * (t + 2))
    return eta(t) if callable(eta) else eta

  def step(
    log_policy: Float[Array, "*batch A"], t: Array
  ) -> Float[Array, "*batch A"]:
    return nash_md_step(
      log_policy, log_reference, preferences, eta=step_size(t), tau=tau
    )

  return _solve(step, log_reference, preferences, start, steps, metric)


def solve_mirror_descent(
  log_reference: Float[Array, "*batch A"],
  preferences: Float[Array, "*batch A A"],
  *,
  eta: Scalar,
  tau: Scalar,
  steps: int,
  start: Float[Array, "*batch A"] | None = None,
  metric: iteration.Metric | None = None,
) -> iteration.Solution:
  """Repeats `mirror_descent_step`; for arguments see there and `solve_nash_md`.

  Raises:
    ValueError: as `mirror_descent_step`, or steps < 1.
  """

  def step(
    log_policy: Float[Array, "*batch A"], _: Array
  ) -> Float[Array, "*batch A"]:
    return mirror_descent_step(
      log_policy, log_reference, preferences, eta=eta, tau=tau
    )

  return _solve(step, log_reference, preferences, start, steps, metric)


def solve_inpo(
  log_reference: Float[Array, "*batch A"],
  preferences: Float[Array, "*batch A A"],
  *,
  eta: Scalar,
  tau: Scalar,
  steps: int,
  start: Float[Array, "*batch A"] | None = None,
  metric: iteration.Metric | None = None,
) -> iteration.Solution:
  """Repeats `inpo_step`; for arguments see there and `solve_nash_md`.

  Raises:
    ValueError: as `inpo_step`, or steps < 1.
  """

  def step(
    log_policy: Float[Array, "*batch A"], _: Array
  ) -> Float[Array, "*batch A"]:
    return inpo_step(log_policy, log_reference, preferences, eta=eta, tau=tau)

  return _solve(step, log_reference, preferences, start, steps, metric)


def solve_mirror_prox(
  log_reference: Float[Array, "*batch A"],
  preferences: Float[Array, "*batch A A"],
  *,
  tau: Scalar,
  steps: int,
  eta: Scalar | None = None,
  start: Float[Array, "*batch A"] | None = None,
  metric: iteration.Metric | None = None,
) -> iteration.Solution:
  """Repeats `mirror_prox_step`; if None, eta is 2 tau, as its bound requires.

  For other arguments see there and `solve_nash_md`.

  Raises:
    ValueError: as `mirror_prox_step`, or steps < 1.
  """
  guards.positive(tau=tau)
  rate = 2 * tau if eta is None else eta

  def step(
    log_policy: Float[Array, "*batch A"], _: Array
  ) -> Float[Array, "*batch A"]:
    return mirror_prox_step(
      log_policy, log_reference, preferences, eta=rate, tau=tau
    )

  return _solve(step, log_reference, preferences, start, steps, metric)


def regularized_nash(
  log_reference: Float[Array, "*batch A"],
  preferences: Float[Array, "*batch A A"],
  *,
  tau: Scalar,
  steps: int = 1000,
) -> Float[Array, "*batch A"]:
  """pi*_tau to the accuracy of the dtype: the reference for all other solvers.

  Mirror prox at eta = 2 tau. Each step divides the KL by at least 1 + 2 tau:
  1000 steps are enough for tau >= 0.02, a smaller tau needs about 20 / tau.
  `games.regularized_exploitability` measures the remaining error.

  Args:
    log_reference: log mu, finite.
    preferences: P[i, j] = probability that i is preferred to j.
    tau: strength of the regularization, > 0.
    steps: at least 1.

  Returns:
    The log-probabilities of the equilibrium.

  Raises:
    ValueError: shapes or dtypes differ, tau <= 0, steps < 1, or `preferences`
      is not a preference matrix.
  """
  return solve_mirror_prox(
    log_reference, preferences, tau=tau, steps=steps
  ).policy


def _solve(
  step: Callable[[Array, Array], Array],
  log_reference: Array,
  preferences: Array,
  start: Array | None,
  steps: int,
  metric: iteration.Metric | None,
) -> iteration.Solution:
  policies = {"log_reference": log_reference}
  policies |= {} if start is None else {"start": start}
  # Both are checked; the last of them is where the solver starts.
  _, *policies = checks.game(preferences, **policies)
  return iteration.iterate(
    step, policies[-1], lambda state: state, steps=steps, metric=metric
  )


def _check_step(eta: Scalar | Array, tau: Scalar | Array) -> None:
  guards.positive(eta=eta, tau=tau)
  if isinstance(eta, Tracer) or isinstance(tau, Tracer):
    return
  # A little more than 1: the schedule's first step is 1 / tau, rounded.
  if np.any(np.asarray(eta) * np.asarray(tau) > 1 + 1e-6):
    raise ValueError(f"eta must be at most 1 / tau = {1 / tau}, got {eta}")
