"""REINFORCE with a running mean as its baseline (Williams, 1992).

As revived by Ahmadian et al., 2024 (arXiv:2402.14740): a whole response is one
action, and its KL to the SFT policy is part of the reward, which is VADER's.

    python experiments/train.py --config=configs/reinforce.py \
        --workdir=runs/reinforce

Hardware: two CPU cores; the settings were not tuned. `:tiny` runs every part
with a toy model and learns nothing.
"""

from configs import base


def get_config(size: str = "") -> base.ConfigDict:
  """The quickstart's SFT, then REINFORCE."""
  config = base.online(
    dict(
      name="reinforce",
      beta=0.05,
      baseline="running",
      decay=0.99,
      kl="reward",
      kl_target=None,
      kl_gain=0.1,
    ),
    samples=4,
    judge=dict(name="vader"),
    learning_rate=3e-4,
    steps=150,
  )
  return base.sized(config, size)
