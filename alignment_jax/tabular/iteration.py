"""The loop of all solvers: repeat a step, average policies, track a metric."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from alignment_jax.tabular import checks

State = TypeVar("State")


class Iterate(NamedTuple):
  """What a metric sees after each step.

  Attributes:
    policy: the newest policy, log-probabilities [*batch, A].
    average: log of the average probabilities of the policies 1, 2, ... so far,
      without the start.
  """

  policy: Array
  average: Array


class Solution(NamedTuple):
  """The result of a solver.

  Attributes:
    policy: the last policy, log-probabilities [*batch, A].
    average: the average of all policies, as in `Iterate`.
    trajectory: the metric after each step, [steps, ...]; None without one.
  """

  policy: Array
  average: Array
  trajectory: PyTree


# One array or several, in any tree.
Metric = Callable[[Iterate], PyTree]
# t = 0, 1, ... -> weight of the newest policy in the average.
Weight = Callable[[Array], Array]


def uniform_weight(step: Float[Array, ""]) -> Float[Array, ""]:
  """Weight of the newest policy in the average: all count the same."""
  return 1 / (step + 1)


def linear_weight(step: Float[Array, ""]) -> Float[Array, ""]:
  """Weight of the newest policy in the average: policy t counts t times."""
  return 2 / (step + 2)


def iterate(
  step: Callable[[State, Array], State],
  start: State,
  log_policy_of: Callable[[State], Array],
  *,
  steps: int,
  metric: Metric | None = None,
  weight: Weight = uniform_weight,
) -> Solution:
  """Applies `step` to the state `steps` times.

  Args:
    step: (state, t) to the next state; t = 0, 1, ... in the policy's dtype.
    start: the first state.
    log_policy_of: state to its policy, in log-probabilities.
    steps: at least 1.
    metric: any arrays made from an `Iterate`, stacked in
      `Solution.trajectory`.
    weight: of the newest policy in the average, given t.

  Raises:
    ValueError: steps < 1.
  """
  checks.at_least(1, steps=steps)
  first = log_policy_of(start)

  def body(
    carry: tuple[State, Array], t: Float[Array, ""]
  ) -> tuple[tuple[State, Array], PyTree]:
    state, average = carry
    state = step(state, t)
    policy = log_policy_of(state)
    # A running mean. The first weight is 1, so the initial zeros drop out.
    average = average + weight(t) * (jnp.exp(policy) - average)
    value = None
    if metric is not None:
      value = metric(Iterate(policy, jnp.log(average)))
    return (state, average), value

  (state, average), trajectory = jax.lax.scan(
    body, (start, jnp.zeros_like(first)), jnp.arange(steps, dtype=first.dtype)
  )
  return Solution(log_policy_of(state), jnp.log(average), trajectory)
