"""DRO from single rated responses (Richemond et al., 2024, arXiv:2405.19107).

A small T5, as in the paper: each text has one prompt, one response and the mean
of its ratings; no pairs are needed. Optimiser as in the paper (AdaFactor, decay
0.8, 150 steps of warm-up).

    python experiments/train.py --config=configs/dro_t5.py --workdir=runs/dro_t5

Hardware: two CPU cores. `:tiny` runs every part in about a minute.
"""

from ml_collections import config_dict

from configs import quickstart_t5


def get_config(size: str = ""):
  """The T5 quickstart with another kind of feedback."""
  config = quickstart_t5.get_config(size)
  config.algorithm = config_dict.create(name="dro", tau=1.0, aggregation="sum")
  config.optimizer.name = "adafactor"
  config.optimizer.schedule = "constant"
  config.optimizer.learning_rate = 1e-4
  if size != "tiny":
    config.training.steps = 600
    config.optimizer.warmup_steps = 150
  return config
