// Match prints the songs that are most similar to those of a file, a line of JSON for each: song_ids and scores.
//
//	go run . songs.json
//
// Settings: BCL_TARGET (localhost:8500), BCL_MODEL (bcl), BCL_TIMEOUT (10 seconds), BCL_CA (PEM file of the server's
// authority; switches TLS on), BCL_TOKEN_FILE (file with the token).
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "example.com/match/protos"
)

type song map[string]json.RawMessage

type found struct {
	SongIDs []string  `json:"song_ids"`
	Scores  []float32 `json:"scores"`
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		if refusal, ok := status.FromError(err); ok {
			fmt.Fprintf(os.Stderr, "%s: %s\n", refusal.Code(), refusal.Message())
			os.Exit(1)
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("expected a file of songs. Received: %d arguments", len(args))
	}
	songs, err := readSongs(args[0])
	if err != nil {
		return err
	}
	seconds, err := strconv.ParseFloat(setting("BCL_TIMEOUT", "10"), 64)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(seconds*float64(time.Second)))
	defer cancel()
	if path := os.Getenv("BCL_TOKEN_FILE"); path != "" {
		token, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	connection, err := connect()
	if err != nil {
		return err
	}
	defer connection.Close()
	rows, err := match(ctx, pb.NewPredictionServiceClient(connection), songs)
	if err != nil {
		return err
	}
	for _, row := range rows {
		if err := json.NewEncoder(os.Stdout).Encode(row); err != nil {
			return err
		}
	}
	return nil
}

func connect() (*grpc.ClientConn, error) {
	secure := insecure.NewCredentials()
	if ca := os.Getenv("BCL_CA"); ca != "" {
		var err error
		if secure, err = credentials.NewClientTLSFromFile(ca, ""); err != nil {
			return nil, err
		}
	}
	return grpc.NewClient(setting("BCL_TARGET", "localhost:8500"), grpc.WithTransportCredentials(secure))
}

// match asks the model which fields a song has, then for the songs most similar to each song.
func match(ctx context.Context, client pb.PredictionServiceClient, songs []song) ([]found, error) {
	spec := &pb.ModelSpec{Name: setting("BCL_MODEL", "bcl"), SignatureName: "match"}
	about, err := client.GetModelMetadata(ctx, &pb.GetModelMetadataRequest{
		ModelSpec: spec, MetadataField: []string{"signature_def"},
	})
	if err != nil {
		return nil, err
	}
	var signatures pb.SignatureDefMap
	if err := about.Metadata["signature_def"].UnmarshalTo(&signatures); err != nil {
		return nil, err
	}
	inputs, err := tensors(songs, signatures.SignatureDef["match"].GetInputs())
	if err != nil {
		return nil, err
	}
	reply, err := client.Predict(ctx, &pb.PredictRequest{ModelSpec: spec, Inputs: inputs})
	if err != nil {
		return nil, err
	}
	return rows(reply.Outputs["song_ids"], reply.Outputs["scores"], len(songs))
}

// rows returns the ids and scores of each song, without the blank places at the end of a row.
func rows(ids, scores *pb.TensorProto, count int) ([]found, error) {
	var names []string
	for _, id := range ids.GetStringVal() {
		names = append(names, string(id))
	}
	for _, id := range ids.GetInt64Val() {
		names = append(names, fmt.Sprint(id))
	}
	if len(names) != len(scores.GetFloatVal()) {
		return nil, errors.New("expected a score for each id, as typed values")
	}
	result := make([]found, count)
	for row := range result {
		result[row] = found{SongIDs: []string{}, Scores: []float32{}}
		for at := row * len(names) / count; at < (row+1)*len(names)/count; at++ {
			if names[at] != "" && names[at] != "-1" {
				result[row].SongIDs = append(result[row].SongIDs, names[at])
				result[row].Scores = append(result[row].Scores, scores.FloatVal[at])
			}
		}
	}
	return result, nil
}

func readSongs(path string) ([]song, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var songs []song
	if err := json.Unmarshal(text, &songs); err != nil {
		return nil, fmt.Errorf("%s: expected a list of songs. %w", path, err)
	}
	if len(songs) == 0 {
		return nil, fmt.Errorf("%s: expected a list of songs. Received: none", path)
	}
	return songs, nil
}

func setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}
