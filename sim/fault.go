package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/quorate/quorate/internal/id"
)

// FaultKind names what goes wrong. The text stands in recipes.
type FaultKind string

// Faults of the network (FAULTS.md N1–N7).
const (
	FaultDrop      FaultKind = "drop"      // N1: loses rate‰ of a link's messages
	FaultDuplicate FaultKind = "duplicate" // N2: delivers rate‰ twice
	FaultReplay    FaultKind = "replay"    // N2: delivers rate‰ again, up to `within` later
	FaultReorder   FaultKind = "reorder"   // N3: holds rate‰ back by up to `by`, others overtake
	FaultDelay     FaultKind = "delay"     // N4: everything takes `by` longer
	FaultClog      FaultKind = "clog"      // N4: nothing arrives until the end, then all of it at once
	FaultCut       FaultKind = "cut"       // N5: nothing passes, in this direction
	FaultSplit     FaultKind = "split"     // N5, N6: only members of one group hear each other; a node in two groups is a bridge
	FaultFlap      FaultKind = "flap"      // N7: a split that comes and goes every `period`
	FaultIsolate   FaultKind = "isolate"   // N5: no other node hears the node, nor it them; the client beside it still does
	FaultHold      FaultKind = "hold"      // N4: `count` messages of a name on a link come `by` later; others overtake
)

// Faults of clocks, processes, disks and membership.
const (
	FaultDrift    FaultKind = "drift"    // C1: the clock runs at `rate` per million of the truth
	FaultFreeze   FaultKind = "freeze"   // C3: the clock stands still
	FaultCrash    FaultKind = "crash"    // P1, D1–D3: down for the span; `lose` says what unsynced writes become, `calls` how many file calls later
	FaultPause    FaultKind = "pause"    // P3: the process does nothing, then everything at once
	FaultSlow     FaultKind = "slow"     // P4: every pass takes `by`
	FaultPower    FaultKind = "power"    // P5: everybody crashes
	FaultSync     FaultKind = "syncfail" // D4: the next fsync fails, in `mode` clean, dirty or late
	FaultNoSpace  FaultKind = "nospace"  // D8: the disk is full
	FaultStall    FaultKind = "stall"    // D9: every file call takes `by`
	FaultChange   FaultKind = "change"   // M1, M2: an operator asks for a change of membership: `op` (and `of` for a replacement, `set` for voters)
	FaultTransfer FaultKind = "transfer" // an operator asks the leader to hand over to the node
	FaultWipe     FaultKind = "wipe"     // M3: down for the span, and back under its name with an empty disk
	FaultJump     FaultKind = "jump"     // C2: the wall clock is `by` ahead for the span; timers do not notice
)

// targetForm says on whom a kind of fault falls.
type targetForm uint8

const (
	onAll    targetForm = iota // *
	onNode                     // n2
	onLink                     // n1>n2, n1>*, *>n2, n1<>n2
	onGroups                   // n1,n2/n3
)

// argument describes one NAME=VALUE of a fault.
type argument struct {
	name     string
	words    []string // allowed words; nil: a number or a span
	span     bool     // a span of time
	text     bool     // any word
	lo, hi   int64    // allowed numbers (for a span: nanoseconds)
	optional bool
}

type faultSpec struct {
	form    targetForm
	lasting bool // For must be positive; otherwise 0 is allowed
	args    []argument
}

var ms = int64(id.Millisecond)

