// Failover kills the leader of a running cluster again and again under load and
// checks what the clients saw: how long no write was acknowledged, and that no
// acknowledged write is missing, no acknowledged revision goes back, and every
// watcher sees every event once.
//
//	go run ./failover --binary ../bin/quorate
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/quorate/quorate/bench/internal/cluster"
)

func main() {
	binary := flag.String("binary", "", "the quorate binary; empty: build it from the checkout")
	kills := flag.Int("kills", 20, "how often the leader is killed")
	writers := flag.Int("writers", 16, "closed-loop writers over all endpoints")
	watchers := flag.Int("watchers", 3, "watchers of everything that is written")
	how := flag.String("how", "kill", "kill: SIGKILL to the leader; stop: SIGTERM to the leader; all: SIGKILL to every member at once")
	worst := flag.Duration("worst", 0, "longest gap without an acknowledged write that passes; 0: 1s for kill, 100ms for stop, 10s for all")
	flag.Parse()
	if err := run(*binary, *kills, *writers, *watchers, *how, *worst); err != nil {
		fmt.Fprintln(os.Stderr, "failover:", err)
		os.Exit(1)
	}
}

func run(binary string, kills, writers, watchers int, how string, worst time.Duration) error {
	limits := map[string]time.Duration{"kill": time.Second, "stop": 100 * time.Millisecond, "all": 10 * time.Second}
	limit, ok := limits[how]
	if !ok {
		return fmt.Errorf("--how %q is none of kill, stop, all", how)
	}
	if worst != 0 {
		limit = worst
	}
	dir, err := os.MkdirTemp("", "quorate-failover-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if binary == "" {
		if binary, err = cluster.BuildQuorate(context.Background(), dir); err != nil {
			return err
		}
	}
	load, _ := os.ReadFile("/proc/loadavg")
	fmt.Printf("load average before the start: %s", load)
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(kills)*20*time.Second+time.Minute)
	defer cancel()
	c, err := cluster.Start(ctx, binary, dir, 3, "--restart-after", "500ms")
	if err != nil {
		return err
	}
	defer c.Stop()
	l, err := startLoad(ctx, c, writers, watchers)
	if err != nil {
		return err
	}
	var gaps []time.Duration
	for i := 1; i <= kills; i++ {
		gap, who, err := strike(ctx, c, l, how)
		if err != nil {
			return fmt.Errorf("round %d: %w", i, err)
		}
		gaps = append(gaps, gap)
		fmt.Printf("%2d/%d  %-6s  no acknowledged write for %4d ms\n", i, kills, who, gap.Milliseconds())
	}
	problems := l.finish(ctx)
	slices.Sort(gaps)
	fmt.Printf("gap: median %d ms, worst %d ms; %s\n", gaps[len(gaps)/2].Milliseconds(), gaps[len(gaps)-1].Milliseconds(), l.summary())
	if how == "stop" && l.failed() > 0 {
		problems = append(problems, fmt.Sprintf("%d writes failed although every stop was clean", l.failed()))
	}
	if gaps[len(gaps)-1] > limit {
		problems = append(problems, fmt.Sprintf("the worst gap is over %v", limit))
	}
	if len(problems) > 0 {
		return fmt.Errorf("%d problems:\n  %s", len(problems), strings.Join(problems[:min(20, len(problems))], "\n  "))
	}
	fmt.Println("nothing acknowledged is missing, no acknowledged revision went back, every watcher saw every event once")
	return nil
}

// strike hits once and returns the longest span without an acknowledged write
// from then until the cluster is whole again.
func strike(ctx context.Context, c *cluster.Cluster, l *load, how string) (time.Duration, string, error) {
	if err := c.WaitServing(ctx, 3); err != nil {
		return 0, "", err
	}
	l.settle(ctx)
	members, err := c.Members()
	if err != nil {
		return 0, "", err
	}
	victims, signal := members, syscall.SIGKILL
	if how != "all" {
		leader, err := c.Leader(ctx)
		if err != nil {
			return 0, "", err
		}
		victims = []cluster.Member{leader}
	}
	if how == "stop" {
		signal = syscall.SIGTERM
	}
	at := time.Now()
	var names []string
	for _, v := range victims {
		if err := syscall.Kill(v.PID, signal); err != nil {
			return 0, "", fmt.Errorf("signalling %s (pid %d): %w", v.Name, v.PID, err)
		}
		names = append(names, v.Name)
	}
	if err := waitReplaced(ctx, c, victims); err != nil {
		return 0, "", err
	}
	if err := c.WaitServing(ctx, 3); err != nil {
		return 0, "", err
	}
	l.settle(ctx)
	return l.longestGap(at), strings.Join(names, ","), nil
}

// waitReplaced waits until cluster.json names new processes for the victims.
func waitReplaced(ctx context.Context, c *cluster.Cluster, victims []cluster.Member) error {
	for ctx.Err() == nil {
		members, err := c.Members()
		if err == nil {
			replaced := 0
			for _, m := range members {
				for _, v := range victims {
					if m.Name == v.Name && m.PID != v.PID && m.PID != 0 {
						replaced++
					}
				}
			}
			if replaced == len(victims) {
				return nil
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("the members were not restarted: %w", ctx.Err())
}
