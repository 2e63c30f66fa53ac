// Prints the songs that are most similar to those of a file, a line of JSON for each: `song_ids` and `scores`.
//
//     node match.js songs.json
//
// Settings: BCL_PROTOS (folder of the bundle), BCL_TARGET (localhost:8500), BCL_MODEL (bcl), BCL_TIMEOUT (10 seconds),
// BCL_CA (PEM file of the server's authority; switches TLS on), BCL_TOKEN_FILE (file with the token).
import { readFileSync } from "node:fs";
import { promisify } from "node:util";

import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

const env = process.env;

/** Input that is not sent. */
class InputError extends Error {}

function refuse(name, expected, value) {
  throw new InputError(`${name}: expected ${expected}. Received: ${JSON.stringify(value)}`);
}

function wordsOf(name, value, isList) {
  if (!isList) return [value ?? ""];
  // "" is a missing word. Each list begins with one: a server that joins requests fills up lists with their first word.
  return Array.isArray(value ?? []) ? ["", ...(value ?? [])] : refuse(name, "a list of words", value);
}

function numbersOf(name, value, isList, width) {
  if (value == null) return Array(width).fill(NaN); // a missing number
  const expected = isList ? `a list of ${width} numbers, as the first song has` : "a number";
  const row = [value].flat();
  return Array.isArray(value) === isList && row.length === width ? row : refuse(name, expected, value);
}

/** Returns one field of all songs as a TensorProto. `info` is what the model says of the field. */
function tensor(name, info, values) {
  const isList = info.tensor_shape.dim.length === 2;
  if (info.dtype === "DT_STRING") {
    const rows = values.map((value) => wordsOf(name, value, isList));
    const width = Math.max(...rows.map((row) => row.length));
    const words = rows.flatMap((row) => [...row, ...Array(width - row.length).fill("")]);
    for (const word of words) if (typeof word !== "string") refuse(name, "words", word);
    const string_val = words.map((word) => Buffer.from(word));
    return { dtype: info.dtype, tensor_shape: shape(values.length, isList, width), string_val };
  }
  if (info.dtype === "DT_FLOAT") {
    const given = values.find((value) => value != null);
    const width = !isList ? 1 : Array.isArray(given) ? given.length : Number(info.tensor_shape.dim[1].size);
    const numbers = values.flatMap((value) => numbersOf(name, value, isList, width));
    for (const number of numbers) if (typeof number !== "number") refuse(name, "numbers", number);
    return { dtype: info.dtype, tensor_shape: shape(values.length, isList, width), float_val: numbers };
  }
  // Whole numbers: `k`, and `exclude` where the ids of songs are numbers.
  const whole = values.map((value) => value ?? (name === "k" ? 10 : -1));
  for (const number of whole) if (!Number.isSafeInteger(number)) refuse(name, "a whole number", number);
  const field = info.dtype === "DT_INT64" ? "int64_val" : "int_val";
  return { dtype: info.dtype, tensor_shape: shape(values.length), [field]: whole };
}

function shape(rows, isList, width) {
  return { dim: (isList ? [rows, width] : [rows]).map((size) => ({ size })) };
}

function readSongs(path) {
  const songs = JSON.parse(readFileSync(path, "utf8"));
  const isSong = (song) => song !== null && typeof song === "object" && !Array.isArray(song);
  return Array.isArray(songs) && songs.length && songs.every(isSong) ? songs : refuse(path, "a list of songs", songs);
}

async function match(songs) {
  const includeDirs = [env.BCL_PROTOS ?? "."];
  const options = { keepCase: true, longs: String, enums: String, defaults: true, includeDirs };
  const definition = protoLoader.loadSync("tensorflow_serving.proto", options);
  const { PredictionService } = grpc.loadPackageDefinition(definition).tensorflow.serving;
  const tls = env.BCL_CA && grpc.credentials.createSsl(readFileSync(env.BCL_CA));
  const client = new PredictionService(env.BCL_TARGET ?? "localhost:8500", tls || grpc.credentials.createInsecure());
  const headers = new grpc.Metadata();
  if (env.BCL_TOKEN_FILE) headers.set("authorization", `Bearer ${readFileSync(env.BCL_TOKEN_FILE, "utf8").trim()}`);
  const deadline = Date.now() + 1000 * Number(env.BCL_TIMEOUT ?? 10);
  const call = (method, request) => promisify(client[method].bind(client))(request, headers, { deadline });

  const model_spec = { name: env.BCL_MODEL ?? "bcl", signature_name: "match" };
  const about = await call("GetModelMetadata", { model_spec, metadata_field: ["signature_def"] });
  const { deserialize } = definition["tensorflow.serving.SignatureDefMap"];
  const fields = deserialize(about.metadata.signature_def.value).signature_def.match.inputs;
  const unknown = songs.flatMap(Object.keys).filter((name) => !(name in fields));
  if (unknown.length) refuse("a song", `some of ${Object.keys(fields).join(", ")}`, unknown[0]);

  const inputs = {};
  for (const [name, info] of Object.entries(fields)) inputs[name] = tensor(name, info, songs.map((song) => song[name]));
  const { outputs } = await call("Predict", { model_spec, inputs });
  client.close();
  return rowsOf(outputs, songs.length);
}

/** Returns ids and scores of each song, without the blank places at the end of a row. */
function rowsOf({ song_ids, scores }, count) {
  const ids = song_ids.string_val.length ? song_ids.string_val.map(String) : song_ids.int64_val;
  if (ids.length !== scores.float_val.length) throw new Error("expected a score for each id, as typed values");
  const places = ids.map((id, at) => ({ id, score: scores.float_val[at] }));
  return Array.from({ length: count }, (_, row) => {
    const width = places.length / count;
    const found = places.slice(row * width, (row + 1) * width).filter(({ id }) => id !== "" && id !== "-1");
    return { song_ids: found.map(({ id }) => id), scores: found.map(({ score }) => score) };
  });
}

try {
  if (process.argv.length !== 3) refuse("arguments", "a file of songs", process.argv.slice(2));
  for (const row of await match(readSongs(process.argv[2]))) console.log(JSON.stringify(row));
} catch (error) {
  const isStatus = error.code in grpc.status;
  console.error(isStatus ? `${grpc.status[error.code]}: ${error.details}` : error.message);
  process.exitCode = isStatus ? 1 : 2;
  process.exit();
}