// faultSpecs is the vocabulary: what the parser accepts and the world does.
var faultSpecs = map[FaultKind]faultSpec{
	FaultDrop:      {onLink, true, []argument{{name: "rate", lo: 1, hi: 1000}, {name: "only", words: messageClasses, optional: true}, {name: "message", text: true, optional: true}}},
	FaultDuplicate: {onLink, true, []argument{{name: "rate", lo: 1, hi: 1000}}},
	FaultReplay:    {onLink, true, []argument{{name: "rate", lo: 1, hi: 1000}, {name: "within", span: true, lo: ms, hi: 60_000 * ms}}},
	FaultReorder:   {onLink, true, []argument{{name: "rate", lo: 1, hi: 1000}, {name: "by", span: true, lo: ms, hi: 10_000 * ms}}},
	FaultDelay:     {onLink, true, []argument{{name: "by", span: true, lo: 1, hi: 10_000 * ms}}},
	FaultClog:      {onLink, true, nil},
	FaultCut:       {onLink, true, nil},
	FaultSplit:     {onGroups, true, nil},
	FaultFlap:      {onGroups, true, []argument{{name: "period", span: true, lo: ms, hi: 60_000 * ms}}},
	FaultIsolate:   {onNode, true, nil},
	FaultHold:      {onLink, true, []argument{{name: "message", text: true}, {name: "by", span: true, lo: 1, hi: 600_000 * ms}, {name: "count", lo: 1, hi: 1000}}},
	FaultDrift:     {onNode, true, []argument{{name: "rate", lo: 900_000, hi: 1_100_000}}},
	FaultFreeze:    {onNode, true, nil},
	FaultCrash:     {onNode, true, []argument{{name: "lose", words: lossNames}, {name: "calls", lo: 0, hi: 1_000_000, optional: true}, {name: "reset", words: []string{"yes", "no"}, optional: true}}},
	FaultPause:     {onNode, true, nil},
	FaultSlow:      {onNode, true, []argument{{name: "by", span: true, lo: 1, hi: 10_000 * ms}}},
	FaultPower:     {onAll, true, []argument{{name: "lose", words: lossNames}}},
	FaultSync:      {onNode, true, []argument{{name: "mode", words: []string{"clean", "dirty", "late"}}}},
	FaultNoSpace:   {onNode, true, nil},
	FaultStall:     {onNode, true, []argument{{name: "by", span: true, lo: 1, hi: 60_000 * ms}}},
	FaultChange:    {onNode, false, []argument{{name: "op", words: []string{"add-voter", "add-learner", "promote", "demote", "remove", "replace", "voters"}}, {name: "of", lo: 1, hi: maxNodes, optional: true}, {name: "set", lo: 1, hi: 987_654_321, optional: true}}},
	FaultTransfer:  {onNode, false, nil},
	FaultWipe:      {onNode, true, nil},
	FaultJump:      {onNode, true, []argument{{name: "by", span: true, lo: 1, hi: 86_400_000 * ms}}},
}

// leaderWord is the target of a triggered fault that falls on whoever leads then.
const leaderWord = "leader"

// knownTrigger judges what stands behind the @ of a fault's time.
//
//	now       at once: for a target that is not known before
//	ack       the leader answers a write of the client beside it
//	lead      a node becomes leader
//	heldN     the first write that came after AT is held by N nodes
//	decidedN  … is decided in the eyes of N nodes
//	send-NAME a node (the target, if the fault has one) sends such a message
func knownTrigger(t string) bool {
	if t == "now" || t == "ack" || t == "lead" || strings.HasPrefix(t, "send-") && len(t) > len("send-") {
		return true
	}
	for _, word := range []string{"held", "decided"} {
		if n, ok := strings.CutPrefix(t, word); ok && len(n) == 1 && n[0] >= '1' && n[0] <= '0'+maxNodes {
			return true
		}
	}
	return false
}

// messageClasses are the kinds of traffic a drop can be limited to.
var messageClasses = []string{"vote", "append", "heartbeat", "ack", "snapshot"}

// lossNames say what becomes of unsynced writes at a crash (D1–D3).
var lossNames = []string{"none", "all", "prefix", "random", "torn"}

// FaultKinds returns every kind, sorted.
func FaultKinds() []FaultKind {
	return slices.Sorted(maps.Keys(faultSpecs))
}

// Fault is one resolved fault: nothing about it is left to chance except what
// its own stream of dice decides (which messages a drop of 30 % takes).
type Fault struct {
	At      id.Time     // when it begins
	Trigger string      // it begins when this happens for the first time at or after At; empty: at At
	For     id.Duration // how long it lasts; a crashed node restarts at the end
	Kind    FaultKind
	Target  Target
	Args    []Arg // in the order of the kind's specification
}

