package kv

import (
	"fmt"
	"testing"

	"github.com/quorate/quorate/internal/id"
)

// proposed writes operations as people would.
func proposed(ops []Op) (s string) {
	for _, o := range ops {
		switch {
		case o.Advance != nil:
			s += "advance "
		case o.Alarm.Raise:
			s += fmt.Sprintf("raise by %d ", o.Alarm.Alarm.Member)
		default:
			s += fmt.Sprintf("clear of %d ", o.Alarm.Alarm.Member)
		}
	}
	return s
}

func TestTheQuotaRaisesAndClearsNoSpace(t *testing.T) {
	ours, theirs := Alarm{AlarmNoSpace, 1}, Alarm{AlarmNoSpace, 9}
	for _, c := range []struct {
		name   string
		quota  int64
		bytes  int64
		alarms []Alarm
		want   string
	}{
		{"no quota", 0, 1 << 60, nil, ""},
		{"at the limit", 1000, 1000, nil, ""},
		{"over it", 1000, 1001, nil, "raise by 1 "},
		{"over it, with another alarm", 1000, 1001, []Alarm{{AlarmCorrupt, 1}}, "raise by 1 "},
		{"over it, raised", 1000, 2000, []Alarm{ours}, ""},
		{"raised by an earlier leader", 1000, 2000, []Alarm{theirs}, ""},
		{"a little below", 1000, 901, []Alarm{ours}, ""},
		{"a tenth below", 1000, 900, []Alarm{ours}, "clear of 0 "},
		{"a tenth below, raised by an earlier leader", 1000, 900, []Alarm{theirs}, "clear of 0 "},
	} {
		h := NewHousekeeper(c.quota)
		if got := proposed(h.Step(1, Facts{Leading: true, Self: 1, StoreBytes: c.bytes, Alarms: c.alarms})); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		f := NewHousekeeper(c.quota)
		if got := proposed(f.Step(1, Facts{Self: 1, StoreBytes: c.bytes, Alarms: c.alarms})); got != "" {
			t.Errorf("%s: a follower proposes %q", c.name, got)
		}
	}
}

func TestHousekeepingProposesOneOfAKindAtATimeAndRetries(t *testing.T) {
	h := NewHousekeeper(1000)
	over := Facts{Leading: true, Self: 1, StoreBytes: 2000}
	ops := h.Step(1, over)
	if proposed(ops) != "raise by 1 " || proposed(h.Step(2, over)) != "" {
		t.Fatalf("%q", proposed(ops))
	}
	h.Ended(3, ops[0], false)
	if got := proposed(h.Step(4, over)); got != "" {
		t.Errorf("at once again: %q", got)
	}
	if got := proposed(h.Step(3+id.Time(housekeepingRetry), over)); got != "raise by 1 " {
		t.Errorf("after the pause: %q", got)
	}
}

func TestDeletionOfCompactedRowsGoesOnWhenNobodyWrites(t *testing.T) {
	h := NewHousekeeper(0)
	f := Facts{Leading: true, Applied: 10, CompactRevision: 7, CompactedUpTo: 3}
	if got := proposed(h.Step(1, f)); got != "" {
		t.Errorf("at the first look: %q", got)
	}
	f.Applied = 12
	if got := proposed(h.Step(2, f)); got != "" {
		t.Errorf("while others write: %q", got)
	}
	ops := h.Step(3, f)
	if proposed(ops) != "advance " {
		t.Errorf("when nobody writes: %q", proposed(ops))
	}
	h.Ended(4, ops[0], true)
	f.Applied, f.CompactedUpTo = 13, 7
	h.Step(5, f)
	if got := proposed(h.Step(6, f)); got != "" {
		t.Errorf("when all is deleted: %q", got)
	}
	never := Facts{Leading: true, CompactRevision: -1}
	h.Step(7, never)
	if got := proposed(h.Step(8, never)); got != "" {
		t.Errorf("without a compaction: %q", got)
	}
}
