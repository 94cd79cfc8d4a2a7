"""J-BOND: distill best-of-N sampling without choosing N."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from alignment_jax.ops import guards


def jbond_reward(
  scores: Float[Array, "*batch"], anchor_scores: Float[Array, "*batch K"]
) -> Float[Array, "*batch"]:
  """-log 16 for a response that scores below all anchor samples, else 0.

  Sessa et al., 2024 (arXiv:2407.14622), who draw K = 2 anchor samples: an
  estimate of the log of the response's quantile under the anchor.

  Args:
    scores: score of the policy's response.
    anchor_scores: scores of K responses sampled from the anchor.

  Returns:
    One reward per response, in nats.

  Raises:
    ValueError: shapes differ, or an argument is not floating-point.

  Example:
    Only the first response is below both anchor samples.

    >>> anchors = jnp.array([[1.0, 2.0], [1.0, 2.0]])
    >>> reward = losses.jbond_reward(jnp.array([0.0, 1.5]), anchors)
    >>> [f"{x:.4f}" for x in jnp.exp(reward)]
    ['0.0625', '1.0000']
  """
  (anchor_scores,) = guards.same_shape_floats(anchor_scores=anchor_scores)
  (scores,) = guards.floats_of_shape(
    anchor_scores.shape[:-1], "a sample of each anchor", scores=scores
  )
  worst = jnp.min(anchor_scores, axis=-1)
  return jnp.where(scores < worst, -jnp.log(16.0), 0.0)


def jbond_loss(
  policy_logprobs: Float[Array, "*batch"],
  anchor_logprobs: Float[Array, "*batch"],
  policy_best_anchor: Float[Array, "*batch"],
  rewards: Float[Array, "*batch"],
  baselines: Float[Array, "*batch"],
  *,
  beta: float,
  gamma: float,
) -> Float[Array, "*batch"]:
  """Jeffreys divergence to the anchor's best of two, as a policy gradient.

  Sessa et al., 2024 (arXiv:2407.14622), Algorithm 2. With rho the log-ratio
  to the anchor:

      -(1 - beta) log policy(best of two anchor samples)
      - beta (r - rho - baseline) log policy
      + gamma rho log policy

  where what multiplies log policy is held constant.

  Args:
    policy_logprobs: log-probability of a response of the policy, in nats,
      summed over its tokens.
    anchor_logprobs: the same under the anchor; held constant.
    policy_best_anchor: log-probability, under the policy, of the better of two
      responses sampled from the anchor.
    rewards: `jbond_reward` of the policy's response; held constant.
    baselines: mean of rewards - rho over the batch; held constant.
    beta: weight of the backward KL; the forward KL has 1 - beta; in [0, 1].
    gamma: weight of an additional KL to the anchor, >= 0.

  Returns:
    One loss per prompt. Only its gradient is meaningful.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or a
      coefficient is out of range.

  Example:
    rho = 1: -(1/2)(-3) - (1/2)(0 - 1 - 2)(-1) + (1/4) 1 (-1).

    >>> arrays = jnp.array([-1.0, -2.0, -3.0, 0.0, 2.0])
    >>> float(losses.jbond_loss(*arrays, beta=0.5, gamma=0.25))
    -0.25
  """
  (
    policy_logprobs,
    anchor_logprobs,
    policy_best_anchor,
    rewards,
    baselines,
  ) = guards.same_shape_floats(
    policy_logprobs=policy_logprobs,
    anchor_logprobs=anchor_logprobs,
    policy_best_anchor=policy_best_anchor,
    rewards=rewards,
    baselines=baselines,
  )
  guards.fraction(beta=beta)
  guards.non_negative(gamma=gamma)
  log_ratio = policy_logprobs - anchor_logprobs
  advantage = jax.lax.stop_gradient(
    beta * (rewards - log_ratio - baselines) - gamma * log_ratio
  )
  return -(1 - beta) * policy_best_anchor - advantage * policy_logprobs
