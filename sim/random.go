package sim

import (
	"math/bits"

	"github.com/quorate/quorate/internal/id"
)

// Random is one independent stream of random numbers: SplitMix64 (Steele, Lea
// and Flood, OOPSLA 2014). Eight bytes of state, integer arithmetic only, the
// same on every machine; math/rand promises no such thing across Go versions.
type Random struct{ state uint64 }

// Stream returns the stream that belongs to a key: the seed, what the numbers
// are for, and up to three numbers that say whose they are (node, peer, fault).
// Two different keys give unrelated streams.
func Stream(seed uint64, domain string, whose ...uint64) *Random {
	h := mix(seed ^ 0x9E3779B97F4A7C15)
	for i := 0; i < len(domain); i++ {
		h = mix(h ^ uint64(domain[i]))
	}
	for _, n := range whose {
		h = mix(h + 0x632BE59BD9B4E019 ^ mix(n))
	}
	return &Random{state: h}
}

// Uint64 returns the next number of the stream.
func (r *Random) Uint64() uint64 {
	r.state += 0x9E3779B97F4A7C15
	return mix(r.state)
}

// mix is SplitMix64's finalizer: every input bit changes every output bit with
// probability one half.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// Below returns a number in [0, n); 0 for n ≤ 0. The bias of the multiplication
// is below n/2⁶⁴ and the same everywhere.
func (r *Random) Below(n int) int { return int(r.below(int64(n))) }

// below is Below also where int has 32 bits.
func (r *Random) below(n int64) int64 {
	if n <= 0 {
		return 0
	}
	hi, _ := bits.Mul64(r.Uint64(), uint64(n))
	return int64(hi)
}

// Between returns a number in [lo, hi], both included.
func (r *Random) Between(lo, hi int) int { return lo + r.Below(hi-lo+1) }

// Duration returns a span in [lo, hi].
func (r *Random) Duration(lo, hi id.Duration) id.Duration {
	return lo + id.Duration(r.below(int64(hi-lo)+1))
}

// Chance is true perMille times in a thousand.
func (r *Random) Chance(perMille int) bool { return r.Below(1000) < perMille }

// Shuffle puts numbers into random order (Fisher and Yates).
func (r *Random) Shuffle(numbers []uint64) {
	for i := len(numbers) - 1; i > 0; i-- {
		j := r.Below(i + 1)
		numbers[i], numbers[j] = numbers[j], numbers[i]
	}
}
