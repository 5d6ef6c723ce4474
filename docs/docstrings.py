"""What docstrings write for a terminal, as Markdown: a class's fields in running text (``name: what it is``) and columns of names with what
they are become lists, below the line that heads them where there is one, tables between rulers of ``=`` become tables, and ``::`` in front of a block of code is a
colon.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Class, Extension, Object

_ENTRY = re.compile(r"^ {0,4}(``[^`]+``(?:, ``[^`]+``)*) {2,}", re.M)
_HEAD = re.compile(r"^(?=[^\s`].*\n {4}\S|:mod:)", re.M)
_TABLE = re.compile(r"^(?P<ruler>=+(?:  +=+)+)\n(?P<head>.*)\n(?P=ruler)\n(?P<rows>(?:(?!=).*\n)+)(?P=ruler)$", re.M)


def _columns(table: re.Match[str]) -> str:
    begins = [column.start() for column in re.finditer("=+", table["ruler"])]
    ends = [*begins[1:], None]
    rows = [table["head"], *table["rows"].splitlines()]
    cells = [[row[a:b].strip().replace("|", r"\|") for a, b in zip(begins, ends, strict=True)] for row in rows]
    lines = [f"| {' | '.join(row)} |" for row in (cells[0], ["---"] * len(begins), *cells[1:])]
    return "\n".join(lines)


class FieldsAsList(Extension):
    def on_object(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring is None:
            return
        text = re.sub(r"^::$", "", obj.docstring.value, flags=re.M)
        text = re.sub(r"(?<=\w)::$", ":", text, flags=re.M)
        text = _TABLE.sub(_columns, text)
        obj.docstring.value = "\n\n".join(
            _ENTRY.sub(r"\n- \1: ", _HEAD.sub("\n", part)).strip("\n") if len(_ENTRY.findall(part)) > 1 else part
            for part in text.split("\n\n")
        )

    def on_class(self, *, cls: Class, **_: Any) -> None:
        if cls.docstring is None:
            return
        fields = [re.escape(name) for name, member in cls.members.items() if member.is_attribute]
        if fields:
            one = "|".join(fields)
            entry = re.compile(rf"(?:^|(?<=[.;)])\s+)((?:{one})(?:, (?:{one}))*):(?:\s+|\Z)", re.M)
            cls.docstring.value = "\n\n".join(
                paragraph if len(entry.findall(paragraph)) < 2 else entry.sub(r"\n\n- `\1`: ", paragraph).strip()
                for paragraph in cls.docstring.value.split("\n\n")
            )
