import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.protobuf.ByteString;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import tensorflow.DataType;
import tensorflow.TensorInfo;
import tensorflow.TensorProto;

/** Songs as tensors. */
final class Tensors {
  /** Returns a tensor for each field that the model has. A field that a song lacks is missing. */
  static Map<String, TensorProto> of(List<JsonObject> songs, Map<String, TensorInfo> fields) {
    for (JsonObject song : songs) {
      for (String name : song.keySet()) {
        check(fields.containsKey(name), "a song", "some of " + fields.keySet(), name);
      }
    }
    Map<String, TensorProto> inputs = new HashMap<>();
    fields.forEach(
        (name, info) -> {
          List<JsonElement> values = new ArrayList<>();
          songs.forEach(song -> values.add(Objects.requireNonNullElse(song.get(name), JsonNull.INSTANCE)));
          inputs.put(name, tensor(name, info, values));
        });
    return inputs;
  }

  /** Returns one field of all songs. `info` is what the model says of the field. */
  private static TensorProto tensor(String name, TensorInfo info, List<JsonElement> values) {
    TensorProto.Builder tensor = TensorProto.newBuilder().setDtype(info.getDtype());
    tensor.getTensorShapeBuilder().addDimBuilder().setSize(values.size());
    boolean isList = info.getTensorShape().getDimCount() == 2;
    if (isList) {
      values.forEach(value -> check(value.isJsonArray() || value.isJsonNull(), name, "a list", value));
      boolean isText = info.getDtype() == DataType.DT_STRING;
      int width = isText ? addWordLists(tensor, name, values) : addVectors(tensor, name, info, values);
      tensor.getTensorShapeBuilder().addDimBuilder().setSize(width);
      return tensor.build();
    }
    for (JsonElement value : values) {
      switch (info.getDtype()) {
        case DT_STRING -> tensor.addStringVal(word(name, value));
        case DT_FLOAT -> tensor.addFloatVal(number(name, value, Double.NaN).floatValue());
        case DT_INT32 -> tensor.addIntVal(number(name, value, 10).intValue()); // `k`
        default -> tensor.addInt64Val(number(name, value, -1).longValue()); // `exclude`, where ids are numbers
      }
    }
    return tensor.build();
  }

  /**
   * Pads lists to one length with "", which is a missing word. Each list begins with one, because a server that joins
   * requests fills up lists with their first word.
   */
  private static int addWordLists(TensorProto.Builder tensor, String name, List<JsonElement> values) {
    int width = 1;
    for (JsonElement value : values) {
      width = Math.max(width, value.isJsonNull() ? 1 : 1 + value.getAsJsonArray().size());
    }
    for (JsonElement value : values) {
      List<ByteString> row = new ArrayList<>(Collections.nCopies(width, ByteString.EMPTY));
      for (int at = 1; !value.isJsonNull() && at <= value.getAsJsonArray().size(); at++) {
        row.set(at, word(name, value.getAsJsonArray().get(at - 1)));
      }
      tensor.addAllStringVal(row);
    }
    return width;
  }

  /** Writes NaN, which is a missing number, for a vector that a song lacks. */
  private static int addVectors(TensorProto.Builder tensor, String name, TensorInfo info, List<JsonElement> values) {
    int width =
        values.stream()
            .filter(JsonElement::isJsonArray)
            .mapToInt(value -> value.getAsJsonArray().size())
            .findFirst()
            .orElse((int) info.getTensorShape().getDim(1).getSize());
    for (JsonElement value : values) {
      if (value.isJsonNull()) {
        tensor.addAllFloatVal(Collections.nCopies(width, Float.NaN));
        continue;
      }
      check(value.getAsJsonArray().size() == width, name, width + " numbers, as the first song has", value);
      value.getAsJsonArray().forEach(part -> tensor.addFloatVal(number(name, part, Double.NaN).floatValue()));
    }
    return width;
  }

  private static ByteString word(String name, JsonElement value) {
    boolean isText = value.isJsonPrimitive() && value.getAsJsonPrimitive().isString();
    check(isText || value.isJsonNull(), name, "a word", value);
    return isText ? ByteString.copyFromUtf8(value.getAsString()) : ByteString.EMPTY;
  }

  private static Number number(String name, JsonElement value, Number missing) {
    boolean isNumber = value.isJsonPrimitive() && value.getAsJsonPrimitive().isNumber();
    check(isNumber || value.isJsonNull(), name, "a number", value);
    return isNumber ? value.getAsNumber() : missing;
  }

  private static void check(boolean holds, String name, String expected, Object value) {
    if (!holds) {
      throw new IllegalArgumentException(name + ": expected " + expected + ". Received: " + value);
    }
  }

  private Tensors() {}
}
