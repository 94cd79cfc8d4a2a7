"""Online inverse soft-Q learning (Wulfmeier et al., 2024, arXiv:2409.01369).

The quickstart's SFT policy continues to imitate, and keeps the rewards that its
logits imply small, along people's texts and along its own responses. `mix` is
the paper's; with `lam` 0.1, which other configs use, responses fill the window.

    python experiments/train.py --config=configs/soft_q_online.py \
        --workdir=runs/soft_q_online

Hardware: two CPU cores; the settings were not tuned. `:tiny` runs every part
with a toy model and learns nothing.
"""

from configs import base


def get_config(size: str = "") -> base.ConfigDict:
  """The quickstart's SFT, then online soft-Q."""
  config = base.online(
    dict(name="soft_q_online", lam=0.01, mix=0.1, gamma=1.0),
    samples=1,
    judge=dict(name="none"),
    learning_rate=3e-4,
    steps=150,
  )
  return base.sized(config, size)
