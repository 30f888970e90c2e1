"""The names of everything the broker keeps in Redis, as far as Python needs them.

All keys of a deployment begin with one hash tag, so that they lie in one slot of a cluster. `scripts/lib.lua` makes the
same names, and those of the records that only scripts touch; a test compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass

from service.schemas import Lane

LANES = (Lane.HIGH, Lane.NORMAL)


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one deployment, called `namespace`."""

    namespace: str

    @property
    def tag(self) -> str:
        """What every key begins with."""
        return "{" + self.namespace + "}"

    @property
    def control(self) -> str:
        """The pub/sub channel to all workers."""
        return f"{self.tag}:control"

    @property
    def tasks(self) -> str:
        """The set of all tasks that ever had a job."""
        return f"{self.tag}:tasks"

    def queue(self, task: str, lane: Lane) -> str:
        """The stream of one lane; its entries are job ids."""
        return f"{self.tag}:queue:{task}:{lane}"

    def nudge(self, task: str) -> str:
        """A stream of one entry that changes when something was handed back."""
        return f"{self.tag}:nudge:{task}"

    def watched(self, task: str) -> list[str]:
        """The streams of which one gets an entry whenever there is something to take."""
        return [*(self.queue(task, lane) for lane in LANES), self.nudge(task)]

    def job(self, job_id: str) -> str:
        """The hash of a job."""
        return f"{self.tag}:job:{job_id}"

    def reply(self, process: str) -> str:
        """The stream of an API process' endings."""
        return f"{self.tag}:reply:{process}"

    def dead(self, task: str) -> str:
        """The stream of a task's dead letters."""
        return f"{self.tag}:dead:{task}"
