"""Pusher executor that publishes by rename, since TensorFlow Serving loads a version the moment its number appears."""

import json
import logging
import os
import shutil
from typing import Any

from tfx import types
from tfx.components.pusher import executor
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import proto_utils

from serving.files.linked_files import share_files
from serving.files.whole_files import put_folder
from serving.protocol.errors import RequestError
from serving.refresh.index import drop_songs
from serving.refresh.old_versions import remove_old_versions
from serving.refresh.takedown import taken_down
from tfx_pipeline.tfx_extensions.artifacts import EXTRA, SERVED
from tfx_pipeline.tfx_extensions.version_store import copy_versions

logger = logging.getLogger(__name__)
_STAGING = ".pushing"


class Executor(executor.Executor):
    """TFX's Pusher with a staging folder that model servers ignore; a rename publishes the whole version.

    Copied files become hard links to the model's, so that they take no room.
    """

    def Do(  # noqa: N802
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Pushes a blessed model; called by TFX."""
        destination = pusher_pb2.PushDestination()
        proto_utils.json_to_proto(exec_properties[standard_component_specs.PUSH_DESTINATION_KEY], destination)
        base = destination.filesystem.base_directory
        staging = os.path.join(base, _STAGING)
        shutil.rmtree(staging, ignore_errors=True)  # what a killed run left
        destination.filesystem.base_directory = staging
        staged = {
            **exec_properties,
            standard_component_specs.PUSH_DESTINATION_KEY: proto_utils.proto_to_json(destination),
        }
        try:
            super().Do(input_dict, output_dict, staged)
            self._share(input_dict, output_dict, staging)
            blessings = input_dict.get(standard_component_specs.MODEL_BLESSING_KEY, [])
            self._publish(output_dict, base, staging, [os.path.join(blessing.uri, SERVED) for blessing in blessings])
            self._remove_old(output_dict, base, exec_properties)
            self._copy_to_store(output_dict, base, exec_properties)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _share(
        self, input_dict: dict[str, list[types.Artifact]], output_dict: dict[str, list[types.Artifact]], staging: str
    ) -> None:
        """Makes the files of the version and of the archive hard links to those of the model."""
        pushed = artifact_utils.get_single_instance(output_dict[standard_component_specs.PUSHED_MODEL_KEY])
        if pushed.get_int_custom_property("pushed"):
            model = self.GetModelPath(input_dict)
            for copy in (pushed.uri, os.path.join(staging, pushed.get_string_custom_property("pushed_version"))):
                share_files(model, copy)

    def _publish(
        self, output_dict: dict[str, list[types.Artifact]], base: str, staging: str, reports: list[str]
    ) -> None:
        pushed = artifact_utils.get_single_instance(output_dict[standard_component_specs.PUSHED_MODEL_KEY])
        if not pushed.get_int_custom_property("pushed"):
            return
        version = pushed.get_string_custom_property("pushed_version")
        published = os.path.join(base, version)
        if not os.path.exists(published):
            staged = os.path.join(staging, version)
            # Songs may have been taken down since this run read its songs.
            if gone := taken_down(base):
                drop_songs(staged, gone)
            for path in filter(os.path.exists, reports):
                shutil.copyfile(path, os.path.join(staged, EXTRA, SERVED))
            put_folder(staged, published)
        pushed.set_string_custom_property("pushed_destination", published)

    def _copy_to_store(
        self, output_dict: dict[str, list[types.Artifact]], base: str, exec_properties: dict[str, Any]
    ) -> None:
        """Copies the versions to the store of the settings. Where that fails, the push fails; a later run goes on."""
        pushed = artifact_utils.get_single_instance(output_dict[standard_component_specs.PUSHED_MODEL_KEY])
        settings = json.loads(exec_properties[standard_component_specs.CUSTOM_CONFIG_KEY]) or {}
        if pushed.get_int_custom_property("pushed") and settings.get("store"):
            place = f"{settings['store'].rstrip('/')}/serving"
            copied = copy_versions(base, place, settings.get("keep_versions"))
            logger.info("versions copied to %s: %s", place, copied or "none")

    def _remove_old(
        self, output_dict: dict[str, list[types.Artifact]], base: str, exec_properties: dict[str, Any]
    ) -> None:
        """Removes old versions once another was pushed. The push stands where they cannot be removed."""
        pushed = artifact_utils.get_single_instance(output_dict[standard_component_specs.PUSHED_MODEL_KEY])
        settings = json.loads(exec_properties[standard_component_specs.CUSTOM_CONFIG_KEY]) or {}
        if not pushed.get_int_custom_property("pushed") or not settings.get("keep_versions"):
            return
        try:
            gone = remove_old_versions(base, settings["keep_versions"], settings["model_config_file"])
            logger.info("versions removed from %s: %s", base, gone or "none")
        except (ValueError, RequestError, OSError) as error:
            logger.warning("old versions stay in %s: %s", base, error)
