"""What each refusal means over HTTP (CIM 009, 6.3.2): one table, one ProblemDetails body (RFC 7807)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec

from autocity import errors
from autocity.errors import CityError

PROBLEM = "application/json"
"""ProblemDetails travel as plain JSON, so that old clients are not broken (5.5.3)."""

STATUS: dict[type[CityError], int] = {
    errors.InvalidRequest: 400,
    errors.BadRequestData: 400,
    errors.NoMultiTenantSupport: 501,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.TooComplexQuery: 403,
    errors.TooManyResults: 403,
    errors.ResourceNotFound: 404,
    errors.NonexistentTenant: 404,
    errors.MethodNotAllowed: 405,
    errors.NotAcceptable: 406,
    errors.AlreadyExists: 409,
    errors.Conflict: 409,
    errors.LengthRequired: 411,
    errors.PayloadTooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.OperationNotSupported: 422,
    errors.BadGateway: 502,
    errors.StoreUnavailable: 503,
    errors.LdContextNotAvailable: 504,
    errors.GatewayTimeout: 504,
    errors.LoopDetected: 508,
    errors.CityError: 500,
}
"""Refusal class to status; a class that is not here answers with the status of its nearest ancestor."""


def status(error: CityError) -> int:
    """The status that answers this refusal."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def problem(error: CityError, request_id: str = "") -> dict[str, Any]:
    """The ProblemDetails of a refusal: `type`, `title`, `status`, `detail` and the refusal's own members."""
    details: dict[str, Any] = {
        "type": error.type,
        "title": error.title,
        "status": status(error),
        "detail": error.detail,
        **error.members,
    }
    if request_id:
        details["requestId"] = request_id
    return details


def encode(error: CityError, request_id: str = "") -> bytes:
    """The ProblemDetails as JSON."""
    return msgspec.json.encode(problem(error, request_id))


def phrase(code: int) -> str:
    """The reason phrase of a status, for people."""
    return HTTPStatus(code).phrase
