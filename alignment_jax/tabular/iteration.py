"""One loop for all solvers: repeat a step, keep its average, watch a metric."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from alignment_jax.tabular import checks

State = TypeVar("State")


class Iterate(NamedTuple):
  """What a metric sees after each step.

  Attributes:
    policy: the newest policy, log-probabilities [*batch, A].
    average: the average of the policies 1, 2, ... so far: of probabilities,
      then the logarithm. The start is not in it.
  """

  policy: Array
  average: Array


class Solution(NamedTuple):
  """Where a solver ends.

  Attributes:
    policy: the last policy, log-probabilities [*batch, A].
    average: the average of all policies, as in `Iterate`.
    trajectory: the metric after each step, [steps, ...]; None without one.
  """

  policy: Array
  average: Array
  trajectory: Array | None


Metric = Callable[[Iterate], Array]


def uniform_weight(step: Float[Array, ""]) -> Float[Array, ""]:
  """Weight of the newest policy in the average: all count the same."""
  return 1 / (step + 1)


def linear_weight(step: Float[Array, ""]) -> Float[Array, ""]:
  """Weight of the newest policy in the average: policy t counts t times."""
  return 2 / (step + 2)


def iterate(
  step: Callable[[State, Array], State],
  start: State,
  read: Callable[[State], Array],
  *,
  steps: int,
  metric: Metric | None = None,
  weight: Callable[[Array], Array] = uniform_weight,
) -> Solution:
  """Applies `step` to the state `steps` times.

  Args:
    step: (state, t) to the next state; t = 0, 1, ... in the policy's dtype.
    start: the first state.
    read: the log policy in a state.
    steps: at least 1.
    metric: any array of an `Iterate`, stacked in `Solution.trajectory`.
    weight: of the newest policy in the average, given t.

  Raises:
    ValueError: steps < 1.
  """
  checks.at_least(1, steps=steps)
  first = read(start)

  def body(carry, t):
    state, average = carry
    state = step(state, t)
    policy = read(state)
    average = average + weight(t) * (jnp.exp(policy) - average)
    watched = None
    if metric is not None:
      watched = metric(Iterate(policy, jnp.log(average)))
    return (state, average), watched

  (state, average), trajectory = jax.lax.scan(
    body, (start, jnp.zeros_like(first)), jnp.arange(steps, dtype=first.dtype)
  )
  return Solution(read(state), jnp.log(average), trajectory)
