"""The best response on preferences (Munos et al., 2023).

arXiv:2312.00886. As `nash_md.py`, against the policy at its start alone.

    python experiments/train.py --config=configs/best_response.py \
        --workdir=runs/best_response

Hardware: two CPU cores; the settings were not tuned. `:tiny` runs every part
with a toy model and learns nothing.
"""

from configs import base


def get_config(size: str = "") -> base.ConfigDict:
  """The quickstart's SFT, then the best response."""
  config = base.online(
    dict(name="best_response", tau=0.008),
    samples=1,
    judge=dict(name="vader"),
    learning_rate=3e-4,
    steps=150,
  )
  return base.sized(config, size)
