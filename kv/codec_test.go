package kv

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/quorate/quorate/kv/lease"
	"github.com/quorate/quorate/kv/mvcc"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the golden files; read the difference before you accept it")

// samples are one command of each kind with every field set, by name.
func samples() []struct {
	name string
	c    Command
} {
	put := &mvcc.PutRequest{Key: []byte("key"), Value: []byte("value"), Lease: 77, PrevKV: true, IgnoreLease: true}
	deletion := &mvcc.DeleteRangeRequest{Key: []byte("a"), End: []byte("b"), PrevKV: true}
	ranged := &mvcc.RangeRequest{
		Key: []byte("k"), End: []byte{0}, Limit: 10, Revision: 5, SortOrder: mvcc.SortDescend, SortTarget: mvcc.SortByValue,
		KeysOnly: true, MinModRevision: 1, MaxModRevision: 2, MinCreateRevision: 3, MaxCreateRevision: 4,
	}
	txn := &mvcc.TxnRequest{
		Compare: []mvcc.Compare{
			{Result: mvcc.CompareLess, Target: mvcc.CompareMod, Key: []byte("k"), Number: 300},
			{Result: mvcc.CompareNotEqual, Target: mvcc.CompareValue, Key: []byte("k"), End: []byte("l"), Value: []byte("v")},
		},
		Success: []mvcc.Op{{Put: put}, {Range: ranged}},
		Failure: []mvcc.Op{{DeleteRange: deletion}, {Txn: &mvcc.TxnRequest{Success: []mvcc.Op{{Range: &mvcc.RangeRequest{Key: []byte("x"), CountOnly: true}}}}}},
	}
	full := Command{RequestID: 1 << 40, Session: Session{3, 4}, User: "alice", AuthRevision: 9, Keyspace: 2, Time: 1_700_000_000_000_000_000}
	full.Op.Put = &mvcc.PutRequest{Key: []byte("k"), IgnoreValue: true}
	return []struct {
		name string
		c    Command
	}{
		{"put", Command{RequestID: 1, Op: Op{Put: put}}},
		{"delete-range", Command{RequestID: 2, Op: Op{DeleteRange: deletion}}},
		{"txn", Command{RequestID: 3, Op: Op{Txn: txn}}},
		{"compact", Command{Op: Op{Compact: &Compact{Revision: 1000}}}},
		{"lease-grant", Command{Op: Op{LeaseGrant: &LeaseGrant{ID: -5, TTL: lease.TTLMax}}}},
		{"lease-revoke", Command{Op: Op{LeaseRevoke: &LeaseRevoke{ID: 1 << 62, Expired: true, Term: 12}}}},
		{"lease-checkpoint", Command{Op: Op{LeaseCheckpoint: &LeaseCheckpoint{Term: 12, Checkpoints: []lease.Checkpoint{{ID: 1, Remaining: 60}, {ID: 2}}}}}},
		{"alarm", Command{Op: Op{Alarm: &AlarmChange{Raise: true, Alarm: Alarm{Type: AlarmCorrupt, Member: 3}}}}},
		{"cluster-version", Command{Op: Op{ClusterVersion: &ClusterVersion{Major: 1, Minor: 2}}}},
		{"advance", Command{Op: Op{Advance: &Advance{}}}},
		{"whole-envelope", full},
	}
}

func resultSamples() []struct {
	name string
	r    Result
} {
	kv := mvcc.KeyValue{Key: []byte("k"), Value: []byte("v"), CreateRevision: 2, ModRevision: 3, Version: 2, Lease: 9}
	return []struct {
		name string
		r    Result
	}{
		{"plain", Result{Revision: 7}},
		{"ignored", Result{Revision: 7, Ignored: true}},
		{"refused", Result{Revision: 7, Err: mvcc.ErrLeaseNotFound}},
		{"put", Result{Revision: 7, Put: &mvcc.PutResponse{Revision: 7, Prev: &kv}}},
		{"delete-range", Result{Revision: 7, DeleteRange: &mvcc.DeleteRangeResponse{Revision: 7, Deleted: 1, Prev: []mvcc.KeyValue{kv}}}},
		{"lease-grant", Result{Revision: 7, LeaseGrant: &lease.Lease{ID: 5, TTL: 60}}},
		{"alarms", Result{Revision: 7, Alarms: []Alarm{{Type: AlarmNoSpace, Member: 1}}}},
		{"no-alarms", Result{Revision: 7, Alarms: []Alarm{}}},
		{"txn", Result{Revision: 7, Txn: &mvcc.TxnResponse{Revision: 7, Succeeded: true, Responses: []mvcc.OpResponse{
			{Put: &mvcc.PutResponse{Revision: 7}},
			{Range: &mvcc.RangeResponse{Revision: 7, KVs: []mvcc.KeyValue{kv}, More: true, Count: 2}},
			{DeleteRange: &mvcc.DeleteRangeResponse{Revision: 7}},
			{Txn: &mvcc.TxnResponse{Responses: []mvcc.OpResponse{{Put: &mvcc.PutResponse{Revision: 7}}}}},
		}}}},
	}
}

// TestFormatIsGolden holds the bytes of commands and results against the files.
// A difference is a change of format: raise the version.
func TestFormatIsGolden(t *testing.T) {
	var commands, results strings.Builder
	for _, s := range samples() {
		b, err := s.c.Encode()
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		fmt.Fprintf(&commands, "%-16s %s\n", s.name, hex.EncodeToString(b))
		back, err := DecodeCommand(b)
		if err != nil || !reflect.DeepEqual(*back, s.c) {
			t.Errorf("%s: decoded %+v, %v", s.name, back, err)
		}
	}
	for _, s := range resultSamples() {
		b := s.r.encode()
		fmt.Fprintf(&results, "%-16s %s\n", s.name, hex.EncodeToString(b))
		back, err := DecodeResult(b)
		if err != nil || !reflect.DeepEqual(*back, s.r) {
			t.Errorf("%s: decoded %+v, %v", s.name, back, err)
		}
	}
	golden(t, "testdata/commands.v1.hex", commands.String())
	golden(t, "testdata/results.v1.hex", results.String())
}

