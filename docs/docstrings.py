"""Class docstrings say what each field is in running text, ``name: what it is``; on the site every field is a line of a list."""

from __future__ import annotations

import re
from typing import Any

from griffe import Class, Extension


class FieldsAsList(Extension):
    def on_class(self, *, cls: Class, **_: Any) -> None:
        if cls.docstring is None:
            return
        fields = [re.escape(name) for name, member in cls.members.items() if member.is_attribute]
        if fields:
            one = "|".join(fields)
            entry = re.compile(rf"(?:^|(?<=[.;)])\s+)((?:{one})(?:, (?:{one}))*):\s+", re.M)
            cls.docstring.value = "\n\n".join(
                paragraph
                if len(entry.findall(paragraph)) < 2
                else entry.sub(r"\n\n- `\1`: ", paragraph).strip()
                for paragraph in cls.docstring.value.split("\n\n")
            )
