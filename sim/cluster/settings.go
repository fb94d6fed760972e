package cluster

import (
	"fmt"
	"slices"

	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/sim"
)

// settings is what a recipe's config and workload lines mean here
// (docs/format/recipe.md has the table).
type settings struct {
	heartbeat, electionMin, electionMax, diskStall id.Duration

	messageBytes, windowEntries, windowMessages int
	tailBytes, retainBytes, uncommittedBytes    int
	snapshotEntries, segmentBytes, sectorBytes  int

	machine string      // map, durable-map or kv
	reboot  bool        // a machine whose process halted is rebooted before the next start
	encode  bool        // messages travel as bytes
	latency id.Duration // of the network, at most; at least a quarter of it
	sync    id.Duration // of an fsync, at most; at least a quarter of it

	clients, keys, reads, swaps, valueBytes, forward int
	think, deadline                                  id.Duration
}

func readSettings(r *sim.Recipe) (settings, error) {
	if err := ours(r); err != nil {
		return settings{}, err
	}
	c, w := r.Configuration(), r.Clients()
	const ms, s = id.Millisecond, id.Second
	x := settings{
		heartbeat:        c.Duration("heartbeat", 30*ms, ms, s),
		electionMin:      c.Duration("election-min", 150*ms, 5*ms, 10*s),
		electionMax:      c.Duration("election-max", 300*ms, 8*ms, 20*s),
		diskStall:        c.Duration("disk-stall", 2*s, 10*ms, 60*s),
		messageBytes:     int(c.Int("message-bytes", 1<<20, 1, 1<<24)),
		windowEntries:    int(c.Int("window-entries", 4096, 1, 1<<20)),
		windowMessages:   int(c.Int("window-messages", 4, 1, 1<<10)),
		tailBytes:        int(c.Int("tail-bytes", 16<<20, 1, 1<<28)),
		retainBytes:      int(c.Int("retain-bytes", 64<<20, 1, 1<<28)),
		uncommittedBytes: int(c.Int("uncommitted-bytes", 64<<20, 1<<10, 1<<28)),
		snapshotEntries:  int(c.Int("snapshot-entries", 100_000, 1, 1<<30)),
		segmentBytes:     int(c.Int("segment-bytes", 64<<10, 8<<10, 64<<20)),
		sectorBytes:      int(c.Int("sector-bytes", 512, 512, 4096)),
		machine:          c.Word("machine", "map", "durable-map", "kv"),
		reboot:           c.Int("reboot", 1, 0, 1) == 1,
		encode:           c.Int("encode", 0, 0, 1) == 1,
		latency:          c.Duration("latency", 2*ms, id.Microsecond, s),
		sync:             c.Duration("sync", 2*ms, id.Microsecond, s),

		clients:    int(w.Int("clients", 4, 0, 64)),
		keys:       int(w.Int("keys", 8, 1, 1000)),
		reads:      int(w.Int("reads", 300, 0, 1000)),
		swaps:      int(w.Int("swaps", 200, 0, 1000)),
		valueBytes: int(w.Int("value-bytes", 16, 1, 64<<10)),
		forward:    int(w.Int("forward", 300, 0, 1000)),
		think:      w.Duration("think", 80*ms, id.Microsecond, 10*s),
		deadline:   w.Duration("deadline", 2*s, ms, 60*s),
	}
	if err := c.Err(); err != nil {
		return x, err
	}
	if err := w.Err(); err != nil {
		return x, err
	}
	probe := x.raft(1, nil).WithDefaults()
	probe.Group, probe.Self = theGroup, id.NodeID{Node: 1}
	if err := probe.Validate(); err != nil {
		return x, &sim.Error{What: err.Error()}
	}
	return x, nil
}

// theGroup is the one group of the cluster.
const theGroup = id.GroupID(1)

func (x settings) raft(seed uint64, f *faults.Set) raft.Config {
	return raft.Config{
		Seed: seed, Heartbeat: x.heartbeat, ElectionMin: x.electionMin, ElectionMax: x.electionMax, DiskStall: x.diskStall,
		MessageBytes: x.messageBytes, WindowEntries: x.windowEntries, WindowMessages: x.windowMessages,
		TailBytes: x.tailBytes, RetainBytes: x.retainBytes, UncommittedBytes: x.uncommittedBytes, Faults: f,
	}
}

// ours refuses what only the lab carries out.
func ours(r *sim.Recipe) error {
	const labOnly = "; run it with quorate lab run"
	if r.Protocol != "" {
		return &sim.Error{Line: r.LineOf("protocol", 0), What: "it names a protocol, and the simulator runs quorate itself" + labOnly}
	}
	if len(r.Acts) > 0 {
		return &sim.Error{Line: r.LineOf("do", 0), What: "the simulator's clients act by dice" + labOnly}
	}
	for _, f := range r.Faults {
		if f.Trigger != "" || slices.Contains([]sim.FaultKind{sim.FaultWipe, sim.FaultJump}, f.Kind) {
			return &sim.Error{What: fmt.Sprintf("the simulator does not do %q", f) + labOnly}
		}
	}
	return nil
}
