"""Every reproduction, and the page that shows them.

    python experiments/reproduce/all.py

Prints one table per published illustration, saves the figures below
`docs/figures/`, writes `docs/reproductions.md`, and exits with status 1 when a
row whose source is certain does not hold.

Hardware: two CPU cores.
"""

import importlib
import pathlib
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
# No published illustrations: they have no section on the page.
STUDIES = {
  "lab",
  "lab_world",
  "online_configs",
  "rlhf_small",
  "rlhf_methods",
  "rlhf_page",
  "xsum_length",
}


def main() -> None:
  results, failed, start = [], 0, time.monotonic()
  for name in ILLUSTRATIONS:
    begin = time.monotonic()
    module = importlib.import_module(name)
    result = module.reproduce()
    results.append(result)
    page.save_figures(result)
    failed += len(page.failed(result))
    print(f"\n{result.title}  ({time.monotonic() - begin:.0f} s)", flush=True)
    print(page.table(result), flush=True)
  path = page.write_page(results)
  print(f"\n{path.relative_to(page.ROOT)}, {time.monotonic() - start:.0f} s")
  if failed:
    print(f"{failed} rows with a certain source do not hold", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
  known = {p.stem for p in pathlib.Path(__file__).parent.glob("*.py")}
  missing = known - {"all", "page"} - STUDIES ^ set(ILLUSTRATIONS)
  assert not missing, f"list and folder differ: {sorted(missing)}"
  main()
