"""What this worker gains over a plain implementation of the published recipe, on one GPU, in one run.

python -m bench                              at the real 1.3B size with random weights and 81x480x832
WAN_DEVICE=cpu python -m bench --size tiny   that it runs, not how fast
"""