// Arg is one NAME=VALUE.
type Arg struct{ Name, Value string }

// Target is on whom a fault falls. Which fields count depends on the kind.
type Target struct {
	Node     uint64     // a node
	From, To uint64     // a link; 0 means everybody
	Both     bool       // a link in both directions
	Groups   [][]uint64 // groups of nodes that still hear each other
	Leader   bool       // of a triggered fault: the node that leads then
}

// On, Link and Parts make targets.
func On(node uint64) Target           { return Target{Node: node} }
func Link(from, to uint64) Target     { return Target{From: from, To: to} }
func Parts(groups ...[]uint64) Target { return Target{Groups: groups} }

// End is when the fault is over.
func (f Fault) End() id.Time { return f.At.Add(f.For) }

// Word returns an argument's value, or "" if it is absent.
func (f Fault) Word(name string) string {
	for _, a := range f.Args {
		if a.Name == name {
			return a.Value
		}
	}
	return ""
}

// Number returns an argument that is a number; 0 if it is absent.
func (f Fault) Number(name string) int64 {
	n, _ := parseNumber(f.Word(name))
	return n
}

// Nodes returns an argument whose digits are nodes: 156 is n1, n5, n6.
func (f Fault) Nodes(name string) []uint64 {
	var list []uint64
	for _, digit := range f.Word(name) {
		list = append(list, uint64(digit-'0'))
	}
	return list
}

// Span returns an argument that is a span of time; 0 if it is absent.
func (f Fault) Span(name string) id.Duration {
	d, _ := ParseDuration(f.Word(name))
	return d
}

// With returns the fault with one more argument.
func (f Fault) With(name, value string) Fault {
	f.Args = append(f.Args[:len(f.Args):len(f.Args)], Arg{name, value})
	return f
}

// Stream is the fault's own dice. They depend on the fault and the seed alone,
// so other faults may come and go around it.
func (f Fault) Stream(seed uint64) *Random { return Stream(seed, "fault "+f.String()) }

// String is the fault as a line of a recipe.
func (f Fault) String() string {
	var b strings.Builder
	at := FormatDuration(id.Duration(f.At))
	if f.Trigger != "" {
		at += "@" + f.Trigger
	}
	fmt.Fprintf(&b, "fault %s %s %s %s", at, FormatDuration(f.For), f.Kind, f.Target.text(faultSpecs[f.Kind].form))
	for _, a := range f.Args {
		fmt.Fprintf(&b, " %s=%s", a.Name, a.Value)
	}
	return b.String()
}

func (t Target) text(form targetForm) string {
	switch form {
	case onNode:
		if t.Leader {
			return leaderWord
		}
		return nodeText(t.Node)
	case onLink:
		arrow := ">"
		if t.Both {
			arrow = "<>"
		}
		return nodeText(t.From) + arrow + nodeText(t.To)
	case onGroups:
		var parts []string
		for _, g := range t.Groups {
			var names []string
			for _, n := range g {
				names = append(names, nodeText(n))
			}
			parts = append(parts, strings.Join(names, ","))
		}
		return strings.Join(parts, "/")
	}
	return "*"
}

func nodeText(n uint64) string {
	if n == 0 {
		return "*"
	}
	return fmt.Sprintf("n%d", n)
}

// Matches tells whether a link lies within the target of a network fault.
func (t Target) Matches(from, to uint64) bool {
	if t.Node != 0 {
		return (t.Node == from) != (t.Node == to)
	}
	if t.Groups != nil {
		return !together(t.Groups, from, to)
	}
	is := func(from, to uint64) bool { return (t.From == 0 || t.From == from) && (t.To == 0 || t.To == to) }
	return is(from, to) || t.Both && is(to, from)
}

// together tells whether some group holds both nodes. A node that no group names
// hears nobody.
func together(groups [][]uint64, a, b uint64) bool {
	for _, g := range groups {
		foundA, foundB := false, false
		for _, n := range g {
			foundA = foundA || n == a
			foundB = foundB || n == b
		}
		if foundA && foundB {
			return true
		}
	}
	return false
}
