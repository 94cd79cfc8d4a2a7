"""A rollout -> what a method learns from.

`texts` asks judges of texts, `models` reward and preference models; each gives
a function of token arrays. `rollout_judges` makes such a function a judge of
rollouts, whose numbers go through `convert` once. Nothing here knows a folder,
a config or a compiler.
"""
