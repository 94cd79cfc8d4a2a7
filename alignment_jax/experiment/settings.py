"""From a `ConfigDict` to checked settings; the only reader of a config.

Below this line there are frozen dataclasses and keyword arguments. A field
that is missing, unknown or of the wrong type is an error before anything runs.
"""

import dataclasses
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

import ml_collections

from alignment_jax import algorithms, errors, optimizers
from alignment_jax.algorithms import adapted
from alignment_jax.judges import JUDGES
from alignment_jax.models import Model, zoo


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimizer:
  """How parameters move.

  Attributes:
    name: a key of `OPTIMIZERS`.
    learning_rate: its peak.
    schedule: a key of `SCHEDULES`, after the warm-up.
    warmup_steps: steps of linear warm-up.
    weight_decay: decoupled decay of linear maps.
    clip_norm: largest global gradient norm; 0 does not clip.
  """

  name: str
  learning_rate: float
  schedule: str
  warmup_steps: int
  weight_decay: float
  clip_norm: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
  """How long and how much at a time.

  Attributes:
    steps: updates; 0 leaves the stage out.
    batch_size: rows of the data per update, over all devices.
    microbatches: parts that a batch is processed in, to save memory.
    log_every: steps between two lines of metrics.
    checkpoint_every: steps between two checkpoints.
  """

  steps: int
  batch_size: int
  microbatches: int
  log_every: int
  checkpoint_every: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Data:
  """What to learn from.

  Attributes:
    source: `human_ratings`, a .jsonl or .parquet file, or `tfds:NAME`.
    dir: where prepared data are kept.
    prompt_length: tokens of a prompt; its tail is kept.
    response_length: tokens of a response.
  """

  source: str
  dir: str
  prompt_length: int
  response_length: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tokenizer:
  """The tokenizer that is trained on the text.

  Attributes:
    vocabulary_size: at most this many pieces.
  """

  vocabulary_size: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mesh:
  """Devices per mesh axis; data=-1 takes the rest."""

  data: int
  fsdp: int
  tensor: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
  """How the result is judged.

  Attributes:
    judge: a key of `JUDGES`: who decides the first win rate.
    prompts: how many held-out prompts; 0 leaves evaluation out.
    batch_size: prompts at a time.
    temperature: of sampling.
    samples_shown: prompts in the report, side by side.
  """

  judge: str
  prompts: int
  batch_size: int
  temperature: float
  samples_shown: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lora:
  """Low-rank adapters instead of full training.

  They apply to every stage that starts from a trained policy, that of
  `init_from` or of the run's own `sft`; `sft` itself trains all parameters.

  Attributes:
    rank: of each adapter; 0 trains all parameters.
    alpha: strength; the product of an adapter is scaled by alpha / rank.
    targets: patterns of paths of kernels, such as `*/attention/*/kernel`.
  """

  rank: int
  alpha: float
  targets: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
  """One training run.

  Attributes:
    algorithm: `name` and the method's own keywords.
    optimizer: how parameters move.
    training: how long.
  """

  algorithm: Mapping[str, Any]
  optimizer: Optimizer
  training: Training


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
  """A whole experiment.

  Attributes:
    seed: of everything random.
    init_from: folder of a finished stage to start from; empty trains `sft`.
    model: `name` and fields of the family's settings.
    tokenizer: how it is trained.
    data: what to learn from.
    mesh: where to run.
    evaluation: how the result is judged.
    lora: what stages train that start from a trained policy.
    sft: the stage before the main one; None where the main one is SFT.
    reward_model: a judge trained on the same data; None for none.
    main: the method of this experiment.
  """

  seed: int
  init_from: str
  model: Mapping[str, Any]
  tokenizer: Tokenizer
  data: Data
  mesh: Mesh
  evaluation: Evaluation
  lora: Lora
  sft: Stage | None
  reward_model: Stage | None
  main: Stage

  def stages(self) -> dict[str, Stage]:
    """The stages of this experiment in their order; the main one under ''."""
    given = {"sft": self.sft, "reward_model": self.reward_model, "": self.main}
    return {name: stage for name, stage in given.items() if stage is not None}

  def trained(self) -> dict[str, Stage]:
    """Those of `stages` that have steps to run."""
    return {n: s for n, s in self.stages().items() if s.training.steps}


def read(config: ml_collections.ConfigDict) -> Settings:
  """The config as settings.

  Raises:
    UserError: names the field, what it holds and what is allowed.
  """
  values = config.to_dict()
  main = {name: values.pop(name, None) for name in _fields(Stage)}
  _exactly(
    {**values, "main": main}, _fields(Settings), "config", _fields(Stage)
  )
  settings = Settings(
    seed=_typed(values["seed"], int, "seed"),
    init_from=_typed(values["init_from"], str, "init_from"),
    model=_named(values["model"], "model"),
    tokenizer=_section(Tokenizer, values["tokenizer"], "tokenizer"),
    data=_section(Data, values["data"], "data"),
    mesh=_section(Mesh, values["mesh"], "mesh"),
    evaluation=_section(Evaluation, values["evaluation"], "evaluation"),
    lora=_section(Lora, values["lora"], "lora"),
    sft=_stage(values["sft"], "sft"),
    reward_model=_stage(values["reward_model"], "reward_model"),
    main=_stage(main, ""),
  )
  _check(settings)
  return settings


