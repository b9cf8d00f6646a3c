"""The input and the results of a transform, as defined in wit/transform.wit."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Event:
    """One event, as its producer published it."""

    id: str  # the same on every attempt, and the `webhook-id` that the receiver sees
    event_type: str
    company: str
    occurred_at: str  # RFC 3339, UTC, milliseconds
    headers: list[tuple[str, str]]
    body: str  # the data: JSON text, exactly as published


@dataclass(frozen=True)
class Pass:
    """Send the event's data as it is."""


@dataclass(frozen=True)
class Replace:
    """Send this message instead. The default content type is `application/json`."""

    body: str
    content_type: str | None = None
    headers: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Drop:
    """Send nothing. The reason is kept in the delivery log."""

    reason: str


Outcome = Pass | Replace | Drop
