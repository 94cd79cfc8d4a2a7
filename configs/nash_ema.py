"""Nash-EMA on preferences (Munos et al., 2023, arXiv:2312.00886).

As `nash_md.py`, against a moving average of the policy. `tau` is the paper's;
the average is faster, since this run is shorter.

    python experiments/train.py --config=configs/nash_ema.py \
        --workdir=runs/nash_ema

Hardware: two CPU cores; the settings were not tuned. `:tiny` runs every part
with a toy model and learns nothing.
"""

from configs import base


def get_config(size: str = "") -> base.ConfigDict:
  """The quickstart's SFT, then Nash-EMA."""
  config = base.online(
    dict(name="nash_ema", tau=0.008, decay=0.95),
    samples=1,
    judge=dict(name="vader"),
    learning_rate=3e-4,
    steps=150,
  )
  return base.sized(config, size)
