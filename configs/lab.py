"""A lab: made-up words, raters whose reward is known, the same trainer.

Prompts are one of five words, responses up to three of them, as
`alignment_jax/synthetic/lab_rows.py` makes them. A policy learns to write any
of them (SFT), then RLOO climbs a proxy of the gold reward that raters go by;
the gold reward judges the result. Letting go of the KL raises the proxy further
and lowers the gold reward, as in Gao et al., 2022 (arXiv:2210.10760). Measured
with seed 0, 512 prompts:

    beta                       2.5    0.6
    KL to SFT, nats            2.4    5.1
    proxy, last batch         15.7   19.7
    gold, -0.1 after SFT       1.57   0.37
    wins against SFT, %         76     52

    python experiments/train.py --config=configs/lab.py --workdir=runs/lab \
        --config.algorithm.beta=0.6

`configs/lab.py:dpo` (or `ipo`, `kto`, `dro`, `online_dpo`, `nash_md`) is
another method in the same lab, here on labels of which 30 % are flipped:

    python experiments/train.py --config=configs/lab.py:dpo \
        --workdir=runs/lab_dpo --config.data.source=lab:flip=0.3

`--config.sampling.judge.noise=0` is the gold reward itself, and
`--config.sampling.judge.length_bias=1` prefers long responses.

Hardware: two CPU cores, about a minute and a half. `:tiny`, or `:dpo,tiny`,
runs every part in less than one.
"""

from configs import base

# Methods that learn from the rows of the source, and from responses that the
# proxy judges.
OFFLINE = {
  "dpo": dict(beta=1.0, label_smoothing=0.0, aggregation="sum"),
  "ipo": dict(tau=0.5, aggregation="sum"),
  "kto": dict(beta=1.0, lambda_desirable=1.0, lambda_undesirable=1.0),
  "dro": dict(tau=1.0, aggregation="sum"),
}
ONLINE = {
  "rloo": dict(beta=2.5, clip=None, kl="reward", kl_target=None, kl_gain=0.1),
  "online_dpo": dict(beta=1.0, feedback="reward"),
  "nash_md": dict(tau=0.1, beta=0.125),
}


def get_config(text: str = "") -> base.ConfigDict:
  """SFT, then RLOO on the proxy; `text` names another method, `tiny`, or both.

  Raises:
    ValueError: it names something else.
  """
  words = set(filter(None, text.split(",")))
  methods = words - {"tiny"} or {"rloo"}
  if len(methods) > 1 or not methods <= {*OFFLINE, *ONLINE}:
    raise ValueError(
      f"no lab '{text}'; available: tiny, one of"
      f" {', '.join([*ONLINE, *OFFLINE])}, or both with a comma"
    )
  (name,) = methods
  algorithm = {"name": name, **{**OFFLINE, **ONLINE}[name]}
  if name in ONLINE:
    config = base.online(
      algorithm,
      samples=8,
      judge=dict(name="lab_proxy", noise=2.0, length_bias=0.0),
      learning_rate=3e-3,
      steps=400,
    )
    config.sampling.preference_scale = 1.0
    config.optimizer.schedule = "cosine"
  else:
    config = base.offline(algorithm, learning_rate=3e-3, steps=400)
    config.reward_model = None
  config.model.name = "decoder_tiny"
  config.model.dropout = 0.0
  config.tokenizer.vocabulary_size = 300
  config.data.source = "lab"
  config.data.prompt_length = 4
  config.data.response_length = 3  # a third word leaves no room for an end
  config.evaluation.judge = "lab_gold"
  config.sft.training.steps = 300
  if "tiny" in words:
    base.shorten(config)
  return config
