#!/usr/bin/env python3
"""Writes the event types that Factorial's SDK lists, for `posthaste event-types import`.

Run it with the Python in which the package `factorial-api-client` is installed. A type's schema is that of the SDK's class
for its payload.
"""

import datetime
import enum
import json
import sys
import types
import typing

try:
    from factorial_api_client import webhooks
    from factorial_api_client.generated import models
    from factorial_api_client.generated.types import Unset
except ImportError as error:
    sys.exit(f"{error}: install the SDK first, python3 -m pip install factorial-api-client==3.0.0")

SIMPLE = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}
TEXTS = {datetime.datetime: "date-time", datetime.date: "date"}


def one_of(schemas):
    """Returns the schema of a union."""
    distinct = [schema for index, schema in enumerate(schemas) if schema not in schemas[:index]]
    return distinct[0] if len(distinct) == 1 else {"anyOf": distinct}


def or_null(schema):
    """Returns the schema for an optional field: the SDK says of some that they are null."""
    if isinstance(schema.get("type"), str):
        return schema | {"type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]} if schema else schema


def schema_of(kind, definitions):
    """Returns the schema of a Python type, and adds the classes that it names to the definitions."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return one_of([schema_of(part, definitions) for part in arguments if part is not Unset])
    if origin is list:
        return {"type": "array", "items": schema_of(arguments[0], definitions)}
    if kind in SIMPLE:
        return {"type": SIMPLE[kind]}
    if kind in TEXTS:
        return {"type": "string", "format": TEXTS[kind]}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return {"enum": [member.value for member in kind]}
    if hasattr(kind, "__attrs_attrs__"):
        if kind.__name__ not in definitions:
            definitions[kind.__name__] = {}
            definitions[kind.__name__] = object_schema(kind, definitions)
        return {"$ref": f"#/$defs/{kind.__name__}"}
    return {}  # Anything


def object_schema(kind, definitions):
    """Returns the schema of one of the SDK's classes."""
    hints = typing.get_type_hints(kind, vars(models) | vars(sys.modules[kind.__module__]))
    properties, required = {}, []
    for field in kind.__attrs_attrs__:
        if not field.init:
            continue
        # The SDK renames what is a word of Python: `type_`.
        name = field.name.rstrip("_")
        schema = schema_of(hints[field.name], definitions)
        # Only optional fields have a default.
        is_optional = isinstance(field.default, Unset)
        properties[name] = or_null(schema) if is_optional else schema
        if not is_optional:
            required.append(name)
    return {"type": "object", "properties": properties, "required": required}


def event_type(entry):
    """Returns an entry of the SDK's catalogue in the form of `GET /event-types`."""
    definitions = {}
    payload = webhooks.WEBHOOK_PAYLOAD_TYPES[entry.subscription_type]
    schema = object_schema(payload, definitions)
    if definitions:
        schema["$defs"] = definitions
    return {
        "type": entry.subscription_type,
        "description": entry.summary,
        "group": entry.namespace,
        "schema": schema,
    }


if __name__ == "__main__":
    json.dump({"data": [event_type(entry) for entry in webhooks.WEBHOOK_CATALOG]}, sys.stdout, indent=1)
