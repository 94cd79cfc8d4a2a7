"""Direct reward optimization (Richemond et al., 2024, arXiv:2405.19107)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from alignment_jax import losses, scoring
from alignment_jax.algorithm import Algorithm, Metrics, frozen
from alignment_jax.families import offline_pairs
from alignment_jax.models import heads
from alignment_jax.models.base import Model
from alignment_jax.ops import guards, means
from alignment_jax.ops.means import Mean
from alignment_jax.types import ScoredResponses


def dro(
  model: Model, *, tau: float, aggregation: offline_pairs.Aggregation = "sum"
) -> Algorithm:
  """DRO-V: a policy and a value network from single scored responses.

  The paper's default architecture: two separate networks, both started from
  the policy, and a value per prompt. The paper leaves open where the value is
  read; here it is a scalar head on the state that predicts the first response
  token. Rewards are expected with mean 0 and variance 1 over the data. Dropout
  is off.

  Args:
    model: the network.
    tau: strength of the regularization, > 0, reward per nat; 1 in the paper.
    aggregation: `sum`, as in the paper, or `mean` over tokens.
  """
  guards.positive(tau=tau)
  aggregate = offline_pairs.aggregation_named(aggregation)

  def init(key: Key[Array, ""], policy_params: PyTree) -> tuple[PyTree, PyTree]:
    value = {
      "network": policy_params,
      "head": heads.init_scalar(key, model.settings.width),
    }
    trainable = {"policy": policy_params, "value": value}
    return trainable, {"reference": policy_params}

  def score(params: PyTree, batch: ScoredResponses) -> Float[Array, "B K"]:
    logprobs = scoring.token_logprobs(
      model, params, batch.prompt, batch.responses
    )
    return aggregate(logprobs, batch.responses.mask)

  def loss(
    trainable: PyTree,
    slow: PyTree,
    batch: ScoredResponses,
    key: Key[Array, ""] | None,
  ) -> tuple[Mean, Metrics]:
    del key
    policy = score(trainable["policy"], batch)
    reference = jax.lax.stop_gradient(score(slow["reference"], batch))
    value_params = trainable["value"]
    context = model.encode(value_params["network"], batch.prompt)
    values = jnp.broadcast_to(
      heads.scalar(value_params["head"], context.last)[:, None], policy.shape
    )
    real = jnp.any(batch.responses.mask, axis=-1).astype(jnp.float32)

    def mean(per_response: Float[Array, "B K"]) -> means.Mean:
      return means.weighted_mean(per_response, real)

    arrays = (policy, reference, batch.rewards, values)
    policy_loss = mean(losses.dro_policy_loss(*arrays, tau=tau))
    value_loss = mean(losses.dro_value_loss(*arrays, tau=tau))
    total = means.Mean(policy_loss.total + value_loss.total, policy_loss.weight)
    return total, {
      "loss": total,
      "loss/policy": policy_loss,
      "loss/value": value_loss,
      "value": mean(values),
      "rewards/mean": mean(batch.rewards),
      "rewards/implicit": mean(tau * (policy - reference)),
      "logps/policy": mean(policy),
      "empty_responses": means.weighted_mean(1.0 - real, jnp.ones_like(real)),
    }

  return Algorithm(init, None, loss, frozen)
