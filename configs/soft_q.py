"""Inverse soft-Q learning (Wulfmeier et al., 2024, arXiv:2409.01369).

In place of the quickstart's SFT: imitation of what people wrote, with a
temporal-difference term that keeps the rewards small that the logits imply.

    python experiments/train.py --config=configs/soft_q.py \
        --workdir=runs/soft_q

Hardware: two CPU cores; the settings were not tuned. `:tiny` runs every part
with a toy model and learns nothing.
"""

from ml_collections import config_dict

from configs import quickstart


def get_config(size: str = ""):
  """Imitation from nothing, by soft-Q."""
  config = quickstart.get_config(size)
  config.sft = None
  config.reward_model = None
  config.algorithm = config_dict.create(name="soft_q", lam=0.1, gamma=1.0)
  config.optimizer.learning_rate = 3e-3
  config.training.steps = 8 if size == "tiny" else 1200
  return config
