"""What the errors of stores mean, in words and without a secret."""

from __future__ import annotations

import os
import re

from tfx_pipeline.contract.errors import ContractError, broken

_SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID")
_SERVER = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_CREDENTIALS = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give their owner the permission to list and read."
_ADDRESS = "Correct AWS_ENDPOINT_URL and AWS_REGION, or try again."
#: What the text of an error has, what that means, and what to do.
_MEANINGS = (
    (r"NO_SUCH_BUCKET|NoSuchBucket", "no such bucket", ""),
    (r"ACCESS_DENIED|AccessDenied|HTTP status 403|Permission denied", "no permission", _CREDENTIALS),
    (
        r"INVALID_ACCESS_KEY_ID|InvalidAccessKeyId|SIGNATURE_DOES_NOT_MATCH|SignatureDoesNotMatch|InvalidClientTokenId"
        r"|INVALID_SIGNATURE|UNRECOGNIZED_CLIENT|TOKEN_REFRESH|ExpiredToken",
        "credentials that the store does not accept",
        _CREDENTIALS,
    ),
    (r"NETWORK_CONNECTION|curlCode|REQUEST_TIMEOUT|[Tt]imeout", "no answer", _ADDRESS),
    (r"SLOW_DOWN|SERVICE_UNAVAILABLE|HTTP status 503", "a store that is too busy", "Try again later."),
    (r"[Pp]ath does not exist|NO_SUCH_KEY|NoSuchKey|\[errno 2\]", "no such file", ""),
    (r"libhdfs|libjvm|CLASSPATH|JAVA_HOME", "no libhdfs or no Java", "Set JAVA_HOME, HADOOP_HOME and CLASSPATH."),
)


def unreadable(uri: str, expected: str, error: Exception) -> ContractError:
    """Returns the error for a place in a store: what was expected, what the store said, and what to do."""
    return broken(uri, expected, reason_of(error), remedy=_meaning(error)[1])


def reason_of(error: Exception) -> str:
    """Returns what an error means on one line, without its full stop and without secrets."""
    meaning, _ = _meaning(error)
    if meaning == "no answer":
        server = next((os.environ[name] for name in _SERVER if os.environ.get(name)), "")
        return without_secrets(f"no answer from {server}" if server else "no answer from the store")
    if meaning:
        return meaning
    text = str(error).strip() or type(error).__name__
    return without_secrets(text.splitlines()[0].rstrip("."))


def without_secrets(text: str) -> str:
    """Returns the text with *** in place of credentials of the environment."""
    for name in _SECRETS:
        if secret := os.environ.get(name):
            text = text.replace(secret, "***")
    return text


def _meaning(error: Exception) -> tuple[str, str]:
    return next(((words, what) for pattern, words, what in _MEANINGS if re.search(pattern, str(error))), ("", ""))
