"""Every operation on entities, their history and subscriptions (CIM 009, 5.6 to 5.8), in expanded terms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from autocity.broker.contexts import Contexts
from autocity.broker.outbound import Outbound
from autocity.broker.subscriptions import Subscription, Subscriptions
from autocity.errors import CityError
from autocity.ld.context import Context
from autocity.ld.query import Query, Select
from autocity.ld.temporal import Window
from autocity.model import Attribute, Attributes, Entity, Fragment, Instant, Stored
from autocity.store.port import History, Page, Store, TypeSummary


class Caller(Struct, frozen=True):
    """On whose behalf an operation runs: the tenant ("" is the default one), who acts (for the
    audit), and how many changes made by the platform's own apps led here."""

    tenant: str = ""
    actor: str = ""
    depth: int = 0


class BatchResult(Struct, frozen=True):
    """What became of a batch (5.2.16): ids that succeeded, of those the ones that were created,
    and the refusal of each other one, in the order of the batch."""

    success: list[str]
    created: list[str]
    errors: list[tuple[str, CityError]]


class UpdateResult(Struct, frozen=True):
    """What became of the attributes of one write (5.2.18): IRIs, and reasons for those left alone."""

    updated: tuple[str, ...] = ()
    not_updated: tuple[tuple[str, str], ...] = ()


