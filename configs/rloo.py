"""RLOO on rewards of the policy's own samples (Ahmadian et al., 2024).

arXiv:2402.14740. The quickstart's SFT policy responds to prompts, VADER's rules
reward the responses, and each response's baseline is the mean reward of the
others.

    python experiments/train.py --config=configs/rloo.py --workdir=runs/rloo

`--config.sampling.staleness=1` samples the next responses while it learns
(Noukhovitch et al., 2024, arXiv:2410.18252).

Hardware: two CPU cores. `:tiny` runs every part in about a minute.
"""

from configs import base


def get_config(size: str = "") -> base.ConfigDict:
  """The quickstart's SFT, then RLOO."""
  config = base.online(
    dict(
      name="rloo",
      beta=0.05,
      clip=None,
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
