"""Calls the impure function that the config names; `null` calls all that return a value."""

import datetime
import json
import os
import random
import secrets
import time
import uuid

from posthaste import Event, Outcome, Replace

BUILT = time.time()
RANDOM_AT_BUILD = random.random()

ANSWERS = {
    "hash of a string": lambda: hash("abc"),
    "set order": lambda: list({"ana", "bernat", "carla", "dolors", "enric"}),
    "random.random": lambda: [random.random(), random.random()],
    "random.random at the top": lambda: RANDOM_AT_BUILD,
    "time.time at the top": lambda: BUILT,
    "id of an object": lambda: id(object()),
    "environment": lambda: dict(os.environ),
    "working directory": os.getcwd,
    "time zone": lambda: time.tzname,
    "a given time": lambda: time.ctime(0),
    "a given date": lambda: datetime.datetime.fromisoformat("2026-01-01T00:00:00+00:00").isoformat(),
}

TRAPS = {
    "time.time": time.time,
    "time.monotonic": time.monotonic,
    "datetime.now": datetime.datetime.now,
    "os.urandom": lambda: list(os.urandom(4)),
    "uuid.uuid4": lambda: str(uuid.uuid4()),
    "secrets": lambda: secrets.token_hex(4),
    "random.SystemRandom": lambda: random.SystemRandom().random(),
    "open": lambda: open("/etc/hostname").read(),
    "a late import": lambda: __import__("colorsys").__name__,
}


def check_config(config) -> None:
    pass


def transform(event: Event, what) -> Outcome:
    asked = list(ANSWERS) if what is None else [what]
    return Replace(json.dumps([[name, (ANSWERS.get(name) or TRAPS[name])()] for name in asked]))
