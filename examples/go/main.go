// Command classify labels pictures with Eyas, and prints a line for each as it is answered.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc/status"

	"example.com/classify/eyasv1"
)

const inFlight = 8 // one request at a time would leave all servers but one idle

func main() {
	server := Server{Token: os.Getenv("EYAS_TOKEN")}
	address := os.Getenv("EYAS_ADDRESS")
	if address == "" {
		address = "127.0.0.1:50051"
	}
	flag.StringVar(&server.Address, "address", address, "`HOST:PORT`, or dns:///NAME:PORT for all servers that the name has [EYAS_ADDRESS]")
	flag.BoolVar(&server.TLS, "tls", false, "encrypt, and check the server's certificate")
	flag.StringVar(&server.CA, "ca", "", "PEM `FILE` of the authority to trust; implies -tls")
	timeout := flag.Duration("timeout", 10*time.Second, "deadline of a call, its repetitions included")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: classify [flags] MODEL PICTURE...   (a bearer token: EYAS_TOKEN)")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() < 2 {
		flag.Usage()
		os.Exit(2)
	}
	// A signal ends the calls in flight; what was answered is printed, and the connection closed.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, server, "models/"+flag.Arg(0), flag.Args()[1:], *timeout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "classify:", err)
		os.Exit(1)
	}
}

// answer is what became of one picture.
type answer struct {
	name string
	best *eyasv1.Prediction
	err  error
}

func run(ctx context.Context, server Server, model string, names []string, timeout time.Duration) error {
	connection, err := Connect(server)
	if err != nil {
		return err
	}
	defer connection.Close()
	client := eyasv1.NewClassificationServiceClient(connection)

	waiting, answers := make(chan string), make(chan answer)
	var workers sync.WaitGroup
	for range min(inFlight, len(names)) {
		workers.Go(func() {
			for name := range waiting {
				best, err := classify(ctx, client, model, name, timeout)
				answers <- answer{name, best, err}
			}
		})
	}
	go func() {
		for _, name := range names {
			waiting <- name
		}
		close(waiting)
		workers.Wait()
		close(answers)
	}()

	failed := 0
	for answer := range answers {
		if answer.err != nil {
			failed++
			fmt.Printf("%s\t%v\n", answer.name, answer.err)
			continue
		}
		fmt.Printf("%s\t%s\t%.4f\n", answer.name, answer.best.GetLabel(), answer.best.GetProbability())
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d pictures have no label", failed, len(names))
	}
	return nil
}

// classify returns a picture's most probable label. A request may hold up to 64 pictures; each has a result or an error of its own.
func classify(
	ctx context.Context, client eyasv1.ClassificationServiceClient, model, name string, timeout time.Duration,
) (*eyasv1.Prediction, error) {
	content, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	response, err := client.Classify(ctx, &eyasv1.ClassifyRequest{Model: model, Images: []*eyasv1.Image{{Content: content}}})
	if err != nil {
		return nil, err
	}
	result := response.GetResults()[0]
	if result.GetError() != nil {
		return nil, status.ErrorProto(result.GetError())
	}
	return result.GetClassification().GetPredictions()[0], nil
}
