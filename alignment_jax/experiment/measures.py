"""What is measured of a run's policies and judges on held-out data."""

from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Bool, Float, PyTree

from alignment_jax import data
from alignment_jax.evaluation import drift, responses
from alignment_jax.evaluation.report import Number
from alignment_jax.evaluation.responses import Responses
from alignment_jax.experiment import feedback_from_config, keys, stage_folder
from alignment_jax.experiment.setup import Setup
from alignment_jax.families import offline_pairs
from alignment_jax.types import Demonstration, PreferencePair, Tokens

CLEAR = 1.0  # pairs whose mean ratings differ by this have a clear winner

# (prompt, both responses of each pair) -> whether the first is preferred
Orders = Callable[[Tokens, Tokens], Bool[np.ndarray, "N"]]
# responses of a policy -> the reward of each
Rewards = Callable[[Responses], Float[np.ndarray, "N"]]


def sampled_responses(setup: Setup, params: PyTree) -> Responses:
  """What a policy responds to the first held-out prompts."""
  settings = setup.settings.evaluation
  loader = setup.loader("prompt", "test", settings.batch_size)
  indices = list(range(min(settings.prompts, len(loader))))
  batch, _ = loader.rows(indices)
  return responses.sample(
    setup.model,
    params,
    setup.tokenizer,
    [loader.source[index]["prompt"] for index in indices],
    batch.prompt,
    keys.key_of(setup.settings.seed, keys.EVALUATION),
    mesh=setup.mesh,
    batch_size=settings.batch_size,
    max_tokens=setup.settings.data.response_length,
    temperature=settings.temperature,
  )


def demonstrations_of_prompts(setup: Setup, count: int) -> list[str | None]:
  """What people responded to the first held-out prompts; None if unknown."""
  rows = setup.plan.sources.rows("prompt", "test")
  return [rows[index].get("response") for index in range(count)]


def drift_numbers(
  setup: Setup, policy: PyTree, reference: PyTree, sampled: Responses
) -> list[Number]:
  """KL to the policy before, on the responses of the policy after."""
  logprobs = [
    drift.response_logprobs(
      setup.model,
      params,
      sampled.prompt,
      sampled.tokens,
      mesh=setup.mesh,
      batch_size=setup.settings.evaluation.batch_size,
    )
    for params in (policy, reference)
  ]
  kl, error = drift.kl_to_reference(*logprobs)
  return [
    Number(
      name="KL to the policy before",
      value=kl,
      unit="nats per response",
      explanation=f"on its own responses, standard error {error:.2g}",
    )
  ]


def likelihood_numbers(setup: Setup, params: PyTree, when: str) -> list[Number]:
  """Perplexity on what people wrote; nothing where the data have none."""
  batch = _demonstrations(setup)
  if batch is None:
    return []
  logprobs = drift.response_logprobs(
    setup.model,
    params,
    batch.prompt,
    batch.response,
    mesh=setup.mesh,
    batch_size=setup.settings.evaluation.batch_size,
  )
  return [
    Number(
      name=f"perplexity {when}",
      value=drift.perplexity(logprobs, np.sum(batch.response.mask, axis=-1)),
      unit="per token",
      explanation="of held-out responses that people wrote; lower is better",
    )
  ]


def demonstration_length(setup: Setup) -> list[Number]:
  """Mean length of what people wrote; nothing where the data have none."""
  batch = _demonstrations(setup)
  if batch is None:
    return []
  return [
    Number(
      name="length of demonstrations",
      value=float(batch.response.mask.sum(axis=-1).mean()),
      unit="tokens",
      explanation="mean length of what people wrote, as far as it is read",
    )
  ]


def reward_model(setup: Setup) -> tuple[Rewards | None, list[Number]]:
  """The trained judge, if the run has one, and its accuracy."""
  path = setup.judge_folder("reward_model")
  if not stage_folder.is_finished(path):
    return None, []
  score = feedback_from_config.reward_scorer(setup, setup.mesh, path)

  def first_wins(prompt: Tokens, pair: Tokens) -> Bool[np.ndarray, "N"]:
    rewards = score(prompt, pair)
    return rewards[:, 0] > rewards[:, 1]

  def rewards_of(sampled: Responses) -> Float[np.ndarray, "N"]:
    tokens = jax.tree.map(lambda a: a[:, None], sampled.tokens)
    return score(sampled.prompt, tokens)[:, 0]

  return rewards_of, _accuracy(setup, "reward model", first_wins)


def preference_model(setup: Setup) -> list[Number]:
  """The accuracy of the trained judge of two responses, if the run has one."""
  path = setup.judge_folder("preference_model")
  if not stage_folder.is_finished(path):
    return []
  compare = feedback_from_config.preference_scorer(setup, setup.mesh, path)

  def first_wins(prompt: Tokens, pair: Tokens) -> Bool[np.ndarray, "N"]:
    return compare(prompt, pair, None)[:, 0, 1] > 0.5

  return _accuracy(setup, "preference model", first_wins)


def _demonstrations(setup: Setup) -> Demonstration | None:
  """The first held-out prompts with what people wrote; None without any."""
  settings = setup.settings.evaluation
  try:
    loader = setup.loader("demonstration", "test", settings.batch_size)
  except data.MissingColumns:
    return None
  batch, _ = loader.rows(range(min(settings.prompts, len(loader))))
  assert isinstance(batch, Demonstration)
  return batch


def _accuracy(setup: Setup, name: str, first_wins: Orders) -> list[Number]:
  """How often a trained judge orders held-out pairs as people do.

  Pairs of rated texts count where the mean ratings are clearly apart; the
  agreement of two raters on the same pairs is what a judge could reach.
  """
  loader = setup.loader("preference", "test", 1)
  rows = [loader.source[index] for index in range(len(loader))]
  rated = all("chosen_reward" in row for row in rows)
  clear = [
    index
    for index, row in enumerate(rows)
    if not rated or row["chosen_reward"] - row["rejected_reward"] >= CLEAR
  ]
  if not clear:
    return []
  batch, _ = loader.rows(clear)
  assert isinstance(batch, PreferencePair)
  wins = first_wins(
    batch.prompt, jax.tree.map(np.asarray, offline_pairs.stack(batch))
  )
  which = (
    f"{len(clear)} held-out pairs with mean ratings {CLEAR:g} or more apart"
    if rated
    else f"{len(clear)} held-out pairs"
  )
  numbers = [
    Number(
      name=f"{name} accuracy",
      value=float(np.mean(wins)),
      explanation=f"share of {which} that it orders as the mean rating does",
    )
  ]
  if rated:
    numbers.append(
      Number(
        name="agreement of raters",
        value=float(np.mean(batch.probability)),
        explanation="how often one rater of each text, drawn at random, orders"
        " the same pairs so; a tie counts half",
      )
    )
  return numbers
