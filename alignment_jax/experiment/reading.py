"""From a `ConfigDict` to checked settings; the only reader of a config.

A field that is missing, unknown or of the wrong type is an error before
anything runs.
"""

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import ml_collections

from alignment_jax import errors, judges, models
from alignment_jax.algorithm import FeedbackKind
from alignment_jax.experiment import keys, methods, renamed
from alignment_jax.experiment.settings import (
  NO_JUDGE,
  TRAINED_JUDGES,
  Data,
  Evaluation,
  Lora,
  Mesh,
  Optimizer,
  Sampling,
  Settings,
  Stage,
  Tokenizer,
  Training,
)
from alignment_jax.feedback import convert

Section = TypeVar("Section")

# Who may judge samples, if they are judged at all.
_JUDGES = (
  *judges.JUDGES,
  judges.SUM,
  *judges.COMPARISONS,
  *TRAINED_JUDGES,
)


def read(config: ml_collections.ConfigDict) -> Settings:
  """The config as settings.

  Raises:
    UserError: names the field, what it holds and what is allowed.
  """
  values = config.to_dict()
  renamed.check(values)
  main = {name: values.pop(name, None) for name in _fields(Stage)}
  _exactly(
    {**values, "main": main},
    _fields(Settings),
    "config",
    _fields(Stage),
  )
  settings = Settings(
    seed=_typed(values["seed"], int, "seed"),
    init_from=_typed(values["init_from"] or None, str | None, "init_from"),
    model=_named(values["model"], "model"),
    tokenizer=_section(Tokenizer, values["tokenizer"], "tokenizer"),
    data=_section(Data, values["data"], "data"),
    mesh=_section(Mesh, values["mesh"], "mesh"),
    evaluation=_section(Evaluation, values["evaluation"], "evaluation"),
    lora=_section(Lora, values["lora"], "lora"),
    sft=_optional_stage(values["sft"], "sft"),
    reward_model=_optional_stage(values["reward_model"], "reward_model"),
    preference_model=_optional_stage(
      values["preference_model"], "preference_model"
    ),
    sampling=_sampling(values["sampling"]),
    reference_update=_named(values["reference_update"], "reference_update"),
    main=_stage(main, ""),
  )
  _check(settings)
  return settings


def _check(settings: Settings) -> None:
  """What can be wrong although every type is right.

  What only the data, the tokenizer or the network can tell is `plans.plan`'s.
  """
  if settings.model["name"] not in models.MODELS:
    raise errors.unknown("model", settings.model["name"], models.MODELS)
  _check_evaluation(settings.evaluation)
  _at_least(1, settings.data, "data", "prompt_length", "response_length")
  if not 0 <= settings.data.min_probability <= 1:
    raise errors.UserError(
      "config.data.min_probability must be in [0, 1], got"
      f" {settings.data.min_probability}"
    )
  _at_least(0, settings.evaluation, "evaluation", "prompts", "samples_shown")
  _at_least(1, settings.evaluation, "evaluation", "batch_size")
  _at_least(16, settings.tokenizer, "tokenizer", "vocabulary_size")
  _check_lora(settings)
  for role, stage in settings.stages().items():
    _check_stage("" if role == keys.MAIN else role, stage)
  _check_sampling(settings)


def _check_stage(where: str, stage: Stage) -> None:
  name = stage.algorithm["name"]
  if where and name != where:
    raise errors.UserError(
      f"config.{where}.algorithm.name must be '{where}', got '{name}'"
    )
  methods.check_keywords(stage.algorithm)
  path = f"{where}.training" if where else "training"
  _at_least(0 if where else 1, stage.training, path, "steps")
  _at_least(
    1,
    stage.training,
    path,
    *("microbatches", "epochs", "minibatches"),
    *("log_every", "checkpoint_every"),
  )


def _check_evaluation(evaluation: Evaluation) -> None:
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


def _check_lora(settings: Settings) -> None:
  lora = settings.lora
  _at_least(0, lora, "lora", "rank")
  if not lora.alpha > 0:
    raise errors.UserError(f"config.lora.alpha must be > 0, got {lora.alpha}")
  if lora.rank and not settings.init_from and "sft" not in settings.trained():
    raise errors.UserError(
      f"config.lora.rank is {lora.rank}, but nothing is there to adapt: give a"
      " trained policy as config.init_from, train one first with"
      " config.sft.training.steps, or set the rank to 0"
    )


def _at_least(least: int, section: Any, where: str, *names: str) -> None:
  for name in names:
    value = getattr(section, name)
    if value < least:
      raise errors.UserError(
        f"config.{where}.{name} must be >= {least}, got {value}"
      )


