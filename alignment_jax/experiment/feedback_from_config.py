"""What a config names as its judge -> feedback for rollouts.

Opens the folders of judges that were trained, and joins `feedback` to a run's
tokenizer and data.
"""

import pathlib
from collections.abc import Callable, Sequence

import jax
import numpy as np

from alignment_jax import data, errors, judges, parallel, scoring
from alignment_jax.algorithm import FeedbackKind, Judge
from alignment_jax.experiment import judge_stage, methods, stage_folder
from alignment_jax.experiment.setup import Setup
from alignment_jax.feedback import convert, models, rollout_judges, texts
from alignment_jax.types import Demonstration, Feedback, Rollout, Tokens

# (prompt, responses [N, K, T]), on the host -> rewards [N, K]
Rewards = Callable[[Tokens, Tokens], np.ndarray]
# (prompt, responses [N, K, T], opponents [N, J, T] or None), on the host ->
# preferences, as `feedback.models.PreferenceModel`
Preferences = Callable[[Tokens, Tokens, Tokens | None], np.ndarray]


def rollout_judge(
  setup: Setup,
  kind: FeedbackKind,
  mesh: jax.sharding.Mesh,
  loader: data.Loader,
) -> Judge:
  """What `config.sampling.judge` names, as a judge of rollouts.

  A judge of texts is shown what a person responded to each prompt, where the
  data have it. Reward models of several other runs are an ensemble, combined as
  `judge.combine` says; see `feedback.convert.combined`.

  Args:
    setup: of the run; what it trained before lies in its folder.
    kind: what the method learns from, as `Rollouts.feedback` says. Preferences
      are those of a judge that compares, or of Bradley and Terry,
      sigmoid(scale (r_i - r_j)); with `preference_scale` 0 the better response
      wins, and a tie is 1/2.
    mesh: where a trained judge runs.
    loader: of the prompts.

  Raises:
    UserError: the judge's settings do not fit.
  """
  sampling = setup.settings.need_sampling()
  name = sampling.judge["name"]
  decode = setup.tokenizer.decode

  def references(index: int) -> list[str | None]:
    rows = loader.indices(index)
    return [loader.source[row].get("response") for row in rows]

  if kind == "none":
    return _not_needed
  if name == "preference_model":
    compare = preference_scorer(setup, mesh, setup.judge_folder(name))
    return rollout_judges.from_comparisons(
      lambda prompt, responses, opponents, index: compare(
        prompt, responses, opponents
      )
    )
  if name in judges.COMPARISONS:
    prefer = judges.build_comparison(
      name, **methods.without_name(sampling.judge)
    )
    return rollout_judges.from_comparisons(
      texts.comparisons(prefer, decode, references)
    )
  if name == "reward_model":
    paths = judge_stage.other_runs(setup.settings)
    score = _centered_rewards(setup, mesh, paths or (setup.judge_folder(name),))
    combination = sampling.judge.get("combine", "mean")
    coefficient = sampling.judge.get("coefficient", 0.0)
  else:
    score = texts.rewards(
      judges.build_all(**sampling.judge), decode, references
    )
    combination, coefficient = "sum", 0.0
  return rollout_judges.from_rewards(
    score,
    kind,
    preference_scale=sampling.preference_scale,
    combination=combination,
    coefficient=coefficient,
  )


def _not_needed(rollout: Rollout, index: int) -> Feedback:
  raise AssertionError("a method that needs no judge was judged")


def reward_scorer(
  setup: Setup, mesh: jax.sharding.Mesh, path: pathlib.Path
) -> Rewards:
  """The reward model in `path`, as many rows at a time as evaluation takes.

  Its network may be another than the run's; its tokens are the same.

  Raises:
    UserError: there is no finished reward model.
  """
  model, _, metadata = stage_folder.open_stage(path)
  params = stage_folder.load_tree(path, "reward", model, mesh)
  pooling = metadata["algorithm"].get("pooling", "last")
  run = parallel.jit(
    models.reward_model(model, pooling=pooling),
    out_shardings=parallel.replicated(mesh),
  )

  def score(prompt: Tokens, responses: Tokens) -> np.ndarray:
    return parallel.map_batches(
      lambda *rows: run(params, *rows),
      (prompt, responses),
      mesh=mesh,
      batch_size=setup.settings.evaluation.batch_size,
    )

  return score


def preference_scorer(
  setup: Setup, mesh: jax.sharding.Mesh, path: pathlib.Path
) -> Preferences:
  """The preference model in `path`, as many rows at a time as evaluation takes.

  Its network may be another than the run's; its tokens are the same.

  Raises:
    UserError: there is no finished preference model.
  """
  model, tokenizer, metadata = stage_folder.open_stage(path)
  params = stage_folder.load_tree(path, "preference", model, mesh)
  template = scoring.template_of(
    [tokenizer.encode(text) for text in metadata["algorithm"]["template"]]
  )
  run = parallel.jit(
    models.preference_model(model, template=template),
    out_shardings=parallel.replicated(mesh),
  )

  def compare(
    prompt: Tokens, responses: Tokens, opponents: Tokens | None
  ) -> np.ndarray:
    return parallel.map_batches(
      lambda *rows: run(params, *rows),
      (prompt, responses, opponents),
      mesh=mesh,
      batch_size=setup.settings.evaluation.batch_size,
    )

  return compare


def _centered_rewards(
  setup: Setup, mesh: jax.sharding.Mesh, paths: Sequence[pathlib.Path]
) -> rollout_judges.ScoreResponses:
  """Reward models, of this run or others: what people wrote earns 0 of each."""
  size = setup.settings.evaluation.batch_size
  loader = setup.loader("demonstration", "train", size)
  demonstrations, _ = loader.rows(range(min(len(loader), 8 * size)))
  assert isinstance(demonstrations, Demonstration)
  shown = jax.tree.map(lambda a: a[:, None], demonstrations.response)
  scores, centers = [], []
  for path in paths:
    score = reward_scorer(setup, mesh, path)
    try:
      centers.append(convert.center_of(score(demonstrations.prompt, shown)))
    except errors.UserError as error:
      raise errors.UserError(f"the reward model in {path}: {error}") from error
    scores.append(score)

  def rewards(prompt: Tokens, responses: Tokens, index: int) -> np.ndarray:
    del index
    centered = [
      score(prompt, responses) - center
      for score, center in zip(scores, centers, strict=True)
    ]
    return np.stack(centered, axis=-1)

  return rewards
