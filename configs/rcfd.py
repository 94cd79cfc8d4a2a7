"""Reward calibration from demonstrations (Rita et al., 2024).

arXiv:2404.19409. The quickstart's SFT policy learns to earn the reward, by
VADER's rules, of the text that a person wrote after the same prompt, and no
more. There is no KL; `clip` is the paper's.

    python experiments/train.py --config=configs/rcfd.py \
        --workdir=runs/rcfd

Hardware: two CPU cores; the settings were not tuned. `:tiny` runs every part
with a toy model and learns nothing.
"""

from configs import base


def get_config(size: str = "") -> base.ConfigDict:
  """The quickstart's SFT, then RCfD."""
  config = base.online(
    dict(name="rcfd", beta=0.0, clip=0.3),
    samples=4,
    judge=dict(name="vader"),
    learning_rate=3e-4,
    steps=150,
  )
  return base.sized(config, size)
