"""Online IPO (Calandriello et al., 2024, arXiv:2403.08635).

IPO on pairs of the policy's own answers, with the probability that the first is
preferred to the second by VADER's rules.

    python experiments/train.py --config=configs/online_ipo.py \
        --workdir=runs/online_ipo

Hardware: two CPU cores; the settings were not tuned. `:tiny` runs every part
with a toy model and learns nothing.
"""

from ml_collections import config_dict

from configs import rloo


def get_config(size: str = ""):
  """The quickstart's SFT, then online IPO."""
  return rloo.online(
    size, config_dict.create(name="online_ipo", tau=0.1), samples=2
  )
