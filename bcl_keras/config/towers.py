"""The settings of the towers, the losses and the training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

SupervisedLoss = Literal["bpr", "sampled_softmax"]
PlaysPart = Literal["id", "vector", "none"]
Views = Literal["split", "corrupt"]
Operator = Literal["random_mask", "span_mask", "uniform_noise"]
Grouping = Literal["gumbel", "top", "uniform"]
CorrelationMode = Literal["ewma", "static", "last_batch"]


@dataclass(frozen=True)
class BCLConfig:
    """Settings of the towers, the losses and the training.

    Sections are those of Zhao et al., WWW'23 Companion; we chose what the paper leaves open, on Last.fm-2K.

    Raises:
        ValueError: If a value lies outside its range or is none of its choices.

    Examples:
        >>> BCLConfig(embedding_dim=64).embedding_dim
        64
        >>> BCLConfig(temperature=0.0)
        Traceback (most recent call last):
        ValueError: Argument `temperature` must be above 0. Received: 0.0
    """

    # Encoder (section 3.1: all fields aggregated, one encoder, one song vector).
    embedding_dim: int = 128  # length of a song's embedding
    field_dim: int = 64  # length of a field's vector
    hidden_dims: tuple[int, ...] = ()  # hidden layers between the joined field vectors and the embedding; none did best
    input_dropout: float = 0.3  # share of the joined field vectors' elements dropped in training
    hidden_dropout: float = 0.3  # share of hidden elements dropped in training
    field_dropout: float = 0.0  # chance that a whole field counts as missing in the supervised task
    normalize: bool = True  # unit-length embeddings: inner products are cosines

    # What a warm song's plays say, added in the candidate tower (our addition).
    plays_part: PlaysPart = "id"  # an embedding per song, a given vector per song, or nothing
    plays_dropout: float = 0.5  # chance that a song is trained by content only, as a cold candidate is

    # Supervised task (section 3.1: BPR over similar songs; negatives from the batch).
    supervised_loss: SupervisedLoss = "bpr"  # the loss over similar songs
    temperature: float = 0.1  # scores are cosines divided by it
    negative_hardness: float = 1.0  # of BPR: how much more a negative counts that scores high; 0 = all alike
    margin: float = 5.0  # of BPR: by how much a positive must beat a negative, in scores divided by the temperature
    mask_accidental_hits: bool = True  # known positives of an anchor are not negatives of it
    correct_log_q: bool = False  # undo the popularity of in-batch negatives

    # Contrastive task (section 3.1: L = L_BPR + lambda L_CL + weight decay).
    contrast_weight: float = 0.3  # lambda: weight of the contrastive loss; 0 turns the task off
    contrast_temperature: float = 0.1  # tau: the cosines of the contrastive loss are divided by it
    projection_dim: int = 0  # output of the paper's projection head; 0 = none: contrast on the embeddings served
    views: Views = "split"  # "split": each view keeps one group of fields (V1); "corrupt": each corrupts one (V2)
    operators: tuple[Operator, ...] = ("random_mask",)  # applied in this order to the field vectors
    mask_rate: float = 0.2  # share of elements removed by the random mask, length of the run removed by the span mask
    noise_scale: float = 0.1  # half-width of the uniform noise in standard deviations of the field

    # Feature correlation (section 3.1.1).
    correlation_mode: CorrelationMode = "ewma"  # or "static" (first batch), "last_batch": ablations
    momentum: float = 0.9  # share of the old matrix kept by an update
    update_every: int = 10  # k: training steps between updates
    correlation_songs: int = 512  # songs of the contrastive batch used; held fixed because the bias depends on it
    unbiased_correlation: bool = False  # U-centred distances

    # Grouping (section 3.1.2): "gumbel" is BCL, "top" is CFM, "uniform" is RFM (Yao et al., CIKM'21).
    grouping: Grouping = "gumbel"  # how the fields of a group are drawn

    # Training.
    learning_rate: float = 5e-3  # of AdamW
    weight_decay: float = 1e-4  # decoupled (AdamW)
    batch_size: int = 512  # pairs of similar songs in a training step
    epochs: int = 3  # passes over the pairs; the pipeline keeps the best one
    seed: int = 0  # number from which weights and batches are drawn

    def __post_init__(self) -> None:
        for name in ("embedding_dim", "field_dim", "update_every", "epochs"):
            self._check(name, getattr(self, name) >= 1, "at least 1")
        for name in ("input_dropout", "hidden_dropout", "field_dropout", "plays_dropout", "mask_rate"):
            self._check(name, 0.0 <= getattr(self, name) < 1.0, "in [0, 1)")
        for name in ("temperature", "contrast_temperature", "learning_rate"):
            self._check(name, getattr(self, name) > 0.0, "above 0")
        for name in ("contrast_weight", "projection_dim", "margin", "negative_hardness", "noise_scale", "weight_decay"):
            self._check(name, getattr(self, name) >= 0.0, "at least 0")
        self._check("momentum", 0.0 <= self.momentum < 1.0, "in [0, 1)")
        self._check("batch_size", self.batch_size >= 2, "at least 2")
        self._check("correlation_songs", self.correlation_songs >= 4, "at least 4")
        choices = {
            "supervised_loss": SupervisedLoss,
            "plays_part": PlaysPart,
            "views": Views,
            "correlation_mode": CorrelationMode,
            "grouping": Grouping,
        }
        for name, choice in choices.items():
            self._check(name, getattr(self, name) in get_args(choice), f"one of {get_args(choice)}")
        # Lists come back from JSON.
        object.__setattr__(self, "hidden_dims", tuple(self.hidden_dims))
        object.__setattr__(self, "operators", tuple(self.operators))
        self._check("hidden_dims", all(size >= 1 for size in self.hidden_dims), "made of sizes of at least 1")
        known = all(name in get_args(Operator) for name in self.operators)
        self._check("operators", known, f"made of {get_args(Operator)}")

    def _check(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            raise ValueError(f"Argument `{name}` must be {expected}. Received: {getattr(self, name)!r}")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that `BCLConfig.from_dict` restores."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> BCLConfig:
        """Restore a config.

        Raises:
            ValueError: If a setting is unknown.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(f"Argument `values` must hold settings of BCLConfig only. Received: {unknown}")
        return cls(**values)


def as_config(config: BCLConfig | Mapping[str, Any] | None) -> BCLConfig:
    """Return a config from itself, from its dict or from nothing (the defaults)."""
    if config is None:
        return BCLConfig()
    return config if isinstance(config, BCLConfig) else BCLConfig.from_dict(config)
