import com.google.gson.Gson;
import com.google.gson.JsonObject;
import com.google.gson.JsonParseException;
import com.google.gson.JsonParser;
import io.grpc.ChannelCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.StatusRuntimeException;
import io.grpc.TlsChannelCredentials;
import io.grpc.stub.MetadataUtils;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.logging.Level;
import java.util.logging.Logger;
import tensorflow.TensorInfo;
import tensorflow.TensorProto;
import tensorflow.serving.GetModelMetadataRequest;
import tensorflow.serving.ModelSpec;
import tensorflow.serving.PredictRequest;
import tensorflow.serving.PredictionServiceGrpc;
import tensorflow.serving.PredictionServiceGrpc.PredictionServiceBlockingStub;
import tensorflow.serving.SignatureDefMap;

/**
 * Prints the songs that are most similar to those of a file, a line of JSON for each: `song_ids` and `scores`.
 *
 * <p>Settings: BCL_TARGET (localhost:8500), BCL_MODEL (bcl), BCL_TIMEOUT (10 seconds), BCL_CA (PEM file of the server's
 * authority; switches TLS on), BCL_TOKEN_FILE (file with the token).
 */
public final class Match {
  private static final Logger GRPC = Logger.getLogger("io.grpc");

  record Found(List<String> song_ids, List<Float> scores) {}

  public static void main(String[] args) {
    GRPC.setLevel(Level.WARNING);
    try {
      if (args.length != 1) {
        throw new IllegalArgumentException("expected a file of songs. Received: " + args.length + " arguments");
      }
      for (Found row : match(readSongs(Path.of(args[0])))) {
        System.out.println(new Gson().toJson(row));
      }
    } catch (StatusRuntimeException error) {
      String cause = error.getCause() == null ? "" : ": " + error.getCause().getMessage();
      System.err.println(error.getStatus().getCode() + ": " + error.getStatus().getDescription() + cause);
      System.exit(1);
    } catch (IllegalArgumentException error) {
      System.err.println(error.getMessage());
      System.exit(2);
    } catch (IOException error) {
      System.err.println(error);
      System.exit(2);
    }
  }

  static List<JsonObject> readSongs(Path path) throws IOException {
    List<JsonObject> songs = new ArrayList<>();
    try {
      JsonParser.parseString(Files.readString(path)).getAsJsonArray().forEach(song -> songs.add(song.getAsJsonObject()));
    } catch (JsonParseException | IllegalStateException error) {
      throw new IllegalArgumentException(path + ": expected a list of songs. " + error.getMessage());
    }
    if (songs.isEmpty()) {
      throw new IllegalArgumentException(path + ": expected a list of songs. Received: none");
    }
    return songs;
  }

  /** Asks the model which fields a song has, then for the songs most similar to each song. */
  static List<Found> match(List<JsonObject> songs) throws IOException {
    ManagedChannel channel = Grpc.newChannelBuilder(setting("BCL_TARGET", "localhost:8500"), credentials()).build();
    try {
      PredictionServiceBlockingStub stub =
          PredictionServiceGrpc.newBlockingStub(channel)
              .withInterceptors(MetadataUtils.newAttachHeadersInterceptor(headers()))
              .withDeadlineAfter(Duration.ofMillis((long) (1000 * Double.parseDouble(setting("BCL_TIMEOUT", "10")))));
      ModelSpec spec = ModelSpec.newBuilder().setName(setting("BCL_MODEL", "bcl")).setSignatureName("match").build();
      Map<String, TensorInfo> fields =
          stub.getModelMetadata(
                  GetModelMetadataRequest.newBuilder().setModelSpec(spec).addMetadataField("signature_def").build())
              .getMetadataOrThrow("signature_def")
              .unpack(SignatureDefMap.class)
              .getSignatureDefOrThrow("match")
              .getInputsMap();
      Map<String, TensorProto> outputs =
          stub.predict(
                  PredictRequest.newBuilder().setModelSpec(spec).putAllInputs(Tensors.of(songs, fields)).build())
              .getOutputsMap();
      return rows(outputs.get("song_ids"), outputs.get("scores"), songs.size());
    } finally {
      channel.shutdownNow();
    }
  }

  static ChannelCredentials credentials() throws IOException {
    String authority = setting("BCL_CA", "");
    return authority.isEmpty()
        ? InsecureChannelCredentials.create()
        : TlsChannelCredentials.newBuilder().trustManager(new File(authority)).build();
  }

  static Metadata headers() throws IOException {
    Metadata headers = new Metadata();
    String file = setting("BCL_TOKEN_FILE", "");
    if (!file.isEmpty()) {
      Metadata.Key<String> key = Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);
      headers.put(key, "Bearer " + Files.readString(Path.of(file)).trim());
    }
    return headers;
  }

  /** Returns the ids and scores of each song, without the blank places at the end of a row. */
  static List<Found> rows(TensorProto ids, TensorProto scores, int count) {
    List<String> names = new ArrayList<>();
    ids.getStringValList().forEach(id -> names.add(id.toStringUtf8()));
    ids.getInt64ValList().forEach(id -> names.add(id.toString()));
    if (names.size() != scores.getFloatValCount()) {
      throw new IllegalArgumentException("expected a score for each id, as typed values");
    }
    int width = names.size() / count;
    List<Found> rows = new ArrayList<>();
    for (int row = 0; row < count; row++) {
      Found found = new Found(new ArrayList<>(), new ArrayList<>());
      for (int at = row * width; at < (row + 1) * width; at++) {
        if (!names.get(at).isEmpty() && !names.get(at).equals("-1")) {
          found.song_ids().add(names.get(at));
          found.scores().add(scores.getFloatVal(at));
        }
      }
      rows.add(found);
    }
    return rows;
  }

  static String setting(String name, String otherwise) {
    return System.getenv().getOrDefault(name, otherwise);
  }

  private Match() {}
}
