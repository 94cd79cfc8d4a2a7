"""Contrastive policy gradient (Flet-Berliac et al., 2024, arXiv:2406.19185)."""

from jaxtyping import Array, Key, PyTree

from alignment_jax import losses, rollouts
from alignment_jax.algorithm import Algorithm, Metrics, frozen
from alignment_jax.models.base import Model
from alignment_jax.ops import guards
from alignment_jax.ops.means import Mean


def copg(
  model: Model, *, sampling: rollouts.Sampling, beta: float
) -> Algorithm:
  """CoPG: each response's regularized reward is the others' baseline.

  Its minimum is the optimum of reward - beta KL whoever sampled, as long as
  every response could be: no ratio to the policy that sampled, so older
  rollouts and several epochs need no correction. The loss is one for each
  prompt; on responses of the policy its expected gradient is K times that of
  reward - beta KL (Proposition 1 of the paper, with K = 2).

  Args:
    model: the network.
    sampling: at least two samples; with more, all pairs of a prompt (Cohere,
      2025, arXiv:2504.00698).
    beta: strength of the KL regularization, > 0, reward per nat.
  """
  sampling.at_least(2, "copg")
  guards.positive(beta=beta)

  def loss(
    trainable: PyTree,
    slow: PyTree,
    batch: rollouts.Experience,
    key: Key[Array, ""] | None,
  ) -> tuple[Mean, Metrics]:
    del slow, key
    rollout = batch.rollout
    tokens = rollouts.token_logprobs(
      model, trainable["policy"], rollout.prompt, rollout.responses, sampling
    )
    per_prompt = losses.copg_group_loss(
      rollouts.sequence_logprobs(tokens, rollout.responses),
      rollouts.sequence_logprobs(batch.reference, rollout.responses),
      batch.feedback.need("rewards"),
      beta=beta,
    )
    total = rollouts.batch_mean(per_prompt)
    return total, {"loss": total, **rollouts.rollout_metrics(batch, tokens)}

  return Algorithm(
    rollouts.with_reference,
    rollouts.sampled_from_policy(model, sampling),
    loss,
    frozen,
  )
