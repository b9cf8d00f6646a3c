"""Uses Factorial's SDK as an integration does, and prints what it saw as JSON.

`sdk.py manage BASE KEY TARGET` manages subscriptions; `sdk.py parse TYPE` parses the body on stdin with the SDK's class for the type.
"""

import asyncio
import json
import sys

from factorial_api_client import WEBHOOK_PAYLOAD_TYPES, FactorialClient
from factorial_api_client.generated.errors import UnexpectedStatus
from factorial_api_client.generated.models import (
    PostApi20261001ResourcesApiPublicWebhookSubscriptionsBody as Create,
    PutApi20261001ResourcesApiPublicWebhookSubscriptionsIdBody as Update,
)

TYPES = [
    "contracts/contract_version/update",
    "documents/document/create",
    "employees/employee/create",
    "employees/employee/update",
    "teams/team/create",
]


def refused(call):
    """The status and the problem of a call that must fail."""
    try:
        call()
    except UnexpectedStatus as error:
        return {"status": error.status_code, "problem": json.loads(error.content)}
    return None


async def collected(pages):
    return [one.type_ async for one in await pages]


def manage(base, key, target):
    seen = {}
    subscriptions = FactorialClient(api_key=key, base_url=base).api_public.webhook_subscriptions
    empty = subscriptions.list()
    seen["empty"] = [empty.data, empty.meta.total, empty.meta.has_next_page]
    created = [
        subscriptions.create(Create(subscription_type=name, target_url=target, company_id="55", challenge="knock-knock"))
        for name in TYPES
    ]
    seen["created"] = created[0].to_dict()
    seen["got"] = subscriptions.get(created[0].id).to_dict()
    page = subscriptions.list()
    seen["page"] = [[one.type_ for one in page.data], page.meta.total, page.meta.has_next_page]
    seen["pages"] = [one.type_ for one in subscriptions.paginate(limit=2)]
    seen["first_three"] = [one.type_ for one in subscriptions.paginate(limit=2, max_items=3)]
    seen["all"] = [one.type_ for one in subscriptions.all(company_id="55")]
    seen["filtered"] = [one.type_ for one in subscriptions.all(type_=TYPES[1], enabled=True)]
    seen["by_id"] = [one.type_ for one in subscriptions.list(id=created[2].id).data]
    # A token travels as a bearer credential.
    bearer = FactorialClient(token=key, base_url=base).api_public.webhook_subscriptions
    seen["pages_async"] = asyncio.run(collected(bearer.paginate_async(limit=2)))
    again = Create(subscription_type=TYPES[0], target_url=target, company_id="55")
    seen["taken"] = refused(lambda: subscriptions.create(again))
    seen["other_company"] = refused(lambda: subscriptions.create(Create("other/type", target, "56")))
    first = created[0].id
    seen["updated"] = subscriptions.update(first, Update(id=first, name="renamed", enabled=False)).to_dict()
    # What `get` returns can be sent back.
    whole = subscriptions.get(first)
    whole.enabled = True
    seen["sent_back"] = subscriptions.update(first, whole).to_dict()
    last = created[-1].id
    seen["deleted"] = subscriptions.delete(last).to_dict()
    seen["gone"] = refused(lambda: subscriptions.get(last))
    return seen


def parse(event_type):
    payload = WEBHOOK_PAYLOAD_TYPES[event_type].from_dict(json.load(sys.stdin))
    return {"class": type(payload).__name__, "unknown": payload.additional_keys, "payload": payload.to_dict()}


COMMANDS = {"manage": manage, "parse": parse}
print(json.dumps(COMMANDS[sys.argv[1]](*sys.argv[2:])))
