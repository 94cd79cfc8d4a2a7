"""One stage of training, carried out: data, loop, and its result on disk."""

import contextlib
import dataclasses
import pathlib
from typing import Any

import jax
from jaxtyping import PyTree

from alignment_jax import data, errors, files, parallel
from alignment_jax.experiment import (
  feedback_from_config,
  folder,
  methods,
  stage_folder,
)
from alignment_jax.experiment.plans import StagePlan
from alignment_jax.experiment.setup import Setup
from alignment_jax.training import (
  asynchronous,
  batch_sources,
  checkpoint,
  loop,
  state,
  step,
)
from alignment_jax.transforms import lora


def run_stage(setup: Setup, stage: StagePlan) -> pathlib.Path:
  """Trains a stage to its end, from wherever it stands; returns its folder."""
  path = setup.workdir / stage.name
  if stage_folder.is_finished(path):
    return path
  training = stage.settings.training
  init_key, policy_key, run_key = jax.random.split(stage.key, 3)
  loader = setup.loader(stage.data_kind, "train", training.batch_size)
  try:
    path.mkdir(exist_ok=True)
  except OSError as error:
    raise errors.UserError(
      f"cannot write to {path}: {error.strerror}"
    ) from error

  def make_state(
    start: PyTree | None = None, *critic: PyTree
  ) -> state.TrainState:
    if start is None:
      start = setup.model.init(policy_key)
    return state.make_state(
      stage.algorithm, stage.optimizer, init_key, start, *critic
    )

  # The schedule counts the optimizer's steps, the loop updates.
  steps_per_update = training.epochs * training.minibatches
  final = loop.train(
    loop.Spec(
      title=stage.name,
      update=step.make_update(
        stage.algorithm,
        stage.optimizer,
        microbatches=training.microbatches,
        epochs=training.epochs,
        minibatches=training.minibatches,
      ),
      make_state=make_state,
      arguments=_starts(setup, stage),
      open_batches=lambda start: _batch_source(
        setup, stage, loader, run_key, range(start, training.steps)
      ),
      key=run_key,
      mesh=setup.mesh,
      axes=setup.model.axes,
      workdir=path,
      steps=training.steps,
      log_every=training.log_every,
      checkpoint_every=training.checkpoint_every,
      schedule=lambda step: stage.schedule(step * steps_per_update),
      headline=stage.method.headline,
      metadata={
        "seed": setup.settings.seed,
        "batch_size": training.batch_size,
      },
    )
  )
  files.write_json(
    path / folder.MODEL,
    {
      "name": setup.settings.model["name"],
      "settings": dataclasses.asdict(setup.model.settings),
      "algorithm": dict(stage.settings.algorithm),
      "sampling": stage.sampling and dataclasses.asdict(stage.sampling),
      "prompt_length": setup.settings.data.prompt_length,
      "response_length": setup.settings.data.response_length,
    },
  )
  folder.write_tokenizer(path, setup.tokenizer, setup.plan.tokenizer_file)
  # Last: its presence says that the stage is finished.
  trained = _merged(setup, final) if stage.adapts else final.trainable
  checkpoint.save_tree(path / stage_folder.FINAL, trained)
  return path


def _starts(setup: Setup, stage: StagePlan) -> tuple[PyTree, ...]:
  """The parameters that the stage's first state is made from."""
  if stage.starts_from is None:
    return ()
  # Donated to the first state, so that no second copy stays in memory.
  starts = [
    stage_folder.load_policy(
      stage.starts_from.under(setup.workdir), setup.model, setup.mesh
    )
  ]
  if stage.critic_from is not None:
    path = stage.critic_from.under(setup.workdir)
    trained = methods.method_named(stage.critic_from.name).trains
    starts.append(
      stage_folder.load_tree(path, trained, setup.model, setup.mesh)
    )
  return tuple(starts)


def _batch_source(
  setup: Setup,
  stage: StagePlan,
  loader: data.Loader,
  key: jax.Array,
  steps: range,
) -> contextlib.AbstractContextManager[batch_sources.BatchSource]:
  """What the updates of a stage learn from, as a context."""
  mesh, rollouts = setup.mesh, stage.algorithm.rollouts
  if rollouts is None:
    return contextlib.nullcontext(batch_sources.offline(loader.batch, mesh))
  judge = feedback_from_config.rollout_judge(
    setup, rollouts.feedback, setup.generator, loader
  )
  staleness = setup.settings.need_sampling().staleness
  if not staleness and setup.generator is mesh:
    return contextlib.nullcontext(
      batch_sources.synchronous(rollouts, judge, loader.batch, key, mesh=mesh)
    )
  return asynchronous.Asynchronous(
    batch_sources.sampler(
      rollouts, judge, loader.batch, key, mesh=setup.generator
    ),
    batch_sources.preparer(rollouts, mesh),
    transfer=asynchronous.transfer_to(setup.generator, setup.model.axes),
    start=steps.start,
    steps=steps.stop,
    staleness=staleness,
    restart_every=setup.settings.main.training.checkpoint_every,
  )


def _merged(setup: Setup, final: state.TrainState) -> Any:
  """What the stage's method would have trained without adapters."""
  adapters = dataclasses.asdict(setup.settings.lora)

  def merge(trainable: PyTree, slow: PyTree) -> PyTree:
    return lora.merged(trainable, slow, setup.model, **adapters)

  placed = parallel.shardings(
    setup.mesh,
    jax.eval_shape(merge, final.trainable, final.slow),
    setup.model.axes,
  )
  return parallel.jit(merge, out_shardings=placed)(final.trainable, final.slow)
