"""The only way to change the city: decides on writes, matches subscriptions, tells who asked to know."""

from autocity.broker.contexts import Contexts, Served
from autocity.broker.core import Broker
from autocity.broker.federate import Division, Outcome, Question, Share
from autocity.broker.feed import Feed, Resync
from autocity.broker.notify import Notifier
from autocity.broker.outbound import Outbound
from autocity.broker.registrations import Seek
from autocity.broker.sources import Asked, Message, Words, segment
from autocity.broker.subscriptions import Subscription, Subscriptions
from autocity.broker.writing import BatchResult, Caller

__all__ = [
    "Asked",
    "BatchResult",
    "Broker",
    "Caller",
    "Contexts",
    "Division",
    "Feed",
    "Message",
    "Notifier",
    "Outbound",
    "Outcome",
    "Question",
    "Resync",
    "Seek",
    "Served",
    "Share",
    "Subscription",
    "Subscriptions",
    "Words",
    "segment",
]
