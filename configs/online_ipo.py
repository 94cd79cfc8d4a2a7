"""Online IPO (Calandriello et al., 2024, arXiv:2403.08635).

IPO on pairs of the policy's own responses, with the probability that VADER's
rules prefer the first to the second.

    python experiments/train.py --config=configs/online_ipo.py \
        --workdir=runs/online_ipo

Hardware: two CPU cores; the settings were not tuned. `:tiny` runs every part
with a toy model and learns nothing.
"""

from configs import base


def get_config(size: str = "") -> base.ConfigDict:
  """The quickstart's SFT, then online IPO."""
  config = base.online(
    dict(name="online_ipo", tau=0.1),
    samples=2,
    judge=dict(name="vader"),
    learning_rate=3e-4,
    steps=150,
  )
  return base.sized(config, size)
