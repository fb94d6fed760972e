package sim

import "github.com/quorate/quorate/internal/id"

// Clock is what one node believes the time is (C1, C3): it may start off, run
// fast or slow, and stand still. It never goes back: a node's timers are
// monotonic; jumps of the wall clock (C2) are another matter.
type Clock struct {
	base   id.Time // true time since which rate holds
	local  id.Time // what the clock showed at base
	rate   int64   // local nanoseconds per million true ones
	frozen id.Time // true time until which the clock stands still; ≤ base if it runs
}

// perMillion is the rate of a perfect clock.
const perMillion = 1_000_000

// NewClock returns a clock that runs at the true rate and shows offset at true
// time 0.
func NewClock(offset id.Duration) *Clock {
	return &Clock{local: id.Time(offset), rate: perMillion}
}

// Read returns what the clock shows at true time now.
func (c *Clock) Read(now id.Time) id.Time {
	c.settle(now)
	if now <= c.base {
		return c.local
	}
	return c.local + id.Time(int64(now-c.base)*c.rate/perMillion)
}

// When returns the first true time at which the clock shows local or later, if
// nothing changes meanwhile.
func (c *Clock) When(now, local id.Time) id.Time {
	if local == id.Never {
		return id.Never
	}
	if c.Read(now) >= local {
		return now
	}
	start := max(c.base, c.frozen)
	ahead := int64(local - c.local)
	// ⌈ahead · perMillion / rate⌉, without a product that overflows.
	return start + id.Time(ahead/c.rate*perMillion+(ahead%c.rate*perMillion+c.rate-1)/c.rate)
}

// SetRate makes the clock run at rate per million from now on.
func (c *Clock) SetRate(now id.Time, rate int64) {
	c.local = c.Read(now)
	c.base = max(now, c.frozen)
	c.rate = rate
}

// Freeze stops the clock until the true time until.
func (c *Clock) Freeze(now, until id.Time) {
	c.local = c.Read(now)
	c.base = now
	c.frozen = max(c.frozen, until)
}

// settle moves base behind a freeze that is over, and keeps the span that is
// multiplied by the rate short (9·10¹⁸ / 1.1·10⁶ ns is over two hours).
func (c *Clock) settle(now id.Time) {
	if c.frozen > c.base {
		c.base = c.frozen
	}
	if span := now - c.base; span > id.Time(3600*id.Second) {
		// A whole number of millions of nanoseconds: nothing is rounded away.
		whole := span / perMillion * perMillion
		c.local += id.Time(int64(whole/perMillion) * c.rate)
		c.base += whole
	}
}

// Thaw ends a freeze now.
func (c *Clock) Thaw(now id.Time) {
	if c.frozen > now {
		c.local = c.Read(now)
		c.base, c.frozen = now, now
	}
}
