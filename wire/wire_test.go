package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/membership"
	"github.com/quorate/quorate/raft"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew; read the diff before accepting it")

// codec is one kind of value with its two directions.
type codec struct {
	encode func(v any) []byte
	decode func(b []byte) (any, error)
}

func of[T any](enc func([]byte, T) []byte, dec func([]byte) (T, error)) codec {
	return codec{
		encode: func(v any) []byte { return enc(nil, v.(T)) },
		decode: func(b []byte) (any, error) { v, err := dec(b); return v, err },
	}
}

var (
	messages   = of(AppendMessage, Message)
	configs    = of(AppendConfig, Config)
	hardStates = of(AppendHardState, HardState)
	logStarts  = of(AppendLogStart, LogStart)
	metas      = of(AppendSnapshotMeta, SnapshotMeta)
	entries    = of(AppendEntry, wholeEntry)
)

func wholeEntry(b []byte) (raft.Entry, error) {
	e, rest, err := Entry(b)
	if err == nil && len(rest) > 0 {
		return raft.Entry{}, fmt.Errorf("%d bytes behind the entry", len(rest))
	}
	return e, err
}

// plain forgets Encoded, so that values can be compared and encoded anew.
func plain(v any) any {
	switch v := v.(type) {
	case raft.Entry:
		v.Encoded = nil
		return v
	case raft.Append:
		es := append([]raft.Entry(nil), v.Entries...)
		for i := range es {
			es[i].Encoded = nil
		}
		v.Entries = es
		return v
	}
	return v
}

var (
	n1   = id.NodeID{Node: 1}
	n2x3 = id.NodeID{Node: 0x8e9e05c52164694d, Incarnation: 3}
	conf = membership.Config{Version: 7, Joint: true, Members: []membership.Member{
		{ID: n1, Role: membership.Voter, Was: membership.Voter, Name: "one", PeerURLs: []string{"http://127.0.0.1:2380"},
			ClientURLs: []string{"http://127.0.0.1:2379", "http://[::1]:2379"}, Directory: id.DirectoryID{0: 0xd1, 15: 0x01}},
		{ID: n2x3, Role: membership.Learner, Was: membership.Absent},
	}}
)

func entryAt(i id.Index, kind raft.EntryKind) raft.Entry {
	e := raft.Entry{Term: 5, Index: i, Kind: kind, Proposal: raft.ProposalID{Origin: n2x3, Sequence: uint64(300 + i)}}
	switch kind {
	case raft.EntryCommand:
		e.Data = []byte("x=3")
	case raft.EntryConfig:
		e.Config = &conf
		e.Data = AppendConfig(nil, conf)
	}
	return e
}

var goldens = []struct {
	name  string
	codec codec
	value any
}{
	{"request-pre-vote", messages, raft.RequestPreVote{Term: 5, LastIndex: 300, LastTerm: 4}},
	{"pre-vote", messages, raft.PreVote{Term: 5, For: 6, Granted: true}},
	{"request-vote", messages, raft.RequestVote{Term: 6, LastIndex: 300, LastTerm: 4, Transfer: true}},
	{"vote", messages, raft.Vote{Term: 6, Granted: false}},
	{"append", messages, raft.Append{Term: 5, Prev: 9, PrevTerm: 4, Commit: 8, Entries: []raft.Entry{
		entryAt(10, raft.EntryNoop), entryAt(11, raft.EntryCommand), entryAt(12, raft.EntryConfig)}}},
	{"append-empty", messages, raft.Append{Term: 5, Prev: 9, PrevTerm: 4, Commit: 9}},
	{"append-accepted", messages, raft.AppendAccepted{Term: 5, Match: 12}},
	{"append-rejected", messages, raft.AppendRejected{Term: 5, Prev: 9, HintIndex: 6, HintTerm: 3}},
	{"heartbeat", messages, raft.Heartbeat{Term: 5, Commit: 12, Round: 1 << 40}},
	{"heartbeat-ack", messages, raft.HeartbeatAck{Term: 5, Round: 1 << 40}},
	{"install-snapshot", messages, raft.InstallSnapshot{Term: 5, Snapshot: raft.SnapshotMeta{Index: 100, Term: 4, Config: conf}}},
	{"timeout-now", messages, raft.TimeoutNow{Term: math.MaxUint64}},
	{"request-read", messages, raft.RequestRead{Term: 5, ID: 17}},
	{"read-answer", messages, raft.ReadAnswer{Term: 5, ID: 17, Index: 12, Granted: true}},
	{"not-member", messages, raft.NotMember{Term: 5, Version: 8}},
	{"entry-command", entries, entryAt(11, raft.EntryCommand)},
	{"entry-noop", entries, raft.Entry{Term: 1, Index: 1, Kind: raft.EntryNoop}},
	{"entry-config", entries, entryAt(12, raft.EntryConfig)},
	{"config", configs, conf},
	{"config-empty", configs, membership.Config{}},
	{"hard-state", hardStates, raft.HardState{Term: 5, Vote: n2x3, Commit: 12}},
	{"log-start", logStarts, raft.LogStart{Index: 100, Term: 4, Config: conf}},
	{"snapshot-meta", metas, raft.SnapshotMeta{Index: 100, Term: 4, Config: conf}},
}

