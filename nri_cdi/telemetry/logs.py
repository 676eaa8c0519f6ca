"""Log lines on stderr: for people, or JSON for programs. One line for each record, whatever its text."""

from __future__ import annotations

import json
import logging
import time

_CONTROLS = {number: None for number in (*range(0x20), *range(0x7F, 0xA0)) if number != 0x09}
"""Characters that would move a terminal's cursor: texts of others stand in the log."""


class _Text(logging.Formatter):
    """`2026-01-02T03:04:05.678Z WARNING specs: text`."""

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage().replace("\n", " | ").translate(_CONTROLS)
        if record.exc_info:
            text += " | " + self.formatException(record.exc_info).replace("\n", " | ")
        return f"{_time(record)} {record.levelname:<7} {_room(record)}: {text}"


class _Json(logging.Formatter):
    """An object with time, level, room and message."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "room": _room(record),
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def set_up(level: str, form: str) -> None:
    """Log from `level` (`info`...) on, in the form `text` or `json`: our own records, and those of gRPC, which would write tracebacks to stderr itself."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Json() if form == "json" else _Text())
    for name in ("nri_cdi", "grpc"):
        root = logging.getLogger(name)
        root.handlers = [handler]
        root.propagate = False
        root.setLevel(level.upper())


def _room(record: logging.LogRecord) -> str:
    return record.name.removeprefix("nri_cdi.").partition(".")[0]


def _time(record: logging.LogRecord) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z"
