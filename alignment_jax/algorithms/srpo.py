"""Self-improving robust preference optimization (arXiv:2406.01660)."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from alignment_jax import losses, rollouts, scoring
from alignment_jax.algorithm import Algorithm, Metrics, frozen
from alignment_jax.families import offline_pairs
from alignment_jax.models.base import Model
from alignment_jax.ops import guards, masking, means
from alignment_jax.ops.means import Mean
from alignment_jax.rollouts import revisions
from alignment_jax.types import PreferencePair, Tokens


def srpo(
  model: Model,
  *,
  beta: float,
  alpha: float,
  template: Sequence[Sequence[int]],
) -> Algorithm:
  """One network that responds, and that improves a response it is shown.

  Choi et al., 2024. The generator reads the prompt, the reviser the prompt and
  a response; `revisions.self_revise` samples with both. Six log-probabilities
  of policy and reference, summed over tokens: each response by itself, and
  after each of the two is shown. The reference is the policy at the start,
  under the same prompts. Where raters disagree, the loss is its expectation
  over the label. A pair with an empty response has weight 0 and is counted.
  Dropout is off.

  Args:
    model: the network.
    beta: strength of the KL regularization, > 0, per nat; 0.01 in published
      code.
    alpha: weight of the reviser, in [0, 1]; 0.8 in published code.
    template: token ids before and after the response that is shown.

  Raises:
    ValueError: a coefficient is out of range, or the template has other than
      two parts.
  """
  guards.positive(beta=beta)
  guards.fraction(alpha=alpha)
  revisions.check_template(template)

  def scores(
    params: PyTree, batch: PreferencePair
  ) -> tuple[offline_pairs.Couple, ...]:
    """Couples that swap with chosen (w) and rejected (l).

    Of w and l; of w given l and l given w; of w given w and l given l.
    """
    responses = offline_pairs.stack(batch)

    def score(prompt: Tokens, responses: Tokens) -> Float[Array, "N 2"]:
      logprobs = scoring.token_logprobs(model, params, prompt, responses)
      return masking.masked_sum(logprobs, responses.mask)

    plain = score(batch.prompt, responses)
    # What is shown as rows; those of one pair stay on one device.
    shown = jax.tree.map(lambda a: a.reshape(-1, a.shape[-1]), responses)
    twice = jax.tree.map(
      lambda a: jnp.repeat(a, 2, axis=0), (batch.prompt, responses)
    )
    prompt = revisions.revision_prompt(twice[0], shown, template)
    # [B, shown, revised]
    revised = score(prompt, twice[1]).reshape(-1, 2, 2)
    return (
      (plain[:, 0], plain[:, 1]),
      (revised[:, 1, 0], revised[:, 0, 1]),
      (revised[:, 0, 0], revised[:, 1, 1]),
    )

  def pair_loss(*arrays: Float[Array, "B"]) -> Float[Array, "B"]:
    def ordered(
      won: Array,
      lost: Array,
      won_lost: Array,
      lost_won: Array,
      won_won: Array,
      lost_lost: Array,
    ) -> tuple[Array, ...]:
      """From the order of `scores`, flat, to that of the loss."""
      return won, lost, won_lost, won_won, lost_lost, lost_won

    return losses.srpo_loss(
      *ordered(*arrays[:6]), *ordered(*arrays[6:]), beta=beta, alpha=alpha
    )

  def loss(
    trainable: PyTree,
    slow: PyTree,
    batch: PreferencePair,
    key: Key[Array, ""] | None,
  ) -> tuple[Mean, Metrics]:
    del key
    policy = scores(trainable["policy"], batch)
    reference = jax.lax.stop_gradient(scores(slow["reference"], batch))
    weight, empty = offline_pairs.weights(batch)
    total = means.weighted_mean(
      offline_pairs.expected_over_label(
        pair_loss, batch.probability, *policy, *reference
      ),
      weight,
    )

    def mean(values: Float[Array, "B"]) -> Mean:
      return means.weighted_mean(values, weight)

    # beta times the log-ratio of each of the six, in the order of `scores`.
    plain, crossed, same = (
      tuple(beta * (new - old) for new, old in zip(*both, strict=True))
      for both in zip(policy, reference, strict=True)
    )
    after_rejected, after_chosen = crossed[0] - same[1], same[0] - crossed[1]
    return total, {
      "loss": total,
      "generator/margins": mean(plain[0] - plain[1]),
      "reviser/margins_after_chosen": mean(after_chosen),
      "reviser/margins_after_rejected": mean(after_rejected),
      "reviser/accuracies": mean(
        0.5 * (after_chosen > 0).astype(jnp.float32)
        + 0.5 * (after_rejected > 0).astype(jnp.float32)
      ),
      "joint/margins": mean(crossed[0] - crossed[1] + plain[0] - plain[1]),
      "logps/chosen": mean(policy[0][0]),
      "logps/rejected": mean(policy[0][1]),
      "empty_responses": empty,
    }

  return Algorithm(rollouts.with_reference, None, loss, frozen)
