// Compare sends the same generated requests, by seed, to quorate and to etcd and
// reports every answer that differs, errors included. Ids of clusters and
// members, raft terms and remaining times are normalized; revisions, keys,
// values, counts, events and error texts are not.
//
//	go run . --requests 10000 --seed 1
package main

import (
	"context"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"google.golang.org/grpc"
)

func main() {
	requests := flag.Int("requests", 10000, "requests to send")
	seed := flag.Uint64("seed", 1, "of the generator")
	binary := flag.String("binary", "", "the quorate binary; empty: build it from the checkout")
	endpoint := flag.String("endpoint", "", "a running, empty quorate instead of a new one, as http://host:port")
	self := flag.Bool("etcd-against-etcd", false, "compare etcd with a second etcd: shows what the normalization must hide")
	show := flag.Int("show", 20, "differences to print")
	flag.Parse()
	n, err := run(*requests, *seed, *binary, *endpoint, *self, *show)
	if err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
	if n > 0 {
		fmt.Fprintf(os.Stderr, "compare: %d of %d answers differ; the same again: --seed %d --requests %d\n", n, *requests, *seed, *requests)
		os.Exit(1)
	}
	fmt.Printf("%d requests of seed %d: all answers equal\n", *requests, *seed)
}

func run(requests int, seed uint64, binary, endpoint string, self bool, show int) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute+time.Duration(requests)*20*time.Millisecond)
	defer cancel()
	dir, err := os.MkdirTemp("", "quorate-compare-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	reference, stop, err := startEtcd(filepath.Join(dir, "etcd"))
	if err != nil {
		return 0, fmt.Errorf("starting etcd: %w", err)
	}
	defer stop()
	switch {
	case self:
		var stop func()
		if endpoint, stop, err = startEtcd(filepath.Join(dir, "etcd2")); err != nil {
			return 0, fmt.Errorf("starting the second etcd: %w", err)
		}
		defer stop()
	case endpoint == "":
		var stop func()
		if endpoint, stop, err = startQuorate(ctx, dir, binary); err != nil {
			return 0, fmt.Errorf("starting quorate: %w", err)
		}
		defer stop()
	}
	theirs, err := dial(reference)
	if err != nil {
		return 0, err
	}
	defer theirs.close()
	ours, err := dial(endpoint)
	if err != nil {
		return 0, err
	}
	defer ours.close()
	if err := awaitServing(ctx, theirs, ours); err != nil {
		return 0, err
	}
	return compareAll(ctx, newGenerator(seed), requests, theirs, ours, show)
}

// startEtcd runs one etcd member in this process.
func startEtcd(dir string) (endpoint string, stop func(), err error) {
	client, err := freeURL()
	if err != nil {
		return "", nil, err
	}
	peer, err := freeURL()
	if err != nil {
		return "", nil, err
	}
	c := embed.NewConfig()
	c.Name, c.Dir, c.LogLevel = "reference", dir, "panic" // refused requests are wanted here
	c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	e, err := embed.StartEtcd(c)
	if err != nil {
		return "", nil, err
	}
	<-e.Server.ReadyNotify()
	return client.String(), e.Close, nil
}

// startQuorate runs one quorate member as a process of its own.
func startQuorate(ctx context.Context, dir, binary string) (endpoint string, stop func(), err error) {
	if binary == "" {
		binary = filepath.Join(dir, "quorate")
		build := exec.CommandContext(ctx, "go", "build", "-o", binary, "./cmd/quorate")
		build.Dir, build.Env = "..", append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return "", nil, fmt.Errorf("building: %w\n%s", err, out)
		}
	}
	client, err := freeURL()
	if err != nil {
		return "", nil, err
	}
	peer, err := freeURL()
	if err != nil {
		return "", nil, err
	}
	log, err := os.Create(filepath.Join(dir, "quorate.log"))
	if err != nil {
		return "", nil, err
	}
	cmd := exec.Command(binary, "serve", "--name", "ours", "--data-dir", filepath.Join(dir, "data"),
		"--listen-client-urls", client.String(), "--advertise-client-urls", client.String(),
		"--listen-peer-urls", peer.String(), "--initial-advertise-peer-urls", peer.String(),
		"--initial-cluster", "ours="+peer.String())
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // it never outlives this program
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	return client.String(), func() {
		cmd.Process.Signal(os.Interrupt)
		cmd.Wait()
		log.Close()
	}, nil
}

// store is one of the two sides.
type store struct {
	client *clientv3.Client
	conn   *grpc.ClientConn
}

func dial(endpoint string) (*store, error) {
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: 10 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", endpoint, err)
	}
	return &store{client: c, conn: c.ActiveConnection()}, nil
}

func (s *store) close() { s.client.Close() }

// awaitServing waits for a linearizable read on both sides.
func awaitServing(ctx context.Context, stores ...*store) error {
	for _, s := range stores {
		for {
			c, cancel := context.WithTimeout(ctx, time.Second)
			_, err := s.client.Get(c, "none")
			cancel()
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				return fmt.Errorf("it does not serve: %w", err)
			}
		}
	}
	return nil
}
