package mem

import (
	"bytes"

	"github.com/quorate/quorate/kv/engine"
)

// reader reads one root.
type reader struct{ root *node }

func (r reader) Get(key, into []byte) ([]byte, bool, error) {
	value, found := r.root.get(key)
	if !found {
		return nil, false, nil
	}
	return append(into[:0], value...), true, nil
}

func (r reader) Iterate(span engine.Span) engine.Iterator {
	return &iterator{root: r.root, span: span}
}

// iterator holds the way to the next keys: pending's last node is the current
// one, those before it are the ancestors still to be visited.
type iterator struct {
	root    *node
	span    engine.Span
	pending []*node
}

func (i *iterator) First() bool { return i.seek(i.span.Lower) }

func (i *iterator) SeekGE(key []byte) bool {
	if bytes.Compare(key, i.span.Lower) < 0 {
		key = i.span.Lower
	}
	return i.seek(key)
}

func (i *iterator) seek(key []byte) bool {
	i.pending = i.pending[:0]
	for n := i.root; n != nil; {
		if bytes.Compare(n.key, key) >= 0 {
			i.pending = append(i.pending, n)
			n = n.left
		} else {
			n = n.right
		}
	}
	return i.valid()
}

func (i *iterator) Next() bool {
	if len(i.pending) == 0 {
		return false
	}
	last := len(i.pending) - 1
	n := i.pending[last].right
	i.pending = i.pending[:last]
	for ; n != nil; n = n.left {
		i.pending = append(i.pending, n)
	}
	return i.valid()
}

// valid ends the walk at the upper bound.
func (i *iterator) valid() bool {
	if len(i.pending) > 0 && i.span.Upper != nil &&
		bytes.Compare(i.Key(), i.span.Upper) >= 0 {
		i.pending = i.pending[:0]
	}
	return len(i.pending) > 0
}

func (i *iterator) Key() []byte   { return i.pending[len(i.pending)-1].key }
func (i *iterator) Value() []byte { return i.pending[len(i.pending)-1].value }
func (i *iterator) Err() error    { return nil }
func (i *iterator) Close() error  { return nil }