def _check_sampling(settings: Settings) -> None:
  name, sampling = settings.main.algorithm["name"], settings.sampling
  method = methods.method_named(name)
  if sampling is None:
    if method.samples:
      raise errors.UserError(
        f"algorithm '{name}' learns from its own samples: config.sampling must"
        " say how, as in configs/rloo.py"
      )
    return
  if not method.samples:
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
  _check_judge(settings, sampling.judge)
  _check_feedback(
    name,
    method.feedback_for(settings.main.algorithm),
    sampling.judge["name"],
  )


def _check_judge(settings: Settings, section: Mapping[str, Any]) -> None:
  judge = section["name"]
  if judge not in (*_JUDGES, NO_JUDGE):
    raise errors.unknown("judge", judge, (*_JUDGES, NO_JUDGE))
  if judge in (*judges.JUDGES, judges.SUM):
    judges.build_all(**section)  # before anything runs
  if judge not in TRAINED_JUDGES:
    return
  known = ["path"]
  if judge == "reward_model":
    known += ["combine", "coefficient"]
  for name in methods.without_name(section):
    if name not in known:
      raise errors.unknown(f"setting of judge '{judge}'", name, known)
  if "path" in section:
    several = judge == "reward_model" and isinstance(
      section["path"], list | tuple
    )
    kind = tuple[str, ...] if several else str
    _typed(section["path"], kind, "sampling.judge.path")
    convert.check_combination(
      section.get("combine", "mean"), section.get("coefficient", 0.0)
    )
  elif judge not in settings.trained():
    raise errors.UserError(
      f"config.sampling.judge is the '{judge}' of this run, but the run trains"
      f" none: set config.{judge}.training.steps, give another run's as"
      " config.sampling.judge.path, or choose another judge"
    )


def _check_feedback(
  name: str, feedback: FeedbackKind | None, judge: str
) -> None:
  """Checks that the judge returns the feedback that the method needs."""
  if feedback == "none" and judge != NO_JUDGE:
    raise errors.UserError(
      f"algorithm '{name}' needs no judge, but config.sampling.judge.name is"
      f" '{judge}'; set it to '{NO_JUDGE}'"
    )
  if feedback != "none" and judge == NO_JUDGE:
    raise errors.UserError(
      f"algorithm '{name}' needs a judge; config.sampling.judge.name must be"
      f" one of: {', '.join(sorted(_JUDGES))}"
    )
  if feedback in ("reward", "rewards") and judge in (
    "preference_model",
    *judges.COMPARISONS,
  ):
    raise errors.UserError(
      f"algorithm '{name}' needs rewards, and {judge} compares two responses;"
      " choose a judge of single responses, such as reward_model, or a method"
      " that learns from preferences, such as nash_md"
    )


def _fields(cls: type) -> tuple[str, ...]:
  return tuple(field.name for field in dataclasses.fields(cls))


def _exactly(
  values: Mapping[str, Any],
  names: Sequence[str],
  where: str,
  replaced: Sequence[str] = (),
) -> None:
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


def _typed(value: Any, kind: Any, where: str) -> Any:
  """The value as that type, if it is one; an integer may stand for a float."""
  if type(None) in typing.get_args(kind):
    kind, _ = typing.get_args(kind)
    return None if value is None else _typed(value, kind, where)
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


def _section(cls: type[Section], values: Any, where: str) -> Section:
  """The section as its dataclass, every field present and of its type."""
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


def _named(values: Any, where: str) -> dict[str, Any]:
  if not isinstance(values, Mapping) or "name" not in values:
    raise errors.UserError(f"config.{where} needs a 'name', got {values!r}")
  _typed(values["name"], str, f"{where}.name")
  return dict(values)


def _sampling(values: Any) -> Sampling | None:
  if values is None:
    return None
  if not isinstance(values, Mapping):
    raise errors.UserError(
      "config.sampling must hold the fields"
      f" {', '.join(_fields(Sampling))}, or be None; got {values!r}"
    )
  judge = _named(values.get("judge"), "sampling.judge")
  return _section(Sampling, {**values, "judge": judge}, "sampling")


def _optimizer(values: Any, where: str) -> Optimizer:
  section = _section(Optimizer, values, where)
  # A flag cannot set a number to None.
  return dataclasses.replace(section, clip_norm=section.clip_norm or None)


def _optional_stage(values: Any, where: str) -> Stage | None:
  return None if values is None else _stage(values, where)


def _stage(values: Any, where: str) -> Stage:
  dot = f"{where}." if where else ""
  if not isinstance(values, Mapping):
    raise errors.UserError(
      f"config.{where} must hold the fields"
      f" {', '.join(_fields(Stage))}, or be None; got {values!r}"
    )
  _exactly(values, _fields(Stage), f"config.{where}" if where else "config")
  return Stage(
    algorithm=_named(values["algorithm"], f"{dot}algorithm"),
    optimizer=_optimizer(values["optimizer"], f"{dot}optimizer"),
    training=_section(Training, values["training"], f"{dot}training"),
  )
