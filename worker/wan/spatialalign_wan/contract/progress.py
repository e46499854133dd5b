"""What a stage tells while it runs: progress, Prometheus metrics and health on one port."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MAX_METRICS = 16


def decimal(value: float) -> str:
    """Six digits: more would only show rounding errors."""
    return f"{value:.6g}"


class Progress:
    """Every add, skip and checkpoint is also a heartbeat: without one for the heartbeat time the stage is unhealthy."""

    def __init__(self, stage: str, heartbeat: float, now: Callable[[], float] = time.time) -> None:
        self._stage, self._heartbeat, self._now = stage, heartbeat, now
        self._lock = threading.Lock()
        self._started = self._stepped = now()
        self._done = self._skipped = self._total = 0
        self._unit = "steps"
        self._metrics: dict[str, float] = {}
        self._checkpoint = 0.0

    def total(self, total: int, unit: str) -> None:
        """Says how many units there are to do, and starts over from zero."""
        with self._lock:
            self._done, self._skipped, self._total, self._unit = 0, 0, total, unit
            self._started = self._stepped = self._now()

    def add(self, n: int = 1) -> None:
        with self._lock:
            self._done += n
            self._stepped = self._now()

    def skip(self, n: int = 1) -> None:
        """Units that were there already; they do not enter the estimate of the remaining time."""
        with self._lock:
            self._done += n
            self._skipped += n
            self._stepped = self._now()

    def beat(self) -> None:
        with self._lock:
            self._stepped = self._now()

    def metric(self, name: str, value: float) -> None:
        with self._lock:
            if math.isfinite(value):
                self._metrics[name] = value
            else:
                self._metrics.pop(name, None)

    def checkpoint(self) -> None:
        with self._lock:
            self._checkpoint = self._stepped = self._now()

    def snapshot(self) -> dict[str, object]:
        with self._lock:
            answer: dict[str, object] = {
                "done": self._done, "total": self._total, "unit": self._unit,
                "progressPercentage": min(100, 100 * self._done // self._total) if self._total else 0,
                "estimatedRemainingSeconds": 0,
            }  # fmt: skip
            measured = self._done - self._skipped
            if measured > 0 and self._total > self._done:
                each = (self._stepped - self._started) / measured
                answer["estimatedRemainingSeconds"] = math.ceil(each * (self._total - self._done))
            names = sorted(self._metrics)[:MAX_METRICS]
            answer["metrics"] = [{"name": name, "value": decimal(self._metrics[name])} for name in names]
            if self._checkpoint:
                answer["lastCheckpointTime"] = datetime.fromtimestamp(self._checkpoint, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            return answer

    def stalled(self) -> float | None:
        """For how long there has been no step, when that is longer than the heartbeat."""
        with self._lock:
            since = self._now() - self._stepped
        return since if since > self._heartbeat else None

    def prometheus(self) -> str:
        with self._lock:
            labels = f'stage="{self._stage}"'
            unit = f'{labels},unit="{self._unit}"'
            out = [
                "# TYPE spatialalign_stage_done gauge",
                f"spatialalign_stage_done{{{unit}}} {self._done}",
                "# TYPE spatialalign_stage_total gauge",
                f"spatialalign_stage_total{{{unit}}} {self._total}",
                "# TYPE spatialalign_stage_last_step_age_seconds gauge",
                f"spatialalign_stage_last_step_age_seconds{{{labels}}} {self._now() - self._stepped:.3f}",
                "# TYPE spatialalign_stage_metric gauge",
            ]
            out += [f'spatialalign_stage_metric{{{labels},name="{name}"}} {value!r}' for name, value in sorted(self._metrics.items())]
        return "\n".join(out) + "\n"


class Server:
    """Answers on the progress port. A port that is taken is no reason to fail: progress is lost, nothing else."""

    def __init__(self, progress: Progress, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._server = ThreadingHTTPServer((host, int(port)), _handler(progress))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(progress: Progress) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 5

        def do_GET(self) -> None:
            if self.path == "/progress":
                self._answer(200, "application/json", json.dumps(progress.snapshot()))
            elif self.path == "/metrics":
                self._answer(200, "text/plain; version=0.0.4", progress.prometheus())
            elif self.path == "/healthz":
                since = progress.stalled()
                self._answer(200 if since is None else 503, "text/plain", "ok\n" if since is None else f"no step for {since:.0f} s\n")
            else:
                self._answer(404, "text/plain", "not found\n")

        def _answer(self, status: int, kind: str, body: str) -> None:
            data = body.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            """Requests are not logged."""

    return Handler
