"""Self-play on preferences (Munos et al., 2023, arXiv:2312.00886).

As `nash_md.py`, against itself: each of two answers meets the other.

    python experiments/train.py --config=configs/self_play.py \
        --workdir=runs/self_play

Hardware: two CPU cores; the settings were not tuned. `:tiny` runs every part
with a toy model and learns nothing.
"""

from ml_collections import config_dict

from configs import rloo


def get_config(size: str = ""):
  """The quickstart's SFT, then self-play."""
  return rloo.online(
    size, config_dict.create(name="self_play", tau=0.008), samples=2
  )
