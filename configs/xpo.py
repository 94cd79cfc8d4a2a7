"""Exploratory preference optimisation (Xie et al., 2024).

arXiv:2405.21046. DPO on an answer of the policy and one of the policy at its
start, with a bonus for what the start would not say.

    python experiments/train.py --config=configs/xpo.py \
        --workdir=runs/xpo

Hardware: two CPU cores; the settings were not tuned. `:tiny` runs every part
with a toy model and learns nothing.
"""

from ml_collections import config_dict

from configs import rloo


def get_config(size: str = ""):
  """The quickstart's SFT, then XPO."""
  return rloo.online(
    size, config_dict.create(name="xpo", beta=0.1, alpha=1e-5), samples=1
  )
