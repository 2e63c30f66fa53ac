"""Shares of the process's file descriptors: connections leave enough for models, logs and the look for versions."""

from __future__ import annotations

import resource

# Beyond any use here. Some libraries walk through all numbers up to the limit.
_ENOUGH = 65536


def raise_limit() -> int:
    """Raises the process's own limit as far as the system allows without rights, and returns it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def connections_within(wanted: int, share: float) -> int:
    """Returns how many connections may be open: at least 1, and at most a share of the descriptors."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if soft == resource.RLIM_INFINITY else max(1, min(wanted, int(soft * share)))
