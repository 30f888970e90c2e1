"""From a request to a job: everything that can be wrong with a puzzle is found before it is queued."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from fastapi import Request

from model.checkpoint import CheckpointInfo
from model.tasks import PuzzleError
from service.api.catalogue import Catalogue
from service.api.errors import ApiError
from service.broker.records import NewJob
from service.ids import new_id
from service.problems import ProblemKind
from service.schemas import DEFAULT_ATTEMPTS, NO_CHECKER, Mode, SolveRequest
from service.settings import Settings
from service.tracing import TRACEPARENT

_KEPT_S = 60.0
"""How long a result outlives its request: long enough to be read again where the reply got lost."""

_IDEMPOTENCY_KEY = re.compile(r"[\x20-\x7e]{1,255}")


@dataclass(frozen=True, slots=True)
class Terms:
    """What a route grants to the jobs that it makes."""

    caller: str
    timeout_default_s: float
    timeout_max_s: float
    keep_s: float
    """How long a result outlives its end."""
    reply_to: str
    """Empty: nobody waits."""
    idempotency_key: str
    body_hash: str
    """What tells a repeated request from another one under the same key."""


class Intake:
    """Checks requests against the checkpoint that is current, and makes jobs of them."""

    def __init__(self, settings: Settings, catalogue: Catalogue) -> None:
        self._settings = settings
        self._catalogue = catalogue

    def terms_of_waiter(self, request: Request, body: bytes, caller: str, reply_to: str) -> Terms:
        """For a request that is answered when its puzzle is; raises ApiError for a bad Idempotency-Key."""
        key = _idempotency_key(request)
        return Terms(
            caller=caller,
            timeout_default_s=self._settings.timeout_default_s,
            timeout_max_s=self._settings.timeout_max_s,
            keep_s=self._settings.result_ttl_s if key else _KEPT_S,
            reply_to=reply_to,
            idempotency_key=key,
            body_hash=_body_hash(request, body) if key else "",
        )

    def terms_of_job(self, request: Request, body: bytes, caller: str) -> Terms:
        """For a request that is answered at once, with a job; raises ApiError for a bad Idempotency-Key."""
        ttl_s = self._settings.job_ttl_s
        key = _idempotency_key(request)
        return Terms(
            caller=caller,
            timeout_default_s=ttl_s,
            timeout_max_s=ttl_s,
            keep_s=ttl_s,
            reply_to="",
            idempotency_key=key,
            body_hash=_body_hash(request, body) if key else "",
        )

    def job(
        self, request: SolveRequest, terms: Terms, *, within: str = "", puzzle_at: str = "/puzzle", place: str = ""
    ) -> NewJob:
        """A job for the queue; raises ApiError for a puzzle or a limit that does not fit.

        Args:
            request: What is asked.
            terms: The route's.
            within: JSON pointer to the request in the body.
            puzzle_at: JSON pointer to the puzzle in the body.
            place: Tells the jobs of one body apart.
        """
        checkpoint = self._catalogue.find(request.task, f"{within}/task")
        timeout_s = request.timeout_s or terms.timeout_default_s
        self._check_limits(request, checkpoint, within)
        if timeout_s > terms.timeout_max_s:
            raise _wrong(f"timeout_s is at most {terms.timeout_max_s:g}", f"{within}/timeout_s")
        _check_identifier(request, checkpoint, within)
        try:
            checkpoint.codec.parse(request.puzzle)
        except PuzzleError as error:
            raise ApiError(ProblemKind.BAD_PUZZLE, error.detail, pointer=puzzle_at + error.pointer) from None
        settled = self._budget(request, checkpoint, within)
        if request.task is None:
            settled["task"] = checkpoint.task
        if settled:
            request = request.model_copy(update=settled)
        return NewJob(
            id=new_id(),
            task=checkpoint.task,
            lane=request.priority,
            request=request.model_dump_json().encode(),
            timeout_s=timeout_s,
            reply_to=terms.reply_to,
            keep_s=terms.keep_s,
            caller=terms.caller,
            trace_context=TRACEPARENT.get(),
            idempotency_key=terms.idempotency_key,
            place=place,
            body_hash=terms.body_hash,
            quota=self._settings.quota if terms.caller else 0,
        )

    def _check_limits(self, request: SolveRequest, checkpoint: CheckpointInfo, within: str) -> None:
        cap = self._settings.max_segments_cap
        most = request.max_segments or min(checkpoint.max_segments, cap)
        if most > cap:
            raise _wrong(f"max_segments is at most {cap} on this server", f"{within}/max_segments")
        if request.min_segments > most:
            raise _wrong(f"min_segments is above max_segments ({most})", f"{within}/min_segments")

    def _budget(self, request: SolveRequest, checkpoint: CheckpointInfo, within: str) -> dict[str, int | str]:
        """The attempts and segments of a request that may have several; raises ApiError where they are too many."""
        if not request.several:
            return {}
        if request.mode is Mode.VERIFIED and not checkpoint.codec.has_checker:
            raise _wrong(NO_CHECKER.format(checkpoint.task), f"{within}/mode")
        cap, total_cap = self._settings.attempts_cap, self._settings.total_segments_cap
        attempts = request.attempts or min(DEFAULT_ATTEMPTS, cap)
        total = request.max_total_segments or min(
            attempts * (request.max_segments or checkpoint.max_segments), total_cap
        )
        if attempts > cap:
            raise _wrong(f"attempts is at most {cap} on this server", f"{within}/attempts")
        if total > total_cap:
            raise _wrong(f"max_total_segments is at most {total_cap} on this server", f"{within}/max_total_segments")
        return {"attempts": attempts, "max_total_segments": total}


def _idempotency_key(request: Request) -> str:
    key = request.headers.get("idempotency-key", "")
    if key and not _IDEMPOTENCY_KEY.fullmatch(key):
        raise ApiError(ProblemKind.BAD_REQUEST, "Idempotency-Key: at most 255 printable ASCII characters")
    return key


def _body_hash(request: Request, body: bytes) -> str:
    return hashlib.sha256(f"{request.url.path}\n".encode() + body).hexdigest()


def _check_identifier(request: SolveRequest, checkpoint: CheckpointInfo, within: str) -> None:
    known, wanted = checkpoint.identifiers, request.puzzle_id
    pointer = f"{within}/puzzle_id"
    if known is None and wanted is not None:
        raise _wrong(f"{checkpoint.name} has no puzzle identifiers; leave puzzle_id out", pointer)
    if known is not None and wanted is None:
        raise _wrong(f"{checkpoint.name} needs the puzzle_id that it knows the puzzle by", pointer)
    if known is not None and wanted not in known:
        raise _wrong(f"{checkpoint.name} was not trained on puzzle_id {wanted!r}", pointer)


def _wrong(detail: str, pointer: str) -> ApiError:
    return ApiError(ProblemKind.BAD_REQUEST, detail, pointer=pointer)
