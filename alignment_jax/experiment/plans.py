"""What a config asks for, with everything made that can be made beforehand.

A plan writes nothing. `run.run` carries it out in a folder.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import ml_collections
import optax

from alignment_jax import (
  data,
  errors,
  models,
  optimizers,
  parallel,
  rollouts,
  transforms,
  types,
)
from alignment_jax.algorithm import Algorithm, Method
from alignment_jax.experiment import (
  folder,
  judge_stage,
  keys,
  methods,
  reading,
  stage_folder,
)
from alignment_jax.experiment.settings import Settings, Stage
from alignment_jax.experiment.sources import Sources
from alignment_jax.experiment.stage_folder import StageRef

_KINDS = {
  types.Demonstration: "demonstration",
  types.PreferencePair: "preference",
  types.ScoredResponses: "feedback",
  types.Prompts: "prompt",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class StagePlan:
  """One stage: what it trains, from where, on what, and how.

  Attributes:
    name: of the stage and its folder.
    settings: its section of the config.
    method: the entry of its algorithm.
    algorithm: the algorithm, as the updates run it.
    sampling: of its rollouts, where the run has any.
    data_kind: of the rows it learns from.
    optimizer: acts on what the algorithm trains.
    schedule: optimizer step -> learning rate.
    starts_from: whose policy it starts from; None for new parameters.
    critic_from: whose network its critic starts from; None for the policy's.
    adapts: whether it trains adapters on that policy.
    key: of all that is random in it.
  """

  name: str
  settings: Stage
  method: Method
  algorithm: Algorithm
  sampling: rollouts.Sampling | None
  data_kind: str
  optimizer: optax.GradientTransformation
  schedule: optax.Schedule
  starts_from: StageRef | None
  critic_from: StageRef | None
  adapts: bool
  key: jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
  """A whole experiment, checked.

  Attributes:
    config: as it was given, resolved.
    settings: what it says.
    mesh: where to learn.
    generator: where responses to learn from are sampled and judged.
    sources: the data; those that are trained on are open.
    tokenizer: of the run.
    tokenizer_file: its file's content.
    model: the network.
    stages: in the order in which they run; the main one is the last.
  """

  config: Mapping[str, Any]
  settings: Settings
  mesh: jax.sharding.Mesh
  generator: jax.sharding.Mesh
  sources: Sources
  tokenizer: Any
  tokenizer_file: bytes
  model: models.Model
  stages: tuple[StagePlan, ...]

  @property
  def main(self) -> StagePlan:
    """The stage that the experiment is about."""
    return self.stages[-1]

  @functools.cached_property
  def abstract(self) -> Any:
    """Shapes and dtypes of the network's parameters."""
    return jax.eval_shape(self.model.init, jax.random.key(0))


def plan(
  config: ml_collections.ConfigDict,
  workdir: str | pathlib.Path | None = None,
) -> Plan:
  """Checks a config whole and makes all that its run needs.

  Args:
    config: see `configs/`.
    workdir: folder of the run, whose tokenizer is taken if it has one.

  Raises:
    UserError: the config, the data or a folder that it names cannot be used.
  """
  settings = reading.read(config)
  mesh, generator = _meshes(settings)
  _check_batch_sizes(mesh, generator, settings)
  # What is cheap to check comes before what reads data.
  judge_stage.check(settings)
  imported = _imported(settings)
  sources = Sources(settings.data)
  _open_sources(settings, sources)
  # A new tokenizer is trained here, in memory: networks and methods are made
  # with its vocabulary and its ids, once.
  tokenizer, file = _tokenizer(settings, sources, workdir)
  judge_stage.check_tokens(settings, file)
  model = imported or models.make_model(
    settings.model["name"],
    vocabulary_size=tokenizer.vocabulary_size,
    **methods.without_name(settings.model),
  )
  sampling = methods.sampling_of(
    settings.sampling,
    max_tokens=settings.data.response_length,
    eos_id=tokenizer.eos_id,
  )
  return Plan(
    config=config.to_dict(),
    settings=settings,
    mesh=mesh,
    generator=generator,
    sources=sources,
    tokenizer=tokenizer,
    tokenizer_file=file,
    model=model,
    stages=tuple(
      _stage(role, stage, settings, model, tokenizer, sampling)
      for role, stage in settings.trained().items()
    ),
  )


def _stage(
  role: str,
  stage: Stage,
  settings: Settings,
  model: models.Model,
  tokenizer: Any,
  sampling: rollouts.Sampling | None,
) -> StagePlan:
  name = stage.algorithm["name"]
  method = methods.method_named(name)
  algorithm = methods.make_algorithm(
    model, stage.algorithm, sampling, tokenizer
  )
  if role == keys.MAIN:
    algorithm = methods.with_reference_update(
      algorithm, settings.reference_update
    )
  # Judges too: a network that has read the texts learns to rate them sooner.
  starts_from = None if role == "sft" else start_of(settings)
  adapts = starts_from is not None and settings.lora.rank > 0
  if adapts:  # last: a reference update sees full parameters too
    algorithm = transforms.with_lora(
      algorithm, model, **dataclasses.asdict(settings.lora)
    )
  schedule = optimizers.make_schedule(
    stage.optimizer.schedule,
    learning_rate=stage.optimizer.learning_rate,
    warmup_steps=stage.optimizer.warmup_steps,
    total_steps=stage.training.optimizer_steps(),
  )
  critic = None
  if method.critic_from and starts_from is not None and not adapts:
    critic = _critic(settings, model, method.critic_from)
  return StagePlan(
    name=name,
    settings=stage,
    method=method,
    algorithm=algorithm,
    sampling=sampling,
    data_kind=_KINDS[method.data],
    optimizer=optimizers.make_optimizer(
      stage.optimizer.name,
      schedule,
      weight_decay=stage.optimizer.weight_decay,
      clip_norm=stage.optimizer.clip_norm,
    ),
    schedule=schedule,
    starts_from=starts_from,
    critic_from=critic,
    adapts=adapts,
    key=keys.key_of(settings.seed, role),
  )


