// Load drives the same load on quorate and on etcd, three members each, in turns
// (A B A B …), and prints throughput, latency, server CPU per operation and
// memory side by side, with ratios. Load and servers share this machine: the
// ratios and the CPU seconds say something, the absolute times little.
//
//	go run ./load --rounds 3 --seconds 5 --keys 100000
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/quorate/quorate/bench/internal/cluster"
)

type options struct {
	rounds, keys, value int
	seconds             time.Duration
	binary              string
}

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", 3, "turns per system")
	flag.DurationVar(&o.seconds, "seconds", 5*time.Second, "time per measurement")
	flag.IntVar(&o.keys, "keys", 1_000_000, "keys to load before the restart")
	flag.IntVar(&o.value, "value", 256, "bytes of a value")
	flag.StringVar(&o.binary, "binary", "", "the quorate binary; empty: build it from the checkout")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(o.rounds)*2*(6*o.seconds+5*time.Minute))
	defer cancel()
	dir, err := os.MkdirTemp("", "quorate-load-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	progress("building both servers")
	etcd, err := cluster.BuildEtcd(ctx, dir)
	if err != nil {
		return err
	}
	if o.binary == "" {
		if o.binary, err = cluster.BuildQuorate(ctx, dir); err != nil {
			return err
		}
	}
	average, _ := os.ReadFile("/proc/loadavg")
	fmt.Printf("%d cores, load average before: %s%d-byte values, 33-byte keys, fsync on, 3 members, %d rounds of %v\n\n",
		runtime.NumCPU(), average, o.value, o.rounds, o.seconds)
	systems := []*system{
		{name: "etcd", command: []string{etcd}},
		{name: "quorate", command: []string{o.binary, "serve"}},
	}
	for round := range o.rounds {
		for _, s := range systems {
			s.dir = filepath.Join(dir, fmt.Sprint(s.name, round))
			if err := os.Mkdir(s.dir, 0o700); err != nil {
				return err
			}
			progress("round %d of %d: %s", round+1, o.rounds, s.name)
			if err := s.turn(ctx, o); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			os.RemoveAll(s.dir)
		}
	}
	table(systems[0], systems[1])
	return nil
}

// system is one of the two, with what was measured of it.
type system struct {
	name    string
	command []string
	dir     string
	rows    []*row
}

// row is one measurement over all rounds.
type row struct {
	name    string
	samples []sample
}

type sample struct {
	perSecond float64
	p50, p99  time.Duration
	cpu       time.Duration // of all members, per operation
	rss       float64       // MiB, mean of the members at the end
	alone     time.Duration // a row that is one duration only
}

func (s *system) add(name string, m sample) {
	for _, r := range s.rows {
		if r.name == name {
			r.samples = append(r.samples, m)
			return
		}
	}
	s.rows = append(s.rows, &row{name: name, samples: []sample{m}})
}

// turn measures everything once on a fresh cluster.
func (s *system) turn(ctx context.Context, o options) error {
	p, err := cluster.NewProcesses(s.command, s.dir, 3)
	if err != nil {
		return err
	}
	defer p.Stop(syscall.SIGKILL)
	if err := p.Start(ctx); err != nil {
		return err
	}
	for _, m := range []struct {
		name    string
		clients int
		op      operation
	}{
		{"put, 1 client", 1, put}, {"put, 1000 clients", 1000, put},
		{"range, 1 client", 1, get}, {"range, 1000 clients", 1000, get},
	} {
		result, err := measure(ctx, p, m.clients, o.seconds, 0, o.value, m.op)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		progress("  %-20s %8.0f/s", m.name, result.perSecond)
		s.add(m.name, result)
	}
	if o.keys == 0 {
		return nil
	}
	name := fmt.Sprintf("load of %d keys", o.keys)
	result, err := measure(ctx, p, 1000, 0, o.keys, o.value, put)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	progress("  %-20s %8.0f/s", name, result.perSecond)
	s.add(name, result)
	p.Stop(syscall.SIGTERM)
	began := time.Now()
	if err := p.Start(ctx); err != nil {
		return err
	}
	s.add("restart with them", sample{alone: time.Since(began), rss: memory(p)})
	return nil
}

func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, strings.TrimRight(format, "\n")+"\n", args...)
}
