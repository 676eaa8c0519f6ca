"""A digest of some texts. BLAKE2 from the interpreter's own module: importing hashlib brings OpenSSL, 3.7 MB in a process that counts them."""

from __future__ import annotations

import base64

try:
    from _blake2 import blake2b  # type: ignore[import-not-found, unused-ignore]  # it has no stubs
except ImportError:  # an interpreter built without it
    from hashlib import blake2b


def digest(*parts: object) -> str:
    """16 characters (96 bits) for the parts; they are kept apart, so that `a`, `bc` and `ab`, `c` differ."""
    data = "\0".join(str(part) for part in parts).encode(errors="surrogatepass")
    return base64.urlsafe_b64encode(blake2b(data, digest_size=12).digest()).decode()
