"""IPO on real human preferences, from nothing, on a laptop.

Azar et al., 2023 (arXiv:2310.12036): a small decoder learns from 23,000
human-rated texts to continue them (SFT), then to write what people rate higher
(IPO). A reward model and VADER's rules judge the result.

    python experiments/train.py --config=configs/quickstart.py \
        --workdir=runs/quickstart

Hardware: two CPU cores. `--config=configs/quickstart.py:tiny` runs every part
with a toy model in about a minute and learns nothing.
"""

from ml_collections import config_dict


def get_config(size: str = "") -> config_dict.ConfigDict:
  """The whole experiment; `size` is empty or `tiny`."""
  if size not in ("", "tiny"):
    raise ValueError(f"no size '{size}'; available: tiny")
  config = config_dict.create(
    seed=0,
    init_from="",
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
    refresh=dict(name="frozen"),
    lora=dict(rank=0, alpha=16.0, targets=("*/attention/*/kernel",)),
    sft=stage(
      dict(name="sft"), learning_rate=3e-3, steps=1200, batch_size=32, warmup=50
    ),
    reward_model=stage(
      dict(name="reward_model", pooling="mean"),
      learning_rate=3e-3,
      steps=400,
      batch_size=32,
      warmup=20,
    ),
    preference_model=None,
    **stage(
      dict(name="ipo", tau=0.058, aggregation="sum"),
      learning_rate=1e-3,
      steps=300,
      batch_size=32,
      warmup=20,
    ),
    evaluation=dict(
      judge="vader",
      prompts=512,
      batch_size=64,
      temperature=1.0,
      samples_shown=10,
    ),
  )
  return tiny(config) if size == "tiny" else config


def stage(algorithm, *, learning_rate, steps, batch_size, warmup):
  """One training run: method, optimiser and length."""
  return dict(
    algorithm=algorithm,
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


def tiny(config):
  """The same path in about a minute."""
  config.model.name = config.model.name.replace("mini", "tiny")
  config.tokenizer.vocabulary_size = 1024
  config.data.prompt_length = 8
  config.data.response_length = 24
  config.evaluation.prompts = 16
  config.evaluation.batch_size = 8
  for part in (config, config.sft, config.reward_model):
    if part is not None:
      part.training.steps = 8
      part.training.batch_size = 8
      part.training.log_every = 2
      part.training.checkpoint_every = 4
      part.optimizer.warmup_steps = 2
  return config
