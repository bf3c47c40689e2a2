"""The city's vocabulary: types, @contexts, schemas, labels in English and Chinese, the demo city's facts.

Data and the reading of data: no clock, no network, no other room of the platform.
"""

from autocity.models.facts import documents, facts, instance, normalized
from autocity.models.validation import Fault, key_values, validate
from autocity.models.vocabulary import (
    CITY_CONTEXT,
    NAMESPACE,
    AttributeModel,
    Kind,
    Language,
    TypeModel,
    UnknownType,
    catalogue,
    contexts,
    example,
    get,
    labels,
    schema,
)

__all__ = [
    "CITY_CONTEXT",
    "NAMESPACE",
    "AttributeModel",
    "Fault",
    "Kind",
    "Language",
    "TypeModel",
    "UnknownType",
    "catalogue",
    "contexts",
    "documents",
    "example",
    "facts",
    "get",
    "instance",
    "key_values",
    "labels",
    "normalized",
    "schema",
    "validate",
]
