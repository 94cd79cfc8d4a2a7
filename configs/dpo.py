"""DPO on human preferences (Rafailov et al., 2023, arXiv:2305.18290).

    python experiments/train.py --config=configs/dpo.py --workdir=runs/dpo

On preferences of your own, a file with `prompt`, `chosen` and `rejected`:

    python experiments/train.py --config=configs/dpo.py --workdir=runs/mine \
        --config.data.source=mine.jsonl

Hardware: two CPU cores. `:tiny` runs every part in about a minute.
"""

from configs import base


def get_config(size: str = "") -> base.ConfigDict:
  """The quickstart with another loss."""
  config = base.offline(
    dict(name="dpo", beta=0.1, label_smoothing=0.0, aggregation="sum"),
    learning_rate=1e-3,
    steps=300,
  )
  return base.sized(config, size)
