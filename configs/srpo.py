"""SRPO (Choi et al., 2024, arXiv:2406.01660).

The quickstart with a policy that responds to prompts and also improves a
response that it is shown. `alpha` is that of published code.

    python experiments/train.py --config=configs/srpo.py \
        --workdir=runs/srpo

Hardware: two CPU cores; the settings were not tuned. `:tiny` runs every part
with a toy model and learns nothing.
"""

from configs import base


def get_config(size: str = "") -> base.ConfigDict:
  """The quickstart with another loss."""
  config = base.offline(
    dict(
      name="srpo",
      beta=0.1,
      alpha=0.8,
      template=("\nAn answer: ", "\nA better answer: "),
    ),
    learning_rate=1e-3,
    steps=300,
    batch_size=16,
  )
  return base.sized(config, size)
