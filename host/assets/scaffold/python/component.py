"""Connects plugin.py to the host: implements the exports of wit/transform.wit. Used in the component only."""

import json
import sys

import plugin
import posthaste
from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import log, types


class AttemptLog:
    """Redirects printed text to the attempt's log, because there is no terminal."""

    def write(self, text: str) -> int:
        for line in filter(None, text.splitlines()):
            log.write(log.Level.INFO, line)
        return len(text)

    def flush(self) -> None:
        pass


sys.stdout = sys.stderr = AttemptLog()


def refusal(error: Exception) -> Err:
    """Converts an exception to an error text. The host would report an uncaught exception as a trap without a text."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    place = f" ({trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno})" if trace else ""
    kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
    return Err(f"{kind}{error}{place}")


class Handler(exports.Handler):
    def check_config(self, config: str) -> None:
        try:
            plugin.check_config(json.loads(config))
        except Exception as error:
            raise refusal(error) from None

    def transform(self, event: types.Event, config: str) -> types.Outcome:
        try:
            answer = plugin.transform(posthaste.Event(**vars(event)), json.loads(config))
        except Exception as error:
            raise refusal(error) from None
        match answer:
            case posthaste.Replace(body, content_type, headers):
                return types.Outcome_Replace(types.Message(body, content_type, headers))
            case posthaste.Drop(reason):
                return types.Outcome_Drop(reason)
            case posthaste.Pass():
                return types.Outcome_Pass()
        raise Err(f"transform answered {type(answer).__name__}: expected Pass, Replace or Drop")
