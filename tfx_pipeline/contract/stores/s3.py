"""S3, or a server that speaks its protocol, as the environment says.

| variable | meaning |
| --- | --- |
| AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY | credentials; without them those of ~/.aws, or of the machine's role |
| AWS_SESSION_TOKEN | the third part of credentials that end, where they have one |
| AWS_ENDPOINT_URL_S3, else AWS_ENDPOINT_URL | the server, as http://host:9000; without it Amazon's |
| AWS_REGION, else AWS_DEFAULT_REGION | the region; without it us-east-1 at a server of one's own |

A server that cannot be reached is given up after three tries of at most `CONNECT_SECONDS`, or `ANSWER_SECONDS` without
a byte.
"""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

from pyarrow import fs

from tfx_pipeline.contract.errors import ContractError

CONNECT_SECONDS, ANSWER_SECONDS = 5, 15
_TRIES = 3


_VARIABLES = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
    *("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"),
)


def environment() -> tuple[str | None, ...]:
    """Returns the values of all variables that decide how a store is opened."""
    return (*map(os.environ.get, _VARIABLES), f"{CONNECT_SECONDS} {ANSWER_SECONDS}")


def endpoint() -> str:
    """Returns the URL of the server in the environment; "" for Amazon's."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""


def open_s3() -> fs.FileSystem:
    """Returns the file system.

    Raises:
        ContractError: The environment names a server in another form, or one half of the credentials.
    """
    options: dict[str, Any] = {}
    key, secret = (os.environ.get(name) for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
    if bool(key) != bool(secret):
        missing = "AWS_SECRET_ACCESS_KEY" if key else "AWS_ACCESS_KEY_ID"
        raise ContractError(f"{missing}: expected both halves of the credentials in the environment. Received: one.")
    if key:
        options = {"access_key": key, "secret_key": secret, "session_token": os.environ.get("AWS_SESSION_TOKEN")}
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if url := endpoint():
        server = urlsplit(url)
        if server.scheme not in ("http", "https") or not server.netloc or server.username or server.query:
            raise ContractError("AWS_ENDPOINT_URL: expected http://host:port or https://host. Received: another form.")
        options |= {"endpoint_override": f"{server.netloc}{server.path.rstrip('/')}", "scheme": server.scheme}
        region = region or "us-east-1"
    if region:
        options["region"] = region
    return fs.S3FileSystem(
        connect_timeout=CONNECT_SECONDS,
        request_timeout=ANSWER_SECONDS,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=_TRIES),
        **options,
    )
