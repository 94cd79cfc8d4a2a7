"""Self-play on preferences (Munos et al., 2023, arXiv:2312.00886).

As `nash_md.py`, against itself: each of two responses is compared with the
other.

    python experiments/train.py --config=configs/self_play.py \
        --workdir=runs/self_play

Hardware: two CPU cores; the settings were not tuned. `:tiny` runs every part
with a toy model and learns nothing.
"""

from configs import base


def get_config(size: str = "") -> base.ConfigDict:
  """The quickstart's SFT, then self-play."""
  config = base.online(
    dict(name="self_play", tau=0.008),
    samples=2,
    judge=dict(name="vader"),
    learning_rate=3e-4,
    steps=150,
  )
  return base.sized(config, size)
