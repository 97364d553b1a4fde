package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/health" // asks servers whether they are SERVING, as serviceConfig wants
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/resolver/dns"
)

// serviceConfig spreads calls over all servers that say they are SERVING, and repeats those that no server has answered or that a
// full one has refused, within their deadline. A server that refuses says when to come back, and gRPC waits until then; else it waits
// as long as the retry policy says.
const serviceConfig = `{
  "loadBalancingConfig": [{"round_robin": {}}],
  "healthCheckConfig": {"serviceName": ""},
  "methodConfig": [{
    "name": [{"service": "eyas.v1.ClassificationService", "method": "Classify"}],
    "retryPolicy": {
      "maxAttempts": 5,
      "initialBackoff": "0.05s",
      "maxBackoff": "0.5s",
      "backoffMultiplier": 2,
      "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED", "RESOURCE_EXHAUSTED"]
    }
  }]
}`

// maxRequestBytes is the most that a server takes. gRPC never repeats what does not fit its buffer, which is 256 KiB unless told.
const maxRequestBytes = 32 << 20

func init() {
	// A name is asked again when a server of its goes; gRPC's own 30 s are longer than it takes to replace all of them.
	dns.SetMinResolutionInterval(time.Second)
}

// Server says where the servers are, and with what they are called.
type Server struct {
	Address string // HOST:PORT, or dns:///NAME:PORT for all that the name has
	TLS     bool
	CA      string // PEM file of the authorities to trust, and implies TLS; "" is the system's
	Token   string // "" is none
}

// Connect returns a connection, to be closed; nothing is sent yet.
func Connect(server Server) (*grpc.ClientConn, error) {
	transport, err := server.transport()
	if err != nil {
		return nil, err
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithDefaultCallOptions(grpc.MaxRetryRPCBufferSize(maxRequestBytes)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		// gRPC's own goes up to two minutes, and a server that was replaced is back in seconds.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
	}
	if server.Token != "" {
		options = append(options, grpc.WithPerRPCCredentials(bearer{server.Token, isLocal(server.Address)}))
	}
	return grpc.NewClient(server.Address, options...)
}

func (server Server) transport() (credentials.TransportCredentials, error) {
	if server.CA == "" {
		if server.TLS {
			return credentials.NewTLS(&tls.Config{}), nil
		}
		return insecure.NewCredentials(), nil
	}
	pem, err := os.ReadFile(server.CA)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate in PEM: name the authority's", server.CA)
	}
	return credentials.NewTLS(&tls.Config{RootCAs: pool}), nil
}

// bearer is sent with every call. Without TLS gRPC refuses to send it, unless it stays on this machine.
type bearer struct {
	token string
	local bool
}

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + b.token}, nil
}

func (b bearer) RequireTransportSecurity() bool { return !b.local }

func isLocal(address string) bool {
	host, _, err := net.SplitHostPort(strings.TrimPrefix(address, "dns:///"))
	return err == nil && (host == "localhost" || net.ParseIP(host).IsLoopback())
}
