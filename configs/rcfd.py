"""Reward calibration from demonstrations (Rita et al., 2024).

arXiv:2404.19409. The quickstart's SFT policy learns to earn from VADER's rules
what the text that a person wrote after the same prompt earns, and not more.
There is no KL; `clip` is the paper's.

    python experiments/train.py --config=configs/rcfd.py \
        --workdir=runs/rcfd

Hardware: two CPU cores; the settings were not tuned. `:tiny` runs every part
with a toy model and learns nothing.
"""

from ml_collections import config_dict

from configs import rloo


def get_config(size: str = ""):
  """The quickstart's SFT, then RCfD."""
  return rloo.online(
    size, config_dict.create(name="rcfd", beta=0.0, clip=0.3), samples=4
  )
