package kafka

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/rsm"
)

// tree is what the coordination service replicates, as much of ZooKeeper's tree of
// nodes as Kafka needs for one partition. It changes by commands only, and the same
// commands give the same tree on every server:
//
//	open BROKER LIFE TRY              a session, and with it the broker's registration;
//	                                  an older registration of the broker goes
//	expire SESSION                    the leader's clock says so: its registration and
//	                                  a /controller of its own go
//	elect SESSION                     create /controller, if nobody has; the epoch rises
//	put EPOCH VERSION PARTITION       set the partition's state if it still has that
//	                                  version and, EPOCH being a controller's and not
//	                                  0, that controller is still the newest
//
// Every result is "ok NUMBER" or "no WHY". Asked again, open and elect give the same
// answer again, so that a lost answer does no harm; a put then fails, and whoever
// asked sees in the state that it is as wished.
type tree struct {
	state    state
	applied  id.Index
	unfenced bool // broken: put compares nothing
}

// state is a version of the whole tree. It is a value: slices in it never change.
type state struct {
	Version   uint64 // counts changes
	Epoch     uint64 // controller epoch: how many controllers there were
	Holder    uint64 // session of /controller; 0: there is none
	Brokers   []registration
	Partition partition
}

// registration is /brokers/ids/N: ephemeral, it lives as long as its session.
type registration struct {
	Broker    lab.Node
	Session   uint64 // number of the command that opened it
	Life, Try uint64 // which process asked, and for which time
}

// partition is /brokers/topics/…/state of the one partition. Version 0: not created.
type partition struct {
	Leader  lab.Node // 0: offline
	Epoch   uint64   // leader epoch
	ISR     []lab.Node
	Version uint64
}

// registered is the registration of a broker.
func (s *state) registered(broker lab.Node) (registration, bool) {
	for _, r := range s.Brokers {
		if r.Broker == broker {
			return r, true
		}
	}
	return registration{}, false
}

// live tells whether a broker is registered.
func (s *state) live(broker lab.Node) bool {
	_, ok := s.registered(broker)
	return ok
}

// controller is the broker that holds /controller; 0: nobody.
func (s *state) controller() lab.Node {
	for _, r := range s.Brokers {
		if r.Session == s.Holder {
			return r.Broker
		}
	}
	return 0
}

// same tells whether two states of the partition mean the same.
func (p partition) same(q partition) bool {
	return p.Leader == q.Leader && p.Epoch == q.Epoch && slices.Equal(p.ISR, q.ISR)
}

func (p partition) String() string {
	return fmt.Sprintf("%d %d %d %s", p.Leader, p.Epoch, p.Version, list(p.ISR))
}

// list prints nodes: "[5,4,3]".
func list(nodes []lab.Node) string {
	var words []string
	for _, n := range nodes {
		words = append(words, strconv.FormatUint(n, 10))
	}
	return "[" + strings.Join(words, ",") + "]"
}

// The commands.
func openCommand(broker lab.Node, life, try uint64) string {
	return fmt.Sprintf("open %d %d %d", broker, life, try)
}
func expireCommand(session uint64) string { return fmt.Sprintf("expire %d", session) }
func electCommand(session uint64) string  { return fmt.Sprintf("elect %d", session) }

// putCommand replaces the partition's state if its version is the one before.
// epoch is the controller's, 0 of a partition leader.
func putCommand(epoch uint64, p partition) string {
	return fmt.Sprintf("put %d %d %s", epoch, p.Version-1, p)
}

// Apply applies commands. One that nobody of this package wrote stops the group.
func (t *tree) Apply(b rsm.Batch, results []rsm.Result) ([]rsm.Result, error) {
	for _, c := range b.Commands {
		said, err := t.apply(strings.Fields(string(c.Data)))
		if err != nil {
			return results, fmt.Errorf("the command %q: %w", c.Data, err)
		}
		results = append(results, rsm.Result(said))
	}
	t.applied = b.Applied
	return results, nil
}

func (t *tree) apply(words []string) (string, error) {
	if len(words) == 0 {
		return "", fmt.Errorf("it is empty")
	}
	n, isr, err := numbers(words[1:])
	switch {
	case err != nil:
		return "", err
	case words[0] == "open" && len(n) == 3:
		return t.open(registration{Broker: n[0], Life: n[1], Try: n[2]}), nil
	case words[0] == "expire" && len(n) == 1:
		return t.expire(n[0]), nil
	case words[0] == "elect" && len(n) == 1:
		return t.elect(n[0]), nil
	case words[0] == "put" && len(n) == 5:
		return t.put(n[0], n[1], partition{Leader: n[2], Epoch: n[3], Version: n[4], ISR: isr}), nil
	}
	return "", fmt.Errorf("unknown, or with a wrong number of words")
}

