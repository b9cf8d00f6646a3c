"""Turns `employee_created` into a message for the team's chat, and drops every other event."""

# Import at the top: the sandbox has no files to import from at run time.
import json

from posthaste import Drop, Event, Outcome, Replace


def check_config(config) -> None:
    """Called when a webhook is created or changed. An exception refuses the config."""
    for field in config or {}:
        if field != "greeting":
            raise ValueError(f"config: unknown field {field}; there is only greeting")


def transform(event: Event, config) -> Outcome:
    """Called for every event. `event.body` is the data as JSON text. An exception fails the attempt."""
    if event.event_type != "employee_created":
        return Drop("not about a new employee")
    employee = json.loads(event.body)
    greeting = (config or {}).get("greeting", "Welcome")
    text = f"{greeting}, {employee['first_name']} {employee['last_name']}!"
    return Replace(json.dumps({"text": text}))
