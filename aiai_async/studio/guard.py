"""Who may talk to the studio, and what its answers forbid the browser. Pure: header fields in, a reason out.

The studio spends money with the user's key. So a request has to name the studio's own address (or a page of another
site could reach it under a name of its own that it points to this machine), must not come from another site's page,
and has to carry the token that only the studio's pages hold where it does more than ask for a page. It keeps out the
pages of other sites, not the other users of this machine: whoever can open a connection to loopback can ask for a page.

Source: MDN, "Content-Security-Policy" and "Fetch metadata request header"; RFC 6454 on origins.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

TOKEN_HEADER: Final = "X-Studio-Token"
TAB_HEADER: Final = "X-Studio-Tab"
PROTOCOL: Final = "aiai-studio"
"""The WebSocket's subprotocol. A page can't set header fields of a WebSocket: the token is offered as another one."""

_TOKEN_PROTOCOL: Final = "token."
_HTTP_PORT: Final = 80

SECURITY_HEADERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Content-Security-Policy": (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ),
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
)
"""What every answer says."""


class Guard:
    """Judges requests.

    Args:
        port: the port that the studio listens on.
        token: what its pages hold.
    """

    def __init__(self, *, port: int, token: str) -> None:
        names = ("127.0.0.1", "localhost", "[::1]")
        # Browsers leave out the port that is http's own.
        hosts = {f"{name}:{port}" for name in names} | (set(names) if port == _HTTP_PORT else set())
        self._hosts: Final = frozenset(hosts)
        self._token: Final = token.encode()

    def find_fault(self, headers: Mapping[str, str], *, path: str) -> str | None:
        """Say why a request is refused; None where it isn't.

        Args:
            headers: its header fields; the case of names must not matter.
            path: what it asks for.

        Example:
            >>> Guard(port=8766, token="t").find_fault({"Host": "evil.example:8766"}, path="/")
            "the Host 'evil.example:8766' is not this studio's address"
            >>> Guard(port=8766, token="t").find_fault({"Host": "localhost:8766"}, path="/") is None
            True
        """
        host = headers.get("Host", "")
        if host.lower() not in self._hosts:
            return f"the Host {host[:100]!r} is not this studio's address"
        origin = headers.get("Origin")
        if origin is not None:
            # No page can name another one than its own.
            is_own = origin.lower() == f"http://{host.lower()}"
            return None if is_own else f"the Origin {origin[:100]!r} is another site's"
        site = headers.get("Sec-Fetch-Site")
        if site is None or site in ("same-origin", "none"):
            return None
        # A link on another site may lead to the front page, which it can neither read nor frame; not to a job's, which
        # would have this program look at a folder that the other site names.
        if path == "/" and headers.get("Sec-Fetch-Mode") == "navigate" and headers.get("Sec-Fetch-Dest") == "document":
            return None
        return "the page of another site asked for this; open it from the studio, or type its address"

    def knows(self, token: str | None) -> bool:
        """Tell whether this is the token."""
        # Header fields that are no UTF-8 come as lone surrogates.
        return token is not None and hmac.compare_digest(token.encode(errors="surrogatepass"), self._token)

    def knows_any(self, protocols: str) -> bool:
        """Tell whether the token is among the subprotocols that a WebSocket offers.

        Example:
            >>> Guard(port=1, token="t").knows_any("aiai-studio, token.t")
            True
        """
        offered = [protocol.strip() for protocol in protocols.split(",")]
        return any(
            self.knows(protocol.removeprefix(_TOKEN_PROTOCOL))
            for protocol in offered
            if protocol.startswith(_TOKEN_PROTOCOL)
        )
