package watch

import "bytes"

// ranges finds the interests whose range holds a key, in order of their ranges,
// in O(log n + found): a treap over the ranges' beginnings in which every node
// knows the furthest end below it. Priorities come from a counter, so the shape
// is the same in every run.
type ranges struct {
	root    *rangeNode
	counter uint64
}

type rangeNode struct {
	interest    *interest
	priority    uint64
	furthest    []byte // largest end in this subtree; nil: no end
	left, right *rangeNode
}

// before orders interests by beginning, then end; no end is the largest end.
func before(a, b *interest) bool {
	if c := bytes.Compare(a.key, b.key); c != 0 {
		return c < 0
	}
	return endBefore(a.end, b.end)
}

// endBefore tells whether end a is smaller than end b, nil being no end.
func endBefore(a, b []byte) bool {
	return a != nil && (b == nil || bytes.Compare(a, b) < 0)
}

// find returns the interest with exactly this range.
func (r *ranges) find(key, end []byte) *interest {
	want := &interest{key: key, end: end}
	for n := r.root; n != nil; {
		switch {
		case before(want, n.interest):
			n = n.left
		case before(n.interest, want):
			n = n.right
		default:
			return n.interest
		}
	}
	return nil
}

func (r *ranges) insert(i *interest) {
	r.counter++
	node := &rangeNode{interest: i, priority: scramble(r.counter)}
	left, right := split(r.root, i)
	r.root = join(join(left, node.renew()), right)
}

func (r *ranges) remove(i *interest) {
	r.root = removeNode(r.root, i)
}

// each calls f for every interest that holds key.
func (r *ranges) each(key []byte, f func(*interest)) { r.root.each(key, f) }

func (n *rangeNode) each(key []byte, f func(*interest)) {
	if n == nil || n.furthest != nil && bytes.Compare(n.furthest, key) <= 0 {
		return
	}
	n.left.each(key, f)
	if bytes.Compare(n.interest.key, key) > 0 {
		return // everything to the right begins later still
	}
	if n.interest.end == nil || bytes.Compare(key, n.interest.end) < 0 {
		f(n.interest)
	}
	n.right.each(key, f)
}

// renew computes furthest from the children and returns n.
func (n *rangeNode) renew() *rangeNode {
	n.furthest = n.interest.end
	for _, child := range [...]*rangeNode{n.left, n.right} {
		if child != nil && endBefore(n.furthest, child.furthest) {
			n.furthest = child.furthest
		}
	}
	return n
}

// split parts the tree into what is before i and the rest.
func split(n *rangeNode, i *interest) (left, right *rangeNode) {
	if n == nil {
		return nil, nil
	}
	if before(n.interest, i) {
		n.right, right = split(n.right, i)
		return n.renew(), right
	}
	left, n.left = split(n.left, i)
	return left, n.renew()
}

// join puts together two trees of which the left is before the right.
func join(a, b *rangeNode) *rangeNode {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.priority > b.priority:
		a.right = join(a.right, b)
		return a.renew()
	}
	b.left = join(a, b.left)
	return b.renew()
}

func removeNode(n *rangeNode, i *interest) *rangeNode {
	switch {
	case n == nil:
		return nil
	case before(i, n.interest):
		n.left = removeNode(n.left, i)
	case before(n.interest, i):
		n.right = removeNode(n.right, i)
	default:
		return join(n.left, n.right)
	}
	return n.renew()
}

// scramble turns a counter into well-spread bits (the finalizer of SplitMix64).
func scramble(x uint64) uint64 {
	x *= 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
