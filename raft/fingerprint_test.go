package raft

import (
	"reflect"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/id"
)

func plainName(m id.NodeID) byte { return byte(m.Node) }

func print1(n *Node) string { return string(n.Fingerprint(nil, plainName)) }

// Every field of a Node is either in its fingerprint or left out on purpose: a
// field that somebody adds must be put into one of the two lists.
func TestFingerprintKnowsEveryField(t *testing.T) {
	in := strings.Fields(`halted term vote hardDirty hardToken log issued durable claims hintSaved hintDue installing pending
		role leader votes voter wasMember removed started election peers ownTerm transfer commit applied applying
		flushed loads shipping round reads assigned asked askedSeq ack hasAck hearsay`)
	out := map[string]string{
		"cfg": "equal by the contract", "random": "only makes deadlines", "decide": "follows from the configuration", "counts": "follows from the configuration",
		"now": "time", "heard": "time", "everHeard": "time", "majority": "time", "heartbeatAt": "time", "transferEnd": "time", "askedAt": "time",
		"out": "empty between passes", "sends": "empty between passes",
	}
	for _, f := range in {
		out[f] = "in"
	}
	typ := reflect.TypeFor[Node]()
	for i := range typ.NumField() {
		if out[typ.Field(i).Name] == "" {
			t.Errorf("Node.%s is neither in the fingerprint nor named as left out: does it decide anything?", typ.Field(i).Name)
		}
		delete(out, typ.Field(i).Name)
	}
	for f := range out {
		t.Errorf("Node has no field %s any more", f)
	}
}

// What a member decided, wrote, sent or learned changes its fingerprint; the
// time, and what its writes were called, do not.
func TestFingerprintTellsNodesApart(t *testing.T) {
	w := cluster(t, 3)
	m := w.elect(t)
	w.settle(nil)
	base := print1(m.node)
	if got := print1(m.node.Clone()); got != base {
		t.Fatal("a clone has another fingerprint")
	}
	changes := map[string]func(n *Node){
		"term":      func(n *Node) { n.term++ },
		"vote":      func(n *Node) { n.vote = nid(3) },
		"role":      func(n *Node) { n.role = Follower },
		"commit":    func(n *Node) { n.commit-- },
		"applied":   func(n *Node) { n.applied-- },
		"issued":    func(n *Node) { n.issued++ },
		"durable":   func(n *Node) { n.log.durable-- },
		"match":     func(n *Node) { n.peers[0].match-- },
		"probe":     func(n *Node) { n.peers[1].state = Probe },
		"flight":    func(n *Node) { n.peers[1].flights = append(n.peers[1].flights, flight{last: 1}) },
		"entry":     func(n *Node) { n.log.append(Entry{Term: n.term, Index: n.log.last + 1, Kind: EntryCommand}) },
		"ack":       func(n *Node) { n.hasAck = true },
		"read":      func(n *Node) { n.reads = append(n.reads, waitingRead{id: 1}) },
		"claim":     func(n *Node) { n.claims = append(n.claims, claim{token: n.durable + 1}) },
		"hint":      func(n *Node) { n.hintSaved++ },
		"installs":  func(n *Node) { n.installing = &Install{} },
		"ballot":    func(n *Node) { n.votes = append(n.votes, ballot{from: nid(2)}) },
		"told":      func(n *Node) { n.peers[0].told++ },
		"unflushed": func(n *Node) { n.flushed++ },
	}
	for name, change := range changes {
		n := m.node.Clone()
		change(n)
		if print1(n) == base {
			t.Errorf("%s changed and the fingerprint did not", name)
		}
	}
	n := m.node.Clone()
	n.now, n.heartbeatAt, n.random = n.now+1, n.heartbeatAt+1, 7
	n.issued, n.durable, n.hardToken = n.issued+5, n.durable+5, n.hardToken+5
	if print1(n) != base {
		t.Error("the fingerprint depends on the time or on what writes were called")
	}
}

// Two members that stand to the leader alike are told apart by their names alone.
func TestFingerprintUnderSwappedNames(t *testing.T) {
	w := cluster(t, 3)
	l := w.elect(t)
	w.settle(nil)
	w.advance(w.now.Add(100*id.Millisecond), nil)
	var others []*member
	for _, m := range w.members {
		if m != l {
			others = append(others, m)
		}
	}
	swap := func(n id.NodeID) byte {
		switch n {
		case others[0].id:
			return byte(others[1].id.Node)
		case others[1].id:
			return byte(others[0].id.Node)
		}
		return byte(n.Node)
	}
	if string(l.node.Fingerprint(nil, swap)) != print1(l.node) {
		t.Error("the leader of two equal followers tells them apart")
	}
	if string(others[0].node.Fingerprint(nil, swap)) != print1(others[1].node) {
		t.Error("two followers in the same position have different fingerprints")
	}
}
