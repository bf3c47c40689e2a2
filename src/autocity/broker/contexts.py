"""Where @contexts come from: built in, hosted here, or fetched once and kept (5.5.5, 5.13)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from autocity.broker.outbound import Outbound
from autocity.ld.context import Context
from autocity.model import Instant
from autocity.store.port import Store


class Served(Struct, frozen=True, kw_only=True):
    """What is known of a stored @context (5.13.3.5). `kind`: Cached, Hosted or ImplicitlyCreated."""

    id: str
    url: str
    kind: str
    created_at: Instant
    expires_at: Instant = 0
    last_usage: Instant = 0
    hits: int = 0

    def details(self) -> dict[str, Any]:
        """The JSON object that a client reads with `details=true`."""
        raise NotImplementedError


class Contexts:
    """Resolves what clients say as @context. `built_in` maps URL to document (with `@context`).
    `base_url` is where hosted contexts are served, such as `http://host:port/ngsi-ld/v1/jsonldContexts/`."""

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], Instant],
        outbound: Outbound,
        built_in: Mapping[str, Any] | None = None,
        base_url: str = "",
    ) -> None:
        raise NotImplementedError

    async def open(self) -> None:
        """Read what is stored."""

    async def close(self) -> None: ...

    def known(self, source: Any) -> Context | None:
        """The compiled context when it needs no fetch and was used before (hot path), else None."""
        raise NotImplementedError

    async def resolve(self, source: Any) -> Context:
        """The compiled context of a URL, object, array or None (the core alone).
        Raises LdContextNotAvailable, BadRequestData."""
        raise NotImplementedError

    async def add(self, document: Any) -> str:
        """Add @context (5.13.2): host it; its local id. Raises BadRequestData."""
        raise NotImplementedError

    async def list(self, kind: str | None = None) -> list[Served]:
        """List @contexts (5.13.3)."""
        raise NotImplementedError

    async def details(self, id: str) -> Served:
        """Metadata of one @context by local id or URL (5.13.4). Raises ResourceNotFound."""
        raise NotImplementedError

    async def serve(self, id: str) -> bytes:
        """Serve @context (5.13.4): the document. Raises ResourceNotFound, OperationNotSupported (Cached)."""
        raise NotImplementedError

    async def delete(self, id: str, *, reload: bool = False) -> None:
        """Delete or reload @context (5.13.5). Raises ResourceNotFound, BadRequestData, LdContextNotAvailable."""
