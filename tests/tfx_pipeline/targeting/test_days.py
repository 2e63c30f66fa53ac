"""One song from the day it is released until it is warm, as its listeners come: 0, 1, ... 5 of them."""

import pytest

from tests.tfx_pipeline.labels.test_similar_songs import similar_songs
from tfx_pipeline.contract.splits import NEW, WARM, ColdSplit
from tfx_pipeline.labels.config import AudienceConfig
from tfx_pipeline.targeting import TargetingConfig

SPLIT = ColdSplit(validation_share=0.0, test_share=0.0)
DEBUT = "song060"  # the first song that nobody plays


@pytest.mark.parametrize("listeners", range(6))
def test_a_song_is_new_until_it_has_enough_listeners(world, run, listeners):
    fans = [user for user, group in world.user_group.items() if group == world.song_group[DEBUT]][:listeners]
    plays = [*world.plays, *({"user_id": fan, "song_id": DEBUT, "plays": 2} for fan in fans)]
    pairs = [(play["user_id"], play["song_id"]) for play in plays]
    found = similar_songs(pairs, AudienceConfig(min_lift=0.0), split=SPLIT)
    labels = {song.decode(): similar for song, similar in found.items()}
    splits = {row["song_id"]: SPLIT.assign(row["song_id"].encode(), 0) for row in world.catalogue}
    splits |= {song: similar.split for song, similar in labels.items()}
    catalogue = [{**row, "split": splits[row["song_id"]]} for row in world.catalogue]
    found = run(TargetingConfig(rule="count"), catalogue=catalogue, matches=world.matches, plays=plays)

    assert splits[DEBUT] == (NEW if listeners < 3 else WARM)
    assert bool(labels[DEBUT].ids if listeners else []) == bool(listeners)  # trained on since the first play
    targets = set(found.of(DEBUT))
    if splits[DEBUT] == NEW:
        audience = {play["user_id"] for play in world.plays if play["song_id"] in match_ids(world, DEBUT)}
        assert targets == audience - set(fans) and len(targets) > 10
    else:
        assert (not targets and DEBUT not in found.summary) or found.summary[DEBUT]["status"].startswith("not a cold")


def match_ids(world, song):
    return next(row["match_ids"] for row in world.matches if row["song_id"] == song)
