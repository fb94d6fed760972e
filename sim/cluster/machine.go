package cluster

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/kv/engine/mem"
	"github.com/quorate/quorate/rsm"
)

// What is replicated is a map. Commands are texts, so that a trace can be read:
//
//	17 put k3 v17      18 cas k3 v17 v18      19 del k3
//
// The first word is the operation, by which the history finds it in the log. Every
// command answers the value before it; a cas takes effect if that is its third
// word ("-" stands for no value). A query is a key and answers the value.
type command struct {
	operation uint64
	kind      string
	key       string
	old, new  string
}

func (c command) bytes() []byte {
	switch c.kind {
	case "put":
		return fmt.Appendf(nil, "%d put %s %s", c.operation, c.key, c.new)
	case "cas":
		return fmt.Appendf(nil, "%d cas %s %s %s", c.operation, c.key, orDash(c.old), c.new)
	}
	return fmt.Appendf(nil, "%d del %s", c.operation, c.key)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// parseCommand reads what bytes wrote.
func parseCommand(b []byte) (command, error) {
	w := strings.Fields(string(b))
	if len(w) < 3 {
		return command{}, fmt.Errorf("command %q", b)
	}
	n, err := strconv.ParseUint(w[0], 10, 64)
	c := command{operation: n, kind: w[1], key: w[2]}
	switch {
	case err == nil && c.kind == "put" && len(w) == 4:
		c.new = w[3]
	case err == nil && c.kind == "cas" && len(w) == 5:
		c.old, c.new = w[3], w[4]
		if c.old == "-" {
			c.old = ""
		}
	case err == nil && c.kind == "del" && len(w) == 3:
	default:
		return c, fmt.Errorf("command %q", b)
	}
	return c, nil
}

// effect is the value after the command, given the one before.
func (c command) effect(before string) string {
	if c.kind == "cas" && c.old != before {
		return before
	}
	return c.new
}

// pair is one key of the map.
type pair struct{ key, value string }

// Map is the replicated map as a machine in memory.
type Map struct {
	pairs   []pair // sorted; replaced, never changed: Views share it
	applied id.Index
}

// mapView is one state of it, or of the store, as pairs.
type mapView struct {
	pairs    []pair
	applied  id.Index
	revision int64 // of the store; 0: a map, which has none
}

func (m *Map) Apply(b rsm.Batch, results []rsm.Result) ([]rsm.Result, error) {
	pairs := slices.Clone(m.pairs)
	for _, c := range b.Commands {
		cmd, err := parseCommand(c.Data)
		if err != nil {
			return results, err
		}
		at, found := find(pairs, cmd.key)
		before := ""
		if found {
			before = pairs[at].value
		}
		after := cmd.effect(before)
		switch {
		case found && after == "":
			pairs = slices.Delete(pairs, at, at+1)
		case found:
			pairs[at].value = after
		case after != "":
			pairs = slices.Insert(pairs, at, pair{cmd.key, after})
		}
		results = append(results, rsm.Result(before))
	}
	m.pairs, m.applied = pairs, b.Applied
	return results, nil
}

func find(pairs []pair, key string) (int, bool) {
	return slices.BinarySearchFunc(pairs, key, func(p pair, k string) int { return strings.Compare(p.key, k) })
}

func (m *Map) View() rsm.View { return mapView{pairs: m.pairs, applied: m.applied} }

func (m *Map) Restore(meta rsm.Meta, r io.Reader) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	v, err := decodeMap(data)
	if err != nil {
		return err
	}
	if v.applied != meta.Index {
		return fmt.Errorf("a map of index %d in a snapshot of index %d", v.applied, meta.Index)
	}
	m.pairs, m.applied = v.pairs, v.applied
	return nil
}

func (v mapView) Applied() id.Index { return v.applied }
func (v mapView) Close() error      { return nil }

func (v mapView) get(key string) string {
	if at, found := find(v.pairs, key); found {
		return v.pairs[at].value
	}
	return ""
}

func (v mapView) WriteTo(w io.Writer) (int64, error) {
	b := binary.BigEndian.AppendUint64(nil, uint64(v.applied))
	for _, p := range v.pairs {
		b = fmt.Appendf(b, "%s %s\n", p.key, p.value)
	}
	n, err := w.Write(b)
	return int64(n), err
}

func decodeMap(b []byte) (mapView, error) {
	if len(b) < 8 {
		return mapView{}, fmt.Errorf("a map of %d bytes", len(b))
	}
	v := mapView{applied: id.Index(binary.BigEndian.Uint64(b))}
	for line := range bytes.Lines(b[8:]) {
		k, value, ok := strings.Cut(strings.TrimSuffix(string(line), "\n"), " ")
		if !ok {
			return mapView{}, fmt.Errorf("a map with the line %q", line)
		}
		v.pairs = append(v.pairs, pair{k, value})
	}
	return v, nil
}

// hash is the state's, for comparison between replicas. The applied index is not
// in it: it is compared beside.
func (v mapView) hash() uint64 {
	h := fnvOffset
	for _, p := range v.pairs {
		h = fnv(fnv(h, p.key), p.value)
	}
	return h
}

const fnvOffset = uint64(14695981039346656037)

// fnv folds a text and its end into a hash (FNV-1a).
func fnv[T string | []byte](h uint64, s T) uint64 {
	for i := 0; i < len(s); i++ {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return (h ^ 0xff) * 1099511628211
}

// DurableMap is the map as a durable machine. Its storage behaves as Pebble
// without a WAL does (DESIGN 7): what was applied is on disk up to some flush,
// and a crash returns to that.
type DurableMap struct {
	Map
	storage *storage
}

// storage is what survives a crash of the process.
type storage struct {
	flushed mapView
	engine  *mem.Engine // of a store
	flush   func() bool // the seed's will: flush after this batch
}

// crashed makes of it what the next process finds.
func (s *storage) crashed() { s.engine = s.engine.Crash() }

func (m *DurableMap) Open() (id.Index, id.Term, error) {
	m.pairs, m.applied = m.storage.flushed.pairs, m.storage.flushed.applied
	return m.applied, 0, nil
}

func (m *DurableMap) Apply(b rsm.Batch, results []rsm.Result) ([]rsm.Result, error) {
	results, err := m.Map.Apply(b, results)
	if err == nil && m.storage.flush() {
		err = m.Flush()
	}
	return results, err
}

func (m *DurableMap) Flushed() (id.Index, error) { return m.storage.flushed.applied, nil }

func (m *DurableMap) Flush() error {
	m.storage.flushed = mapView{pairs: m.pairs, applied: m.applied}
	return nil
}

// reference is the same map, written as plainly as possible: the model of the
// witness check shares no line with the machine.
type reference map[string]string

func (r reference) Apply(b []byte) []byte {
	var op uint64
	var kind, key, x, y string
	n, _ := fmt.Sscan(string(b), &op, &kind, &key, &x, &y)
	before := r[key]
	switch {
	case kind == "put" && n == 4:
		r[key] = x
	case kind == "cas" && n == 5 && (x == before || x == "-" && before == ""):
		r[key] = y
	case kind == "del" && before != "":
		delete(r, key)
	default:
		return []byte(before)
	}
	// What a store calls its revision: one more for every command that changed
	// something. No key has this name.
	revision, _ := strconv.Atoi(r[""])
	r[""] = strconv.Itoa(revision + 1)
	return []byte(before)
}

// revision is the store's after all these commands; it begins at 1.
func (r reference) revision() int64 {
	n, _ := strconv.ParseInt(r[""], 10, 64)
	return n + 1
}

func (r reference) Query(key []byte) []byte { return []byte(r[string(key)]) }
