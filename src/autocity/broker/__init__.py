"""The only way to change the city: decides on writes, matches subscriptions, tells who asked to know."""

from autocity.broker.contexts import Contexts, Served
from autocity.broker.core import Broker
from autocity.broker.feed import Feed, Resync
from autocity.broker.notify import Notifier
from autocity.broker.outbound import Outbound
from autocity.broker.registrations import Seek
from autocity.broker.subscriptions import Subscription, Subscriptions
from autocity.broker.writing import BatchResult, Caller

__all__ = [
    "BatchResult",
    "Broker",
    "Caller",
    "Contexts",
    "Feed",
    "Notifier",
    "Outbound",
    "Resync",
    "Seek",
    "Served",
    "Subscription",
    "Subscriptions",
]
