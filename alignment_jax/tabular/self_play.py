"""Solvers of the regularized preference game that follow an exact gradient.

Policies are softmax logits. In each step the opponent is held constant and
the policy ascends P(pi > opponent) - tau KL(pi, mu). The opponent decides what
the last iterate converges to:

  the policy itself (mixture weight 0)  pi*_tau
  the reference (mixture weight 1)      the best response to mu
  a mixture with weight beta            pi = mu exp(P(. > mixture) / tau) / Z,
                                        not pi*_tau: the mixture, not the
                                        policy, is then the equilibrium of
                                        temperature tau / (1 - beta)
  a moving average of the logits        pi*_tau, more slowly; it cycles if the
                                        memory is too long for the learning
                                        rate (rock, paper, scissors at tau 0.1
                                        and rate 0.5: beta 0.9 converges, 0.95
                                        does not)
"""

from typing import NamedTuple

import jax
from jaxtyping import Array, Float

from alignment_jax.ops import guards
from alignment_jax.tabular import bandits, checks, games, iteration, nash

Scalar = bandits.Scalar


class EmaState(NamedTuple):
  """Logits of the policy and their average, the opponent: [*batch, A] each."""

  logits: Array
  average: Array


def self_play_gradient(
  logits: Float[Array, "*batch A"],
  log_opponent: Float[Array, "*batch A"],
  log_reference: Float[Array, "*batch A"],
  preferences: Float[Array, "*batch A A"],
  *,
  tau: Scalar,
) -> Float[Array, "*batch A"]:
  """Gradient of P(pi > opponent) - tau KL(pi, mu) with respect to logits.

  Munos et al., 2023 (arXiv:2312.00886, v4): the expectation of
  grad log pi(y) (P(y > y') - 1/2 - tau log(pi / mu)(y)). An ascent direction;
  the opponent is held constant.

  Args:
    logits: pi = softmax(logits).
    log_opponent: log-probabilities of the opponent.
    log_reference: log mu, finite.
    preferences: P[i, j] = probability that i is preferred to j.
    tau: strength of the regularization, > 0.

  Raises:
    ValueError: shapes or dtypes differ, tau <= 0, or `preferences` is not a
      preference matrix.
  """
  # In self-play the opponent is made from the same logits: held constant here,
  # so that the gradient is that of one player.
  gains = games.advantages(jax.lax.stop_gradient(log_opponent), preferences)
  return bandits.policy_gradient(logits, log_reference, gains, tau=tau)


def nash_md_pg_step(
  logits: Float[Array, "*batch A"],
  log_reference: Float[Array, "*batch A"],
  preferences: Float[Array, "*batch A A"],
  *,
  beta: Scalar,
  tau: Scalar,
  learning_rate: Scalar,
) -> Float[Array, "*batch A"]:
  """One gradient step against the geometric mixture with the reference.

  Munos et al., 2023 (arXiv:2312.00886, v4), Nash-MD-PG.

  Args:
    logits: pi = softmax(logits).
    log_reference: log mu, finite.
    preferences: P[i, j] = probability that i is preferred to j.
    beta: weight of the reference in the opponent, in [0, 1]: 0 is self-play, 1
      the best response to the reference.
    tau: strength of the regularization, > 0.
    learning_rate: step size, > 0.

  Returns:
    The next logits.

  Raises:
    ValueError: shapes or dtypes differ, a coefficient is out of range, or
      `preferences` is not a preference matrix.
  """
  guards.positive(learning_rate=learning_rate)
  opponent = nash.geometric_mixture(logits, log_reference, weight=beta)
  return logits + learning_rate * self_play_gradient(
    logits, opponent, log_reference, preferences, tau=tau
  )


