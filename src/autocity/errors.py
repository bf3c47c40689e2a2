"""Every refusal of the platform, in the words of the standard (CIM 009, 5.5.2 and 6.3.2).

What a refusal means over HTTP is decided in `api/errors.py`; nothing here knows HTTP.
A class docstring is the title that a client reads. `detail` names the fault and the mend.
"""

from __future__ import annotations

from typing import Any, ClassVar

NAMESPACE = "https://uri.etsi.org/ngsi-ld/errors/"


class CityError(Exception):
    """Something inside the platform failed."""

    name: ClassVar[str] = "InternalError"

    def __init__(self, detail: str = "", **members: Any) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.members = members

    @property
    def title(self) -> str:
        """The first line of the class docstring, without its full stop."""
        return (type(self).__doc__ or type(self).__name__).strip().splitlines()[0].rstrip(".")

    @property
    def type(self) -> str:
        """The URI that names this kind of refusal."""
        return NAMESPACE + self.name


class InvalidRequest(CityError):
    """The request is not well formed."""

    name = "InvalidRequest"


class BadRequestData(CityError):
    """The content of the request breaks the rules of the standard."""

    name = "BadRequestData"


class AlreadyExists(CityError):
    """The thing to create exists already."""

    name = "AlreadyExists"


class OperationNotSupported(CityError):
    """The operation is not supported."""

    name = "OperationNotSupported"


class ResourceNotFound(CityError):
    """The thing was not found."""

    name = "ResourceNotFound"


class TooComplexQuery(CityError):
    """The query is too complex to answer."""

    name = "TooComplexQuery"


class TooManyResults(CityError):
    """The query would return too many results."""

    name = "TooManyResults"


class LdContextNotAvailable(CityError):
    """A remote @context cannot be had."""

    name = "LdContextNotAvailable"


class NoMultiTenantSupport(CityError):
    """Tenants are not supported here."""

    name = "NoMultiTenantSupport"


class NonexistentTenant(CityError):
    """The tenant does not exist."""

    name = "NonexistentTenant"


class Conflict(CityError):
    """The request contradicts what is already here."""

    name = "Conflict"


class Unauthorized(CityError):
    """Who you are is not known; sign in or send a token."""

    name = "Unauthorized"


class Forbidden(CityError):
    """You may not do this."""

    name = "Forbidden"


class MethodNotAllowed(CityError):
    """The path exists, but not for this method."""

    name = "MethodNotAllowed"


class LengthRequired(CityError):
    """A request with a body says its length (Content-Length)."""

    name = "LengthRequired"


class PayloadTooLarge(CityError):
    """The body is larger than the platform accepts."""

    name = "PayloadTooLarge"


class UnsupportedMediaType(CityError):
    """The body is of a media type that is not understood."""

    name = "UnsupportedMediaType"


class NotAcceptable(CityError):
    """None of the media types asked for can be given."""

    name = "NotAcceptable"


class TooManyRequests(CityError):
    """Too many attempts; wait and try again."""

    name = "TooManyRequests"


class LoopDetected(CityError):
    """The request has come back to where it was before."""

    name = "LoopDetected"


class GatewayTimeout(CityError):
    """A context source did not answer in time."""

    name = "GatewayTimeout"


class BadGateway(CityError):
    """A context source failed."""

    name = "BadGateway"


class StoreUnavailable(CityError):
    """The store cannot be reached or written now; try again."""

    name = "StoreUnavailable"


class ConfigError(CityError):
    """A setting, or a folder that a command was given, does not fit."""

    name = "ConfigError"
