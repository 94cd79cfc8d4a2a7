"""Reward and preference models as functions of arrays and parameters.

Pure: what compiles and places them, and where parameters come from, is
elsewhere.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from alignment_jax import scoring
from alignment_jax.models.base import Model
from alignment_jax.types import Tokens

# (parameters, prompt, responses [B, K, T]) -> rewards [B, K]
RewardModel = Callable[[PyTree, Tokens, Tokens], Float[Array, "B K"]]
# (parameters, prompt, responses [B, K, T], opponents [B, J, T] or None) ->
# P(response beats opponent), [B, K, J]; among the responses [B, K, K] for None
PreferenceModel = Callable[
  [PyTree, Tokens, Tokens, Tokens | None], Float[Array, "B K J"]
]


def reward_model(model: Model, *, pooling: str) -> RewardModel:
  """What `algorithms.reward_model` trained, as a function.

  Args:
    model: the network.
    pooling: as in training.
  """

  def score(
    params: PyTree, prompt: Tokens, responses: Tokens
  ) -> Float[Array, "B K"]:
    return scoring.rewards(model, params, prompt, responses, pooling=pooling)

  return score


def preference_model(
  model: Model, *, template: scoring.Template
) -> PreferenceModel:
  """What `algorithms.preference_model` trained, as a function.

  Preferences are averaged over which response is read first. Only the pairs
  that are read are compared: each response with each opponent; without
  opponents each two responses once, the other way round being 1 - P.

  Args:
    model: the network.
    template: token ids around the two responses, as in training.
  """

  def compare(
    params: PyTree, prompt: Tokens, responses: Tokens, opponents: Tokens | None
  ) -> Float[Array, "B K J"]:
    rows, count = responses.ids.shape[:2]

    def wins(
      first: Int[np.ndarray, "N"], second: Int[np.ndarray, "N"], others: Tokens
    ) -> Float[Array, "B N"]:
      def of_pair(pair: tuple[Array, Array]) -> Float[Array, "B"]:
        return scoring.preferences(
          model,
          params,
          prompt,
          jax.tree.map(lambda array: array[:, pair[0]], responses),
          jax.tree.map(lambda array: array[:, pair[1]], others),
          template=template,
        )

      # One pair after the other: each holds the whole prompt twice.
      return jax.lax.map(of_pair, (jnp.asarray(first), jnp.asarray(second))).T

    if opponents is not None:
      shape = count, opponents.ids.shape[1]
      first, second = (index.reshape(-1) for index in np.indices(shape))
      return wins(first, second, opponents).reshape(rows, *shape)
    first, second = np.triu_indices(count, 1)
    won = wins(first, second, responses)
    even = jnp.full((rows, count, count), 0.5)
    return even.at[:, first, second].set(won).at[:, second, first].set(1 - won)

  return compare
