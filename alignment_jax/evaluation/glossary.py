"""What the words of the report mean, for someone who meets them there first."""

from collections.abc import Iterable

TERMS = {
  "Win rate": (
    "how often the judge scores the trained policy’s answer higher than the"
    " other one to the same prompt; a tie counts half, so 50\u202f% means"
    " equal."
  ),
  "Interval": (
    "made so that, if prompts of this kind were drawn again and again, it would"
    " hold the true win rate about 95 times in 100. It does not cover another"
    " seed of the training."
  ),
  "Judge": (
    "a stand-in for people. A policy may learn to please it without getting"
    " better, so read the answers too."
  ),
  "KL to the reference": (
    "how far the policy moved from where it began, in nats; 0 is not at all. A"
    " gain bought with less of it is the better gain."
  ),
  "Reward margin": (
    "how much more than the reference the policy favours the chosen answer over"
    " the rejected one. Accuracy is how often it does."
  ),
}


def how_to_read(terms: Iterable[str]) -> str:
  """The grey box at the top, with the terms that this report uses."""
  items = "".join(f"<dt>{term}</dt><dd>{TERMS[term]}</dd>" for term in terms)
  return (
    "<aside>\n<h2>How to read this</h2>\n"
    "<p><span class=before>Before</span> is the policy when training began,"
    " <span class=after>after</span> the trained one.</p>\n"
    + (f"<dl>{items}</dl>\n" if items else "")
    + "</aside>"
  )