def start_of(settings: Settings) -> StageRef | None:
  """Where the policy is that the main stage starts from; None if nowhere."""
  if settings.init_from:
    return StageRef("init_from", pathlib.Path(settings.init_from))
  if "sft" in settings.trained():
    return StageRef("sft")
  return None


def _critic(
  settings: Settings, model: models.Model, name: str
) -> StageRef | None:
  """The judge whose network a critic can start from.

  Detail 22 of Huang et al., 2024 (arXiv:2403.17031): the critic starts from the
  reward model. One of another run may have another network; then the critic
  starts from the policy.
  """
  stage = judge_stage.stage_of(settings, name)
  if stage.path is None:
    return stage if name in settings.trained() else None
  judge, _, _ = stage_folder.open_stage(stage.path)
  shapes, policy_shapes = (
    jax.eval_shape(network.init, jax.random.key(0))
    for network in (judge, model)
  )
  return stage if shapes == policy_shapes else None


def _meshes(
  settings: Settings,
) -> tuple[jax.sharding.Mesh, jax.sharding.Mesh]:
  """Where to learn, and where to sample; the same unless the config splits."""
  sizes = dataclasses.asdict(settings.mesh)
  count = settings.sampling.generator_devices if settings.sampling else 0
  if not count:
    mesh = parallel.make_mesh(**sizes)
    return mesh, mesh
  devices = jax.devices()
  if count >= len(devices):
    raise errors.UserError(
      f"config.sampling.generator_devices is {count}, but there are"
      f" {len(devices)} devices and learning needs at least one (for fake"
      " devices on a CPU set JAX_NUM_CPU_DEVICES)"
    )
  return parallel.make_mesh(
    **sizes, devices=devices[count:]
  ), parallel.make_mesh(data=-1, fsdp=1, tensor=1, devices=devices[:count])


def _check_batch_sizes(
  mesh: jax.sharding.Mesh, generator: jax.sharding.Mesh, settings: Settings
) -> None:
  """Refuses batch sizes that a mesh cannot deal out."""
  for stage in settings.trained().values():
    training = stage.training
    parts = training.microbatches * training.minibatches
    parallel.check_batch_size(mesh, training.batch_size, parts)
  parallel.check_batch_size(generator, settings.main.training.batch_size, 1)
  parallel.check_batch_size(mesh, settings.evaluation.batch_size, 1)


def _open_sources(settings: Settings, sources: Sources) -> None:
  """Reads all that is trained on: what cannot be read is said now."""
  kinds = {
    _KINDS[methods.method_named(stage.algorithm["name"]).data]
    for stage in settings.trained().values()
  }
  if not settings.init_from:
    kinds.add("demonstration")
  for kind in sorted(kinds):
    sources.rows(kind, "train")


def _tokenizer(
  settings: Settings, sources: Sources, workdir: str | pathlib.Path | None
) -> tuple[Any, bytes]:
  """The run's tokenizer: its own, that of `init_from`, or a new one."""
  directory = None
  if (
    workdir is not None and (pathlib.Path(workdir) / folder.TOKENIZER).exists()
  ):
    directory = pathlib.Path(workdir)
  elif settings.init_from:
    directory = pathlib.Path(settings.init_from)
  if directory is not None:
    tokenizer = folder.load_tokenizer(directory)
    return tokenizer, (directory / folder.TOKENIZER).read_bytes()
  rows = sources.rows("demonstration", "train")
  tokenizer = data.SentencePieceTokenizer.train(
    (
      f"{rows[index]['prompt']} {rows[index]['response']}"
      for index in range(len(rows))
    ),
    None,
    vocabulary_size=settings.tokenizer.vocabulary_size,
  )
  return tokenizer, tokenizer.file


def _imported(settings: Settings) -> models.Model | None:
  """The model of `init_from`, with what the config says of it."""
  if not settings.init_from:
    return None
  source = pathlib.Path(settings.init_from)
  if not stage_folder.is_finished(source):
    raise errors.UserError(
      f"init_from {source} is not the folder of a finished stage; bring a model"
      " of the hub in with experiments/convert.py; `make smollm2` makes"
      " data/smollm2"
    )
  metadata = folder.read_model(source)
  name = settings.model["name"]
  if metadata["name"] != name:
    raise errors.UserError(
      f"init_from {source} holds a {metadata['name']}, but config.model.name is"
      f" '{name}'; make them the same"
    )
  return models.make_model(
    name, **{**metadata["settings"], **methods.without_name(settings.model)}
  )
