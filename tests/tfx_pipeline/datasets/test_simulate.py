"""The simulated catalogue keeps the contract and holds the truth that it states."""

import os
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import stats

from tfx_pipeline.contract import ContractError, check
from tfx_pipeline.datasets.simulate import main, simulate

SIZES = {"songs": 2_000, "users": 900, "plays": 45_000}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("simulated") / "catalogue"
    simulate(out, songs=SIZES["songs"], users=SIZES["users"], plays=SIZES["plays"], seed=3)
    return out


@pytest.fixture(scope="module")
def truth(folder):
    return dict(np.load(folder / "truth.npz"))


@pytest.fixture(scope="module")
def songs(folder):
    return pq.read_table(folder / "songs.parquet").to_pydict()


@pytest.fixture(scope="module")
def plays(folder):
    """Rows of plays.parquet with users and songs as numbers."""
    table = pq.read_table(folder / "plays.parquet").to_pydict()
    return {name: np.array([int(v[1:]) for v in c] if name.endswith("_id") else c) for name, c in table.items()}


def values(songs, name):
    """Return a field as an array, one row for each song that has it, and those songs' rows."""
    rows = np.array([row for row, value in enumerate(songs[name]) if value is not None])
    present = [songs[name][row] for row in rows]
    if isinstance(present[0], float) or isinstance(present[0][0], float):
        return np.array(present, float).reshape(len(rows), -1), rows
    lists = [[value] if isinstance(value, str) else value for value in present]
    words = sorted({word for value in lists for word in value})
    return np.array([[float(word in value) for word in words] for value in lists]), rows


def test_keeps_the_contract(folder):
    catalogue = check(folder, max_unknown_plays=0)
    assert catalogue.num_songs == 2_000 and catalogue.num_users == 900 and catalogue.num_plays == 45_000
    assert {field.kind for field in catalogue.fields} == {"category", "multi_category", "number", "vector"}
    assert {field.group for field in catalogue.fields} == {"attribute", "audio", "lyric"}
    assert catalogue.display == ("title", "artist", "released")
    assert min(catalogue.missing) > 0.01 and max(catalogue.missing) < 0.5
    assert catalogue.plays_columns == ("user_id", "song_id", "plays", "liked", "timestamp")


def test_each_pair_is_there_once_and_new_songs_never(truth, songs, plays):
    assert len(set(zip(plays["user_id"], plays["song_id"], strict=True))) == 45_000
    new = truth["song_weight"] == 0
    assert new.mean() == pytest.approx(0.08, abs=0.02)
    assert not new[plays["song_id"]].any()
    released, played = (np.array(days, "datetime64[s]") for days in (songs["released"], plays["timestamp"]))
    assert released[new].min() >= played.max().astype("datetime64[D]")
    assert (played >= released[plays["song_id"]]).all()


def test_taste_explains_the_stated_share_of_numbers_and_vectors(folder, truth, songs):
    """Least squares of what songs.parquet shows on the true taste: R squared is the strength."""
    strength = dict(zip(truth["fields"].tolist(), truth["strength"], strict=True))
    for field in check(folder).fields:
        if field.kind in ("number", "vector"):
            shown, rows = values(songs, field.name)
            design = np.column_stack([truth["song_taste"][rows], np.ones(len(rows))]).astype(float)
            rest = shown - design @ np.linalg.lstsq(design, shown, rcond=None)[0]
            assert 1 - (rest.var(axis=0) / shown.var(axis=0)).mean() == pytest.approx(strength[field.name], abs=0.06)


@pytest.mark.parametrize("kind", ["category", "multi_category"])
def test_categories_depend_on_taste_in_the_stated_order(folder, truth, songs, kind, dcor):
    """By the dcor package, on what songs.parquet shows."""
    strength = dict(zip(truth["fields"].tolist(), truth["strength"], strict=True))
    fields = sorted((field.name for field in check(folder).fields if field.kind == kind), key=strength.__getitem__)
    measured = []
    for name in fields:
        shown, rows = values(songs, name)
        measured.append(dcor.u_distance_correlation_sqr(shown[:800], truth["song_taste"][rows[:800]].astype(float)))
    assert measured == sorted(measured)
    assert abs(measured[0]) < 0.01  # a field of noise
    assert measured[1] > 0.05


