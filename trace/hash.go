package trace

// Hash is the rolling hash of a trace: two runs with the same hash reported the
// same events in the same order. It is how a seed proves that it replays.
//
//	h := trace.NewHash()
//	h = h.Add(e) // for every event, in order
//
// FNV-1a over 64-bit words instead of bytes, with the upper half folded down
// after each so that every bit reaches every later one. Each step is a bijection
// of the state: a single differing word can not be forgotten. Texts go in with
// their length, so that ("ab", "c") and ("a", "bc") differ. It guards against
// accidents, not against someone who looks for a collision.
type Hash uint64

const (
	hashOffset = 0xcbf29ce484222325
	hashPrime  = 0x100000001b3
)

// NewHash is the hash of the empty trace.
func NewHash() Hash { return hashOffset }

// Add returns the hash of a trace that goes on with e.
func (h Hash) Add(e Event) Hash {
	h = h.word(e.Sequence).word(uint64(e.Time))
	h = h.word(e.Node.Node).word(uint64(e.Node.Incarnation)).word(uint64(e.Group))
	h = h.text(string(e.Kind)).word(e.Cause).text(e.Rule).word(uint64(len(e.Fields)))
	for _, f := range e.Fields {
		h = h.text(f.Name).word(f.Number).text(f.Text)
	}
	return h
}

func (h Hash) word(w uint64) Hash {
	h = (h ^ Hash(w)) * hashPrime
	return h ^ h>>32
}

func (h Hash) text(s string) Hash {
	h = h.word(uint64(len(s)))
	for len(s) >= 8 {
		h = h.word(uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56)
		s = s[8:]
	}
	if len(s) == 0 {
		return h
	}
	var w uint64
	for i := range len(s) {
		w |= uint64(s[i]) << (8 * i)
	}
	return h.word(w)
}
