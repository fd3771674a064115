"""Small pieces of HTML that several parts of the page use."""

from collections.abc import Iterable, Sequence
from html import escape


def table(heads: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; heads are escaped, cells are HTML already."""
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'
