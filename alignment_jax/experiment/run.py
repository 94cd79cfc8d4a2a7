"""The experiment from config to report."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import ml_collections

from alignment_jax import data, errors, models, parallel
from alignment_jax.experiment import (
  feedback_from_config,
  folder,
  judging,
  methods,
  reading,
  settings,
  stages,
)


def train(
  config: ml_collections.ConfigDict, workdir: str, *, command: str = ""
) -> None:
  """Runs every stage of a config, or what is left of them, and evaluates.

  Args:
    config: see `configs/`; checked whole before anything is written.
    workdir: the run's folder. A second call with the same one goes on where
      the first was stopped.
    command: what the report shows as the way to reproduce it.

  Raises:
    UserError: the config, the data or the folder cannot be used.
  """
  chosen = reading.read(config)
  root = pathlib.Path(workdir)
  mesh, generator = _meshes(chosen)
  _check_batch_sizes(mesh, generator, chosen)
  # Opened first: what cannot be read leaves no folder behind.
  feedback_from_config.check_judge(chosen)
  text = _text_of(chosen)
  if chosen.init_from:
    methods.check_lora(_imported(chosen), chosen.lora)
  folder.claim(root, config.to_dict())
  tokenizer, model = _network(chosen, root, text)
  setup = stages.Setup(
    settings=chosen,
    mesh=mesh,
    generator=generator,
    tokenizer=tokenizer,
    model=model,
    workdir=root,
  )
  feedback_from_config.check_tokens(setup)
  _say(f"device mesh: {dict(mesh.shape)} of {jax.devices()[0].platform}")
  abstract = jax.eval_shape(model.init, jax.random.key(0))
  _say(parallel.describe(mesh, abstract, model.axes))
  count = sum(leaf.size for leaf in jax.tree.leaves(abstract))
  _say(f"{chosen.model['name']}: {count:,} parameters")
  key = jax.random.key(chosen.seed)

  start = _start(setup, key)
  judges = (chosen.reward_model, 1), (chosen.preference_model, 4)
  for judge, number in judges:
    if judge in chosen.trained().values():
      stages.run_stage(
        setup, judge, _policy(setup, start), jax.random.fold_in(key, number)
      )
  final = stages.run_stage(
    setup, chosen.main, _policy(setup, start), jax.random.fold_in(key, 2)
  )
  if chosen.evaluation.prompts:
    judging.evaluate(setup, start, final, config.to_json_best_effort(), command)
  _say(f"\nfinished: {final}")
  if chosen.evaluation.prompts:
    _say(f"numbers:  {root / 'evaluation.json'}")
    _say(f"report:   {root / 'report.html'}  <- open this in a browser")


def evaluate(
  workdir: str, *, prompts: int | None = None, command: str = ""
) -> Mapping[str, Any]:
  """Judges a finished run again, with as many prompts as one likes.

  Raises:
    UserError: the folder holds no finished run.
  """
  root = pathlib.Path(workdir)
  config = ml_collections.ConfigDict(folder.read_config(root))
  chosen = reading.read(config)
  if prompts is not None:
    chosen = dataclasses.replace(
      chosen, evaluation=dataclasses.replace(chosen.evaluation, prompts=prompts)
    )
  if chosen.evaluation.prompts < 1:
    raise errors.UserError(
      f"prompts must be >= 1, got {chosen.evaluation.prompts}"
    )
  mesh, generator = _meshes(chosen)
  final = root / chosen.main.algorithm["name"]
  model, tokenizer, _ = stages.open_stage(final)
  setup = stages.Setup(
    settings=chosen,
    mesh=mesh,
    generator=generator,
    tokenizer=tokenizer,
    model=model,
    workdir=root,
  )
  return judging.evaluate(
    setup, _start_folder(setup), final, config.to_json_best_effort(), command
  )


def _meshes(chosen: settings.Settings):
  """Where to learn, and where to sample; the same unless the config splits."""
  sizes = dataclasses.asdict(chosen.mesh)
  count = chosen.sampling.generator_devices if chosen.sampling else 0
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
  mesh: jax.sharding.Mesh,
  generator: jax.sharding.Mesh,
  chosen: settings.Settings,
) -> None:
  """Refuses batch sizes that a mesh cannot deal out, before any work."""
  for stage in chosen.trained().values():
    training = stage.training
    parts = training.microbatches * training.minibatches
    parallel.check_batch_size(mesh, training.batch_size, parts)
  parallel.check_batch_size(generator, chosen.main.training.batch_size, 1)
  parallel.check_batch_size(mesh, chosen.evaluation.batch_size, 1)


def _text_of(chosen):
  """What a tokenizer may be trained on, if one is; checks all data."""
  kinds = {stages.kind_of(stage) for stage in chosen.trained().values()}
  if not chosen.init_from:
    kinds.add("demonstration")
  opened = {
    kind: data.open_source(
      chosen.data.source, kind, "train", data_dir=chosen.data.dir
    )
    for kind in sorted(kinds)
  }
  return opened.get("demonstration")


def _network(chosen, root, text):
  """The run's tokenizer and model: new, or those of `init_from`."""
  path = root / folder.TOKENIZER
  name, given = chosen.model["name"], methods.options(chosen.model)
  if chosen.init_from:
    if not path.exists():
      folder.copy_tokenizer(
        pathlib.Path(chosen.init_from) / folder.TOKENIZER, path
      )
    return data.load_tokenizer(path), _imported(chosen)
  if not path.exists():
    data.SentencePieceTokenizer.train(
      (f"{row['prompt']} {row['response']}" for row in _rows(text)),
      path,
      vocabulary_size=chosen.tokenizer.vocabulary_size,
    )
  tokenizer = data.load_tokenizer(path)
  model = models.make_model(
    name, vocabulary_size=tokenizer.vocabulary_size, **given
  )
  return tokenizer, model


def _imported(chosen):
  """The model of `init_from`, with what the config says of it."""
  source = pathlib.Path(chosen.init_from)
  if not (source / stages.FINAL).is_dir():
    raise errors.UserError(
      f"init_from {source} is not the folder of a finished stage; bring a model"
      " of the hub in with experiments/convert.py; `make smollm2` makes"
      " data/smollm2"
    )
  _, _, about = stages.open_stage(source)
  name, given = chosen.model["name"], methods.options(chosen.model)
  if about["name"] != name:
    raise errors.UserError(
      f"init_from {source} holds a {about['name']}, but config.model.name is"
      f" '{name}'; make them the same"
    )
  return models.make_model(name, **{**about["settings"], **given})


def _rows(source):
  return (source[index] for index in range(len(source)))


def _start_folder(setup):
  """Where the policy lies that the main stage starts from; None if nowhere."""
  chosen = setup.settings
  if chosen.init_from:
    return pathlib.Path(chosen.init_from)
  if "sft" in chosen.trained():
    return setup.workdir / "sft"
  return None


def _start(setup, key):
  """Trains what the main stage starts from, if that is part of the run."""
  start = _start_folder(setup)
  if start is not None and not setup.settings.init_from:
    stages.run_stage(
      setup, setup.settings.sft, None, jax.random.fold_in(key, 0)
    )
  return start


def _policy(setup, start):
  """The policy that a stage starts from; None if it starts from nothing."""
  if start is None:
    return None
  return stages.load_policy(start, setup.model, setup.mesh)


def _say(text):
  if parallel.is_main_process():
    print(text, flush=True)