def make_algorithm(
  model: Model, section: Mapping[str, Any]
) -> algorithms.Algorithm:
  """The named algorithm, from its section of the config.

  Args:
    model: the network.
    section: `name` and the method's keywords.

  Raises:
    UserError: no such name, or keywords that are missing, unknown or out of
      range.
  """
  name = section["name"]
  if name not in algorithms.ALGORITHMS:
    raise errors.unknown("algorithm", name, algorithms.ALGORITHMS)
  factory = algorithms.ALGORITHMS[name]
  given = _keywords(factory, section, f"algorithm '{name}'")
  try:
    return factory(model, **given)
  except errors.UserError:
    raise
  except (TypeError, ValueError) as error:
    raise errors.UserError(f"algorithm '{name}': {error}") from error


def check_lora(model: Model, lora: Lora) -> None:
  """Refuses adapters that the model cannot have.

  Raises:
    UserError: a target matches no kernel; lists those there are.
  """
  if lora.rank:
    adapted.check(model, rank=lora.rank, targets=lora.targets)


def sketch(section: Mapping[str, Any]) -> Model:
  """The config's model for a vocabulary that is not known yet.

  Raises:
    UserError: no such model, or no such setting of it.
  """
  return zoo.make_model(section["name"], vocabulary_size=16, **options(section))


def options(section: Mapping[str, Any]) -> dict[str, Any]:
  """What a section says beside the name of what it is about."""
  return {name: value for name, value in section.items() if name != "name"}


def _keywords(factory: Callable, section: Mapping[str, Any], where: str):
  """`section` without its name, if it fits the factory's keywords."""
  parameters = inspect.signature(factory).parameters.values()
  allowed = {p.name: p for p in parameters if p.kind == p.KEYWORD_ONLY}
  given = options(section)
  for name in given:
    if name not in allowed:
      raise errors.unknown(f"setting of {where}", name, allowed)
  for name, parameter in allowed.items():
    if parameter.default is parameter.empty and name not in given:
      raise errors.UserError(
        f"{where} needs the setting '{name}'; its settings are:"
        f" {', '.join(allowed)}"
      )
  return given


def _check(settings):
  """What can be wrong although every type is right."""
  model = sketch(settings.model)
  if settings.evaluation.judge not in JUDGES:
    raise errors.unknown("judge", settings.evaluation.judge, JUDGES)
  _at_least(1, settings.data, "data", "prompt_length", "response_length")
  _at_least(0, settings.evaluation, "evaluation", "prompts", "samples_shown")
  _at_least(1, settings.evaluation, "evaluation", "batch_size")
  _at_least(16, settings.tokenizer, "tokenizer", "vocabulary_size")
  _check_lora(settings, model)
  for where, stage in settings.stages().items():
    name = stage.algorithm["name"]
    if where and name != where:
      raise errors.UserError(
        f"config.{where}.algorithm.name must be '{where}', got '{name}'"
      )
    make_algorithm(model, stage.algorithm)
    path = f"{where}.training" if where else "training"
    _at_least(0 if where else 1, stage.training, path, "steps")
    _at_least(
      1, stage.training, path, "microbatches", "log_every", "checkpoint_every"
    )
    if stage.training.steps:
      optimizers.make_optimizer(
        stage.optimizer.name,
        optimizers.make_schedule(
          stage.optimizer.schedule,
          learning_rate=stage.optimizer.learning_rate,
          warmup_steps=stage.optimizer.warmup_steps,
          total_steps=stage.training.steps,
        ),
        weight_decay=stage.optimizer.weight_decay,
        clip_norm=stage.optimizer.clip_norm,
      )


def _check_lora(settings, model):
  lora = settings.lora
  _at_least(0, lora, "lora", "rank")
  if not lora.alpha > 0:
    raise errors.UserError(f"config.lora.alpha must be > 0, got {lora.alpha}")
  if not lora.rank or settings.init_from:
    return  # an imported model's kernels are not known yet
  if "sft" not in settings.trained():
    raise errors.UserError(
      f"config.lora.rank is {lora.rank}, but nothing is there to adapt: give a"
      " trained policy as config.init_from, train one first with"
      " config.sft.training.steps, or set the rank to 0"
    )
  check_lora(model, lora)


def _at_least(least, section, where, *names):
  for name in names:
    value = getattr(section, name)
    if value < least:
      raise errors.UserError(
        f"config.{where}.{name} must be >= {least}, got {value}"
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


def _stage(values, where):
  if values is None:
    return None
  dot = f"{where}." if where else ""
  if not isinstance(values, Mapping):
    raise errors.UserError(
      f"config.{where} must hold the fields {', '.join(_fields(Stage))}, or be"
      f" None; got {values!r}"
    )
  _exactly(values, _fields(Stage), f"config.{where}" if where else "config")
  return Stage(
    algorithm=_named(values["algorithm"], f"{dot}algorithm"),
    optimizer=_section(Optimizer, values["optimizer"], f"{dot}optimizer"),
    training=_section(Training, values["training"], f"{dot}training"),
  )
