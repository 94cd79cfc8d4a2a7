"""Who judges what a policy samples to learn from: rules or a trained model."""

import pathlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from alignment_jax import data, errors, judges, parallel, scoring
from alignment_jax.algorithms.preference_model import template_of
from alignment_jax.evaluation.responses import batches
from alignment_jax.experiment import methods, stage_folder
from alignment_jax.experiment.setup import Setup
from alignment_jax.training import batch_sources
from alignment_jax.types import Rollout


def rollout_judge(
  setup: Setup,
  feedback: str,
  mesh: jax.sharding.Mesh,
  loader: data.Loader,
) -> batch_sources.Judge:
  """What `config.sampling.judge` names, as a judge of rollouts.

  A judge of texts is shown what a person answered to each prompt, where the
  data have it.

  Args:
    setup: of the run; what it trained before lies in its folder.
    feedback: what the algorithm does, as `Rollouts.feedback` says. Preferences
      are those of a judge that compares, or of Bradley and Terry,
      sigmoid(scale (r_i - r_j)); with `preference_scale` 0 the better response
      wins, and a tie is 1/2.
    mesh: where a trained judge runs.
    loader: of the prompts.

  Raises:
    UserError: the judge's settings do not fit.
  """
  chosen = setup.settings.sampling
  name = chosen.judge["name"]
  if feedback == "none":
    return _needless
  if name == "preference_model":
    prefer = preference_scorer(
      setup,
      mesh,
      setup.judge_folder(name),
    )
    return lambda rollout, place: prefer(rollout.prompt, rollout.responses)
  if name in judges.COMPARISONS:
    return _of_two_texts(
      setup, methods.without_name(chosen.judge), name, loader
    )
  if name == "reward_model":
    rewards = _of_tokens(setup, mesh)
  else:
    rewards = _of_texts(setup, judges.build_all(**chosen.judge), loader)
  if feedback == "rewards":
    return rewards

  def reward(rollout, place):
    return rewards(rollout, place).sum(axis=-1)

  if feedback == "reward":
    return reward
  scale = chosen.preference_scale

  def preferences(rollout, place):
    scores = reward(rollout, place)
    margin = scores[:, :, None] - scores[:, None, :]
    if scale:
      # Away from where the exponential overflows.
      return 1 / (1 + np.exp(-np.clip(scale * margin, -60, 60)))
    return (1 + np.sign(margin)) / 2

  return preferences


def reward_scorer(
  setup: Setup, mesh: jax.sharding.Mesh, path: pathlib.Path
) -> Callable:
  """(prompt, responses [N, K, T] on the host) -> rewards [N, K] of the reward
  model in `path`, as many rows at a time as evaluation takes.

  Its network may be another than the run's; its tokens are the same.

  Raises:
    UserError: there is no finished reward model.
  """
  model, _, about = stage_folder.open_stage(path)
  params = stage_folder.load_tree(path, "reward", model, mesh)
  pooling = about["algorithm"].get("pooling", "last")
  run = parallel.jit(
    lambda params, prompt, responses: scoring.rewards(
      model, params, prompt, responses, pooling=pooling
    ),
    out_shardings=parallel.replicated(mesh),
  )

  return _in_batches(setup, mesh, run, params)


def preference_scorer(
  setup: Setup, mesh: jax.sharding.Mesh, path: pathlib.Path
) -> Callable:
  """(prompt, responses [N, K, T] on the host) -> preferences [N, K, K] of the
  preference model in `path`: P(response i beats response j), averaged over who
  is read first.

  Its network may be another than the run's; its tokens are the same.

  Raises:
    UserError: there is no finished preference model.
  """
  model, tokenizer, about = stage_folder.open_stage(path)
  params = stage_folder.load_tree(path, "preference", model, mesh)
  template = template_of(
    [tokenizer.encode(text) for text in about["algorithm"]["template"]]
  )

  def compare(params, prompt, responses):
    count = responses.ids.shape[1]
    pairs = np.triu_indices(count, 1)

    def of_pair(pair):
      first, second = (
        jax.tree.map(lambda a, place=place: a[:, place], responses)
        for place in pair
      )
      return scoring.preferences(
        model, params, prompt, first, second, template=template
      )

    # One pair after the other: each holds the whole prompt twice.
    wins = jax.lax.map(of_pair, tuple(jnp.asarray(i) for i in pairs)).T
    even = jnp.full((len(prompt.ids), count, count), 0.5)
    one, two = pairs
    return even.at[:, one, two].set(wins).at[:, two, one].set(1 - wins)

  run = parallel.jit(compare, out_shardings=parallel.replicated(mesh))
  return _in_batches(setup, mesh, run, params)


