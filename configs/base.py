"""What configs share: the whole experiment's defaults, and its stages.

Every config imports this file and no other. A config states what a reader wants
to know of its method (settings, learning rate, steps, samples, judge); what it
leaves out is below.
"""

from collections.abc import Mapping
from typing import Any

from ml_collections import config_dict

ConfigDict = config_dict.ConfigDict


def offline(
  algorithm: Mapping[str, Any],
  *,
  learning_rate: float,
  steps: int,
  batch_size: int = 32,
  warmup: int = 20,
) -> ConfigDict:
  """SFT, a reward model that evaluates, then a method that learns from data."""
  return config_dict.create(
    seed=0,
    init_from=config_dict.placeholder(str),
    model=dict(name="decoder_mini", dropout=0.1, dtype="float32"),
    tokenizer=dict(vocabulary_size=2048),
    data=dict(
      source="human_ratings",
      dir="data",
      prompt_length=8,
      response_length=32,
      min_probability=0.0,
    ),
    mesh=dict(data=-1, fsdp=1, tensor=1),
    sampling=None,
    reference_update=dict(name="frozen"),
    lora=dict(rank=0, alpha=16.0, targets=("*/attention/*/kernel",)),
    sft=stage(
      dict(name="sft"), learning_rate=3e-3, steps=1200, batch_size=32, warmup=50
    ),
    reward_model=reward_model(pooling="mean", learning_rate=3e-3),
    preference_model=None,
    **stage(
      algorithm,
      learning_rate=learning_rate,
      steps=steps,
      batch_size=batch_size,
      warmup=warmup,
    ),
    evaluation=dict(
      judge="vader",
      prompts=512,
      batch_size=64,
      temperature=1.0,
      samples_shown=10,
    ),
  )


def online(
  algorithm: Mapping[str, Any],
  *,
  samples: int,
  judge: Mapping[str, Any],
  learning_rate: float,
  steps: int,
) -> ConfigDict:
  """SFT, then a method that learns from the policy's own responses.

  Args:
    algorithm: name of the method, and its settings.
    samples: responses to each prompt.
    judge: name of what judges the responses, and its settings.
    learning_rate: held constant after the warmup.
    steps: updates.
  """
  config = offline(algorithm, learning_rate=learning_rate, steps=steps)
  config.optimizer.schedule = "constant"
  config.reward_model = None
  config.sampling = config_dict.create(
    samples=samples,
    temperature=1.0,
    missing_eos_penalty=0.0,
    judge=judge,
    preference_scale=4.0,
    staleness=0,
    generator_devices=0,
  )
  return config


def reward_model(*, pooling: str, learning_rate: float) -> dict[str, Any]:
  """The stage that learns rewards from preferences."""
  return stage(
    dict(name="reward_model", pooling=pooling),
    learning_rate=learning_rate,
    steps=400,
    batch_size=32,
    warmup=20,
  )


def stage(
  algorithm: Mapping[str, Any],
  *,
  learning_rate: float,
  steps: int,
  batch_size: int,
  warmup: int,
) -> dict[str, Any]:
  """One training run: method, optimizer and length."""
  return dict(
    # A flag can set what is None: it is a number that is left out.
    algorithm={
      name: config_dict.placeholder(float) if value is None else value
      for name, value in algorithm.items()
    },
    optimizer=dict(
      name="adamw",
      learning_rate=learning_rate,
      schedule="cosine",
      warmup_steps=warmup,
      weight_decay=0.01,
      clip_norm=1.0,
    ),
    training=dict(
      steps=steps,
      batch_size=batch_size,
      microbatches=1,
      epochs=1,
      minibatches=1,
      log_every=5,
      checkpoint_every=100,
    ),
  )


def sized(config: ConfigDict, size: str) -> ConfigDict:
  """The config itself, or its `tiny` form: the same path in about a minute.

  Raises:
    ValueError: if `size` is neither empty nor `tiny`.
  """
  if size not in ("", "tiny"):
    raise ValueError(f"no size '{size}'; available: tiny")
  if size == "tiny":
    config.model.name = config.model.name.replace("mini", "tiny")
    config.tokenizer.vocabulary_size = 1024
    config.data.prompt_length = 8
    config.data.response_length = 24
    shorten(config)
  return config


def shorten(config: ConfigDict) -> None:
  """A few steps of every stage, and a few prompts of evaluation."""
  for section in (config, config.sft, config.reward_model):
    if section is not None:
      section.training.update(steps=8, batch_size=8, log_every=2)
      section.training.checkpoint_every = 4
      section.optimizer.warmup_steps = 2
  config.evaluation.update(prompts=16, batch_size=8)
