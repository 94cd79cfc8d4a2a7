"""WARP (Rame et al., 2024, arXiv:2406.16768).

Two copies of the quickstart's SFT policy learn from VADER's rules
independently; every 50 updates they are merged and start again, and the third
merge is the result. `beta`, `mu` and `eta` are the paper's.

    python experiments/train.py --config=configs/warp.py \
        --workdir=runs/warp

Hardware: two CPU cores; the settings were not tuned. `:tiny` runs every part
with a toy model and learns nothing.
"""

from configs import base


def get_config(size: str = "") -> base.ConfigDict:
  """The quickstart's SFT, then WARP."""
  config = base.online(
    dict(name="warp", beta=0.1, mu=0.01, eta=0.3, phase=50, members=2),
    samples=2,
    judge=dict(name="vader"),
    learning_rate=3e-4,
    steps=150,
  )
  if size == "tiny":
    config.algorithm.phase = 4
  return base.sized(config, size)
