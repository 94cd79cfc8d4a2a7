"""Inverse soft-Q learning (Wulfmeier et al., 2024, arXiv:2409.01369).

In place of the quickstart's SFT: imitation of people's texts, with a
temporal-difference term that keeps the rewards that the logits imply small.

    python experiments/train.py --config=configs/soft_q.py \
        --workdir=runs/soft_q

Hardware: two CPU cores; the settings were not tuned. `:tiny` runs every part
with a toy model and learns nothing.
"""

from configs import base


def get_config(size: str = "") -> base.ConfigDict:
  """Imitation from nothing, by soft-Q."""
  config = base.offline(
    dict(name="soft_q", lam=0.1, gamma=1.0), learning_rate=3e-3, steps=1200
  )
  config.sft = None
  config.reward_model = None
  return base.sized(config, size)
