"""The only way to change the city: decides on writes, matches subscriptions, tells who asked to know."""

from autocity.broker.contexts import Contexts, Served
from autocity.broker.copies import PATH as REMOTE_NOTIFICATIONS
from autocity.broker.core import Broker, as_entity
from autocity.broker.entitymaps import EntityMap
from autocity.broker.federate import WINDOW, Division, Found, Local, Outcome, Question, Share, among
from autocity.broker.feed import Feed, Resync
from autocity.broker.notify import Notifier
from autocity.broker.outbound import Outbound
from autocity.broker.registrations import Seek, Source
from autocity.broker.shadow import shadow
from autocity.broker.sources import Asked, Message, Words, segment
from autocity.broker.subscriptions import Subscription, Subscriptions
from autocity.broker.writing import BatchResult, Caller
from autocity.store.port import History

__all__ = [
    "REMOTE_NOTIFICATIONS",
    "WINDOW",
    "Asked",
    "BatchResult",
    "Broker",
    "Caller",
    "Contexts",
    "Division",
    "EntityMap",
    "Feed",
    "Found",
    "History",
    "Local",
    "Message",
    "Notifier",
    "Outbound",
    "Outcome",
    "Question",
    "Resync",
    "Seek",
    "Served",
    "Share",
    "Source",
    "Subscription",
    "Subscriptions",
    "Words",
    "among",
    "as_entity",
    "segment",
    "shadow",
]
