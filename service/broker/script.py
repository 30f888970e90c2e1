"""The Lua scripts, ready to be sent.

A script is called by its hash (EVALSHA). A server that does not know it answers NOSCRIPT and has not run anything: the
call is then repeated with the text (EVAL), which the server remembers.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from service.broker.records import FORMAT_VERSION

Argument = str | bytes | int | float
Command = tuple[Argument, ...]

_FOLDER = Path(__file__).parent / "scripts"
_SHARED = f"local FORMAT_VERSION = {FORMAT_VERSION}\n" + (_FOLDER / "lib.lua").read_text("utf-8")


@dataclass(frozen=True, slots=True)
class Script:
    """One script, called `scripts/<name>.lua`; what it takes and returns is written at its top."""

    name: str
    text: str = field(init=False, repr=False)
    sha: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        text = _SHARED + "\n" + (_FOLDER / f"{self.name}.lua").read_text("utf-8")
        object.__setattr__(self, "text", text)
        object.__setattr__(self, "sha", hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())

    def by_hash(self, tag: str, arguments: Command) -> Command:
        """The call; `tag` is the deployment's hash tag, its one declared key."""
        return ("EVALSHA", self.sha, 1, tag, *arguments)

    def by_text(self, tag: str, arguments: Command) -> Command:
        """The same call for a server that answered NOSCRIPT."""
        return ("EVAL", self.text, 1, tag, *arguments)


ADMIT = Script("admit")
TAKE = Script("take")
RENEW = Script("renew")
FINISH = Script("finish")
HAND_BACK = Script("hand_back")
HAND_OVER = Script("hand_over")
CANCEL = Script("cancel")
LOOK = Script("look")
DEPTHS = Script("depths")
ANNOUNCE = Script("announce")
WORKERS = Script("workers")
REQUEUE = Script("requeue")
