package mem

import "bytes"

// A treap whose priorities are a hash of the key: balanced without a random
// source, and of one shape for one content, in whatever order it was written.
// Nodes are immutable once a snapshot can see them; a batch copies the path to
// what it changes, and changes in place the nodes it has copied itself (their
// owner is the batch's current edit).

type node struct {
	key, value  []byte
	priority    uint64
	left, right *node
	owner       *edit
}

// edit marks the nodes that one batch may change in place. It must not be of
// size 0: two edits need two addresses.
type edit struct{ _ byte }

// hashKey is FNV-1a with a final mix, so that neighbours get far priorities.
func hashKey(key []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, b := range key {
		h = (h ^ uint64(b)) * 1099511628211
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	return h ^ h>>33
}

// above reports whether a belongs above b; equal hashes are decided by the key.
func above(a, b *node) bool {
	if a.priority != b.priority {
		return a.priority > b.priority
	}
	return bytes.Compare(a.key, b.key) < 0
}

// own returns n if e may change it, or a copy that e may change.
func (e *edit) own(n *node) *node {
	if n.owner == e {
		return n
	}
	c := *n
	c.owner = e
	return &c
}

// set returns the tree with key = value. It keeps the slices.
func (e *edit) set(n *node, key, value []byte) *node {
	return e.insert(n, &node{key: key, value: value, priority: hashKey(key), owner: e})
}

func (e *edit) insert(n, x *node) *node {
	if n == nil {
		return x
	}
	c := bytes.Compare(x.key, n.key)
	if c == 0 {
		n = e.own(n)
		n.value = x.value
		return n
	}
	if above(x, n) {
		// x's key is not below n: whatever has it would be above x.
		x.left, x.right = e.split(n, x.key)
		return x
	}
	n = e.own(n)
	if c < 0 {
		n.left = e.insert(n.left, x)
	} else {
		n.right = e.insert(n.right, x)
	}
	return n
}

// split divides n into the keys < key and the keys ≥ key.
func (e *edit) split(n *node, key []byte) (less, rest *node) {
	if n == nil {
		return nil, nil
	}
	n = e.own(n)
	if bytes.Compare(n.key, key) < 0 {
		n.right, rest = e.split(n.right, key)
		return n, rest
	}
	less, n.left = e.split(n.left, key)
	return less, n
}

// join puts two trees together; every key of a is less than every key of b.
func (e *edit) join(a, b *node) *node {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case above(a, b):
		a = e.own(a)
		a.right = e.join(a.right, b)
		return a
	default:
		b = e.own(b)
		b.left = e.join(a, b.left)
		return b
	}
}

// remove returns the tree without key.
func (e *edit) remove(n *node, key []byte) *node {
	if n == nil {
		return nil
	}
	c := bytes.Compare(key, n.key)
	if c == 0 {
		return e.join(n.left, n.right)
	}
	if c < 0 {
		left := e.remove(n.left, key)
		if left == n.left {
			return n
		}
		n = e.own(n)
		n.left = left
		return n
	}
	right := e.remove(n.right, key)
	if right == n.right {
		return n
	}
	n = e.own(n)
	n.right = right
	return n
}

func (n *node) get(key []byte) ([]byte, bool) {
	for n != nil {
		c := bytes.Compare(key, n.key)
		if c == 0 {
			return n.value, true
		}
		if c < 0 {
			n = n.left
		} else {
			n = n.right
		}
	}
	return nil, false
}
