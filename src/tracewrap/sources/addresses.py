"""Source addresses: host, port, path, options and who asks; what may be printed of them, and requests that keep a secret one.

A password, a token and a tenant are read from the address or the environment and go into request headers; ``shown`` is the address
without them, for messages and reports.
"""

from __future__ import annotations

import base64
import os
import re
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

from tracewrap.errors import SourceError


@dataclass(frozen=True, slots=True)
class Address:
    """``scheme://[user[:password]@]host[:port][/path][?option=value&...]``, taken apart."""

    shown: str
    """The address as it may be printed: no user, no password, no header."""
    scheme: str
    host: str
    """As in a URL: an IPv6 address in brackets."""
    port: int | None
    path: str
    user: str
    password: str
    options: Mapping[str, list[str]]

    @classmethod
    def parse(cls, text: str, example: str, options: Iterable[str] = ()) -> Address:
        """*text* taken apart; SourceError in one line without a secret. *options*: names it may have; *example*: how to write it."""
        hidden = re.sub(r"//.*@", "//", text)
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError as error:
            reason = "the port must be a whole number up to 65535" if "ort" in str(error) else "it is no URL"
            raise SourceError(f"{hidden}: {reason}; write {example}") from None
        if not parts.hostname:
            raise SourceError(f"{hidden}: names no host; write {example}")
        given = parse_qs(parts.query, keep_blank_values=True)
        for name in given:
            if name not in options:
                known = f"there is {', '.join(options)}" if options else "there is none"
                unknown = (
                    "such option" if "@" in parts.query else f"option {name!r}"
                )  # a password with "?" in it is no name
                raise SourceError(f"{hidden}: an address has no {unknown}; {known}")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        kept = urlencode([(name, one) for name, ones in given.items() if name != "header" for one in ones])
        shown = f"{parts.scheme}://{host}{'' if port is None else f':{port}'}{parts.path}{'?' if kept else ''}{kept}"
        shown = hidden if "@" in parts.path else shown
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        return cls(shown, parts.scheme, host, port, parts.path, user, password, given)

    def headers(self, variable: str) -> dict[str, str]:
        """Request headers: user and password as Basic, those of the environment *variable*, ``header=`` options; the last one wins.

        The variable is written as OTEL_EXPORTER_OTLP_HEADERS is: ``Authorization=Bearer%20abc,X-Scope-OrgID=team-a``.
        """
        found = basic(self.user, self.password) if self.user or self.password else {}
        for pair in filter(None, (one.strip() for one in os.environ.get(variable, "").split(","))):
            name, _, value = pair.partition("=")
            found |= _header(unquote(name), unquote(value), variable, "Authorization=Bearer%20abc")
        for text in self.options.get("header", ()):
            name, _, value = text.partition(":")
            found |= _header(name, value, f"{self.shown}: header", "header=X-Scope-OrgID:team-a")
        return found


def _header(name: str, value: str, where: str, example: str) -> dict[str, str]:
    name, value = name.strip(), value.strip()
    if not re.fullmatch(r"[\w!#$%&'*+.^`|~-]+", name, re.ASCII) or not value or not value.isprintable():
        raise SourceError(f"{where}: holds what is no header (its text is not shown); write {example}")
    return {name.title(): value}


def basic(user: str, password: str) -> dict[str, str]:
    """The header of HTTP's Basic authentication."""
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer like others: following it could carry a token to another host."""

    def redirect_request(self, *_: Any) -> None:
        """Never another request."""


open_url = urllib.request.build_opener(_NoRedirect).open
"""``urllib.request.urlopen`` that follows no redirect."""


def quoted_path(text: str) -> str:
    """*text* as part of a URL's path."""
    return quote(unquote(text), safe="/")
