"""From a `ConfigDict` to checked settings; the only reader of a config.

A field that is missing, unknown or of the wrong type is an error before
anything runs.
"""

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

import ml_collections

from alignment_jax import algorithms, errors, judges, optimizers, transforms
from alignment_jax.experiment import methods, renamed, settings

# Who may judge samples, if they are judged at all.
_JUDGES = (
  *judges.JUDGES,
  judges.SUM,
  *judges.COMPARISONS,
  *settings.TRAINED_JUDGES,
)


def read(config: ml_collections.ConfigDict) -> settings.Settings:
  """The config as settings.

  Raises:
    UserError: names the field, what it holds and what is allowed.
  """
  values = config.to_dict()
  renamed.check(values)
  main = {name: values.pop(name, None) for name in _fields(settings.Stage)}
  _exactly(
    {**values, "main": main},
    _fields(settings.Settings),
    "config",
    _fields(settings.Stage),
  )
  chosen = settings.Settings(
    seed=_typed(values["seed"], int, "seed"),
    init_from=_typed(values["init_from"], str, "init_from"),
    model=_named(values["model"], "model"),
    tokenizer=_section(settings.Tokenizer, values["tokenizer"], "tokenizer"),
    data=_section(settings.Data, values["data"], "data"),
    mesh=_section(settings.Mesh, values["mesh"], "mesh"),
    evaluation=_section(
      settings.Evaluation, values["evaluation"], "evaluation"
    ),
    lora=_section(settings.Lora, values["lora"], "lora"),
    sft=_stage(values["sft"], "sft"),
    reward_model=_stage(values["reward_model"], "reward_model"),
    preference_model=_stage(values["preference_model"], "preference_model"),
    sampling=_sampling(values["sampling"]),
    reference_update=_named(values["reference_update"], "reference_update"),
    main=_stage(main, ""),
  )
  _check(chosen)
  return chosen


def _check(chosen):
  """What can be wrong although every type is right."""
  model = methods.sketch(chosen.model)
  _check_evaluation(chosen.evaluation)
  _at_least(1, chosen.data, "data", "prompt_length", "response_length")
  if not 0 <= chosen.data.min_probability <= 1:
    raise errors.UserError(
      "config.data.min_probability must be in [0, 1], got"
      f" {chosen.data.min_probability}"
    )
  _at_least(0, chosen.evaluation, "evaluation", "prompts", "samples_shown")
  _at_least(1, chosen.evaluation, "evaluation", "batch_size")
  _at_least(16, chosen.tokenizer, "tokenizer", "vocabulary_size")
  _check_lora(chosen, model)
  _check_sampling(chosen)
  # The tokenizer knows the real id.
  sampling = methods.sampling_of(
    chosen.sampling, max_tokens=chosen.data.response_length, eos_id=1
  )
  for where, stage in chosen.stages().items():
    name = stage.algorithm["name"]
    if where and name != where:
      raise errors.UserError(
        f"config.{where}.algorithm.name must be '{where}', got '{name}'"
      )
    algorithm = methods.make_algorithm(model, stage.algorithm, sampling)
    if not where:
      _check_feedback(chosen, algorithm)
      algorithm = methods.with_reference_update(
        algorithm, chosen.reference_update
      )
      if chosen.lora.rank:
        # An imported model may have other kernels: whether any can be adapted.
        transforms.with_lora(
          algorithm, model, rank=1, alpha=1.0, targets=("*",)
        )
    path = f"{where}.training" if where else "training"
    _at_least(0 if where else 1, stage.training, path, "steps")
    _at_least(
      1,
      stage.training,
      path,
      *("microbatches", "epochs", "minibatches"),
      *("log_every", "checkpoint_every"),
    )
    if stage.training.steps:
      optimizers.make_optimizer(
        stage.optimizer.name,
        optimizers.make_schedule(
          stage.optimizer.schedule,
          learning_rate=stage.optimizer.learning_rate,
          warmup_steps=stage.optimizer.warmup_steps,
          total_steps=stage.training.optimizer_steps(),
        ),
        weight_decay=stage.optimizer.weight_decay,
        clip_norm=stage.optimizer.clip_norm,
      )


def _check_evaluation(evaluation):
  name = evaluation.judge
  if name not in judges.JUDGES:
    raise errors.unknown("judge", name, judges.JUDGES)
  try:
    judges.build(name)
  except errors.UserError as error:
    raise errors.UserError(
      f"config.evaluation.judge is a name alone, and '{name}' needs more:"
      f" {error}"
    ) from error


def _check_lora(chosen, model):
  lora = chosen.lora
  _at_least(0, lora, "lora", "rank")
  if not lora.alpha > 0:
    raise errors.UserError(f"config.lora.alpha must be > 0, got {lora.alpha}")
  if not lora.rank or chosen.init_from:
    return  # an imported model's kernels are not known yet
  if "sft" not in chosen.trained():
    raise errors.UserError(
      f"config.lora.rank is {lora.rank}, but nothing is there to adapt: give a"
      " trained policy as config.init_from, train one first with"
      " config.sft.training.steps, or set the rank to 0"
    )
  methods.check_lora(model, lora)


def _at_least(least, section, where, *names):
  for name in names:
    value = getattr(section, name)
    if value < least:
      raise errors.UserError(
        f"config.{where}.{name} must be >= {least}, got {value}"
      )


