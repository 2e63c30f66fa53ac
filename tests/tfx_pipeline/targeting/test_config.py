"""Every message of the settings."""

import pytest

from tfx_pipeline.targeting import TargetingConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rule": "best"}, "`rule` must be one of .* Received: 'best'"),
        ({"algorithm": "dbscan"}, "`algorithm` must be one of .* Received: 'dbscan'"),
        ({"listeners_per_song": 0}, "`listeners_per_song` must be a whole number of at least 1. Received: 0"),
        ({"max_audience": 2.5}, "`max_audience` must be a whole number of at least 1. Received: 2.5"),
        ({"cap": True}, "`cap` must be a whole number of at least 1. Received: True"),
        ({"clusters": "many"}, "`clusters` must be 'auto' or a whole number of at least 1. Received: 'many'"),
        ({"clusters": 0}, "`clusters` must be 'auto' or a whole number of at least 1. Received: 0"),
        ({"count_weight": -1.0}, "`count_weight` must be 'auto', or finite and not negative. Received: -1.0"),
        ({"count_weight": "many"}, "`count_weight` must be 'auto', or finite and not negative. Received: 'many'"),
        ({"song_weight": float("nan")}, "`song_weight` must be finite and not negative. Received: nan"),
        ({"temperature": 0.0}, "`temperature` must be above 0. Received: 0.0"),
        ({"held_aside": 1.0}, "`held_aside` must be at least 0 and below 1. Received: 1.0"),
        ({"threshold": float("nan")}, "`threshold` must be a number or None. Received: nan"),
        ({"rule": "song", "quota": True}, "`quota` needs a rule with clusters.* Received: rule='song'"),
        ({"rule": "cat", "reach": "expand", "quota": True}, "`quota` shares out the audience.* Received: 'expand'"),
        (
            {"reach": "expand", "rule": "count"},
            "`rule` 'count' knows only listeners of the matches.* Received: 'expand'",
        ),
        (
            {"rule": "cat", "quota": True, "cap": 2},
            "`cap` compares a listener.* Received: quota=True, cap=2",
        ),
        ({"listener_splits": "warm"}, "`listener_splits` must be a list of some of .* Received: 'warm'"),
        ({"listener_splits": ["warm", "test"]}, "plays of held-out songs describe nobody. Received: .*'test'"),
        ({"target_splits": "new"}, "`target_splits` must be a list of some of .* Received: 'new'"),
        ({"target_splits": ["warm"]}, "warm songs need no targets. Received: .*'warm'"),
        ({"threshold": "x"}, "`threshold` must be a number or None. Received: 'x'"),
        ({"held_aside": "0.1"}, "`held_aside` must be at least 0 and below 1. Received: '0.1'"),
        ({"temperature": "x"}, "`temperature` must be above 0. Received: 'x'"),
        ({"seed": "a"}, "`seed` must be a whole number. Received: 'a'"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        TargetingConfig(**settings)
