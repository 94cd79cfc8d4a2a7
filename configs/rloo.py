"""RLOO on rewards of the policy's own samples (Ahmadian et al., 2024).

arXiv:2402.14740. The quickstart's SFT policy answers prompts, VADER's rules
reward the answers, and each answer's baseline is what the others got.

    python experiments/train.py --config=configs/rloo.py --workdir=runs/rloo

`--config.sampling.staleness=1` samples the next answers while it learns
(Noukhovitch et al., 2024, arXiv:2410.18252).

Hardware: two CPU cores. `:tiny` runs every part in about a minute.
"""

from ml_collections import config_dict

from configs import quickstart


def get_config(size: str = ""):
  """The quickstart's SFT, then RLOO."""
  algorithm = config_dict.create(
    name="rloo",
    beta=0.05,
    clip=0.0,
    kl="reward",
    kl_target=0.0,
    kl_gain=0.1,
  )
  return online(size, algorithm, samples=4)


def online(size, algorithm, *, samples):
  """The quickstart with a method that learns from its own samples."""
  config = quickstart.get_config(size)
  config.reward_model = None
  config.algorithm = algorithm
  config.sampling = config_dict.create(
    samples=samples,
    temperature=1.0,
    missing_eos_penalty=0.0,
    judge=dict(name="vader"),
    preference_scale=4.0,
    staleness=0,
    generator_devices=0,
  )
  config.optimizer.learning_rate = 3e-4
  config.optimizer.schedule = "constant"
  config.training.steps = 8 if size == "tiny" else 150
  return config
