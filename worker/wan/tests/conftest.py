from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

# One thread: bits are compared, and the machine has few cores.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["WAN_DEVICE"] = "cpu"
# For processes that tests start: a fork server looks for what it imports first nowhere else.
os.environ["PYTHONPATH"] = os.pathsep.join(str(folder) for folder in (Path(__file__).parent, Path(__file__).parents[1]))

import pytest
import torch

from support import World

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import tiny

    return tiny.wan(tmp_path_factory.mktemp("weights") / "model")


@pytest.fixture(scope="session")
def detector_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import tiny

    return tiny.detector(tmp_path_factory.mktemp("weights") / "detector")


@pytest.fixture(scope="session")
def guard_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import tiny

    return tiny.guard(tmp_path_factory.mktemp("weights") / "guard")


@pytest.fixture
def world(tmp_path: Path, model: Path) -> World:
    return World(tmp_path, model)


@pytest.fixture(scope="session")
def sampled(tmp_path_factory: pytest.TempPathFactory, model: Path) -> World:
    """A world with samples of every prompt in its store; tests add to it and damage nothing."""
    world = World(tmp_path_factory.mktemp("world"), model)
    world.done(world.sample_spec("out/samples"))
    return world


@pytest.fixture(autouse=True)
def _own_signals() -> Iterator[None]:
    """Stages take the process's signals; the test runner wants them back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
