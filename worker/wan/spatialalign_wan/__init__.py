"""The runtime `wan2.1-t2v-1.3b`: the stages encode, sample, track and train on GPUs (worker/wan/README.md)."""

__version__ = "0.1.0"
