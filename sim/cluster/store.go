package cluster

import (
	"fmt"

	"github.com/quorate/quorate/kv"
	"github.com/quorate/quorate/kv/mvcc"
	"github.com/quorate/quorate/rsm"
)

// words is how a machine takes commands and shows its state. Clients, history and
// model know only texts and pairs.
type words interface {
	open(s *storage) rsm.Machine
	encode(c command) []byte
	text(data []byte) ([]byte, error)           // the command as a text
	answer(result rsm.Result) (string, error)   // the value before
	pairs(v rsm.View) (mapView, error)          // the whole state
	get(v rsm.View, key string) (string, error) // one value
}

// vocabulary returns the words of a machine by its name.
func vocabulary(machine string) words {
	if machine == "kv" {
		return storeWords{}
	}
	return mapWords{durable: machine == "durable-map"}
}

type mapWords struct{ durable bool }

func (w mapWords) open(s *storage) rsm.Machine {
	if w.durable {
		return &DurableMap{storage: s}
	}
	return &Map{}
}

func (mapWords) encode(c command) []byte                    { return c.bytes() }
func (mapWords) text(data []byte) ([]byte, error)           { return data, nil }
func (mapWords) answer(r rsm.Result) (string, error)        { return string(r), nil }
func (mapWords) pairs(v rsm.View) (mapView, error)          { return v.(mapView), nil }
func (mapWords) get(v rsm.View, key string) (string, error) { return v.(mapView).get(key), nil }

// Store is the product's own state machine on its memory engine, which flushes
// when the seed says so.
type Store struct {
	*kv.Store
	storage *storage
}

func (s *Store) Apply(b rsm.Batch, results []rsm.Result) ([]rsm.Result, error) {
	results, err := s.Store.Apply(b, results)
	if err == nil && s.storage.flush() {
		s.storage.engine.FlushBut(len(b.Commands) % 3)
	}
	return results, err
}

// storeWords says everything in the store's envelope: a put, a deletion, a
// transaction for a cas.
type storeWords struct{}

func (storeWords) open(s *storage) rsm.Machine {
	return &Store{kv.NewStore(s.engine, kv.Options{}), s}
}

func (storeWords) encode(c command) []byte {
	key := []byte(c.key)
	put := &mvcc.PutRequest{Key: key, Value: []byte(c.new), PrevKV: true}
	e := kv.Command{RequestID: c.operation}
	switch c.kind {
	case "put":
		e.Op.Put = put
	case "cas":
		look := mvcc.Op{Range: &mvcc.RangeRequest{Key: key}}
		is := mvcc.Compare{Result: mvcc.CompareEqual, Target: mvcc.CompareValue, Key: key, Value: []byte(c.old)}
		if c.old == "" {
			is = mvcc.Compare{Result: mvcc.CompareEqual, Target: mvcc.CompareVersion, Key: key}
		}
		e.Op.Txn = &mvcc.TxnRequest{Compare: []mvcc.Compare{is}, Success: []mvcc.Op{look, {Put: put}}, Failure: []mvcc.Op{look}}
	default:
		e.Op.DeleteRange = &mvcc.DeleteRangeRequest{Key: key, PrevKV: true}
	}
	b, err := e.Encode()
	if err != nil {
		panic(err) // a command of ours always fits
	}
	return b
}

func (storeWords) text(data []byte) ([]byte, error) {
	e, err := kv.DecodeCommand(data)
	if err != nil {
		return nil, err
	}
	c := command{operation: e.RequestID, kind: "del"}
	switch {
	case e.Op.Put != nil:
		c.kind, c.key, c.new = "put", string(e.Op.Put.Key), string(e.Op.Put.Value)
	case e.Op.Txn != nil:
		put := e.Op.Txn.Success[1].Put
		c.kind, c.key, c.old, c.new = "cas", string(put.Key), string(e.Op.Txn.Compare[0].Value), string(put.Value)
	case e.Op.DeleteRange != nil:
		c.key = string(e.Op.DeleteRange.Key)
	default:
		return nil, fmt.Errorf("a command of the store that nobody here gives")
	}
	return c.bytes(), nil
}

func (storeWords) answer(result rsm.Result) (string, error) {
	r, err := kv.DecodeResult(result)
	if err == nil {
		err = r.Err
	}
	if err != nil {
		return "", err
	}
	var before []mvcc.KeyValue
	switch {
	case r.Put != nil && r.Put.Prev != nil:
		return string(r.Put.Prev.Value), nil
	case r.Txn != nil:
		before = r.Txn.Responses[0].Range.KVs
	case r.DeleteRange != nil:
		before = r.DeleteRange.Prev
	}
	if len(before) == 0 {
		return "", nil
	}
	return string(before[0].Value), nil
}

func (storeWords) pairs(v rsm.View) (mapView, error) {
	view := v.(*kv.View)
	all, err := view.Range(&mvcc.RangeRequest{Key: []byte{0}, End: []byte{0}})
	if err != nil {
		return mapView{}, err
	}
	m := mapView{applied: view.Applied(), revision: view.Revision()}
	for _, p := range all.KVs {
		m.pairs = append(m.pairs, pair{string(p.Key), string(p.Value)})
	}
	return m, nil
}

func (storeWords) get(v rsm.View, key string) (string, error) {
	r, err := v.(*kv.View).Range(&mvcc.RangeRequest{Key: []byte(key)})
	if err != nil || len(r.KVs) == 0 {
		return "", err
	}
	return string(r.KVs[0].Value), nil
}
