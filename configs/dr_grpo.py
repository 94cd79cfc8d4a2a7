"""Dr. GRPO: GRPO without its biases (Liu et al., 2025, arXiv:2503.20783).

Rewards by VADER's rules are centered within the responses to a prompt but not
scaled, and token losses are divided by one constant length.

    python experiments/train.py --config=configs/dr_grpo.py \
        --workdir=runs/dr_grpo

Hardware: two CPU cores; the settings were not tuned. `:tiny` runs every part
with a toy model and learns nothing.
"""

from configs import base


def get_config(size: str = "") -> base.ConfigDict:
  """The quickstart's SFT, then Dr. GRPO."""
  config = base.online(
    dict(name="dr_grpo", clip=0.2, beta=0.0),
    samples=8,
    judge=dict(name="vader"),
    learning_rate=3e-4,
    steps=150,
  )
  return base.sized(config, size)
