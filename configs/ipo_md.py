"""IPO-MD (Calandriello et al., 2024, arXiv:2403.08635).

As `online_ipo.py`, on responses of a mixture of the policy and its start.
`beta` is the paper's.

    python experiments/train.py --config=configs/ipo_md.py \
        --workdir=runs/ipo_md

Hardware: two CPU cores; the settings were not tuned. `:tiny` runs every part
with a toy model and learns nothing.
"""

from configs import base


def get_config(size: str = "") -> base.ConfigDict:
  """The quickstart's SFT, then IPO-MD."""
  config = base.online(
    dict(name="ipo_md", tau=0.1, beta=0.125),
    samples=2,
    judge=dict(name="vader"),
    learning_rate=3e-4,
    steps=150,
  )
  return base.sized(config, size)