def _in_batches(setup, mesh, run, params):
  """(prompt, responses on the host) -> what `run` says of each row."""

  def score(prompt, responses):
    parts = [
      np.asarray(run(params, *parallel.put_batch(mesh, part)))
      for part in batches(
        (prompt, responses), setup.settings.evaluation.batch_size
      )
    ]
    return np.concatenate(parts)[: prompt.ids.shape[0]]

  return score


def _needless(rollout, place):
  raise AssertionError("a method that needs no judge was judged")


def _texts(setup, tokens):
  """What tokens [..., T] say, as a flat list."""
  length = tokens.ids.shape[-1]
  return [
    setup.tokenizer.decode([int(i) for i in ids[mask]])
    for ids, mask in zip(
      tokens.ids.reshape(-1, length),
      tokens.mask.reshape(-1, length),
      strict=True,
    )
  ]


def _references(loader, place):
  """What people answered to the prompts of a batch; None where unknown."""
  return [
    loader.source[index].get("response") for index in loader.places(place)
  ]


def _with_written(rollout):
  """The responses and, as the last of each prompt, the demonstration."""
  if rollout.demonstration is None:
    return rollout.responses
  return jax.tree.map(
    lambda sampled, written: np.concatenate(
      [sampled, written[:, None]], axis=1
    ),
    rollout.responses,
    rollout.demonstration,
  )


def _of_two_texts(setup, options, name, loader):
  """A judge that compares texts; both orders of a pair are averaged."""
  compare = judges.preferences.swap_averaged(
    judges.build_comparison(name, **options)
  )

  def preferences(rollout: Rollout, place: int) -> np.ndarray:
    rows, count = rollout.responses.ids.shape[:2]
    prompts = _texts(setup, rollout.prompt)
    said = np.array(_texts(setup, rollout.responses), object)
    said = said.reshape(rows, count)
    one, two = np.triu_indices(count, 1)
    won = compare(
      _repeated(prompts, len(one)),
      list(said[:, one].reshape(-1)),
      list(said[:, two].reshape(-1)),
      _repeated(_references(loader, place), len(one)),
    ).reshape(rows, len(one))
    scores = np.full((rows, count, count), 0.5, np.float32)
    scores[:, one, two], scores[:, two, one] = won, 1 - won
    return scores

  return preferences


def _of_texts(setup, parts, loader):
  """Judges of texts, for what a rollout says: rewards of each, [B, K, n]."""

  def rewards(rollout: Rollout, place: int) -> np.ndarray:
    responses = _with_written(rollout)
    rows, count = responses.ids.shape[:2]
    texts = (
      _repeated(_texts(setup, rollout.prompt), count),
      _texts(setup, responses),
      _repeated(_references(loader, place), count),
    )
    scores = [judge(*texts).reshape(rows, count) for judge in parts]
    return np.stack(scores, axis=-1)

  return rewards


def _repeated(texts, count):
  return [text for text in texts for _ in range(count)]


def _of_tokens(setup, mesh):
  """A reward model, of this run or another, centred on what people wrote.

  Its mean over demonstrations is taken off, as in detail 15 of Huang et al.,
  2024 (arXiv:2403.17031), so that a reward above 0 is better than average.
  """
  path = setup.judge_folder("reward_model")
  score = reward_scorer(setup, mesh, path)
  size = setup.settings.evaluation.batch_size
  loader = setup.loader("demonstration", "train", size)
  written, _ = loader.rows(range(min(len(loader), 8 * size)))
  centre = score(
    written.prompt, jax.tree.map(lambda a: a[:, None], written.response)
  ).mean()
  if not np.isfinite(centre):
    raise errors.UserError(
      f"the reward model in {path} gives {centre} on average; train it"
      " again with a lower learning rate"
    )

  def rewards(rollout, place):
    del place
    return (score(rollout.prompt, _with_written(rollout)) - centre)[..., None]

  return rewards