func golden(t *testing.T, file, got string) {
	t.Helper()
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
		t.Errorf("%s differs:\ngot\n%s\nwant\n%s", file, got, want)
	}
}

func TestCommandsSurviveEncoding(t *testing.T) {
	g := newGenerator(1)
	for range 3000 {
		c := g.command()
		b, err := c.Encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodeCommand(b)
		if err != nil {
			t.Fatalf("%x: %v", b, err)
		}
		again, err := back.Encode()
		if err != nil || !bytes.Equal(b, again) {
			t.Fatalf("%x decodes to %+v, which is %x, %v", b, back, again, err)
		}
		// Cut anywhere it is not a command.
		cut := g.IntN(len(b))
		if _, err := DecodeCommand(b[:cut]); !errors.Is(err, ErrFormat) {
			t.Fatalf("%x cut at %d: %v", b, cut, err)
		}
		if _, err := DecodeCommand(append(b, 0)); !errors.Is(err, ErrFormat) {
			t.Fatalf("%x and a byte more: %v", b, err)
		}
	}
}

func TestUnknownVersionsAreClearErrors(t *testing.T) {
	for _, c := range []struct {
		data []byte
		want string
	}{
		{nil, "cut short"},
		{[]byte{2, 0, 0, 10}, "command format 2, this version reads 1: upgrade this member"},
		{[]byte{1, 0x10, 0, 10}, "unknown flags 00010000"},
		{[]byte{1, 0, 0, 99}, "unknown operation 99: upgrade this member"},
		{[]byte{1, 0, 0, byte(kindAlarm), 1, 9, 0}, "unknown alarm 9"},
		{[]byte{1, 0, 0, byte(kindTxn), 0, 1, 77, 0}, "unknown operation 77 in a transaction"},
		{[]byte{1, 0, 0, byte(kindTxn), 255, 255, 3}, "a count beyond the end"},
		{[]byte{1, 0, 0, byte(kindPut), 0, 255, 255, 3}, "a length beyond the end"},
	} {
		_, err := DecodeCommand(c.data)
		if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.data, err, c.want)
		}
	}
	if _, err := DecodeResult([]byte{2, 0, 0}); !errors.Is(err, ErrFormat) {
		t.Errorf("result format 2: %v", err)
	}
	if _, err := DecodeResult([]byte{1, 99, 0}); !errors.Is(err, ErrFormat) {
		t.Errorf("result 99: %v", err)
	}
}

func TestCommandsHaveLimits(t *testing.T) {
	big := Command{Op: Op{Put: &mvcc.PutRequest{Key: []byte("k"), Value: make([]byte, CommandBytesMax)}}}
	if _, err := big.Encode(); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a command over the limit: %v", err)
	}
	if _, err := DecodeCommand(make([]byte, CommandBytesMax+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("bytes over the limit: %v", err)
	}
	deep := &mvcc.TxnRequest{}
	for range TxnDepthMax - 1 {
		deep = &mvcc.TxnRequest{Success: []mvcc.Op{{Txn: deep}}}
	}
	b, err := (&Command{Op: Op{Txn: deep}}).Encode()
	if err != nil {
		t.Fatalf("%d levels: %v", TxnDepthMax, err)
	}
	if _, err := DecodeCommand(b); err != nil {
		t.Errorf("%d levels: %v", TxnDepthMax, err)
	}
	deep = &mvcc.TxnRequest{Success: []mvcc.Op{{Txn: deep}}}
	if _, err := (&Command{Op: Op{Txn: deep}}).Encode(); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%d levels: %v", TxnDepthMax+1, err)
	}
	// The same by hand: 10,000 levels of nested transactions.
	bomb := append([]byte{1, 0, 0}, bytes.Repeat([]byte{byte(kindTxn), 0, 1}, 10_000)...)
	if _, err := DecodeCommand(bomb); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "nested too deep") {
		t.Errorf("a nested bomb: %v", err)
	}
}

func TestACommandHasExactlyOneOperation(t *testing.T) {
	for _, o := range []Op{{}, {Put: &mvcc.PutRequest{}, Advance: &Advance{}}, {Txn: &mvcc.TxnRequest{Success: []mvcc.Op{{}}}}} {
		if _, err := (&Command{Op: o}).Encode(); err == nil {
			t.Errorf("%+v was encoded", o)
		}
	}
}

func FuzzDecodeCommand(f *testing.F) {
	for _, s := range samples() {
		b, _ := s.c.Encode()
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := DecodeCommand(data)
		if err != nil {
			return
		}
		b, err := c.Encode()
		if err != nil {
			t.Fatalf("%x decodes and cannot be encoded: %v", data, err)
		}
		back, err := DecodeCommand(b)
		if err != nil || !reflect.DeepEqual(c, back) {
			t.Fatalf("%+v comes back as %+v, %v", c, back, err)
		}
	})
}

func FuzzDecodeResult(f *testing.F) {
	for _, s := range resultSamples() {
		f.Add([]byte(s.r.encode()))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := DecodeResult(data)
		if err != nil {
			return
		}
		back, err := DecodeResult(r.encode())
		if err != nil || !reflect.DeepEqual(r, back) {
			t.Fatalf("%+v comes back as %+v, %v", r, back, err)
		}
	})
}
