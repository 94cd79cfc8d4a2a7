"""Contrastive policy gradient (Flet-Berliac et al., 2024, arXiv:2406.19185)."""

from alignment_jax import losses
from alignment_jax.algorithms import base, online
from alignment_jax.models.base import Model
from alignment_jax.ops import guards
from alignment_jax.types import Prompts


def copg(
  model: Model, *, sampling: online.Sampling, beta: float
) -> base.Algorithm:
  """CoPG: each response's regularised reward is the others' baseline.

  Its minimum is the optimum of reward - beta KL whoever sampled, as long as
  every response could be: no ratio to the policy that sampled, so older
  rollouts and several epochs need no correction. The loss is one for each
  prompt; on responses of the policy its expected gradient is K times that of
  reward - beta KL (Proposition 1 of the paper, with K = 2).

  Args:
    model: the network.
    sampling: at least two samples; with more, all pairs of a prompt (Cohere,
      2025, arXiv:2504.00698).
    beta: strength of the KL regularisation, > 0, reward per nat.
  """
  sampling.at_least(2, "copg")
  guards.positive(beta=beta)

  def loss(trainable, slow, batch, key):
    del slow, key
    rollout = batch.rollout
    tokens = online.token_logprobs(
      model, trainable["policy"], rollout.prompt, rollout.responses, sampling
    )
    per_prompt = losses.copg_group_loss(
      online.sequence(tokens, rollout),
      online.sequence(batch.reference, rollout),
      batch.scores,
      beta=beta,
    )
    total = online.mean(per_prompt)
    return total, {"loss": total, **online.report(batch, tokens)}

  return base.Algorithm(
    online.with_reference,
    online.collect(model, sampling),
    loss,
    base.frozen,
    Prompts,
  )
