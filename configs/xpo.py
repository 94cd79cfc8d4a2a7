"""Exploratory preference optimization (Xie et al., 2024).

arXiv:2405.21046. DPO on a response of the policy and one of the policy at its
start, with a bonus for what the start is unlikely to say.

    python experiments/train.py --config=configs/xpo.py \
        --workdir=runs/xpo

Hardware: two CPU cores; the settings were not tuned. `:tiny` runs every part
with a toy model and learns nothing.
"""

from configs import base


def get_config(size: str = "") -> base.ConfigDict:
  """The quickstart's SFT, then XPO."""
  config = base.online(
    dict(name="xpo", beta=0.1, alpha=1e-5),
    samples=1,
    judge=dict(name="vader"),
    learning_rate=3e-4,
    steps=150,
  )
  return base.sized(config, size)
