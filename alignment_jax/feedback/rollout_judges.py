"""Judges of rollouts, from functions that score or compare responses."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from alignment_jax import rollouts
from alignment_jax.algorithm import FeedbackKind, Judge
from alignment_jax.feedback import convert
from alignment_jax.types import Feedback, Rollout, Tokens, on_host

# (prompt, responses [B, N, T], index of the batch), on the host -> rewards of
# each of n judges
ScoreResponses = Callable[[Tokens, Tokens, int], Float[np.ndarray, "B N n"]]
# (prompt, responses [B, K, T], opponents [B, J, T] or None, index), on the host
# -> P(response beats opponent); among the responses for None
CompareResponses = Callable[
  [Tokens, Tokens, Tokens | None, int], Float[np.ndarray, "B K J"]
]


def from_rewards(
  score: ScoreResponses,
  kind: FeedbackKind,
  *,
  preference_scale: float,
  combination: convert.Combination = "sum",
  coefficient: float = 0.0,
) -> Judge:
  """The judge whose feedback comes from rewards.

  Args:
    score: rewards of one judge or several.
    kind: what the method reads. For `preference` the judges' rewards are
      combined and then compared; `rewards` stay apart.
    preference_scale: of `convert.preferences`, >= 0.
    combination: how several judges' rewards become one.
    coefficient: of `convert.combined`.
  """

  def judge(rollout: Rollout, index: int) -> Feedback:
    parts = {"responses": rollout.responses}
    if kind == "rewards" and rollout.demonstration is not None:
      parts["demonstration"] = jax.tree.map(
        lambda array: array[:, None], rollout.demonstration
      )
    elif kind != "rewards" and rollout.opponents is not None:
      parts["opponents"] = rollout.opponents
    rewards = rollouts.in_one_pass(
      lambda responses: tuple(
        np.moveaxis(score(rollout.prompt, responses, index), -1, 0)
      ),
      **parts,
    )
    of_parts = {name: np.stack(each, -1) for name, each in rewards.items()}
    if kind == "rewards":
      demonstration = of_parts.get("demonstration")
      return Feedback(
        rewards=on_host(of_parts["responses"]),
        demonstration=(
          None if demonstration is None else on_host(demonstration[:, 0])
        ),
      )
    combined: dict[str, Any] = {
      name: convert.combined(each, combination, coefficient=coefficient)
      for name, each in of_parts.items()
    }
    responses = combined["responses"]
    opponents = combined.get("opponents")
    if kind == "reward":
      return Feedback(rewards=responses, opponents=opponents)
    return Feedback(
      preferences=on_host(
        convert.preferences(
          responses,
          responses if opponents is None else opponents,
          scale=preference_scale,
        )
      )
    )

  return judge


def from_comparisons(compare: CompareResponses) -> Judge:
  """The judge whose feedback are preferences of a comparison."""

  def judge(rollout: Rollout, index: int) -> Feedback:
    return Feedback(
      preferences=on_host(
        compare(rollout.prompt, rollout.responses, rollout.opponents, index)
      )
    )

  return judge
