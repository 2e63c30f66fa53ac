"""Rows of others: without any training, solved in closed form, and trained."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec

from benchmarks.quality import closed_form
from benchmarks.quality.baselines import (
    artists,
    clcrec,
    collective_factors,
    dropout_net,
    kernel,
    metadata,
    neighbours,
    sampled_entmax,
    side_information,
    two_tower,
)
from benchmarks.quality.closed_form import ARTIST
from benchmarks.quality.row import BASELINE, PUBLISHED_LANE, Row, has_sparse_songs
from benchmarks.targeting_study.datasets import DataSet
from tfx_pipeline.datasets.simulate import TRUTH

TFRS = "TFRS two-tower"


def _has_artists(data: DataSet) -> bool:
    return ARTIST in {field.name for field in data.fields}


def _has_truth(data: DataSet) -> bool:
    return (data.folder / TRUTH).exists()


def _has_cmfrec(_: DataSet) -> bool:
    return find_spec("cmfrec") is not None


UNTRAINED = (
    Row("random", BASELINE, "any order", closed_form.random_order),
    Row("popularity", BASELINE, "songs with most listeners, for everyone alike", closed_form.popularity),
    Row("content cosine", BASELINE, "joined content, field weights chosen on validation", closed_form.content_cosine),
    Row("weighted count", BASELINE, "audiences of the 50 songs of nearest content", closed_form.weighted_count),
    Row(
        "weighted count, options",
        BASELINE,
        "the same; power, neighbours, own share, column lengths, rule of listeners chosen on validation",
        neighbours.weighted_count_with_options,
    ),
    Row("artist mean", BASELINE, "audiences of the artist's other songs", closed_form.artist_mean, _has_artists),
    Row(
        "artist attention",
        BASELINE,
        "audiences of the artist's songs of near content, joined with kernel ridge; in the manner of ACARec (Tamm et "
        "al.), without training",
        artists.artist_attention,
        _has_artists,
    ),
)
CLOSED_FORMS = (
    Row(
        "ridge to factors",
        BASELINE,
        "content to SVD factors",
        partial(closed_form.ridge_to_factors, own=False),
        quick=False,
    ),
    Row(
        "ridge to own factors",
        BASELINE,
        "the same, candidates by their own factors",
        partial(closed_form.ridge_to_factors, own=True),
    ),
    Row("kernel ridge", BASELINE, "content to the rows of the audience similarities", closed_form.kernel_ridge),
    Row(
        "kernel ridge, options",
        BASELINE,
        "the same; K + K * K, own share, column lengths, neighbours, rule of listeners chosen on validation",
        kernel.kernel_ridge_with_options,
        quick=False,
    ),
    Row(
        "EASE with side information",
        BASELINE,
        "squared error of plays and content from other songs, diagonal zero; collective EASE (Jeunen et al.)",
        side_information.collective_ease,
        quick=False,
    ),
    Row(
        "MARec",
        BASELINE,
        "EASE aligned with metadata similarities (Monteil et al.), by its description",
        metadata.marec,
        quick=False,
    ),
    Row(
        "cmfrec",
        BASELINE,
        "collective factors of plays and content (Cortes); where cmfrec is installed",
        collective_factors.collective_factors,
        _has_cmfrec,
        quick=False,
        lane=PUBLISHED_LANE,
    ),
)
TRAINED = (
    Row(
        "DropoutNet",
        BASELINE,
        "squared error of latent products, factors dropped, own tower of listeners (Volkovs et al.)",
        dropout_net.dropout_net,
        quick=False,
        lane=PUBLISHED_LANE,
        search=dropout_net.SEARCH,
    ),
    Row(
        "CLCRec",
        BASELINE,
        "InfoNCE of users, songs and content, own vectors of listeners (Wei et al.)",
        clcrec.clcrec,
        quick=False,
        lane=PUBLISHED_LANE,
        search=clcrec.SEARCH,
    ),
    Row(
        "SEMCo",
        BASELINE,
        "sampled entmax, content alone, in the manner of Meehan and Pauwels, by their description",
        sampled_entmax.semco,
        quick=False,
        lane=PUBLISHED_LANE,
        search=sampled_entmax.SEARCH,
    ),
    Row(
        TFRS,
        BASELINE,
        "sampled softmax by TFRS's layers: log-q correction, known positives masked, fields withheld",
        two_tower.tfrs_two_tower,
        quick=False,
        lane=PUBLISHED_LANE,
        search=two_tower.SEARCH,
    ),
    Row(
        "TFRS two-tower, sparse songs",
        BASELINE,
        "the same, songs of one or two listeners as anchors too",
        partial(two_tower.tfrs_two_tower, few_listeners=True),
        has_sparse_songs,
        quick=False,
        lane=PUBLISHED_LANE,
        settings_from=TFRS,
    ),
)
CEILING = Row(
    "true taste", BASELINE, "the law of a simulated catalogue: the ceiling", closed_form.true_taste, _has_truth
)