// numbers reads the words behind a command: numbers, and a list of nodes.
func numbers(words []string) (n []uint64, isr []lab.Node, err error) {
	for _, w := range words {
		inside, isList := strings.CutPrefix(w, "[")
		if !isList {
			v, err := strconv.ParseUint(w, 10, 64)
			if err != nil {
				return nil, nil, err
			}
			n = append(n, v)
			continue
		}
		for _, p := range strings.Split(strings.TrimSuffix(inside, "]"), ",") {
			v, err := strconv.ParseUint(p, 10, 64)
			if err != nil {
				return nil, nil, err
			}
			isr = append(isr, v)
		}
	}
	return n, isr, nil
}

func (t *tree) open(r registration) string {
	if old, ok := t.state.registered(r.Broker); ok {
		if old.Life == r.Life && old.Try == r.Try {
			return ok64(old.Session)
		}
		if old.Life > r.Life || old.Life == r.Life && old.Try > r.Try {
			return "no the broker has registered anew since"
		}
		t.remove(old.Session)
	}
	t.state.Version++
	r.Session = t.state.Version
	brokers := append(slices.Clone(t.state.Brokers), r)
	slices.SortFunc(brokers, func(a, b registration) int { return int(a.Broker) - int(b.Broker) })
	t.state.Brokers = brokers
	return ok64(r.Session)
}

func ok64(n uint64) string { return fmt.Sprintf("ok %d", n) }

func (t *tree) expire(session uint64) string {
	if !t.remove(session) {
		return "no such session"
	}
	t.state.Version++
	return ok64(session)
}

// remove takes what is ephemeral with a session away.
func (t *tree) remove(session uint64) bool {
	before := len(t.state.Brokers)
	t.state.Brokers = slices.DeleteFunc(slices.Clone(t.state.Brokers), func(r registration) bool { return r.Session == session })
	if t.state.Holder == session {
		t.state.Holder = 0
	}
	return len(t.state.Brokers) < before
}

func (t *tree) elect(session uint64) string {
	known := slices.ContainsFunc(t.state.Brokers, func(r registration) bool { return r.Session == session })
	switch {
	case !known:
		return "no such session"
	case t.state.Holder == session:
		return ok64(t.state.Epoch)
	case t.state.Holder != 0:
		return "no there is a controller"
	}
	t.state.Version++
	t.state.Epoch++
	t.state.Holder = session
	return ok64(t.state.Epoch)
}

func (t *tree) put(epoch, version uint64, p partition) string {
	switch {
	case t.unfenced:
		p.Version = t.state.Partition.Version + 1
	case epoch != 0 && epoch != t.state.Epoch:
		return "no this controller is not the newest"
	case version != t.state.Partition.Version:
		return "no the partition has another version"
	}
	t.state.Version++
	t.state.Partition = p
	return ok64(p.Version)
}

// View is the present state, which never changes.
func (t *tree) View() rsm.View { return treeView{*t} }

type treeView struct{ t tree }

func (v treeView) Applied() id.Index { return v.t.applied }
func (v treeView) Close() error      { return nil }

// WriteTo writes four kinds of lines: the numbers, each registration, the partition.
func (v treeView) WriteTo(w io.Writer) (int64, error) {
	s := v.t.state
	b := fmt.Appendf(nil, "tree %d %d %d\n", s.Version, s.Epoch, s.Holder)
	for _, r := range s.Brokers {
		b = fmt.Appendf(b, "broker %d %d %d %d\n", r.Broker, r.Session, r.Life, r.Try)
	}
	if s.Partition.Version > 0 {
		b = fmt.Appendf(b, "partition %s\n", s.Partition)
	}
	n, err := w.Write(b)
	return int64(n), err
}

// Restore reads what WriteTo wrote.
func (t *tree) Restore(m rsm.Meta, r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	var s state
	for line := range bytes.Lines(b) {
		words := strings.Fields(string(line))
		if len(words) == 0 {
			return fmt.Errorf("a tree with an empty line")
		}
		n, isr, err := numbers(words[1:])
		switch {
		case err == nil && words[0] == "tree" && len(n) == 3:
			s.Version, s.Epoch, s.Holder = n[0], n[1], n[2]
		case err == nil && words[0] == "broker" && len(n) == 4:
			s.Brokers = append(s.Brokers, registration{n[0], n[1], n[2], n[3]})
		case err == nil && words[0] == "partition" && len(n) == 3:
			s.Partition = partition{Leader: n[0], Epoch: n[1], Version: n[2], ISR: isr}
		default:
			return fmt.Errorf("a tree with the line %q", line)
		}
	}
	t.state, t.applied = s, m.Index
	return nil
}
