"""What the guard metrics need below WAN_GUARD_PATH. Known without PyTorch."""

PATTERNS = (
    "clip/config.json", "clip/*.safetensors", "clip/tokenizer*.json", "clip/*processor_config.json", "dinov2/config.json",
    "dinov2/*.safetensors",
)  # fmt: skip
