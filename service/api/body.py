"""Reading a body: bounded in size and time before anything is parsed, then validated in one go."""

from __future__ import annotations

from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from service.api.errors import ApiError, invalid_body
from service.api.shared_timeout import SharedTimeout
from service.problems import ProblemKind
from service.settings import Settings

M = TypeVar("M", bound=BaseModel)


class BodyReader:
    """Reads the bodies of one API process."""

    def __init__(self, settings: Settings) -> None:
        self._limit = settings.max_body_bytes
        self._patience = SharedTimeout(settings.body_timeout_s)

    async def read(self, request: Request) -> bytes:
        """The body; raises ApiError where it is too large, whatever its header says, or too slow.

        FastAPI's own limit would answer in plain text.
        """
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self._limit:
            raise _too_large(self._limit)
        body = bytearray()
        try:
            async with self._patience.bound():
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > self._limit:
                        raise _too_large(self._limit)
        except TimeoutError:
            raise ApiError(
                ProblemKind.BODY_TIMEOUT,
                f"{len(body)} bytes came within {self._patience.seconds:g} s, and then no more",
                headers={"Connection": "close"},
            ) from None
        return bytes(body)


def parse(model: type[M], body: bytes) -> M:
    """The body as a model; raises ApiError that says what does not fit and where."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise invalid_body(error) from None


def _too_large(limit: int) -> ApiError:
    # The connection stays open: closed while the client still sends, it would be reset and this answer lost.
    return ApiError(ProblemKind.BODY_TOO_LARGE, f"a body may have at most {limit} bytes")
