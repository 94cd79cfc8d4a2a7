"""Online inverse soft-Q learning (Wulfmeier et al., 2024, arXiv:2409.01369)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from alignment_jax import losses, rollouts
from alignment_jax.algorithm import Algorithm, Metrics, Rollouts, frozen
from alignment_jax.families import soft_q
from alignment_jax.models.base import Model
from alignment_jax.ops import guards
from alignment_jax.ops.means import Mean
from alignment_jax.types import Feedback, Rollout, Tokens


def soft_q_online(
  model: Model,
  *,
  sampling: rollouts.Sampling,
  lam: float,
  mix: float,
  gamma: float = 1.0,
) -> Algorithm:
  """`soft_q` with small rewards along the policy's own samples as well.

  Eq. 16. No judge: the samples only say where rewards are kept small. The loss
  is the mean over tokens of demonstrations plus the mean over tokens of
  samples. Q is the logit divided by the temperature of sampling. Dropout is
  off.

  Args:
    model: the network.
    sampling: one sample is enough.
    lam: weight of the squared rewards, >= 0.
    mix: share of the samples in them, in [0, 1]; 0.1 in the paper, 0 is
      `soft_q`.
    gamma: discount, in [0, 1].
  """
  guards.non_negative(lam=lam)
  guards.fraction(mix=mix, gamma=gamma)

  def prepare(
    trainable: PyTree, slow: PyTree, rollout: Rollout, feedback: Feedback
  ) -> rollouts.Experience:
    del trainable
    rows = len(rollout.ended)

    def share(tokens: Tokens) -> Float[Array, "B"]:
      """What a token counts in the mean over all such tokens, times B."""
      count = jnp.maximum(jnp.sum(tokens.mask), 1).astype(jnp.float32)
      return jnp.full((rows,), rows / count)

    return rollouts.Experience(
      rollout=rollout,
      feedback=feedback,
      reference=rollouts.token_logprobs(
        model, slow["reference"], rollout.prompt, rollout.responses, sampling
      ),
      # Over the whole batch: `loss` may see parts of it.
      extra={
        "share": {
          "responses": share(rollout.responses),
          "demonstration": share(rollout.need("demonstration")),
        }
      },
    )

  def loss(
    trainable: PyTree,
    slow: PyTree,
    batch: rollouts.Experience,
    key: Key[Array, ""] | None,
  ) -> tuple[Mean, Metrics]:
    del slow, key
    rollout, share = batch.rollout, batch.extra["share"]
    parts = {
      "responses": rollout.responses,
      "demonstration": jax.tree.map(
        lambda a: a[:, None], rollout.need("demonstration")
      ),
    }
    statistics = rollouts.in_one_pass(
      lambda responses: soft_q.q_and_values(
        model,
        trainable["policy"],
        rollout.prompt,
        responses,
        temperature=sampling.temperature,
      ),
      **parts,
    )
    per_prompt, rewards = jnp.zeros(len(rollout.ended)), {}
    for name, tokens in parts.items():
      ends = rollouts.has_ended(tokens, sampling.eos_id)
      chosen_q, values = statistics[name]
      arrays = chosen_q, values, tokens.mask, ends
      per_token = losses.soft_q_mixed_loss(
        *arrays,
        jnp.full(ends.shape, name == "demonstration"),
        lam=lam,
        mix=mix,
        gamma=gamma,
      )
      per_prompt += share[name] * jnp.sum(per_token, axis=(1, 2))
      rewards[name] = jnp.sum(
        losses.soft_q_rewards(*arrays, gamma=gamma), axis=-1
      )
    total = rollouts.batch_mean(per_prompt)
    chosen_q, values = statistics["demonstration"]
    likelihood = jnp.sum(values - chosen_q, axis=(1, 2))
    chosen_q, values = statistics["responses"]
    return total, {
      "loss": total,
      "loss/likelihood": rollouts.batch_mean(
        share["demonstration"] * likelihood
      ),
      "rewards/demonstration": rollouts.batch_mean(rewards["demonstration"]),
      "rewards/sample": rollouts.batch_mean(rewards["responses"]),
      **rollouts.policy_shift_metrics(
        rollout, batch.reference, chosen_q - values
      ),
    }

  return Algorithm(
    rollouts.with_reference,
    Rollouts(rollouts.sample_policy(model, sampling), "none", prepare),
    loss,
    frozen,
  )
