package cluster

import (
	"maps"
	"slices"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/raft"
)

// Equal states: whoever has applied up to an index has the state that the model
// has there, however it got it (applied, restored, installed, recovered).

// advance applies an entry to the model, when it is applied for the first time.
func (o *oracles) advance(e raft.Entry) {
	if e.Kind == raft.EntryCommand {
		text, err := o.c.words.text(e.Data)
		if err != nil {
			o.c.fail("entry %d: %v", e.Index, err)
			return
		}
		o.model.Apply(text)
	}
	if e.Kind == raft.EntryConfig {
		o.configs = append(o.configs, raft.ConfigAt{Index: e.Index, Config: *e.Config})
		if e.Config.Joint {
			o.c.mark("joint configuration")
		}
	}
	o.states = append(o.states, stateAt{o.hashModel(), o.model.revision()})
}

// stateAt is the model's state at an index.
type stateAt struct {
	hash     uint64
	revision int64
}

func (o *oracles) hashModel() uint64 {
	h := fnvOffset
	for _, k := range slices.Sorted(maps.Keys(o.model)) {
		if k != "" { // that one is the revision
			h = fnv(fnv(h, k), o.model[k])
		}
	}
	return h
}

func (o *oracles) state(n *node, v mapView, when string) {
	if int(v.applied) >= len(o.states) {
		o.c.fail("%v has applied %d %s; nobody ever applied more than %d", n.self, v.applied, when, len(o.states)-1)
		return
	}
	want := o.states[v.applied]
	if got := v.hash(); got != want.hash {
		o.c.fail("%v has state %016x at index %d %s; the model has %016x", n.self, got, v.applied, when, want.hash)
	}
	if v.revision != 0 && v.revision != want.revision {
		o.c.fail("%v has revision %d at index %d %s; the model has %d", n.self, v.revision, v.applied, when, want.revision)
	}
}

// config is the newest applied configuration, and where it is in the log.
func (o *oracles) config() raft.ConfigAt {
	if len(o.configs) == 0 {
		return raft.ConfigAt{Index: id.Index(0), Config: o.c.nodes[0].first}
	}
	return o.configs[len(o.configs)-1]
}

// wasMember tells whether a node was ever in an applied configuration.
func (o *oracles) wasMember(n id.NodeID) bool {
	if _, ok := o.c.nodes[0].first.Find(n); ok {
		return true
	}
	for _, at := range o.configs {
		if _, ok := at.Config.Find(n); ok {
			return true
		}
	}
	return false
}