def test_the_stated_correlation_is_that_of_the_data(truth, songs, dcor):
    """The first release period's matrix against the dcor package on the songs that have both fields."""
    names = truth["fields"].tolist()
    in_period = truth["song_released"] < truth["period_edges"][1]
    for first, second in [
        ("audio_energy", "audio_loudness"),
        ("lyric_embedding", "audio_timbre"),
        ("audio_room", "lyric_words"),
    ]:
        (one, rows_one), (two, rows_two) = values(songs, first), values(songs, second)
        both = [row for row in np.intersect1d(rows_one, rows_two) if in_period[row]]
        one, two = one[np.searchsorted(rows_one, both)], two[np.searchsorted(rows_two, both)]
        squared = float(dcor.u_distance_correlation_sqr(one, two))
        stated = truth["field_correlation"][0, names.index(first), names.index(second)]
        assert stated**2 == pytest.approx(max(squared, 0), abs=0.06)


def test_groups_drift_with_release_time(truth, songs):
    """Pearson correlation of two numbers of a group, old and new songs, against the change that the settings imply."""
    from tfx_pipeline.datasets.simulation.world import Settings, draw_world

    world = draw_world(Settings(), 3)
    strength = dict(zip(truth["fields"].tolist(), truth["strength"], strict=True))
    late = truth["song_released"] > 0.5
    for group, first, second in [
        ("production", "audio_energy", "audio_loudness"),
        ("mood", "audio_valence", "lyric_sentiment"),
    ]:
        (one, rows_one), (two, rows_two) = values(songs, first), values(songs, second)
        both = np.intersect1d(rows_one, rows_two)
        one, two = one[np.searchsorted(rows_one, both), 0], two[np.searchsorted(rows_two, both), 0]
        measured = [np.corrcoef(one[late[both] == when], two[late[both] == when])[0, 1] for when in (False, True)]
        share = truth["group_share"][:, truth["groups"].tolist().index(group)]
        change = np.mean(share[2:]) - np.mean(share[:2])
        loadings = world.group_loadings
        alike = (loadings[first][0] * loadings[second][0]).sum()
        implied = change * alike * np.sqrt((1 - strength[first]) * (1 - strength[second]))
        assert abs(implied) > 0.2
        assert measured[1] - measured[0] == pytest.approx(implied, abs=0.12)