func TestGoldenFiles(t *testing.T) {
	for _, g := range goldens {
		t.Run(g.name, func(t *testing.T) {
			file := filepath.Join("testdata", "v1", g.name+".hex")
			got := fmt.Sprintf("%T\n%s", g.value, hex.Dump(g.codec.encode(g.value)))
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("the encoding changed; an old file would not be read.\ngot:\n%swant:\n%s", got, want)
			}
			v, err := g.codec.decode(g.codec.encode(g.value))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(plain(v), g.value) {
				t.Errorf("decoded %+v\nwant    %+v", v, g.value)
			}
		})
	}
}

// Every kind has a golden file, so a kind added later cannot be forgotten here.
func TestEveryKindHasAGoldenFile(t *testing.T) {
	seen := map[Kind]bool{}
	for _, g := range goldens {
		if _, ok := g.value.(raft.Message); ok {
			seen[Kind(g.codec.encode(g.value)[1])] = true
		}
	}
	for k := KindRequestPreVote; int(k) < len(kindNames); k++ {
		if !seen[k] {
			t.Errorf("no golden file for %v", k)
		}
	}
}

// Whatever is cut off or flipped, a decoder returns an error that names an
// offset within the input, or a value that encodes to exactly these bytes.
func TestDamagedInputIsRefusedOrCanonical(t *testing.T) {
	for _, g := range goldens {
		good := g.codec.encode(g.value)
		for n := range good {
			checkDecode(t, g.codec, good[:n])
			if _, err := g.codec.decode(good[:n]); err == nil {
				t.Errorf("%s: the first %d of %d bytes were accepted", g.name, n, len(good))
			}
		}
		checkDecode(t, g.codec, append(bytes.Clone(good), 0))
		for i := range good {
			for _, flip := range []byte{0x01, 0x10, 0x80, 0xff} {
				bad := bytes.Clone(good)
				bad[i] ^= flip
				checkDecode(t, g.codec, bad)
			}
		}
	}
}

func checkDecode(t *testing.T, c codec, b []byte) {
	t.Helper()
	v, err := c.decode(b)
	if err == nil {
		if again := c.encode(plain(v)); !bytes.Equal(again, b) {
			t.Fatalf("%x was accepted as %+v, which encodes to %x", b, v, again)
		}
		return
	}
	var e *Error
	if errors.As(err, &e) && (e.Offset < 0 || e.Offset > len(b) || e.What == "" || e.Why == "") {
		t.Fatalf("%x: the error does not say where: %v", b, err)
	}
}

