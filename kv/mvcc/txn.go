package mvcc

import (
	"bytes"
	"cmp"

	"github.com/quorate/quorate/internal/assert"
)

// A transaction runs in three steps, in etcd's order: all compares, those of
// nested transactions on the chosen way included, see the state before it; then
// every operation on the way is checked; then they run, one after the other,
// seeing what those before them wrote.

// path is which branch of a transaction runs, and of those nested in it.
type path struct {
	succeeded bool
	nested    []path // one per nested transaction of the branch, in order
}

func (p *path) branch(t *TxnRequest) []Op {
	if p.succeeded {
		return t.Success
	}
	return t.Failure
}

// Txn evaluates all compares, those of nested transactions too, checks all
// operations of the branches to run, and then runs them as one revision.
func (u *Update) Txn(t *TxnRequest) (*TxnResponse, error) {
	if err := t.Validate(-1); err != nil {
		return nil, err
	}
	way, err := u.reader.choose(t, u.revision)
	if err == nil {
		err = u.checkTxn(t, &way)
	}
	if err != nil {
		return nil, u.note(err)
	}
	resp, err := u.runTxn(t, &way)
	if err := u.end(err); err != nil {
		// What ran before may have written, so this cannot be an answer.
		assert.That(!IsRequestError(err), "a checked transaction was refused half way: %v", err)
		return nil, err
	}
	resp.Revision = u.revision
	return resp, nil
}

// choose evaluates the compares at the current revision.
func (r *reader) choose(t *TxnRequest, current int64) (path, error) {
	p := path{succeeded: true}
	for i := range t.Compare {
		holds, err := r.holds(&t.Compare[i], current)
		if err != nil {
			return p, err
		}
		if !holds {
			p.succeeded = false
			break
		}
	}
	for _, op := range p.branch(t) {
		if op.Txn == nil {
			continue
		}
		nested, err := r.choose(op.Txn, current)
		if err != nil {
			return p, err
		}
		p.nested = append(p.nested, nested)
	}
	return p, nil
}

// holds reports whether a compare is true for every key it names. A missing key
// has zeros for numbers and no value: no compare of values holds for it.
func (r *reader) holds(q *Compare, current int64) (bool, error) {
	keys, all := 0, true
	err := r.scan(q.Key, q.End, current, func(c *cursor) (bool, error) {
		keys++
		if q.Target == CompareValue {
			if err := c.load(); err != nil {
				return false, err
			}
		}
		all = q.matches(&c.m, c.value)
		return all, nil
	})
	if err != nil || keys > 0 {
		return all, err
	}
	return q.Target != CompareValue && q.matches(&meta{}, nil), nil
}

func (q *Compare) matches(m *meta, value []byte) bool {
	var c int
	switch q.Target {
	case CompareValue:
		c = bytes.Compare(value, q.Value)
	case CompareCreate:
		c = cmp.Compare(m.create, q.Number)
	case CompareMod:
		c = cmp.Compare(m.rev.main, q.Number)
	case CompareVersion:
		c = cmp.Compare(m.version, q.Number)
	case CompareLease:
		c = cmp.Compare(m.lease, q.Number)
	}
	switch q.Result {
	case CompareEqual:
		return c == 0
	case CompareNotEqual:
		return c != 0
	case CompareGreater:
		return c > 0
	case CompareLess:
		return c < 0
	}
	return true // an unknown result: etcd's answer
}

// checkTxn finds every reason to refuse, before any effect.
func (u *Update) checkTxn(t *TxnRequest, p *path) error {
	nested := p.nested
	for _, op := range p.branch(t) {
		var err error
		switch {
		case op.Range != nil:
			err = u.reader.checkRevision(op.Range.Revision, u.revision)
		case op.Put != nil:
			err = u.checkPut(op.Put)
		case op.Txn != nil:
			err = u.checkTxn(op.Txn, &nested[0])
			nested = nested[1:]
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkRevision differs from readable for a negative revision, as etcd's check
// does: in a transaction that is compacted, not current.
func (r *reader) checkRevision(rev, current int64) error {
	switch {
	case rev == 0:
		return nil
	case rev > current:
		return ErrFutureRev
	case rev < r.compact:
		return ErrCompacted
	}
	return nil
}

// runTxn executes the chosen way.
func (u *Update) runTxn(t *TxnRequest, p *path) (*TxnResponse, error) {
	resp := &TxnResponse{Succeeded: p.succeeded}
	nested := p.nested
	for _, op := range p.branch(t) {
		var r OpResponse
		var err error
		switch {
		case op.Range != nil:
			r.Range, err = u.reader.rangeKeys(op.Range, u.current())
		case op.Put != nil:
			r.Put, err = u.put(op.Put)
		case op.DeleteRange != nil:
			r.DeleteRange, err = u.deleteRange(op.DeleteRange)
		case op.Txn != nil:
			r.Txn, err = u.runTxn(op.Txn, &nested[0])
			nested = nested[1:]
		}
		if err != nil {
			return nil, err
		}
		resp.Responses = append(resp.Responses, r)
	}
	return resp, nil
}

// readTxn runs a transaction of ranges only.
func (r *reader) readTxn(t *TxnRequest, current int64) (*TxnResponse, error) {
	if err := t.Validate(-1); err != nil {
		return nil, err
	}
	assert.That(t.ReadOnly(), "a transaction with writes was given to a view")
	way, err := r.choose(t, current)
	if err != nil {
		return nil, err
	}
	for _, op := range way.branch(t) {
		if err := r.checkRevision(op.Range.Revision, current); err != nil {
			return nil, err
		}
	}
	resp := &TxnResponse{Revision: current, Succeeded: way.succeeded}
	for _, op := range way.branch(t) {
		answer, err := r.rangeKeys(op.Range, current)
		if err != nil {
			return nil, err
		}
		resp.Responses = append(resp.Responses, OpResponse{Range: answer})
	}
	return resp, nil
}
