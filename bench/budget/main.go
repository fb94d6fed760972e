// Budget measures the parts of a put by themselves, as processor time per put,
// so that it is known what the sum should be and what is left:
//
//	gRPC that does nothing + 3 × (log append + sync) + 3 × apply + the rest
//
// The whole is measured by ../load; give its server CPU per put with --total.
//
//	go run ./budget --total 127
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/kv"
	"github.com/quorate/quorate/kv/engine/pebble"
	"github.com/quorate/quorate/kv/mvcc"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/rsm"
	"github.com/quorate/quorate/vfs"
	"github.com/quorate/quorate/wal"
	"github.com/quorate/quorate/wire"
)

func main() {
	total := flag.Float64("total", 0, "server CPU per put over all members, in µs, as ../load measured it")
	puts := flag.Int("puts", 200_000, "puts per part")
	batch := flag.Int("batch", 64, "puts that share an fsync and an apply")
	server := flag.String("nothing", "", "") // this program again, as the server that does nothing
	flag.Parse()
	if *server != "" {
		nothing(*server)
		return
	}
	if err := run(*puts, *batch, *total); err != nil {
		fmt.Fprintln(os.Stderr, "budget:", err)
		os.Exit(1)
	}
}

func run(puts, batch int, total float64) error {
	dir, err := os.MkdirTemp("", "quorate-budget-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	edge, err := measureEdge(puts)
	if err != nil {
		return fmt.Errorf("the server that does nothing: %w", err)
	}
	log, err := measureLog(dir+"/log", puts, batch)
	if err != nil {
		return fmt.Errorf("the log: %w", err)
	}
	apply, err := measureApply(dir+"/store", puts, batch)
	if err != nil {
		return fmt.Errorf("the store: %w", err)
	}
	fmt.Printf("| part of a put, %d puts in batches of %d, 256-byte values | CPU µs |\n|---|---|\n", puts, batch)
	fmt.Printf("| a gRPC server that does nothing | %.1f |\n", edge)
	fmt.Printf("| append to the log and sync | 3 × %.1f |\n", log)
	fmt.Printf("| apply to the store (Pebble, new keys) | 3 × %.1f |\n", apply)
	sum := edge + 3*log + 3*apply
	if total > 0 {
		fmt.Printf("| the rest: raft, transport, hand-overs, forwarding, garbage collection | %.1f |\n", total-sum)
		fmt.Printf("| **all of it, three members, from ../load** | **%.1f** |\n", total)
	} else {
		fmt.Printf("| **sum of the parts** | **%.1f** |\n", sum)
	}
	return nil
}

// own is the processor time this process has used.
func own() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func each(d time.Duration, puts int) float64 {
	return float64(d) / float64(time.Microsecond) / float64(puts)
}

func entry(i int, data []byte) raft.Entry {
	e := raft.Entry{Term: 1, Index: id.Index(i), Kind: raft.EntryCommand, Data: data,
		Proposal: raft.ProposalID{Origin: id.NodeID{Node: 1}, Sequence: uint64(i)}}
	wire.Seal(&e)
	return e
}

func command(i int) ([]byte, error) {
	key := fmt.Sprintf("/bench/%026d", uint64(i)*2654435761%100_000_000_000)
	return (&kv.Command{RequestID: uint64(i), Op: kv.Op{Put: &mvcc.PutRequest{Key: []byte(key), Value: make([]byte, 256)}}}).Encode()
}

func measureLog(dir string, puts, batch int) (float64, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, err
	}
	log, _, err := wal.Open(vfs.OS(dir), ".", wal.Options{Identity: 1})
	if err != nil {
		return 0, err
	}
	defer log.Close()
	var spent time.Duration
	for i := 0; i < puts; i += batch {
		entries := make([]raft.Entry, batch)
		for j := range entries {
			data, err := command(i + j)
			if err != nil {
				return 0, err
			}
			entries[j] = entry(i+j+1, data)
		}
		before := own()
		if err := log.Append([]wal.Record{{Group: 1, Kind: wal.RecordAppend, Hard: raft.HardState{Term: 1}, Entries: entries}}); err != nil {
			return 0, err
		}
		if err := log.Sync(); err != nil {
			return 0, err
		}
		spent += own() - before
	}
	return each(spent, puts), nil
}

func measureApply(dir string, puts, batch int) (float64, error) {
	e, err := pebble.Open(dir, pebble.Options{})
	if err != nil {
		return 0, err
	}
	store := kv.NewStore(e, kv.Options{})
	defer store.Close()
	if _, _, err := store.Open(); err != nil {
		return 0, err
	}
	var results []rsm.Result
	commands := make([]rsm.Command, batch)
	var spent time.Duration
	for i := 0; i < puts; i += batch {
		for j := range commands {
			data, err := command(i + j)
			if err != nil {
				return 0, err
			}
			commands[j] = rsm.Command{Index: id.Index(i + j + 1), Term: 1, Data: data}
		}
		before := own()
		if results, err = store.Apply(rsm.Batch{Commands: commands, Applied: id.Index(i + batch), Term: 1}, results[:0]); err != nil {
			return 0, err
		}
		spent += own() - before
	}
	before := own() // compactions that are still owed
	if err := store.Flush(); err != nil {
		return 0, err
	}
	return each(spent+own()-before, puts), nil
}

// nothing serves Put and does nothing, on the address given.
func nothing(address string) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	s := grpc.NewServer()
	pb.RegisterKVServer(s, idle{})
	go func() { // ends with the program that started it
		var b [1]byte
		os.Stdin.Read(b[:])
		fmt.Println(own().Nanoseconds())
		os.Exit(0)
	}()
	s.Serve(l)
}

type idle struct{ pb.UnimplementedKVServer }

func (idle) Put(context.Context, *pb.PutRequest) (*pb.PutResponse, error) {
	return &pb.PutResponse{Header: &pb.ResponseHeader{Revision: 1}}, nil
}

func measureEdge(puts int) (float64, error) {
	server, err := startNothing()
	if err != nil {
		return 0, err
	}
	var conns []*clientv3.Client
	for range 100 {
		c, err := clientv3.New(clientv3.Config{Endpoints: []string{server.address}, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
		if err != nil {
			return 0, err
		}
		defer c.Close()
		conns = append(conns, c)
	}
	value := strings.Repeat("v", 256)
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	for i := range 1000 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for n := next.Add(1); n <= int64(puts) && failed.Load() == nil; n = next.Add(1) {
				if _, err := conns[i%len(conns)].Put(context.Background(), fmt.Sprintf("/bench/%026d", n), value); err != nil {
					failed.Store(&err)
				}
			}
		}()
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	spent, err := server.stop()
	return each(spent, puts), err
}