func TestErrorsSayWhatAndWhere(t *testing.T) {
	crcBroken := AppendEntry(nil, entryAt(11, raft.EntryCommand))
	crcBroken[len(crcBroken)-6] ^= 4
	gap := AppendMessage(nil, raft.Append{Term: 5, Prev: 9, Entries: []raft.Entry{entryAt(10, raft.EntryNoop), entryAt(12, raft.EntryNoop)}})
	unsorted := AppendConfig(nil, membership.Config{Members: []membership.Member{{ID: n2x3}, {ID: n1}}})
	for _, c := range []struct {
		codec codec
		in    []byte
		want  string
	}{
		{messages, nil, "wire: message: offset 0: ends before format version"},
		{messages, []byte{2, 1}, "wire: message: offset 0: format version 2 is unknown; this build reads version 1"},
		{messages, []byte{1, 15}, "wire: message: offset 1: kind 15 is unknown"},
		{messages, []byte{1, 4, 6, 2}, "wire: vote message: offset 3: granted is 2; it must be 0 or 1"},
		{messages, []byte{1, 4, 0x80}, "wire: vote message: offset 2: ends within term"},
		{messages, []byte{1, 4, 0x86, 0, 1}, "wire: vote message: offset 2: term is not in its shortest form"},
		{messages, []byte{1, 4, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1}, "wire: vote message: offset 2: term does not fit 64 bits"},
		{messages, []byte{1, 4, 6, 1, 9}, "wire: vote message: offset 4: 1 bytes too many"},
		{messages, []byte{1, 5, 5, 9, 4, 8, 200, 1}, "wire: append message: offset 6: number of entries is 200; the 0 bytes behind it cannot hold so many"},
		{messages, gap, "wire: append message: offset 28: entry 1 of the message has index 12; 11 was expected"},
		{entries, crcBroken, "wire: entry: offset 0: entry's checksum is 0020fdd4, its bytes have 4eaa9c08"},
		{entries, []byte{3, 0x11, 0, 0}, "wire: entry: offset 0: entry of 3 bytes is shorter than the shortest, 10"},
		{entries, append([]byte{10, 0x21}, make([]byte, 9)...), "wire: entry: offset 1: entry's format version 2 is unknown; this build reads version 1"},
		{configs, unsorted, "wire: configuration: offset 36: member n1 comes after n10276657743932975437.3; members are sorted by id, each once"},
		{hardStates, []byte{1, 5, 1, 255, 255, 255, 255, 31, 0}, "wire: hard state: offset 3: incarnation 8589934591 of vote does not fit 32 bits"},
	} {
		_, err := c.codec.decode(c.in)
		if err == nil || err.Error() != c.want {
			t.Errorf("%x:\n got %v\nwant %s", c.in, err, c.want)
		}
	}
}

// A flipped bit in an entry's data never passes, wherever it is.
func TestEveryBitOfAnEntryIsProtected(t *testing.T) {
	good := AppendEntry(nil, entryAt(12, raft.EntryConfig))
	for bit := range 8 * len(good) {
		bad := bytes.Clone(good)
		bad[bit/8] ^= 1 << (bit % 8)
		if e, rest, err := Entry(bad); err == nil {
			t.Errorf("bit %d flipped and accepted as %+v, rest %x", bit, e, rest)
		}
	}
}

func TestRandomValuesRoundTrip(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		for _, v := range []struct {
			codec codec
			value any
		}{
			{messages, randomMessage(rnd)}, {configs, randomConfig(rnd)},
			{entries, randomEntry(rnd, id.Index(random(rnd)))},
			{hardStates, raft.HardState{Term: id.Term(random(rnd)), Vote: randomNode(rnd), Commit: id.Index(random(rnd))}},
			{logStarts, raft.LogStart{Index: id.Index(random(rnd)), Term: id.Term(random(rnd)), Config: randomConfig(rnd)}},
			{metas, raft.SnapshotMeta{Index: id.Index(random(rnd)), Term: id.Term(random(rnd)), Config: randomConfig(rnd)}},
		} {
			b := v.codec.encode(v.value)
			got, err := v.codec.decode(b)
			if err != nil || !reflect.DeepEqual(plain(got), v.value) {
				t.Fatalf("%+v\nbecame %+v\nerror %v", v.value, got, err)
			}
			if again := v.codec.encode(got); !bytes.Equal(again, b) {
				t.Fatalf("%+v encodes differently with Encoded set", got)
			}
		}
	}
}

// random prefers small numbers and the edges of varint lengths.
func random(rnd *rand.Rand) uint64 {
	v := uint64(1) << rnd.IntN(64)
	return v + uint64(rnd.IntN(3)) - 1
}

func randomNode(rnd *rand.Rand) id.NodeID {
	return id.NodeID{Node: random(rnd), Incarnation: uint32(random(rnd))}
}

func randomText(rnd *rand.Rand) string { return strings.Repeat("u", rnd.IntN(200)) }

func randomTexts(rnd *rand.Rand) (s []string) {
	for range rnd.IntN(3) {
		s = append(s, randomText(rnd))
	}
	return s
}

