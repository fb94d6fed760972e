package rsm

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"hash/crc32"
	"os"
	"reflect"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the golden file; read the difference before you accept it")

type namedBytes struct {
	name  string
	bytes []byte
}

func sampleCommands() []namedBytes {
	return []namedBytes{
		{"plain", EncodePlain([]byte("data"))},
		{"plain-empty", EncodePlain(nil)},
		{"command", EncodeCommand(300, 7, 5, []byte("data"))},
		{"command-largest", EncodeCommand(1<<64-1, 1<<64-1, 1, nil)},
		{"register", EncodeRegister()},
		{"close", EncodeClose(300)},
		{"limits", EncodeSessionLimits(SessionLimits{Sessions: 4096, Window: 32, AnswerBytes: 1024})},
	}
}

func sampleAnswers() []Answer {
	return []Answer{
		{Status: Answered, Result: Result("result")}, {Status: Answered, Result: Result{}}, {Status: Registered, Session: 300, Window: 32},
		{Status: Closed}, {Status: LimitsSet}, {Status: NotKept},
		{Status: NoSession}, {Status: Past}, {Status: Ahead}, {Status: Malformed}, {Status: BadLimits},
	}
}

// sampleReplica has what a table can hold: an answer that is kept, one that was
// too long, a gap, an untouched session, an order of use that is not that of ids.
func sampleReplica(t *testing.T) *replica {
	r := newReplica(t)
	r.limit(SessionLimits{Sessions: 5, Window: 8, AnswerBytes: 8})
	a, _, c := r.register(), r.register(), r.register()
	r.apply(
		EncodeCommand(c, 1, 1, []byte("first")), EncodeCommand(a, 3, 2, []byte("x")),
		EncodeCommand(a, 5, 2, []byte("too long to keep")), EncodeCommand(a, 6, 2, nil),
	)
	return r
}

// TestSessionBytesAreGolden holds the formats against the file. A difference is a
// change of format: raise the version.
func TestSessionBytesAreGolden(t *testing.T) {
	var text strings.Builder
	for _, c := range sampleCommands() {
		fmt.Fprintf(&text, "command %-16s %x\n", c.name, c.bytes)
	}
	for _, a := range sampleAnswers() {
		b := a.encode()
		fmt.Fprintf(&text, "answer %-17d %x\n", a.Status, []byte(b))
		if back, err := DecodeAnswer(b); err != nil || !reflect.DeepEqual(back, a) {
			t.Errorf("answer %+v came back as %+v, %v", a, back, err)
		}
	}
	fmt.Fprintf(&text, "stream %s\n", hex.EncodeToString(sampleReplica(t).bytes()))
	const file = "testdata/sessions.v1.hex"
	if *rewrite {
		if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if text.String() != string(want) {
		t.Errorf("the formats are not those of %s:\n%s", file, text.String())
	}
}

func TestAnswersOfOthersAreRefused(t *testing.T) {
	for text, b := range map[string]Result{
		"an answer of 0 bytes: the machine behind it has no sessions":   nil,
		"answer version 111, this version reads 1: upgrade this client": Result("ok"),
		"an answer with status 99: upgrade this client":                 {1, 99},
		"an answer (closed) that is damaged":                            {1, 3, 0},
		"an answer (registered) that is damaged":                        {1, 2, 5},
	} {
		if _, err := DecodeAnswer(b); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%x: %v, want %s", []byte(b), err, text)
		}
	}
}

// Every status has a text, and refusals are errors.
func TestEveryStatusSaysWhatHappened(t *testing.T) {
	for _, a := range sampleAnswers() {
		if strings.HasPrefix(a.Status.String(), "status ") {
			t.Errorf("status %d has no text", a.Status)
		}
		if refused := a.Status >= NotKept; (a.Err() != nil) != refused {
			t.Errorf("%v: Err is %v", a.Status, a.Err())
		}
	}
}

