#!/usr/bin/env bash
# Asks a model over REST, and prints the reply.
#
#     bash ask.sh match songs.json     the songs most similar to each song of a file
#     bash ask.sh embed songs.json     their embeddings; the songs have no `k` and `exclude` then
#     bash ask.sh status               the versions of the model
#     bash ask.sh metadata             the fields that a song may have
#     bash ask.sh health               whether the server is ready
#
# Settings: BCL_URL (http://localhost:8501), BCL_MODEL (bcl), BCL_TIMEOUT (10 seconds), BCL_CA (PEM file of the
# authority of an https address), BCL_TOKEN_FILE (file with the token).
# The exit code is curl's: 22 where the server refuses, 28 where it takes too long.
set -euo pipefail

url=${BCL_URL:-http://localhost:8501}
model=$url/v1/models/${BCL_MODEL:-bcl}

# The token is no argument: other users of the machine see arguments.
settings() {
  if [ -n "${BCL_TOKEN_FILE:-}" ]; then
    printf 'header = "Authorization: Bearer %s"\n' "$(tr -d '[:space:]' < "$BCL_TOKEN_FILE")"
  fi
}

ask() {
  curl --silent --show-error --fail-with-body --max-time "${BCL_TIMEOUT:-10}" ${BCL_CA:+--cacert "$BCL_CA"} \
    --config <(settings) "$@"
}

predict() {
  [ -r "$2" ] || { echo "${2:-the file of songs}: cannot be read" >&2; exit 2; }
  { printf '{"signature_name": "%s", "instances": ' "$1"; cat "$2"; printf '}'; } |
    ask --data-binary @- "$model:predict"
}

case ${1:-} in
  match | embed) predict "$1" "${2:-}" ;;
  status) ask "$model" ;;
  metadata) ask "$model/metadata" ;;
  health) ask "$url/v1/health/ready" ;;
  *) echo "usage: bash ask.sh match|embed|status|metadata|health [SONGS.json]" >&2; exit 2 ;;
esac