func randomConfig(rnd *rand.Rand) membership.Config {
	c := membership.Config{Version: random(rnd), Joint: rnd.IntN(2) == 0}
	n := id.NodeID{}
	for range rnd.IntN(5) {
		n.Node += 1 + uint64(rnd.IntN(1000))
		m := membership.Member{ID: n, Role: membership.Role(rnd.IntN(3)), Was: membership.Role(rnd.IntN(3)),
			Name: randomText(rnd), PeerURLs: randomTexts(rnd), ClientURLs: randomTexts(rnd)}
		m.Directory[rnd.IntN(16)] = byte(rnd.Uint32())
		c.Members = append(c.Members, m)
	}
	return c
}

func randomEntry(rnd *rand.Rand, i id.Index) raft.Entry {
	e := raft.Entry{Term: id.Term(random(rnd)), Index: i, Kind: raft.EntryKind(1 + rnd.IntN(3)),
		Proposal: raft.ProposalID{Origin: randomNode(rnd), Sequence: random(rnd)}}
	switch e.Kind {
	case raft.EntryCommand:
		e.Data = []byte(randomText(rnd) + "x")
	case raft.EntryConfig:
		c := randomConfig(rnd)
		e.Config, e.Data = &c, AppendConfig(nil, c)
	}
	return e
}

func randomMessage(rnd *rand.Rand) raft.Message {
	t, i, u, b := id.Term(random(rnd)), id.Index(random(rnd)), random(rnd), rnd.IntN(2) == 0
	switch rnd.IntN(6) {
	case 0:
		return raft.RequestVote{Term: t, LastIndex: i, LastTerm: id.Term(u), Transfer: b}
	case 1:
		return raft.AppendRejected{Term: t, Prev: i, HintIndex: id.Index(u), HintTerm: id.Term(random(rnd))}
	case 2:
		return raft.InstallSnapshot{Term: t, Snapshot: raft.SnapshotMeta{Index: i, Term: id.Term(u), Config: randomConfig(rnd)}}
	case 3:
		return raft.ReadAnswer{Term: t, ID: u, Index: i, Granted: b}
	}
	m := raft.Append{Term: t, Prev: i / 2, PrevTerm: id.Term(u), Commit: i}
	for k := range rnd.IntN(20) {
		m.Entries = append(m.Entries, randomEntry(rnd, m.Prev+1+id.Index(k)))
	}
	return m
}

// Seal keeps one copy of the data: Data points into Encoded.
func TestSealedEntriesAreCopiedNotEncodedAgain(t *testing.T) {
	e := entryAt(12, raft.EntryConfig)
	e.Data = nil
	Seal(&e)
	if want := AppendConfig(nil, conf); !bytes.Equal(e.Data, want) {
		t.Errorf("data of the sealed configuration entry is %x, want %x", e.Data, want)
	}
	if at := len(e.Encoded) - crcBytes - len(e.Data); &e.Data[0] != &e.Encoded[at] {
		t.Error("Data does not share memory with Encoded")
	}
	if cap(e.Data) != len(e.Data) {
		t.Error("an append to Data would overwrite the checksum")
	}
	first := &e.Encoded[0]
	Seal(&e)
	if first != &e.Encoded[0] {
		t.Error("a sealed entry was encoded again")
	}
	b := AppendMessage(nil, raft.Append{Term: 5, Prev: 11, Entries: []raft.Entry{e}})
	m, err := Message(b)
	if err != nil {
		t.Fatal(err)
	}
	got := m.(raft.Append).Entries[0]
	if !bytes.Equal(got.Encoded, e.Encoded) || EntryChecksum(got.Encoded) != EntryChecksum(e.Encoded) {
		t.Errorf("received %x, sealed %x", got.Encoded, e.Encoded)
	}
	if end := len(b); &got.Encoded[0] != &b[end-len(got.Encoded)] {
		t.Error("the decoded entry does not share memory with the frame")
	}
}

func TestHotPathAllocatesOnlyTheSliceOfEntries(t *testing.T) {
	m := appendOf(64, 256)
	b := AppendMessage(nil, m)
	if n := testing.AllocsPerRun(100, func() { sink, _ = Message(b) }); n > 2 {
		t.Errorf("decoding 64 entries allocates %v times; the slice and the message are 2", n)
	}
	dst := make([]byte, 0, len(b))
	if n := testing.AllocsPerRun(100, func() { AppendMessage(dst, m) }); n > 0 {
		t.Errorf("encoding sealed entries allocates %v times", n)
	}
}

