"""GSPO: one ratio for each answer (Zheng et al., 2025, arXiv:2507.18071).

VADER's rules reward the answers; four minibatches learn from each batch, as in
the paper, so that there is something to clip.

    python experiments/train.py --config=configs/gspo.py \
        --workdir=runs/gspo

Hardware: two CPU cores; the settings were not tuned. `:tiny` runs every part
with a toy model and learns nothing.
"""

from ml_collections import config_dict

from configs import rloo


def get_config(size: str = ""):
  """The quickstart's SFT, then GSPO."""
  config = rloo.online(
    size,
    config_dict.create(name="gspo", clip_low=3e-4, clip_high=4e-4),
    samples=8,
  )
  config.training.minibatches = 4
  return config
