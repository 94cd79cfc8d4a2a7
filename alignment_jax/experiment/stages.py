"""One stage of training: data, method, loop; and its result on disk."""

import contextlib
import dataclasses
import pathlib
from typing import Any

import jax

from alignment_jax import (
  data,
  errors,
  files,
  models,
  optimizers,
  parallel,
  rollouts,
  types,
)
from alignment_jax.experiment import folder, methods, settings
from alignment_jax.training import (
  asynchronous,
  batch_sources,
  checkpoint,
  loop,
  state,
  step,
)

# The parameters at the end of a stage; there only when it is finished.
FINAL = "final"
# Tokens that an imported policy reads of a prompt, unless told otherwise.
PROMPT_LENGTH = 512

_KINDS = {
  types.Demonstration: "demonstration",
  types.PreferencePair: "preference",
  types.ScoredResponses: "feedback",
  types.Prompts: "prompt",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setup:
  """What all stages of a run share.

  Attributes:
    settings: of the whole experiment.
    mesh: where to run.
    tokenizer: of the run.
    model: the network.
    workdir: of the run.
    generator: where responses to learn from are sampled and judged.
  """

  settings: settings.Settings
  mesh: jax.sharding.Mesh
  generator: jax.sharding.Mesh
  tokenizer: Any
  model: models.Model
  workdir: pathlib.Path

  def loader(self, kind: str, split: str, batch_size: int) -> data.Loader:
    """Batches of one kind from one split of the experiment's data."""
    chosen = self.settings.data
    source = data.open_source(chosen.source, kind, split, data_dir=chosen.dir)
    if kind == "preference" and split == "train":
      source = data.confident(source, chosen.min_probability, chosen.source)
    return data.Loader(
      source,
      kind,
      self.tokenizer,
      batch_size=batch_size,
      prompt_length=self.settings.data.prompt_length,
      response_length=self.settings.data.response_length,
      seed=self.settings.seed,
    )


def kind_of(stage: settings.Stage) -> str:
  """The kind of data that a stage learns from."""
  return _KINDS[methods.method_named(stage.algorithm["name"]).data]


def run_stage(
  setup: Setup,
  stage: settings.Stage,
  policy: Any | None,
  key: jax.Array,
) -> pathlib.Path:
  """Trains a stage to its end, from wherever it stands; returns its folder.

  Args:
    setup: what the stages share.
    stage: what to train.
    policy: parameters to start from, given away; None for new ones. With LoRA
      they are kept as they are, and the stage trains adapters on them.
    key: of this stage.
  """
  name = stage.algorithm["name"]
  path = setup.workdir / name
  if (path / FINAL).is_dir():
    return path
  sampling = methods.sampling_of(
    setup.settings.sampling,
    max_tokens=setup.settings.data.response_length,
    eos_id=setup.tokenizer.eos_id,
  )
  algorithm = methods.make_algorithm(
    setup.model, stage.algorithm, sampling, setup.tokenizer
  )
  lora = dataclasses.asdict(setup.settings.lora)
  adapting = policy is not None and lora["rank"] > 0
  arguments = () if policy is None else (policy,)
  if arguments and not adapting and methods.method_named(name).critic_from:
    # Detail 22 of Huang et al., 2024: the critic starts from the reward model.
    reward_model = critic_folder(setup)
    if reward_model is not None:
      arguments += (load(reward_model, setup.model, setup.mesh)["reward"],)
  if stage is setup.settings.main:
    algorithm = methods.with_reference_update(
      algorithm, setup.settings.reference_update
    )
  if adapting:  # last: a reference update sees full parameters
    algorithm = transforms.with_lora(algorithm, setup.model, **lora)
  training = stage.training
  loader = setup.loader(kind_of(stage), "train", training.batch_size)
  schedule = optimizers.make_schedule(
    stage.optimizer.schedule,
    learning_rate=stage.optimizer.learning_rate,
    warmup_steps=stage.optimizer.warmup_steps,
    total_steps=training.optimizer_steps(),
  )
  optimizer = optimizers.make_optimizer(
    stage.optimizer.name,
    schedule,
    weight_decay=stage.optimizer.weight_decay,
    clip_norm=stage.optimizer.clip_norm,
  )
  init_key, policy_key, run_key = jax.random.split(key, 3)
  try:
    path.mkdir(exist_ok=True)
  except OSError as error:
    raise errors.UserError(
      f"cannot write to {path}: {error.strerror}"
    ) from error

  def make_state(start=None, *critic):
    if start is None:
      start = setup.model.init(policy_key)
    return state.make_state(algorithm, optimizer, init_key, start, *critic)

  final = loop.train(
    step.make_update(
      algorithm,
      optimizer,
      microbatches=training.microbatches,
      epochs=training.epochs,
      minibatches=training.minibatches,
    ),
    make_state,
    lambda start: _feed(
      setup, algorithm, loader, run_key, range(start, training.steps)
    ),
    run_key,
    mesh=setup.mesh,
    axes=setup.model.axes,
    workdir=path,
    title=name,
    headline=methods.method_named(name).headline,
    steps=training.steps,
    log_every=training.log_every,
    checkpoint_every=training.checkpoint_every,
    schedule=lambda step: schedule(
      step * training.epochs * training.minibatches
    ),
    meta={"seed": setup.settings.seed, "batch_size": training.batch_size},
    arguments=arguments,
  )
  files.write_json(
    path / folder.MODEL,
    {
      "name": setup.settings.model["name"],
      "settings": dataclasses.asdict(setup.model.settings),
      "algorithm": dict(stage.algorithm),
      "sampling": None if sampling is None else dataclasses.asdict(sampling),
      "prompt_length": setup.settings.data.prompt_length,
      "response_length": setup.settings.data.response_length,
    },
  )
  folder.copy_tokenizer(
    setup.workdir / folder.TOKENIZER, path / folder.TOKENIZER
  )
  # Last: its presence says that the stage is finished.
  trained = final.trainable
  if adapting:
    trained = _merged(setup, final, lora)
  checkpoint.save_tree(path / FINAL, trained)
  return path


def critic_folder(setup: Setup) -> pathlib.Path | None:
  """The reward model that judges, if the run's network has its shape."""
  # Here, not above: a judge may be a stage that this module trains.
  from alignment_jax.experiment import feedback_from_config

  path = feedback_from_config.judge_folder(setup, "reward_model")
  if not (path / FINAL).is_dir():
    return None
  theirs, _, _ = open_stage(path)
  shapes, own = (
    jax.eval_shape(model.init, jax.random.key(0))
    for model in (theirs, setup.model)
  )
  return path if shapes == own else None


def _feed(setup, algorithm, loader, key, steps):
  """What the updates of a stage learn from, as a context."""
  mesh, rollouts = setup.mesh, algorithm.rollouts
  if rollouts is None:
    return contextlib.nullcontext(batch_sources.offline(loader.batch, mesh))
  # Here, not above: a judge may be a stage that this module trains.
  from alignment_jax.experiment import feedback_from_config

  chosen = setup.settings.sampling
  judge = feedback_from_config.rollout_judge(
    setup, rollouts.feedback, setup.generator, loader
  )
  if not chosen.staleness and setup.generator is mesh:
    return contextlib.nullcontext(
      batch_sources.synchronous(rollouts, judge, loader.batch, key, mesh=mesh)
    )
  return asynchronous.Asynchronous(
    batch_sources.sampler(
      rollouts, judge, loader.batch, key, mesh=setup.generator
    ),
    batch_sources.preparer(rollouts, mesh),
    place=asynchronous.placer(setup.generator, setup.model.axes),
    start=steps.start,
    steps=steps.stop,
    staleness=chosen.staleness,
    restart_every=setup.settings.main.training.checkpoint_every,
  )


def _merged(setup, final, lora):
  """What the stage's method would have trained without adapters."""

  def merge(trainable, slow):
    return transforms.lora.merged(trainable, slow, setup.model, **lora)

  placed = parallel.shardings(
    setup.mesh,
    jax.eval_shape(merge, final.trainable, final.slow),
    setup.model.axes,
  )
  return parallel.jit(merge, out_shardings=placed)(final.trainable, final.slow)


def load(
  path: pathlib.Path, model: models.Model, mesh: jax.sharding.Mesh
) -> Any:
  """What the stage in `path` trained, placed on the mesh."""
  about = folder.read_model(path)
  sampling = about.get("sampling")
  method = methods.make_algorithm(
    model,
    about["algorithm"],
    None if sampling is None else rollouts.Sampling(**sampling),
  )
  abstract = jax.eval_shape(
    lambda key: method.init(key, model.init(key))[0], jax.random.key(0)
  )
  return checkpoint.restore_tree(
    path / FINAL,
    checkpoint.target_of(
      abstract, parallel.shardings(mesh, abstract, model.axes)
    ),
  )


def load_policy(path: pathlib.Path, model, mesh) -> Any:
  """The policy that the stage in `path` ended with.

  Raises:
    UserError: the stage is not finished, or has no policy.
  """
  trained = load(path, model, mesh)
  if "policy" not in trained:
    raise errors.UserError(
      f"{path} holds no policy but: {', '.join(trained)}; give the folder of"
      " a stage that trains one, such as sft or ipo"
    )
  return trained["policy"]


def open_stage(path: pathlib.Path) -> tuple[models.Model, Any, dict[str, Any]]:
  """The model, tokenizer and description of a finished stage's folder."""
  about = folder.read_model(path)
  model = models.make_model(about["name"], **about["settings"])
  tokenizer = data.load_tokenizer(path / folder.TOKENIZER)
  return model, tokenizer, about
