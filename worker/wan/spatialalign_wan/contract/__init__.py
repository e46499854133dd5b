"""The stage contract v1 (docs/contract.md), as the Go side speaks it. Nothing in here imports PyTorch."""
