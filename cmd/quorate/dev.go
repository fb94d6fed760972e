package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

const (
	devMembersMax   = 9
	devPortStep     = 100 // client ports are 2379, 2479, 2579, …; peer ports one higher
	devStartLimit   = 60 * time.Second
	devServePolling = 50 * time.Millisecond
	clusterFileName = "cluster.json"
)

// devOptions are dev's flags.
type devOptions struct {
	members      int
	dir          string
	clientPort   int
	restartAfter time.Duration
	keep         bool
	serve        []string // further flags for every member
}

func newDev() *cobra.Command {
	o := devOptions{}
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Start a whole cluster on this machine",
		Long: `dev starts a cluster on this machine, each member a process of its own, and ends
it with Ctrl-C. Kill a member and see: dev starts it again.

  quorate dev
  quorate dev --members 5 --dir /tmp/five --keep
  quorate dev -- --heartbeat-interval 100     flags of serve, for every member

DIR/cluster.json always lists the members as [{name, pid, clientURL, peerURL}]; a
member that is down has pid null. Each member logs to DIR/NAME.log. Started again
over the same --dir, the members resume with their data.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if n := cmd.ArgsLenAtDash(); n > 0 || n < 0 && len(args) > 0 {
				return usagef("'quorate dev' takes no arguments; flags for every member go behind --, as in: quorate dev -- --retain-bytes 1048576")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.serve = args
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return dev(ctx, o, cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.members, "members", 3, "how many members, 1 to 9; an odd number survives more failures per member")
	f.StringVar(&o.dir, "dir", "", "where the data goes (default: a fresh directory, removed at the end)")
	f.IntVar(&o.clientPort, "client-port", 2379, "client port of the first member; the next ones are 100 apart, peer ports one higher")
	f.DurationVar(&o.restartAfter, "restart-after", 2*time.Second, "start a member that died again after this time; 0: never")
	f.BoolVar(&o.keep, "keep", false, "keep the fresh directory at the end")
	return cmd
}

func (o devOptions) validate() error {
	if o.members < 1 || o.members > devMembersMax {
		return usagef("--members %d must be 1 to %d", o.members, devMembersMax)
	}
	if last := o.clientPort + devPortStep*(o.members-1) + 1; o.clientPort < 1 || last > 65535 {
		return usagef("--client-port %d leaves no room for %d members: the last port would be %d", o.clientPort, o.members, last)
	}
	if o.restartAfter < 0 {
		return usagef("--restart-after %s must not be negative; 0 means never", o.restartAfter)
	}
	return nil
}

// dev runs until ctx is done. Everything it started is gone when it returns.
func dev(ctx context.Context, o devOptions, out io.Writer) (err error) {
	if err := o.validate(); err != nil {
		return err
	}
	fresh := o.dir == ""
	if fresh {
		if o.dir, err = os.MkdirTemp("", "quorate-dev-"); err != nil {
			return fmt.Errorf("no directory for the data: %w; give one with --dir", err)
		}
	} else if err := os.MkdirAll(o.dir, 0o700); err != nil {
		return fmt.Errorf("--dir: %w", err)
	}
	defer func() {
		if fresh && !o.keep && err == nil {
			os.RemoveAll(o.dir)
		} else if fresh {
			fmt.Fprintf(out, "the data stays in %s\n", o.dir)
		}
	}()
	members := devMembers(o)
	if err := sameCluster(o.dir, members); err != nil {
		return err
	}
	if err := portsFree(members); err != nil {
		return err
	}
	binary, err := os.Executable()
	if err != nil {
		return fmt.Errorf("cannot find this program to start members with: %w", err)
	}
	s, err := startSupervisor(supervisorOptions{
		binary: binary, members: members, clusterFile: filepath.Join(o.dir, clusterFileName), restartAfter: o.restartAfter, out: out,
	})
	if err != nil {
		return err
	}
	defer s.stop()
	if err := waitServing(ctx, s, members); err != nil {
		if ctx.Err() != nil {
			return nil // Ctrl-C while starting is not a failure
		}
		return err
	}
	printCluster(out, o, members, s.pids(), fresh)
	for {
		select {
		case <-ctx.Done():
			fmt.Fprintln(out, "\nstopping the members")
			return nil
		case err := <-s.failed: // the others go on
			fmt.Fprintf(out, "%v; it stays down\n", err)
		}
	}
}

// devMembers lays out names, ports, directories and command lines.
func devMembers(o devOptions) []devMember {
	members := make([]devMember, o.members)
	var initial []string
	for i := range members {
		port := o.clientPort + devPortStep*i
		m := &members[i]
		m.Name = fmt.Sprintf("m%d", i+1)
		m.ClientURL = fmt.Sprintf("http://127.0.0.1:%d", port)
		m.PeerURL = fmt.Sprintf("http://127.0.0.1:%d", port+1)
		m.log = filepath.Join(o.dir, m.Name+".log")
		m.dataDir = filepath.Join(o.dir, m.Name)
		initial = append(initial, m.Name+"="+m.PeerURL)
	}
	for i := range members {
		m := &members[i]
		m.args = []string{
			"serve",
			"--name", m.Name,
			"--data-dir", m.dataDir,
			"--listen-client-urls", m.ClientURL,
			"--listen-peer-urls", m.PeerURL,
			"--initial-cluster", strings.Join(initial, ","),
			"--initial-cluster-token", "quorate-dev",
		}
		m.args = append(m.args, o.serve...)
	}
	return members
}

// sameCluster refuses to go on with a directory under other addresses: the members
// know each other by those of the first start.
func sameCluster(dir string, members []devMember) error {
	text, err := os.ReadFile(filepath.Join(dir, clusterFileName))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	var before []devMember
	if err == nil {
		err = json.Unmarshal(text, &before)
	}
	if err != nil {
		return fmt.Errorf("%s cannot be read (%w); use another --dir", filepath.Join(dir, clusterFileName), err)
	}
	same := func(a, b devMember) bool {
		return a.Name == b.Name && a.ClientURL == b.ClientURL && a.PeerURL == b.PeerURL
	}
	if !slices.EqualFunc(before, members, same) {
		return fmt.Errorf("%s holds a cluster of %d members, the first at %s; start it with the same --members and --client-port, or use another --dir", dir, len(before), firstURL(before))
	}
	return nil
}

func firstURL(members []devMember) string {
	if len(members) == 0 {
		return "nowhere"
	}
	return members[0].ClientURL
}

// portsFree fails before anything is started if a port is taken.
func portsFree(members []devMember) error {
	for _, m := range members {
		for _, u := range []string{m.ClientURL, m.PeerURL} {
			address := strings.TrimPrefix(u, "http://")
			l, err := net.Listen("tcp", address)
			if errors.Is(err, syscall.EADDRINUSE) {
				return fmt.Errorf("port in use: %s is taken by another program; choose others with --client-port", address)
			}
			if err != nil {
				return fmt.Errorf("cannot listen on %s: %w", address, err)
			}
			l.Close()
		}
	}
	return nil
}

// waitServing returns when every member answers a linearizable health check.
func waitServing(ctx context.Context, s *supervisor, members []devMember) error {
	ctx, cancel := context.WithTimeoutCause(ctx, devStartLimit, fmt.Errorf("the cluster does not serve after %s; the members' logs are in %s", devStartLimit, filepath.Dir(members[0].log)))
	defer cancel()
	tick := time.NewTicker(devServePolling)
	defer tick.Stop()
	client := http.Client{Timeout: time.Second}
	for _, m := range members {
		for !healthy(ctx, &client, m.ClientURL) {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case err := <-s.failed:
				return err
			case <-s.died:
				if line := s.earlyEnd(); line != "" {
					return errors.New(line)
				}
			case <-tick.C:
			}
		}
	}
	return nil
}

func healthy(ctx context.Context, client *http.Client, base string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/health", nil)
	if err != nil {
		return false
	}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<16))
	return resp.StatusCode == http.StatusOK
}

// printCluster is what a person sees once the cluster serves.
func printCluster(out io.Writer, o devOptions, members []devMember, pids []int, fresh bool) {
	fate := ""
	if fresh && !o.keep {
		fate = " (removed at the end; --keep keeps it)"
	}
	what := "members serve"
	if len(members) == 1 {
		what = "member serves"
	}
	fmt.Fprintf(out, "%d %s; data in %s%s\n\n", len(members), what, o.dir, fate)
	w := tabwriter.NewWriter(out, 2, 0, 3, ' ', 0)
	fmt.Fprintln(w, "  NAME\tCLIENT\tPEER\tPID")
	var endpoints []string
	for i, m := range members {
		fmt.Fprintf(w, "  %s\t%s\t%s\t%d\n", m.Name, m.ClientURL, m.PeerURL, pids[i])
		endpoints = append(endpoints, strings.TrimPrefix(m.ClientURL, "http://"))
	}
	w.Flush()
	flag := ""
	if len(endpoints) > 1 || o.clientPort != 2379 {
		flag = " --endpoints " + strings.Join(endpoints, ",")
	}
	fmt.Fprintf(out, "\nTry, in another terminal:\n\n  quorate ctl%s put greeting hello\n  curl %s/v1/kv/greeting\n\nCtrl-C ends all members.\n", flag, members[0].ClientURL)
}
