"""Run with `python3 -m unittest`."""

import json
import unittest

from plugin import check_config, transform
from posthaste import Drop, Event


def event(event_type: str, data) -> Event:
    return Event("evt_1", event_type, "1", "2026-01-01T00:00:00.000Z", [], json.dumps(data))


class PluginTest(unittest.TestCase):
    def test_welcomes(self):
        created = event("employee_created", {"first_name": "Bob", "last_name": "Macri"})
        sent = transform(created, {"greeting": "Benvingut"})
        self.assertEqual(json.loads(sent.body), {"text": "Benvingut, Bob Macri!"})

    def test_drops_other_events(self):
        self.assertIsInstance(transform(event("employee_unterminated", {"id": 52}), None), Drop)

    def test_refuses_a_misspelt_config(self):
        with self.assertRaisesRegex(ValueError, "unknown field greting"):
            check_config({"greting": "Hi"})
        check_config(None)
