"""Settings of the push."""

from __future__ import annotations

from dataclasses import dataclass

from tfx_pipeline.runtime.setting_checks import check_at_least


@dataclass(frozen=True)
class PushConfig:
    """What goes from the folder of the served versions when a version is pushed.

    Args:
        keep_versions: Number of the latest versions that stay, the pushed one among them. None removes nothing. A
            rollback needs the version before, so 2 is the least that allows one.
        model_config_file: The server's `--model_config_file`. Versions that its policies or labels name stay, too. None
            says that the server has no such file.
        store: A folder of a store, such as `s3://bucket/models/bcl`. Each run copies there what it published: the
            versions, and the tables of its targets. `keep_versions` holds there, too. None copies nothing.
    """

    keep_versions: int | None = None
    model_config_file: str | None = None
    store: str | None = None

    def __post_init__(self) -> None:
        check_at_least(self, 1, "keep_versions")
        if self.model_config_file is not None and self.keep_versions is None:
            raise ValueError("PushConfig.model_config_file: expected `keep_versions` with it. Received: none")
        if self.store is not None and "://" not in self.store:
            raise ValueError(f"Argument `store` must be a URI such as s3://bucket/folder. Received: {self.store!r}")
        if self.store is not None and "@" in self.store:
            raise ValueError("Argument `store` must be a URI without credentials, which belong into the environment.")