func TestUnwrapShowsWhoseCommandItIs(t *testing.T) {
	for _, c := range sampleCommands() {
		got := "nothing for the machine"
		if s, n, data, ok := Unwrap(c.bytes); ok {
			got = fmt.Sprintf("%d.%d %q", s, n, data)
		}
		want := map[string]string{
			"plain": `0.0 "data"`, "plain-empty": `0.0 ""`, "command": `300.7 "data"`,
			"command-largest": `18446744073709551615.18446744073709551615 ""`,
		}[c.name]
		if want == "" {
			want = "nothing for the machine"
		}
		if got != want {
			t.Errorf("%s: %s, want %s", c.name, got, want)
		}
	}
	if _, _, _, ok := Unwrap([]byte("set k v")); ok {
		t.Error("bytes without an envelope were unwrapped")
	}
}

// tableBytes is how much of a stream is the table.
func tableBytes(t *testing.T, r *replica) int {
	return len(r.bytes()) - len(written(t, r.journal.View()))
}

func TestDamagedSnapshotIsRefusedAndChangesNothing(t *testing.T) {
	r := sampleReplica(t)
	whole, table := r.bytes(), tableBytes(t, r)
	n := newReplica(t)
	refused := func(what string, b []byte, text string) {
		t.Helper()
		before := n.bytes()
		err := n.machine.Restore(Meta{Index: r.at}, bytes.NewReader(b))
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v, want %q", what, err, text)
		}
		if !bytes.Equal(before, n.bytes()) {
			t.Errorf("%s: the machine changed", what)
		}
	}
	for i := range table {
		b := bytes.Clone(whole)
		b[i] ^= 0x40
		refused(fmt.Sprintf("byte %d", i), b, "session table of the snapshot at entry 8")
		refused(fmt.Sprintf("cut at %d", i), whole[:i], "ends early")
	}
	other := bytes.Clone(whole)
	other[len(streamMagic)] = 2
	refused("version", other, "version 2, this version reads 1: upgrade this member")
	refused("a machine without sessions", []byte("line 1\nline 2"), "of a machine without sessions")
	if err := n.machine.Restore(Meta{Index: r.at - 1}, bytes.NewReader(whole)); err == nil {
		t.Error("a table of a later entry than its snapshot was accepted")
	}
	if err := n.machine.Restore(Meta{Index: r.at}, bytes.NewReader(whole)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(whole, n.bytes()) {
		t.Error("restored, it writes other bytes")
	}
}

// Whatever is read as a command is written in the same bytes.
func FuzzEnvelope(f *testing.F) {
	for _, c := range sampleCommands() {
		f.Add(c.bytes)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := decodeEnvelope(b)
		if err != nil {
			return
		}
		var again []byte
		switch e.kind {
		case kindPlain:
			again = EncodePlain(e.data)
		case kindCommand:
			again = EncodeCommand(e.session, e.n, e.lowest, e.data)
			if e.lowest < 1 || e.lowest > e.n {
				t.Fatalf("lowest %d of sequence %d", e.lowest, e.n)
			}
		case kindRegister:
			again = EncodeRegister()
		case kindClose:
			again = EncodeClose(e.session)
		case kindLimits:
			again = EncodeSessionLimits(e.limits)
		}
		if !bytes.Equal(again, b) {
			t.Fatalf("%x reads as %+v, which is written %x", b, e, again)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	for _, a := range sampleAnswers() {
		f.Add([]byte(a.encode()))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, err := DecodeAnswer(b); err == nil && !bytes.Equal(a.encode(), b) {
			t.Fatalf("%x reads as %+v, which is written %x", b, a, a.encode())
		}
	})
}

// FuzzSessionTable is a stream with a right checksum and anything in front of it.
func FuzzSessionTable(f *testing.F) {
	r := sampleReplica(&testing.T{})
	whole := r.bytes()
	f.Add(whole[:len(whole)-len(written(&testing.T{}, r.journal.View()))-4])
	f.Fuzz(func(t *testing.T, body []byte) {
		b := binary.LittleEndian.AppendUint32(bytes.Clone(body), crc32.Checksum(body, castagnoli))
		n := newReplica(t)
		if err := n.machine.Restore(Meta{Index: r.at}, bytes.NewReader(b)); err != nil {
			return
		}
		checkTable(t, n.machine.table)
		again := n.bytes()
		if !bytes.HasPrefix(b, again[:len(again)-len(written(t, n.journal.View()))]) {
			t.Fatalf("%x reads as a table that is written %x", b, again)
		}
	})
}
