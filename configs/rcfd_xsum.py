"""RCfD with two rewards on news summaries (Rita et al., 2024).

arXiv:2404.19409. A small decoder learns to summarize news articles from 800
summaries that people wrote (SFT), and then from two rewards of its own
summaries: ROUGE with the human summary, and length in words. RCfD aims at what
the human summary gets of each. The same judges as a weighted sum, without
calibration:

    python experiments/train.py --config=configs/rcfd_xsum.py \
        --workdir=runs/rcfd_xsum
    python experiments/train.py --config=configs/rcfd_xsum.py \
        --workdir=runs/rloo_xsum --config.algorithm.name=rloo \
        --config.init_from=runs/rcfd_xsum/sft

`xsum:30` keeps the first sentences of an article that have at most 30 words
together: the window of a small decoder holds no more. A prompt for the trained
policy must also end with `TL;DR:`.

Expected: people write 21.2 words, SFT 20.2, RCfD 20.2, RLOO 61.6; with
`--config.sampling.judge.judges.length.weight=-0.02` RLOO writes 1.3. ROUGE-L
grows from 0.083 to 0.124 with RCfD, by frequent words: a network of this size
does not make sense yet (`experiments/studies/xsum_length.py`).

Hardware: two CPU cores, 9 minutes with other work beside it. `:tiny` runs every
part with a toy model and learns nothing.
"""

from configs import base


def get_config(size: str = "") -> base.ConfigDict:
  """SFT on the written summaries, then RCfD."""
  config = base.online(
    dict(name="rcfd", beta=0.0, clip=0.3),
    samples=4,
    judge=dict(
      name="sum", judges=dict(rouge=dict(weight=1.0), length=dict(weight=0.02))
    ),
    learning_rate=3e-4,
    steps=100,
  )
  config.model.update(
    width=64, layers=2, heads=2, kv_heads=2, head_width=32, mlp_width=192
  )
  config.data.source = "xsum:30"
  config.data.prompt_length = 72
  config.data.response_length = 64
  config.tokenizer.vocabulary_size = 4096
  config.evaluation.judge = "rouge"
  config.sft.training.steps = 400
  config.training.batch_size = 16
  return base.sized(config, size)
