"""Sends only documents that wait for signatures, each as a one-line summary for people.

Config: {"folder": "88", "urgent_after": 3}. `folder` keeps the documents of one folder; a document that more than `urgent_after`
people still have to sign gets the header `x-priority: high`. Both are optional.
"""

import json
from decimal import Decimal

from posthaste import Drop, Event, Outcome, Pass, Replace


def check_config(config) -> None:
    config = config or {}
    if unknown := sorted(set(config) - {"folder", "urgent_after"}):
        raise ValueError(f"config: unknown field {unknown[0]}; there are folder and urgent_after")
    if not isinstance(config.get("urgent_after", 3), int):
        raise ValueError("config: urgent_after is a number of people")


def kib(size: int) -> str:
    """Computes the size exactly; a float might be rounded differently on another machine."""
    return f"{(Decimal(size) / 1024).quantize(Decimal('0.1'))} KiB"


def transform(event: Event, config) -> Outcome:
    if event.event_type != "documents/document/create":
        return Pass()
    config = config or {}
    document = json.loads(event.body)
    if document["signature_status"] != "pending":
        return Drop(f"nothing to sign: signature_status is {document['signature_status']}")
    if "folder" in config and document["folder_id"] != config["folder"]:
        return Drop(f"in folder {document['folder_id']}, not {config['folder']}")
    signees = document["signees"]
    missing = f"{len(signees)} signature{'' if len(signees) == 1 else 's'} missing"
    print(document["id"], missing)
    summary = {
        "title": document["filename"],
        "summary": f"{kib(document['file_size'])}, {missing}",
        "folder": document["folder_id"],
        "signees": signees,
    }
    priority = "high" if len(signees) > config.get("urgent_after", 3) else "normal"
    return Replace(json.dumps(summary, ensure_ascii=False), headers=[("x-priority", priority)])
