"""Nash-MD on preferences (Munos et al., 2023, arXiv:2312.00886).

The quickstart's SFT policy plays against a mixture of itself and its start; of
two responses, the one that VADER's rules score higher tends to win. `tau` and
`beta` are the paper's.

    python experiments/train.py --config=configs/nash_md.py \
        --workdir=runs/nash_md

Hardware: two CPU cores; the settings were not tuned. `:tiny` runs every part
with a toy model and learns nothing.
"""

from configs import base


def get_config(size: str = "") -> base.ConfigDict:
  """The quickstart's SFT, then Nash-MD."""
  config = base.online(
    dict(name="nash_md", tau=0.008, beta=0.125),
    samples=1,
    judge=dict(name="vader"),
    learning_rate=3e-4,
    steps=150,
  )
  return base.sized(config, size)
