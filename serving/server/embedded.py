"""The whole server as one object: models, gRPC, and what the flags ask for beyond that."""

from __future__ import annotations

from functools import partial
from typing import Any

import grpc
from aiohttp.typedefs import Middleware

from serving.protocol.errors import invalid_argument
from serving.server.access_log import AccessLog
from serving.server.batching.parameters import read_batch_parameters
from serving.server.batching.scheduler import BatchScheduler
from serving.server.config_files import check_plaintext, metrics_path
from serving.server.flags import ServerFlags, address
from serving.server.grpc.interceptors import ObservingInterceptor, TokenInterceptor
from serving.server.grpc.server import GrpcServer
from serving.server.inference.context import RunContext
from serving.server.limits import Bounds, Limits
from serving.server.memory import FreeMemory
from serving.server.metrics import Metrics
from serving.server.models.config import Roots, read_model_config_file, single_model
from serving.server.models.core import ServerCore
from serving.server.models.lifecycle import AVAILABLE
from serving.server.models.loader import Loader
from serving.server.models.manager import ModelManager
from serving.server.models.reload import ConfigFilePoller
from serving.server.ports import check_ports
from serving.server.request_log.log import RequestLog, rotation_of
from serving.server.rest.handlers import RestHandlers
from serving.server.rest.json_limits import JsonLimits
from serving.server.rest.middlewares import LIVE, READY, observing, with_health, with_tokens
from serving.server.rest.server import RestServer
from serving.server.tokens import Tokens
from serving.server.traffic import QUIET_SECONDS, Traffic
from serving.server.workers.metrics_page import MetricsPage
from serving.server.workers.place import Place


