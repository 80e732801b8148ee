"""What the service counts, in Prometheus' text format (0.0.4). Numbers and model names only."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128)
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Labels = tuple[tuple[str, str], ...]


class Metrics:
    """Counters and histograms of one process; gauges are asked for when they are shown."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._help: dict[str, tuple[str, str]] = {}
        self._counters: dict[str, dict[Labels, float]] = {}
        self._histograms: dict[str, dict[Labels, _Histogram]] = {}
        self._bounds: dict[str, tuple[float, ...]] = {}
        self._gauges: dict[str, Callable[[], Mapping[Labels, float]]] = {}

    def counter(self, name: str, text: str) -> None:
        """A counter; ``text`` says what it counts."""
        self._help[name] = ("counter", text)
        self._counters[name] = {}

    def histogram(self, name: str, text: str, bounds: Iterable[float]) -> None:
        """A histogram with these upper bounds."""
        self._help[name] = ("histogram", text)
        self._histograms[name] = {}
        self._bounds[name] = tuple(bounds)

    def gauge(self, name: str, text: str, read: Callable[[], Mapping[Labels, float]]) -> None:
        """A value that ``read`` tells by labels."""
        self._help[name] = ("gauge", text)
        self._gauges[name] = read

    def count(self, name: str, **labels: str) -> None:
        """One more."""
        key = tuple(sorted(labels.items()))
        with self._lock:
            series = self._counters[name]
            series[key] = series.get(key, 0) + 1

    def observe(self, name: str, value: float, **labels: str) -> None:
        """One more value."""
        key = tuple(sorted(labels.items()))
        with self._lock:
            series = self._histograms[name]
            if key not in series:
                series[key] = _Histogram(self._bounds[name])
            series[key].add(value)

    def text(self) -> str:
        """All of it."""
        gauges = {name: dict(read()) for name, read in self._gauges.items()}
        lines: list[str] = []
        with self._lock:
            for name, (kind, text) in self._help.items():
                lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
                for key, value in {**self._counters.get(name, {}), **gauges.get(name, {})}.items():
                    lines.append(f"{name}{_labels(key)} {value:g}")
                for key, found in self._histograms.get(name, {}).items():
                    lines += found.lines(name, key)
        return "\n".join(lines) + "\n"


class _Histogram:
    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def lines(self, name: str, key: Labels) -> list[str]:
        lines, total = [], 0
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self._counts, strict=True):
            total += count
            lines.append(f"{name}_bucket{_labels((*key, ('le', bound)))} {total}")
        return [
            *lines,
            f"{name}_sum{_labels(key)} {self._sum:g}",
            f"{name}_count{_labels(key)} {total}",
        ]


def _labels(key: Labels) -> str:
    return "{" + ",".join(f'{name}="{_quoted(value)}"' for name, value in key) + "}" if key else ""


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