def nash_ema_step(
  state: EmaState,
  log_reference: Float[Array, "*batch A"],
  preferences: Float[Array, "*batch A A"],
  *,
  beta: Scalar,
  tau: Scalar,
  learning_rate: Scalar,
) -> EmaState:
  """One gradient step against the moving average of the logits.

  Munos et al., 2023 (arXiv:2312.00886, v4), Nash-EMA-PG. The paper prints
  (1 - beta) theta_t + beta theta_0 for the opponent, which is no moving
  average; here it is one: average <- (1 - beta) logits + beta average.

  Args:
    state: logits and their average; they start equal.
    log_reference: log mu, finite.
    preferences: P[i, j] = probability that i is preferred to j.
    beta: memory of the average, in [0, 1]: 0 is self-play, 1 never moves.
    tau: strength of the regularization, > 0.
    learning_rate: step size, > 0.

  Raises:
    ValueError: shapes or dtypes differ, a coefficient is out of range, or
      `preferences` is not a preference matrix.
  """
  guards.positive(learning_rate=learning_rate)
  guards.within(0.0, 1 + 1e-6, beta=beta)
  opponent = jax.nn.log_softmax(state.average, axis=-1)
  logits = state.logits + learning_rate * self_play_gradient(
    state.logits, opponent, log_reference, preferences, tau=tau
  )
  return EmaState(logits, (1 - beta) * logits + beta * state.average)


def solve_nash_md_pg(
  log_reference: Float[Array, "*batch A"],
  preferences: Float[Array, "*batch A A"],
  *,
  beta: Scalar,
  tau: Scalar,
  learning_rate: Scalar,
  steps: int,
  start: Float[Array, "*batch A"] | None = None,
  metric: iteration.Metric | None = None,
) -> iteration.Solution:
  """Repeats `nash_md_pg_step` from logits `start`; from the reference if None.

  Raises:
    ValueError: as `nash_md_pg_step`, or steps < 1.
  """

  def step(
    logits: Float[Array, "*batch A"], _: Array
  ) -> Float[Array, "*batch A"]:
    return nash_md_pg_step(
      logits,
      log_reference,
      preferences,
      beta=beta,
      tau=tau,
      learning_rate=learning_rate,
    )

  logits = _start(log_reference, preferences, start)
  return iteration.iterate(
    step, logits, jax.nn.log_softmax, steps=steps, metric=metric
  )


def solve_self_play(
  log_reference: Float[Array, "*batch A"],
  preferences: Float[Array, "*batch A A"],
  *,
  tau: Scalar,
  learning_rate: Scalar,
  steps: int,
  start: Float[Array, "*batch A"] | None = None,
  metric: iteration.Metric | None = None,
) -> iteration.Solution:
  """`solve_nash_md_pg` with the policy as opponent; converges to pi*_tau."""
  return solve_nash_md_pg(
    log_reference,
    preferences,
    beta=0.0,
    tau=tau,
    learning_rate=learning_rate,
    steps=steps,
    start=start,
    metric=metric,
  )


def solve_nash_ema(
  log_reference: Float[Array, "*batch A"],
  preferences: Float[Array, "*batch A A"],
  *,
  beta: Scalar,
  tau: Scalar,
  learning_rate: Scalar,
  steps: int,
  start: Float[Array, "*batch A"] | None = None,
  metric: iteration.Metric | None = None,
) -> iteration.Solution:
  """Repeats `nash_ema_step` from logits `start`; from the reference if None.

  Raises:
    ValueError: as `nash_ema_step`, or steps < 1.
  """

  def step(state: EmaState, _: Array) -> EmaState:
    return nash_ema_step(
      state,
      log_reference,
      preferences,
      beta=beta,
      tau=tau,
      learning_rate=learning_rate,
    )

  logits = _start(log_reference, preferences, start)
  return iteration.iterate(
    step,
    EmaState(logits, logits),
    lambda state: jax.nn.log_softmax(state.logits),
    steps=steps,
    metric=metric,
  )


def _start(
  log_reference: Array, preferences: Array, start: Array | None
) -> Float[Array, "*batch A"]:
  policies = {"log_reference": log_reference}
  policies |= {} if start is None else {"start": start}
  return checks.game(preferences, **policies)[-1]
