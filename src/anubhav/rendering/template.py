"""A model's chat template: data that came with the model, run with a step budget and no way to files or Python objects.

The environment offers what transformers' `apply_chat_template` offers; templates are written against that.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from minijinja import Environment, TemplateError

from anubhav.errors import BadInput

_FUEL = 5_000_000
"""Template instructions per rendering, about half a second; a message costs some tens."""


class ChatTemplate:
    def __init__(self, source: str, names: Mapping[str, str]) -> None:
        """`names` are the special tokens a template may ask for (`bos_token`, `eos_token` …)."""
        self.source = source
        self.hash = hashlib.sha256(source.encode()).hexdigest()
        self._names = dict(names)
        self._environment = Environment(trim_blocks=True, lstrip_blocks=True, fuel=_FUEL, debug=False)
        self._environment.add_global("raise_exception", _refuse)
        self._environment.add_global("strftime_now", _now)
        self._environment.add_filter("tojson", _json)
        try:
            self._environment.add_template("chat", source)
        except TemplateError as error:
            raise BadInput(
                f"The chat template does not parse: {_first_line(error)}", hint="Repair the model."
            ) from error

    def apply(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        prompt: bool,
        tools: Sequence[Mapping[str, Any]] = (),
        settings: Mapping[str, Any] | None = None,
    ) -> str:
        """`settings`: the template's own variables. Raises BadInput when the template refuses the conversation or takes
        too many steps."""
        offered = {"messages": messages, "add_generation_prompt": prompt, "tools": tools or None, "documents": None}
        try:
            return self._environment.render_template("chat", **{**(settings or {}), **self._names, **offered})
        except TemplateError as error:
            raise BadInput(
                f"The model's chat template failed on these messages: {_first_line(error)}",
                hint="Check the order and the roles of the messages.",
            ) from error


def _first_line(error: TemplateError) -> str:
    return str(error).partition("\n")[0][:300]


def _refuse(message: str) -> str:
    raise BadInput(
        f"The model's chat template refuses these messages: {message[:300]}",
        hint="Change the order or the roles of the messages.",
    )


def _now(form: str) -> str:
    return datetime.now().strftime(form)


def _json(value: Any, *, ensure_ascii: bool = False, indent: int | None = None, sort_keys: bool = False) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, sort_keys=sort_keys)
