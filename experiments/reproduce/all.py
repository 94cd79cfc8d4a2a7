"""Every reproduction, and the page that shows them.

    python experiments/reproduce/all.py

Prints one table per published illustration, saves the figures below
`docs/figures/`, writes `docs/reproductions.md`, and exits with status 1 when a
row whose source is certain does not hold.

Hardware: two CPU cores.
"""

import importlib
import sys
import time

import page

# In the order of the page.
ILLUSTRATIONS = (
  "ipo_bandits",
  "copg_bandit",
  "srpo_bandit",
  "nash_md_bound",
  "preference_games",
  "exploitability_sweep",
  "nash_solvers",
  "dro_against_kto",
  "dpo_3d",
  "soft_q_tree",
  "rcfd_bandit",
  "elastic_reset_mechanics",
  "staleness",
  "grpo_length_bias",
  "best_of_n",
)
INTRODUCTION = (
  "Published illustrations, reproduced with this library by `make reproduce`,"
  " which writes this page. `holds` means that the criterion in the row is met."
  " Where a paper does not print a setting, or the claim is derived from the"
  " paper rather than printed in it, the source counts as uncertain. `Earlier"
  " check` marks numbers of a NumPy program of ours that is independent of this"
  " library."
)


def main() -> None:
  parts, figures, failed = [INTRODUCTION], {}, 0
  start = time.monotonic()
  for name in ILLUSTRATIONS:
    begin = time.monotonic()
    result = importlib.import_module(name).reproduce()
    parts += [f"## {result.title}", *page.paragraphs(result)]
    figures |= result.figures
    failed += len(page.failed(result))
    print(f"\n{result.title}  ({time.monotonic() - begin:.0f} s)", flush=True)
    print(page.table(result), flush=True)
  path = page.write("reproductions", "Reproductions", parts, figures=figures)
  print(f"\n{path}, {time.monotonic() - start:.0f} s")
  if failed:
    print(f"{failed} rows with a certain source do not hold", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
  main()
