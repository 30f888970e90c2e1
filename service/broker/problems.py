"""The problems that the queue itself ends a job with, as a waiter gets them."""

from __future__ import annotations

import json


def _problem(slug: str, title: str, status: int, detail: str) -> bytes:
    return json.dumps({"type": slug, "title": title, "status": status, "detail": detail}).encode()


DEADLINE = _problem("deadline", "Deadline passed", 504, "The deadline passed before a worker was free.")
POISON = _problem("poison", "Job given up", 500, "Too many workers died while they held this job; it was given up.")
UNREADABLE = _problem(
    "unreadable", "Job not readable", 500, "The job was written by a newer version than its worker's."
)