class EmbeddedServer:
    """TensorFlow Serving's interface in this process, for tests, validation and laptops.

    Use it as a context manager, or call `start` and `stop`. `start` returns when every configured model answers.

    Args:
        flags: The settings.
        place: Which of several workers this is; default it is none. Their parent alone can say so.
        **settings: In place of `flags`, fields of ServerFlags. `port=0` picks a free port.

    Attributes:
        port: Where gRPC listens; 0 before the start.
        rest_port: Where REST listens; 0 before the start and where it is off.

    Raises:
        RequestError: A flag or one of the files that flags name does not fit.
    """

    def __init__(self, flags: ServerFlags | None = None, place: Place | None = None, **settings: Any) -> None:
        if flags is not None and settings:
            raise ValueError(f"`flags` and single settings exclude each other. Received: {sorted(settings)}")
        self.flags = flags if flags is not None else ServerFlags(**settings)
        if self.flags.workers > 1 and place is None:
            raise invalid_argument(
                f"`workers` must be 1 for a server in this process; more need the command line. "
                f"Received: {self.flags.workers}"
            )
        check_plaintext(self.flags.ssl_config_file, self.flags.rest_api_port, allowed=self.flags.allow_plaintext_rest)
        self.metrics = Metrics()
        self._shared_page = None if place is None else MetricsPage(place, self.metrics.render)
        self.traffic = Traffic()
        self._tokens = Tokens(self.flags.auth_token_file) if self.flags.auth_token_file else None
        self._log = AccessLog(self.flags.access_log_file, self.flags.access_log_sample, self.flags.slow_request_ms)
        self.port = 0
        self.rest_port = 0
        self._config = (
            read_model_config_file(self.flags.model_config_file)
            if self.flags.model_config_file
            else single_model(self.flags)
        )
        batching = read_batch_parameters(self.flags.batching_parameters_file) if self.flags.enable_batching else None
        self._scheduler = (
            None if batching is None else BatchScheduler(batching, waits_whole_timeout=self.flags.batch_whole_timeout)
        )
        roots = Roots(filter(None, self.flags.model_roots.split(":")))
        self._manager = ModelManager(
            Loader(self.flags, self.metrics, self._scheduler).load,
            roots=roots,
            poll_seconds=self.flags.file_system_poll_wait_seconds,
            max_retries=self.flags.max_num_load_retries,
            retry_seconds=self.flags.load_retry_interval_micros / 1e6,
            retry_multiplier=self.flags.load_retry_multiplier,
        )
        self._request_log = RequestLog(self.metrics, rotation_of(self.flags))
        self.core = ServerCore(
            self._manager,
            roots=roots,
            labels_for_unavailable=self.flags.allow_version_labels_for_unavailable_models,
            zero_is_latest=self.flags.version_zero_is_latest,
            log=self._request_log,
        )
        self._bounds = Bounds(Limits.from_flags(self.flags), self.flags.max_running_rows)
        self._free_memory = FreeMemory()
        self._watch()
        self._grpc: GrpcServer | None = None
        self._rest: RestServer | None = None
        self._poller: ConfigFilePoller | None = None

    @property
    def target(self) -> str:
        """What a client on this machine connects to."""
        return address("localhost" if self.flags.host in ("0.0.0.0", "::", "[::]") else self.flags.host, self.port)

    def start(self, timeout: float | None = None) -> EmbeddedServer:
        """Checks the ports, loads the models, then opens the ports.

        Args:
            timeout: Seconds to wait for the models; default no limit, as an empty folder may be filled later.

        Raises:
            RequestError: If the configuration is refused, a model cannot be loaded, or a port is taken.
            TimeoutError: If a model is not there in time.
        """
        try:
            if self._shared_page is None:
                check_ports(self.flags)
            else:
                # The parent holds the ports.
                self._shared_page.start()
            self._manager.start()
            self.core.reload(self._config, timeout, trusted=not self.flags.model_roots)
            self._start_grpc()
            self._start_rest()
        except BaseException:
            self.stop()
            raise
        self._free_memory.start()
        seconds = self.flags.model_config_file_poll_wait_seconds
        if self.flags.model_config_file and seconds > 0:
            self._poller = ConfigFilePoller(self.core, self.flags.model_config_file, seconds)
            self._poller.start()
        return self

    def drain(self, seconds: float, *, quiet: float = QUIET_SECONDS) -> bool:
        """Answers requests for a while, but says by its health that it is about to end. Loads no more models.

        Args:
            seconds: The longest time.
            quiet: Seconds without a request that end it early; default 5.

        Returns:
            Whether no request runs now.
        """
        self.traffic.begin_drain()
        if self._grpc is not None:
            self._grpc.begin_drain()
        if self._poller is not None:
            self._poller.begin_stop()
        self._manager.table.release()
        return self.traffic.wait_until_quiet(seconds, quiet)

    def stop(self) -> None:
        """Lets running requests end, for a few seconds, then closes the ports and unloads the models.

        A request that runs on then is cancelled; where even that does not end it, its thread is left behind.
        """
        if self._poller is not None:
            self._poller.begin_stop()
        # First the requests that wait for models: nothing else ends them, and they hold threads and reloads.
        self._manager.table.release()
        if self._grpc is not None:
            self._grpc.begin_stop()
        for part in (self._poller, self._rest, self._grpc):
            if part is not None:
                part.stop()
        self._poller = self._rest = self._grpc = None
        self._manager.stop()
        if self._scheduler is not None:
            self._scheduler.stop()
        self._free_memory.stop()
        self._request_log.stop()
        self._log.close()
        if self._shared_page is not None:
            self._shared_page.stop()

    def __enter__(self) -> EmbeddedServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def describe(self) -> str:
        """Returns one line for people: which models answer where."""
        names = sorted(entry.name for entry in self._config.model_config_list.config)
        models = []
        for name in names:
            ready = [number for number, known in self._manager.table.states(name).items() if known.state == AVAILABLE]
            models.append(f"{name} version {max(ready, default='none yet')}")
        rest = f", REST on {address(self.flags.host, self.rest_port)}" if self.rest_port else ""
        return f"Serving {', '.join(models)}: gRPC on {address(self.flags.host, self.port)}{rest}"

    def _watch(self) -> None:
        """Puts what changes by itself on the metrics page."""
        for interface in ("gRPC", "REST"):
            self.metrics.watch(
                "serving_requests_in_flight",
                "Requests that run now.",
                partial(self.traffic.running, interface),
                interface=interface,
            )
        self.metrics.watch("serving_loaded_versions", "Versions that answer now.", self._loaded)
        if self._scheduler is not None:
            self.metrics.watch("serving_batch_queue_depth", "Tasks that wait for a batch.", self._scheduler.waiting)

    def _loaded(self) -> int:
        return sum(version.state == AVAILABLE for version in self._manager.table.all())

    def _settings(self) -> RunContext:
        return RunContext(
            self.flags.enable_signature_method_name_check,
            self.flags.enable_serialization_as_tensor_content,
            check_songs=self.flags.check_song_inputs,
            allow_unknown_songs=self.flags.allow_unknown_songs,
            log=self._request_log,
            max_matches=self.flags.max_request_matches,
        )

    def _start_grpc(self) -> None:
        interceptors: list[grpc.ServerInterceptor] = [ObservingInterceptor(self.traffic, self._log)]
        if self._tokens is not None:
            interceptors.append(TokenInterceptor(self._tokens, free_health="health" in self.flags.free_of_tokens()))
        server = GrpcServer(self.flags, self.core, self._settings(), self.metrics, self._bounds, interceptors)
        self.port = server.start()
        self._grpc = server

    def _start_rest(self) -> None:
        if not self.flags.rest_api_port:
            return
        handlers = RestHandlers(
            self.core,
            self._settings(),
            self.metrics,
            bounds=self._bounds,
            json_limits=JsonLimits(
                max_values=self.flags.max_request_values,
                max_strings=self.flags.max_request_strings,
                max_lists=self.flags.rest_api_max_json_lists,
                max_depth=self.flags.rest_api_max_json_depth,
            ),
            strict=self.flags.rest_api_strict,
        )
        page = metrics_path(self.flags.monitoring_config_file)
        server = RestServer(handlers, self._shared_page or self.metrics, self.flags, self._middlewares(page))
        self.rest_port = server.start(self.flags.host, max(0, self.flags.rest_api_port))
        self._rest = server

    def _middlewares(self, page: str | None) -> list[Middleware]:
        """Returns what REST requests pass, the outermost first; `page` is the path of the metrics."""
        paths = {"health": {LIVE, READY}, "metrics": {page} if page else set()}
        middlewares = [observing(self.traffic, self._log, set().union(*paths.values()))]
        if self._tokens is not None:
            free = self.flags.free_of_tokens()
            middlewares.append(with_tokens(self._tokens, set().union(*(paths[name] for name in free))))
        return [*middlewares, with_health(self.traffic, self.core.is_ready)]