def _check_sampling(chosen):
  name, sampling = chosen.main.algorithm["name"], chosen.sampling
  if sampling is None:
    return
  if name in algorithms.ALGORITHMS and not algorithms.ALGORITHMS[name].samples:
    raise errors.UserError(
      f"config.sampling is given, but algorithm '{name}' learns from the data"
      " as they are; set config.sampling to None"
    )
  _at_least(
    0,
    sampling,
    "sampling",
    *("preference_scale", "staleness", "generator_devices"),
  )
  judge = sampling.judge["name"]
  if judge not in (*_JUDGES, settings.NO_JUDGE):
    raise errors.unknown("judge", judge, (*_JUDGES, settings.NO_JUDGE))
  if judge in (*judges.JUDGES, judges.SUM):
    judges.build_all(**sampling.judge)  # before anything runs
  if judge not in settings.TRAINED_JUDGES:
    return
  for name in methods.options(sampling.judge):
    if name != "path":
      raise errors.unknown(f"setting of judge '{judge}'", name, ["path"])
  if "path" in sampling.judge:
    _typed(sampling.judge["path"], str, "sampling.judge.path")
  elif judge not in chosen.trained():
    raise errors.UserError(
      f"config.sampling.judge is the '{judge}' of this run, but the run trains"
      f" none: set config.{judge}.training.steps, give another run's as"
      " config.sampling.judge.path, or choose another judge"
    )


def _check_feedback(chosen, algorithm):
  """Refuses a judge that says other than what the main method wants."""
  if algorithm.rollouts is None:
    return
  name, judge = chosen.main.algorithm["name"], chosen.sampling.judge["name"]
  feedback = algorithm.rollouts.feedback
  if feedback == "none" and judge != settings.NO_JUDGE:
    raise errors.UserError(
      f"algorithm '{name}' needs no judge, but config.sampling.judge.name is"
      f" '{judge}'; set it to '{settings.NO_JUDGE}'"
    )
  if feedback != "none" and judge == settings.NO_JUDGE:
    raise errors.UserError(
      f"algorithm '{name}' needs a judge; config.sampling.judge.name must be"
      f" one of: {', '.join(sorted(_JUDGES))}"
    )
  if feedback in ("reward", "rewards") and judge in (
    "preference_model",
    *judges.COMPARISONS,
  ):
    raise errors.UserError(
      f"algorithm '{name}' wants rewards, and {judge} compares two"
      " answers; choose a judge of one, such as reward_model, or a method on"
      " preferences, such as nash_md"
    )


def _fields(cls):
  return tuple(field.name for field in dataclasses.fields(cls))


def _exactly(values, names, where, replaced=()):
  """Refuses missing and unknown fields; `main` reads as what it stands for."""
  shown = [n for n in names if n != "main"] + list(replaced)
  for name in values:
    if name not in names:
      raise errors.unknown(f"field in {where}", name, shown)
  for name in names:
    if name not in values:
      raise errors.UserError(
        f"{where} lacks the field '{name}'; it needs: {', '.join(shown)}"
      )


def _typed(value, kind, where):
  if kind == tuple[str, ...]:
    if (
      not isinstance(value, (list, tuple))
      or not value
      or not all(isinstance(item, str) for item in value)
    ):
      raise errors.UserError(
        f"config.{where} must be a tuple of texts, got {value!r}"
      )
    return tuple(value)
  if kind == Mapping[str, Any]:
    return value
  if kind is float and isinstance(value, int) and not isinstance(value, bool):
    value = float(value)
  if not isinstance(value, kind) or isinstance(value, bool):
    raise errors.UserError(
      f"config.{where} must be of type {kind.__name__}, got {value!r}"
    )
  return value


def _section(cls, values, where):
  if not isinstance(values, Mapping):
    raise errors.UserError(
      f"config.{where} must hold the fields {', '.join(_fields(cls))}, got"
      f" {values!r}"
    )
  _exactly(values, _fields(cls), f"config.{where}")
  kinds = typing.get_type_hints(cls)
  return cls(
    **{
      name: _typed(value, kinds[name], f"{where}.{name}")
      for name, value in values.items()
    }
  )


def _named(values, where):
  if not isinstance(values, Mapping) or "name" not in values:
    raise errors.UserError(f"config.{where} needs a 'name', got {values!r}")
  _typed(values["name"], str, f"{where}.name")
  return dict(values)


def _sampling(values):
  if values is None:
    return None
  if not isinstance(values, Mapping):
    raise errors.UserError(
      "config.sampling must hold the fields"
      f" {', '.join(_fields(settings.Sampling))}, or be None; got {values!r}"
    )
  judge = _named(values.get("judge"), "sampling.judge")
  return _section(settings.Sampling, {**values, "judge": judge}, "sampling")


def _stage(values, where):
  if values is None:
    return None
  dot = f"{where}." if where else ""
  if not isinstance(values, Mapping):
    raise errors.UserError(
      f"config.{where} must hold the fields"
      f" {', '.join(_fields(settings.Stage))}, or be None; got {values!r}"
    )
  _exactly(
    values, _fields(settings.Stage), f"config.{where}" if where else "config"
  )
  return settings.Stage(
    algorithm=_named(values["algorithm"], f"{dot}algorithm"),
    optimizer=_section(
      settings.Optimizer, values["optimizer"], f"{dot}optimizer"
    ),
    training=_section(settings.Training, values["training"], f"{dot}training"),
  )