def test_popularity_and_activity_follow_power_laws(truth, plays):
    """Hill's estimate of the exponent over the upper tenth; unique pairs flatten the top of songs' counts."""

    def hill(sample):
        tail = np.sort(sample)[::-1][: len(sample) // 10 + 1].astype(float)
        return 1 / np.mean(np.log(tail[:-1] / tail[-1]))

    weight = truth["song_weight"]
    assert hill(weight[weight > 0]) == pytest.approx(1.4, rel=0.25)
    assert hill(np.bincount(plays["user_id"])) == pytest.approx(1.6, rel=0.25)
    counts = np.bincount(plays["song_id"])
    assert 1.2 < hill(counts) < 3.5 and counts.max() > 10 * np.median(counts)
    # About 0.5, by seed a little more or less.
    assert stats.spearmanr(counts, weight[: len(counts)]).statistic > 0.4


def test_songs_are_drawn_from_the_stated_law():
    """200,000 draws of one user against P(song | user) computed from its definition: chi-square."""
    from tfx_pipeline.datasets.simulation.plays import PlayLaw, Users, station_logits
    from tfx_pipeline.datasets.simulation.world import Settings, draw_world

    world = draw_world(Settings(stations=7, dimensions=5, song_focus=3.0, user_focus=3.0), 1)
    generator = np.random.default_rng(1)
    taste, user = generator.normal(size=(30, 5)), generator.normal(size=(1, 5))
    weight = np.where(np.arange(30) % 5, generator.pareto(1.5, 30) + 1, 0)
    law = PlayLaw(world, Users(user, np.ones(1), np.ones(1, int)), taste, weight, np.zeros(30))
    drawn = law._songs(np.repeat(station_logits(world, user), 200_000, axis=0), generator)

    station = np.exp(3.0 * world.stations @ user[0])
    song = weight[:, None] * np.exp(3.0 * taste @ world.stations.T)
    expected = (song / song.sum(axis=0)) @ (station / station.sum()) * 200_000
    observed = np.bincount(drawn, minlength=30)
    assert (observed[weight == 0] == 0).all()
    assert stats.chisquare(observed[weight > 0], expected[weight > 0]).pvalue > 1e-3


def test_taste_shows_in_plays_likes_and_counts(truth, plays):
    fit = (truth["user_taste"][plays["user_id"]] * truth["song_taste"][plays["song_id"]]).sum(axis=1)
    strangers = (truth["user_taste"][plays["user_id"]] * truth["song_taste"][np.roll(plays["song_id"], 1_000)]).sum(
        axis=1
    )
    assert fit.mean() > strangers.mean() + 0.4
    liked = plays["liked"]
    assert 0.1 < liked.mean() < 0.9 and fit[liked].mean() > fit[~liked].mean() + 0.1
    assert plays["plays"].min() == 1 and stats.spearmanr(fit, plays["plays"]).statistic > 0.1


def test_shares_sum_and_keep_within_bounds():
    from tfx_pipeline.datasets.simulation.plays import share_out

    for total, most in ((5, 9), (30, 9), (45, 9), (44, 9)):
        counts = share_out(np.array([1.0, 1.0, 2.0, 50.0, 3.0]), total, most)
        assert counts.sum() == total and counts.min() >= 1 and counts.max() <= most
    assert share_out(np.array([1.0, 3.0]), 10, 100).tolist() == [3, 7]


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    files = ("songs.parquet", "plays.parquet", "truth.npz")
    found = []
    for seed in (1, 1, 2):  # Each takes the place of the one before.
        simulate(tmp_path / "out", songs=60, users=20, plays=200, seed=seed)
        found.append([(tmp_path / "out" / file).read_bytes() for file in files])
    for one, same, other in zip(*found, strict=True):
        assert one == same != other
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(files)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"songs": 10}, "`songs` must be at least 50. Received: 10."),
        ({"users": 1}, "`users` must be at least 2. Received: 1."),
        ({"plays": 30}, "`plays` must be at least `users`, 40. Received: 30."),
        ({"seed": -1}, "`seed` must be at least 0. Received: -1."),
        ({"seed": 2**31}, "`seed` must be less than 2^31. Received: 2147483648."),
        ({"plays": 5_000}, "`plays` must be at most"),
    ],
)
def test_refuses_arguments(tmp_path, capsys, change, words):
    arguments = {"songs": 80, "users": 40, "plays": 400, "seed": 0, **change}
    assert main([*(f"--{name}={value}" for name, value in arguments.items()), str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert words in message and message.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_foreign_folder_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(ContractError, match="something else, which is left as it is"):
        simulate(tmp_path, songs=60, users=20, plays=200)
    assert (tmp_path / "mine.txt").read_text() == "precious"


@pytest.mark.slow
def test_memory_stays_flat_and_the_command_is_quiet(tmp_path):
    """In one process: three times the plays add less than the size of the added rows' columns, and less than 5 %."""
    code = """
import resource, sys
from tfx_pipeline.datasets.simulate import main
for plays in (140_000, 420_000):
    assert main(["--songs=2000", "--users=6000", f"--plays={plays}", sys.argv[1]]) == 0
    print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    # The environment of a user, not that of this test run.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TF_")}
    command = [sys.executable, "-c", code, str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0 and done.stderr == ""
    few, many = (int(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("peak"))
    rows = 280_000 * (2 * 12 + 4 + 1 + 8) / 1024
    assert many - few < min(rows, 0.05 * few)
    assert "plays: 420,000 of 420,000" in done.stdout