// The worst inputs known: the promise is 32 times their length.
func TestAllocationIsBoundedByTheInput(t *testing.T) {
	urls := append([]byte{1, 0, 0, 1, 1, 0, 1, 0, 0}, 0xc0, 0x84, 0x3d) // one member with 10^6 peer URLs
	noops := AppendMessage(nil, func() raft.Append {
		m := raft.Append{}
		for i := range 50000 {
			m.Entries = append(m.Entries, raft.Entry{Index: id.Index(i + 1), Kind: raft.EntryNoop})
		}
		return m
	}())
	for name, c := range map[string]struct {
		codec codec
		in    []byte
	}{
		"a million empty URLs":         {configs, append(urls, make([]byte, 1_000_000+1+16)...)},
		"a million URLs, cut short":    {configs, append(urls, make([]byte, 1_000_000)...)},
		"the smallest entries":         {messages, noops},
		"a count without entries":      {messages, []byte{1, 5, 5, 9, 4, 8, 255, 255, 255, 255, 15}},
		"a length without bytes":       {entries, []byte{255, 255, 255, 255, 15, 0x11}},
		"a number of members, no more": {configs, []byte{1, 0, 0, 255, 255, 255, 255, 15}},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		v, err := c.codec.decode(c.in)
		runtime.ReadMemStats(&after)
		sinkAny = v
		if got, limit := after.TotalAlloc-before.TotalAlloc, uint64(32*len(c.in)+16<<10); got > limit {
			t.Errorf("%s: %d bytes of input made the decoder allocate %d (error %v)", name, len(c.in), got, err)
		}
	}
}

var (
	sink    raft.Message
	sinkAny any
)

func appendOf(count, dataBytes int) raft.Message {
	m := raft.Append{Term: 5, Prev: 1000, PrevTerm: 5, Commit: 990}
	for i := range count {
		e := raft.Entry{Term: 5, Index: id.Index(1001 + i), Kind: raft.EntryCommand, Data: make([]byte, dataBytes),
			Proposal: raft.ProposalID{Origin: n1, Sequence: uint64(100000 + i)}}
		Seal(&e)
		m.Entries = append(m.Entries, e)
	}
	return m
}

func BenchmarkDecodeAppend64x256(b *testing.B) {
	in := AppendMessage(nil, appendOf(64, 256))
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		sink, _ = Message(in)
	}
}

func BenchmarkEncodeAppend64x256(b *testing.B) {
	m := appendOf(64, 256)
	dst := AppendMessage(nil, m)
	b.SetBytes(int64(len(dst)))
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendMessage(dst[:0], m)
	}
}

func BenchmarkSeal256(b *testing.B) {
	e := raft.Entry{Term: 5, Index: 1001, Kind: raft.EntryCommand, Data: make([]byte, 256), Proposal: raft.ProposalID{Origin: n1, Sequence: 100000}}
	b.ReportAllocs()
	for b.Loop() {
		s := e
		Seal(&s)
	}
}

// The fuzz targets start from the golden values. What is accepted must encode to
// the same bytes, so nothing is silently dropped or has a second spelling.

func fuzz(f *testing.F, kind codec, of func(v any) bool) {
	for _, g := range goldens {
		if of(g.value) {
			f.Add(g.codec.encode(g.value))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) { checkDecode(t, kind, b) })
}

func is[T any](v any) bool { _, ok := v.(T); return ok }

func FuzzMessage(f *testing.F)      { fuzz(f, messages, is[raft.Message]) }
func FuzzEntry(f *testing.F)        { fuzz(f, entries, is[raft.Entry]) }
func FuzzConfig(f *testing.F)       { fuzz(f, configs, is[membership.Config]) }
func FuzzHardState(f *testing.F)    { fuzz(f, hardStates, is[raft.HardState]) }
func FuzzLogStart(f *testing.F)     { fuzz(f, logStarts, is[raft.LogStart]) }
func FuzzSnapshotMeta(f *testing.F) { fuzz(f, metas, is[raft.SnapshotMeta]) }
