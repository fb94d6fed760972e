package mvcc

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/kv/engine/mem"
)

// Each test shows one rule of etcd's surface; the numbers are those of the list
// of rules in the design notes, the names say the rule.

// fixture runs requests as single commands on a fresh store.
type fixture struct {
	*testing.T
	store *Store
	index id.Index
}

func newFixture(t *testing.T) *fixture {
	s, err := Open(mem.New(), Options{LeaseExists: func(l int64) bool { return l == 5 || l == 6 }})
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{T: t, store: s}
}

// do applies f as one batch and returns the events.
func (x *fixture) do(f func(u *Update)) []Event {
	x.Helper()
	u := x.store.Begin()
	f(u)
	x.index++
	v, events, err := u.Commit(x.index, 1)
	if err != nil {
		x.Fatal(err)
	}
	if err := v.Close(); err != nil {
		x.Fatal(err)
	}
	return events
}

// put writes "key=value" pairs, a revision each.
func (x *fixture) put(pairs ...string) {
	x.Helper()
	for _, p := range pairs {
		k, v, _ := strings.Cut(p, "=")
		x.do(func(u *Update) {
			if _, err := u.Put(&PutRequest{Key: []byte(k), Value: []byte(v)}); err != nil {
				x.Fatal(err)
			}
		})
	}
}

func (x *fixture) delete(key string) {
	x.Helper()
	x.do(func(u *Update) {
		if _, err := u.DeleteRange(&DeleteRangeRequest{Key: []byte(key)}); err != nil {
			x.Fatal(err)
		}
	})
}

func (x *fixture) txn(t *TxnRequest) (resp *TxnResponse, err error) {
	x.Helper()
	x.do(func(u *Update) { resp, err = u.Txn(t) })
	return resp, err
}

func (x *fixture) compact(rev int64) (err error) {
	x.Helper()
	x.do(func(u *Update) { err = u.Compact(rev) })
	return err
}

func (x *fixture) finishCompaction() {
	x.Helper()
	for more := true; more; {
		var err error
		if more, err = x.store.CompactStep(2); err != nil {
			x.Fatal(err)
		}
	}
}

func (x *fixture) view(f func(v *View)) {
	v := x.store.View()
	defer v.Close()
	f(v)
}

// read returns "key=value" pairs, then the count, then "more" if there is more.
func (x *fixture) read(r RangeRequest) string {
	x.Helper()
	var s string
	x.view(func(v *View) {
		resp, err := v.Range(&r)
		if err != nil {
			s = err.Error()
			return
		}
		s = keyValues(resp.KVs) + fmt.Sprint(" of ", resp.Count)
		if resp.More {
			s += " more"
		}
	})
	return s
}

func keyValues(kvs []KeyValue) string {
	var s []string
	for _, kv := range kvs {
		s = append(s, fmt.Sprintf("%s=%s", kv.Key, kv.Value))
	}
	return strings.Join(s, " ")
}

func all() RangeRequest { return RangeRequest{Key: []byte{0}, End: []byte{0}} }

func (x *fixture) want(what string, got, want any) {
	x.Helper()
	if !reflect.DeepEqual(got, want) {
		x.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func putOp(key, value string) Op {
	return Op{Put: &PutRequest{Key: []byte(key), Value: []byte(value)}}
}
func deleteOp(key, end string) Op {
	return Op{DeleteRange: &DeleteRangeRequest{Key: []byte(key), End: []byte(end)}}
}
func rangeOp(key string) Op { return Op{Range: &RangeRequest{Key: []byte(key)}} }
func txnOp(success ...Op) Op {
	return Op{Txn: &TxnRequest{Success: success}}
}
