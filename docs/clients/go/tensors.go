package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	pb "example.com/match/protos"
)

// tensors returns a tensor for each field that the model has. A field that a song lacks is missing.
func tensors(songs []song, fields map[string]*pb.TensorInfo) (map[string]*pb.TensorProto, error) {
	for _, one := range songs {
		for name := range one {
			if fields[name] == nil {
				known := strings.Join(slices.Sorted(maps.Keys(fields)), ", ")
				return nil, fmt.Errorf("%s: the model has no such field. It has %s", name, known)
			}
		}
	}
	inputs := map[string]*pb.TensorProto{}
	for name, info := range fields {
		values := make([]json.RawMessage, len(songs))
		for row, one := range songs {
			values[row] = one[name]
		}
		tensor, err := tensorOf(name, info, values)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		inputs[name] = tensor
	}
	return inputs, nil
}

// tensorOf returns one field of all songs. info is what the model says of the field.
func tensorOf(name string, info *pb.TensorInfo, values []json.RawMessage) (*pb.TensorProto, error) {
	tensor := &pb.TensorProto{Dtype: info.Dtype}
	isList := len(info.TensorShape.GetDim()) == 2
	width := 1
	var err error
	switch {
	case info.Dtype == pb.DataType_DT_STRING && isList:
		width, err = addWordLists(tensor, values)
	case info.Dtype == pb.DataType_DT_STRING:
		tensor.StringVal, err = each(values, []byte{}, func(word string) []byte { return []byte(word) })
	case info.Dtype == pb.DataType_DT_FLOAT && isList:
		width, err = addVectors(tensor, values, int(info.TensorShape.Dim[1].Size))
	case info.Dtype == pb.DataType_DT_FLOAT:
		tensor.FloatVal, err = each(values, float32(math.NaN()), func(number float32) float32 { return number })
	case name == "k":
		tensor.IntVal, err = each(values, 10, func(number int32) int32 { return number })
	default: // `exclude`, where the ids of songs are numbers
		tensor.Int64Val, err = each(values, -1, func(number int64) int64 { return number })
	}
	sizes := []int{len(values)}
	if isList {
		sizes = append(sizes, width)
	}
	tensor.TensorShape = &pb.TensorShapeProto{}
	for _, size := range sizes {
		tensor.TensorShape.Dim = append(tensor.TensorShape.Dim, &pb.TensorShapeProto_Dim{Size: int64(size)})
	}
	return tensor, err
}

// each reads a value for each song. Null, or nothing, is read as missing.
func each[Read, Sent any](values []json.RawMessage, missing Sent, convert func(Read) Sent) ([]Sent, error) {
	sent := make([]Sent, len(values))
	for row, text := range values {
		var value *Read
		if len(text) > 0 {
			if err := json.Unmarshal(text, &value); err != nil {
				return nil, err
			}
		}
		sent[row] = missing
		if value != nil {
			sent[row] = convert(*value)
		}
	}
	return sent, nil
}

// addWordLists pads lists to one length with "", which is a missing word. Each list begins with one, because a server
// that joins requests fills up lists with their first word.
func addWordLists(tensor *pb.TensorProto, values []json.RawMessage) (int, error) {
	lists, err := each(values, nil, func(words []string) []string { return words })
	width := 1
	for _, words := range lists {
		width = max(width, 1+len(words))
	}
	for _, words := range lists {
		row := make([][]byte, width)
		for at, word := range words {
			row[1+at] = []byte(word)
		}
		tensor.StringVal = append(tensor.StringVal, row...)
	}
	return width, err
}

// addVectors writes NaN, which is a missing number, for a vector that a song lacks.
func addVectors(tensor *pb.TensorProto, values []json.RawMessage, width int) (int, error) {
	vectors, err := each(values, nil, func(numbers []float32) []float32 { return numbers })
	for _, vector := range vectors {
		if vector != nil {
			width = len(vector)
			break
		}
	}
	for _, vector := range vectors {
		if vector == nil {
			vector = slices.Repeat([]float32{float32(math.NaN())}, width)
		}
		if len(vector) != width {
			return 0, fmt.Errorf("expected %d numbers, as the first song has. Received: %d", width, len(vector))
		}
		tensor.FloatVal = append(tensor.FloatVal, vector...)
	}
	return width, err
}
