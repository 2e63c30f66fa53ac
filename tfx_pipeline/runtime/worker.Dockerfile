# An image that each host of a Flink or Spark cluster starts for the work of Beam's steps (`--worker-image`).
#
#     docker build -t bcl .
#     docker build -t bcl-worker -f tfx_pipeline/runtime/worker.Dockerfile .
#
# The process that starts the run must have the same versions: start it in the image `bcl`. The version of Beam is that
# of requirements/tfx-1.21.txt.
FROM bcl
COPY --from=apache/beam_python3.13_sdk:2.77.0 /opt/apache/beam /opt/apache/beam
ENV PATH=/bcl/.venv/bin:/usr/local/bin:/usr/bin:/bin
ENTRYPOINT ["/opt/apache/beam/boot"]