class Broker:
    """The city's state as operations of the standard. Every coroutine may raise `StoreUnavailable`.

    `types`, where an operation takes it, is the optional type selection (4.17) that the target
    entity must satisfy, else it counts as not found.
    """

    subscriptions: Subscriptions
    contexts: Contexts

    def __init__(
        self,
        store: Store,
        contexts: Contexts,
        *,
        clock: Callable[[], Instant],
        outbound: Outbound,
        deliver: bool = True,
    ) -> None:
        raise NotImplementedError

    async def start(self) -> None:
        """Load subscriptions and begin to deliver what waits."""

    async def stop(self) -> None:
        """Finish what was begun."""

    # -- provision of entities (5.6.1 to 5.6.6, 5.6.17 to 5.6.19)

    async def create_entity(self, caller: Caller, entity: Entity) -> None:
        """Create an entity (5.6.1). Raises AlreadyExists."""

    async def replace_entity(self, caller: Caller, entity: Entity, types: Select | None = None) -> None:
        """Replace an entity (5.6.18). Raises ResourceNotFound."""

    async def merge_entity(
        self, caller: Caller, id: str, fragment: Fragment, types: Select | None = None
    ) -> UpdateResult:
        """Merge an entity (5.6.17). Raises ResourceNotFound."""
        raise NotImplementedError

    async def update_attributes(
        self, caller: Caller, id: str, fragment: Fragment, types: Select | None = None
    ) -> UpdateResult:
        """Update attributes (5.6.2). Raises ResourceNotFound."""
        raise NotImplementedError

    async def append_attributes(
        self,
        caller: Caller,
        id: str,
        fragment: Fragment,
        *,
        overwrite: bool = True,
        types: Select | None = None,
    ) -> UpdateResult:
        """Append attributes (5.6.3). Raises ResourceNotFound."""
        raise NotImplementedError

    async def update_attribute(
        self, caller: Caller, id: str, attribute: str, fragment: Any, types: Select | None = None
    ) -> None:
        """Partial attribute update (5.6.4). Raises ResourceNotFound, BadRequestData."""

    async def replace_attribute(
        self, caller: Caller, id: str, attribute: str, instance: Attribute, types: Select | None = None
    ) -> None:
        """Replace attribute (5.6.19). Raises ResourceNotFound."""

    async def delete_attribute(
        self,
        caller: Caller,
        id: str,
        attribute: str,
        *,
        dataset_id: str | None = None,
        delete_all: bool = False,
        types: Select | None = None,
    ) -> None:
        """Delete attribute (5.6.5). Raises ResourceNotFound."""

    async def delete_entity(self, caller: Caller, id: str, types: Select | None = None) -> None:
        """Delete entity (5.6.6). Raises ResourceNotFound."""

    # -- batches (5.6.7 to 5.6.10, 5.6.20, 5.6.21): one commit each

    async def create_entities(self, caller: Caller, entities: Sequence[Entity]) -> BatchResult:
        """Batch entity creation (5.6.7)."""
        raise NotImplementedError

    async def upsert_entities(
        self, caller: Caller, entities: Sequence[Entity], *, update: bool = False
    ) -> BatchResult:
        """Batch entity creation or update (5.6.8): existing ones are replaced, or with `update` updated."""
        raise NotImplementedError

    async def update_entities(
        self, caller: Caller, fragments: Sequence[Fragment], *, overwrite: bool = True
    ) -> BatchResult:
        """Batch entity update (5.6.9): attributes appended as by 5.6.3."""
        raise NotImplementedError

    async def merge_entities(self, caller: Caller, fragments: Sequence[Fragment]) -> BatchResult:
        """Batch entity merge (5.6.20)."""
        raise NotImplementedError

    async def delete_entities(self, caller: Caller, ids: Sequence[str]) -> BatchResult:
        """Batch entity delete (5.6.10)."""
        raise NotImplementedError

    async def purge_entities(
        self, caller: Caller, query: Query, *, drop: Sequence[str] = (), keep: Sequence[str] = ()
    ) -> int:
        """Purge entities (5.6.21): delete all that the query selects, or only their attributes named by
        `drop`, or all attributes but those named by `keep`. Returns how many entities it touched."""
        raise NotImplementedError

    # -- consumption (5.7)

    async def retrieve_entity(self, caller: Caller, id: str, types: Select | None = None) -> Stored:
        """Retrieve entity (5.7.1), as document for `ld.document.render`. Raises ResourceNotFound."""
        raise NotImplementedError

    async def query_entities(self, caller: Caller, query: Query) -> Page:
        """Query entities (5.7.2). Raises NonexistentTenant."""
        raise NotImplementedError

    async def linked_entities(self, caller: Caller, ids: Sequence[str]) -> dict[str, Entity]:
        """Those of `ids` that exist, for linked entity retrieval (4.5.23)."""
        raise NotImplementedError

    async def types(self, caller: Caller) -> list[TypeSummary]:
        """Entity types in use with their attributes (5.7.5 to 5.7.10)."""
        raise NotImplementedError

    # -- history (5.6.11 to 5.6.16, 5.7.3, 5.7.4)

    async def retrieve_temporal(
        self, caller: Caller, id: str, window: Window, attributes: Sequence[str] = ()
    ) -> History:
        """Retrieve temporal evolution of an entity (5.7.3). Raises ResourceNotFound."""
        raise NotImplementedError

    async def query_temporal(self, caller: Caller, query: Query, window: Window) -> tuple[list[History], int]:
        """Query temporal evolution of entities (5.7.4): one page, and how many entities match."""
        raise NotImplementedError

    async def upsert_temporal(
        self, caller: Caller, id: str, types: Sequence[str], scopes: Sequence[str], attributes: Attributes
    ) -> bool:
        """Create or update temporal evolution of an entity (5.6.11). True when it is new."""
        raise NotImplementedError

    async def append_temporal(self, caller: Caller, id: str, attributes: Attributes) -> None:
        """Add attributes to temporal evolution of an entity (5.6.12). Raises ResourceNotFound."""

    async def delete_temporal_attribute(
        self,
        caller: Caller,
        id: str,
        attribute: str,
        *,
        dataset_id: str | None = None,
        delete_all: bool = False,
    ) -> None:
        """Delete attribute from temporal evolution (5.6.13). Raises ResourceNotFound."""

    async def update_temporal_instance(
        self, caller: Caller, id: str, attribute: str, instance_id: str, instance: Attribute
    ) -> None:
        """Modify attribute instance in temporal evolution (5.6.14). Raises ResourceNotFound."""

    async def delete_temporal_instance(
        self, caller: Caller, id: str, attribute: str, instance_id: str
    ) -> None:
        """Delete attribute instance from temporal evolution (5.6.15). Raises ResourceNotFound."""

    async def delete_temporal(self, caller: Caller, id: str) -> None:
        """Delete temporal evolution of an entity (5.6.16). Raises ResourceNotFound."""

    # -- subscriptions (5.8); `body` is the JSON that came, without its @context
    #    render an answer with `Subscriptions.render(subscription, context, sys_attrs=…)`

    async def create_subscription(self, caller: Caller, body: dict[str, Any], context: Context) -> str:
        """Create subscription (5.8.1): its id. Raises BadRequestData, AlreadyExists, LdContextNotAvailable."""
        raise NotImplementedError

    async def update_subscription(
        self, caller: Caller, id: str, fragment: dict[str, Any], context: Context
    ) -> None:
        """Update subscription (5.8.2). Raises BadRequestData, ResourceNotFound, LdContextNotAvailable."""

    async def retrieve_subscription(self, caller: Caller, id: str) -> Subscription:
        """Retrieve subscription (5.8.3). Raises ResourceNotFound."""
        raise NotImplementedError

    async def query_subscriptions(
        self, caller: Caller, *, limit: int = 20, offset: int = 0
    ) -> tuple[list[Subscription], int]:
        """Query subscriptions (5.8.4): one page in creation order, and how many there are."""
        raise NotImplementedError

    async def delete_subscription(self, caller: Caller, id: str) -> None:
        """Delete subscription (5.8.5) and what waits to be delivered for it. Raises ResourceNotFound."""

    # -- tenants

    async def tenants(self) -> list[str]:
        """Tenants that exist; "" is the default one."""
        raise NotImplementedError
