package kv

import (
	"slices"

	"github.com/quorate/quorate/internal/assert"
	"github.com/quorate/quorate/internal/id"
)

// Housekeeper decides what the leader proposes for the store's own sake: the
// alarm NOSPACE when the store outgrows its quota, its end when compaction has
// made room (nobody has to defragment or disarm), and an Advance while compacted
// rows wait to be deleted and nobody writes. It is a machine: Step looks at facts
// and returns operations; the server gathers the ones and proposes the others.
type Housekeeper struct {
	quotaBytes int64
	seen       id.Index   // applied when it last looked
	leading    bool       // then
	open       [2]bool    // by slot: proposed and not ended yet
	retryAt    [2]id.Time // by slot: not before
}

// slots of Housekeeper.open
const (
	slotAlarm = iota
	slotAdvance
)

// housekeepingRetry is the pause after a proposal that was refused or whose
// outcome is unknown.
const housekeepingRetry = id.Second

// Facts are what a Housekeeper looks at: of one View, and of this member.
type Facts struct {
	Leading         bool
	Self            uint64 // this member's node
	StoreBytes      int64  // live bytes, roughly
	Alarms          []Alarm
	Applied         id.Index
	CompactRevision int64
	CompactedUpTo   int64
}

// NewHousekeeper returns the Housekeeper of a store with this quota in bytes; 0
// or less is none.
func NewHousekeeper(quotaBytes int64) *Housekeeper { return &Housekeeper{quotaBytes: quotaBytes} }

// Step looks at the facts and returns what to propose now, on this member only.
// Each proposal ends in Ended; until then none of its kind is returned. Call it a
// few times a second.
func (h *Housekeeper) Step(now id.Time, f Facts) (propose []Op) {
	idle := f.Leading && h.leading && f.Applied == h.seen
	h.leading, h.seen = f.Leading, f.Applied
	if !f.Leading {
		return nil
	}
	if change := h.quota(&f); change != nil && h.free(slotAlarm, now) {
		h.open[slotAlarm] = true
		propose = append(propose, Op{Alarm: change})
	}
	// Any command lets every member delete some rows: only when there are none
	// something has to be proposed.
	if idle && f.CompactRevision > f.CompactedUpTo && f.CompactRevision > 0 && h.free(slotAdvance, now) {
		h.open[slotAdvance] = true
		propose = append(propose, Op{Advance: &Advance{}})
	}
	return propose
}

// Ended says that what Step returned was applied, or was refused, or may be
// either.
func (h *Housekeeper) Ended(now id.Time, o Op, applied bool) {
	slot := slotAdvance
	if o.Alarm != nil {
		slot = slotAlarm
	}
	assert.That(h.open[slot], "kv: housekeeping ends a proposal it did not make")
	h.open[slot] = false
	if !applied {
		h.retryAt[slot] = now.Add(housekeepingRetry)
	}
}

func (h *Housekeeper) free(slot int, now id.Time) bool {
	return !h.open[slot] && now >= h.retryAt[slot]
}

// quota returns the change of alarm that is due, nil if none is. The alarm is
// the cluster's, whichever leader raised it; a tenth of slack keeps it from
// flapping at the limit.
func (h *Housekeeper) quota(f *Facts) *AlarmChange {
	if h.quotaBytes <= 0 {
		return nil
	}
	raised := slices.ContainsFunc(f.Alarms, func(a Alarm) bool { return a.Type == AlarmNoSpace })
	switch {
	case !raised && f.StoreBytes > h.quotaBytes:
		return &AlarmChange{Raise: true, Alarm: Alarm{Type: AlarmNoSpace, Member: f.Self}}
	case raised && f.StoreBytes <= h.quotaBytes-h.quotaBytes/10:
		return &AlarmChange{Alarm: Alarm{Type: AlarmNoSpace}}
	}
	return nil
}
