package lease

import (
	"fmt"
	"slices"
	"testing"

	"github.com/quorate/quorate/internal/id"
)

// bench runs one Expirer by hand: what it asks is looked at, then answered.
type bench struct {
	t   *testing.T
	x   *Expirer
	now id.Time
	out []Effect // of the last step
}

func lead(t *testing.T, o Options, leases ...Lease) *bench {
	b := &bench{t: t, x: NewExpirer(o, leases), now: id.Time(id.Second)}
	b.step(Promoted{Term: 7})
	return b
}

func (b *bench) step(events ...Event) []Effect {
	b.out = b.x.Step(b.now, events, nil)
	return b.out
}

func (b *bench) at(seconds float64, events ...Event) []Effect {
	b.now = id.Time(seconds * float64(id.Second))
	return b.step(events...)
}

// office answers the ConfirmOffice that the last step asked for.
func (b *bench) office(ok bool) []Effect {
	b.t.Helper()
	for _, e := range b.out {
		if c, is := e.(ConfirmOffice); is {
			return b.step(OfficeConfirmed{Round: c.Round, OK: ok})
		}
	}
	b.t.Fatalf("no ConfirmOffice in %v", b.out)
	return nil
}

func (b *bench) want(effects ...Effect) {
	b.t.Helper()
	if got, want := fmt.Sprintf("%#v", b.out), fmt.Sprintf("%#v", effects); got != want && len(b.out)+len(effects) > 0 {
		b.t.Fatalf("at %.3f s\n got %s\nwant %s", float64(b.now)/float64(id.Second), got, want)
	}
}

// Numbers at the end of names are those of the rules in the list of etcd's traps.

func TestTTLMinIsTwoSecondsOrOneAndAHalfElections28(t *testing.T) {
	for _, c := range []struct {
		election id.Duration
		want     int64
	}{
		{300 * id.Millisecond, 2},
		{1333 * id.Millisecond, 2},
		{1334 * id.Millisecond, 3}, // 2.001 s
		{2 * id.Second, 3},
		{10 * id.Second, 15},
		{1, 2},
	} {
		if got := TTLMin(c.election); got != c.want {
			t.Errorf("TTLMin(%d ns) = %d, want %d", c.election, got, c.want)
		}
	}
	if got := EffectiveTTL(1, 300*id.Millisecond); got != 2 {
		t.Errorf("a TTL of 1 is raised to %d, want 2", got)
	}
	if got := EffectiveTTL(60, 300*id.Millisecond); got != 60 {
		t.Errorf("a TTL of 60 becomes %d", got)
	}
}

func TestAFollowerDecidesNothing(t *testing.T) {
	b := &bench{t: t, x: NewExpirer(Options{}, []Lease{{ID: 1, TTL: 2}})}
	b.at(1000)
	b.want()
	if b.x.Deadline() != id.Never {
		t.Errorf("a follower waits for %d", b.x.Deadline())
	}
	b.step(Renew{Request: 5, ID: 1})
	b.want(Renewed{Request: 5, ID: 1, Outcome: RenewNotLeader})
	if _, _, _, known := b.x.TimeToLive(b.now, 1); known {
		t.Error("a follower claims to know the time to live")
	}
}

func TestALeaseRunsOutAndIsRevokedOnlyAfterTheOfficeIsConfirmed31(t *testing.T) {
	b := lead(t, Options{Extend: id.Second / 2})
	b.at(10, Granted{Lease{ID: 3, TTL: 5}})
	b.want()
	if got := b.x.Deadline(); got != id.Time(15*id.Second) {
		t.Fatalf("deadline %d", got)
	}
	b.at(14.999)
	b.want()
	b.at(15)
	b.want(ConfirmOffice{Round: 1})
	b.office(true)
	b.want(ProposeRevoke{ID: 3, Term: 7})
	b.step(Revoked{ID: 3})
	b.want()
	if b.x.Len() != 0 || b.x.Deadline() != id.Never {
		t.Errorf("%d leases, deadline %d", b.x.Len(), b.x.Deadline())
	}
}

func TestAnUnconfirmedOfficeRevokesNothingAndAsksAgain(t *testing.T) {
	b := lead(t, Options{RetryAfter: id.Second})
	b.at(10, Granted{Lease{ID: 3, TTL: 5}})
	b.at(15)
	b.office(false)
	b.want()
	b.at(16)
	b.want(ConfirmOffice{Round: 2})
	b.office(true)
	b.want(ProposeRevoke{ID: 3, Term: 7})
}

func TestARevokeThatFailedIsTriedAgain(t *testing.T) {
	b := lead(t, Options{RetryAfter: id.Second, RevokesInFlightMax: 1})
	b.at(10, Granted{Lease{ID: 3, TTL: 5}})
	b.at(15)
	b.office(true)
	b.step(RevokeFailed{ID: 3})
	b.want()
	b.at(16)
	b.office(true)
	b.want(ProposeRevoke{ID: 3, Term: 7})
}

func TestRevokesInFlightAreBounded(t *testing.T) {
	b := lead(t, Options{RevokesInFlightMax: 2})
	b.at(10, Granted{Lease{ID: 1, TTL: 5}}, Granted{Lease{ID: 2, TTL: 5}}, Granted{Lease{ID: 3, TTL: 5}})
	b.at(15)
	b.office(true)
	b.want(ProposeRevoke{ID: 1, Term: 7}, ProposeRevoke{ID: 2, Term: 7})
	b.step(Revoked{ID: 2})
	b.want(ProposeRevoke{ID: 3, Term: 7})
}

func TestARenewalIsAnsweredAfterTheOfficeIsConfirmed(t *testing.T) {
	b := lead(t, Options{})
	b.at(10, Granted{Lease{ID: 3, TTL: 5}})
	b.at(12, Renew{Request: 1, ID: 3}, Renew{Request: 2, ID: 3})
	b.want(ConfirmOffice{Round: 1})
	b.at(12.1, OfficeConfirmed{Round: 1, OK: true})
	b.want(Renewed{1, 3, RenewOK, 5}, Renewed{2, 3, RenewOK, 5})
	if got := b.x.Deadline(); got != id.Time(17100*id.Millisecond) {
		t.Errorf("renewed until %d", got)
	}
	left, granted, found, known := b.x.TimeToLive(id.Time(13*id.Second), 3)
	if left != 4 || granted != 5 || !found || !known {
		t.Errorf("time to live %d of %d, %v %v", left, granted, found, known)
	}
}

func TestARenewalThatCameDuringARoundWaitsForTheNext(t *testing.T) {
	b := lead(t, Options{})
	b.at(10, Granted{Lease{ID: 3, TTL: 5}})
	b.at(12, Renew{Request: 1, ID: 3})
	b.at(13, Renew{Request: 2, ID: 3})
	b.want()
	b.step(OfficeConfirmed{Round: 1, OK: true})
	b.want(Renewed{1, 3, RenewOK, 5}, ConfirmOffice{Round: 2})
	b.office(true)
	b.want(Renewed{2, 3, RenewOK, 5})
}

func TestARenewalInADeposedOfficeIsRefused(t *testing.T) {
	b := lead(t, Options{})
	b.at(10, Granted{Lease{ID: 3, TTL: 5}})
	b.at(12, Renew{Request: 1, ID: 3})
	b.office(false)
	b.want(Renewed{1, 3, RenewNotLeader, 0})
	if got := b.x.Deadline(); got != id.Time(15*id.Second) {
		t.Errorf("the refused renewal moved the end to %d", got)
	}
}

func TestRenewingAMissingLeaseFindsNothing29(t *testing.T) {
	b := lead(t, Options{})
	b.step(Renew{Request: 1, ID: 3})
	b.want(Renewed{1, 3, RenewMissing, 0})
	if _, _, found, known := b.x.TimeToLive(b.now, 3); found || !known {
		t.Error("a missing lease has a time to live")
	}
}

func TestRenewingAnExpiredLeaseWaitsForTheRevoke30(t *testing.T) {
	b := lead(t, Options{})
	b.at(10, Granted{Lease{ID: 3, TTL: 5}})
	b.at(15, Renew{Request: 1, ID: 3}) // in the very pass in which it runs out
	b.want(ConfirmOffice{Round: 1})
	b.office(true)
	b.want(ProposeRevoke{ID: 3, Term: 7})
	b.at(15.5, Renew{Request: 2, ID: 3})
	b.want()
	b.step(Revoked{ID: 3})
	b.want(Renewed{1, 3, RenewMissing, 0}, Renewed{2, 3, RenewMissing, 0})
}

func TestWhoWaitsForARevokeIsToldWhenTheOfficeIsLost(t *testing.T) {
	b := lead(t, Options{})
	b.at(10, Granted{Lease{ID: 3, TTL: 5}})
	b.at(15, Renew{Request: 1, ID: 3})
	b.step(Demoted{})
	b.want(Renewed{1, 3, RenewNotLeader, 0})
	b.at(100)
	b.want()
}

func TestRenewalsWaitingAreBounded(t *testing.T) {
	b := lead(t, Options{RenewalsWaitingMax: 1})
	b.at(10, Granted{Lease{ID: 3, TTL: 5}})
	b.step(Renew{Request: 1, ID: 3}, Renew{Request: 2, ID: 3})
	b.want(Renewed{2, 3, RenewOverloaded, 0}, ConfirmOffice{Round: 1})
	b.office(true)
	b.step(Renew{Request: 3, ID: 3})
	b.want(ConfirmOffice{Round: 2})
}

func TestANewLeaderExtendsEveryLeaseByItsFullRemainingTTL31(t *testing.T) {
	x := NewExpirer(Options{Extend: id.Second}, []Lease{{ID: 1, TTL: 60}, {ID: 2, TTL: 3600, Remaining: 30}})
	x.Step(id.Time(100*id.Second), []Event{Promoted{Term: 2}}, nil)
	for lease, want := range map[ID]int64{1: 61, 2: 31} {
		if left, _, _, _ := x.TimeToLive(id.Time(100*id.Second), lease); left != want {
			t.Errorf("lease %d has %d s, want %d", lease, left, want)
		}
	}
	x.Step(id.Time(150*id.Second), []Event{Promoted{Term: 3}}, nil)
	if left, _, _, _ := x.TimeToLive(id.Time(150*id.Second), 1); left != 61 {
		t.Errorf("after the next promotion it has %d s", left)
	}
}

func TestPileUpsAreSpread31(t *testing.T) {
	var leases []Lease
	for i := ID(1); i <= 10; i++ {
		leases = append(leases, Lease{ID: i, TTL: 10})
	}
	leases = append(leases, Lease{ID: 11, TTL: 11})
	b := lead(t, Options{Extend: id.Second, ExpirePerSecondMax: 3}, leases...)
	var left []int64
	for i := ID(1); i <= 11; i++ {
		l, _, _, _ := b.x.TimeToLive(b.now, i)
		left = append(left, l)
	}
	// Three a second; the one with a longer TTL queues behind.
	if want := []int64{11, 11, 11, 12, 12, 12, 13, 13, 13, 14, 14}; !slices.Equal(left, want) {
		t.Errorf("times left %v, want %v", left, want)
	}
}

func TestTheLargestTTLDoesNotOverflow(t *testing.T) {
	b := lead(t, Options{}, Lease{ID: 1, TTL: TTLMax})
	b.now = id.Never - 5
	b.step(Promoted{Term: 8})
	b.want()
	if b.x.Deadline() > id.Never || b.x.Deadline() < b.now {
		t.Errorf("deadline %d", b.x.Deadline())
	}
}

func TestRemainingTTLIsCheckpointed32(t *testing.T) {
	b := lead(t, Options{CheckpointInterval: 60 * id.Second})
	b.at(10, Granted{Lease{ID: 1, TTL: 600}}, Granted{Lease{ID: 2, TTL: 60}})
	b.at(69.5)
	b.want()
	b.at(70)
	b.want(ConfirmOffice{Round: 1}, ProposeCheckpoint{Number: 1, Term: 7, Checkpoints: []Checkpoint{{1, 540}}})
	b.step(Checkpointed{1, 540}, CheckpointDone{Number: 1, OK: true})
	b.want()
	b.step(Promoted{Term: 8})
	if left, _, _, _ := b.x.TimeToLive(b.now, 1); left != 540 {
		t.Errorf("a new leader gives it %d s", left)
	}
}

func TestACheckpointIsClearedBeforeARenewalCounts32(t *testing.T) {
	b := lead(t, Options{CheckpointInterval: 60 * id.Second, Extend: id.Second}, Lease{ID: 1, TTL: 600, Remaining: 100})
	b.at(10, Renew{Request: 1, ID: 1})
	b.office(true)
	b.want(ProposeCheckpoint{Number: 1, Term: 7, Checkpoints: []Checkpoint{{1, 0}}})
	b.at(11, Checkpointed{1, 0}, CheckpointDone{Number: 1, OK: true})
	b.want(Renewed{1, 1, RenewOK, 600})
	b.at(12, Renew{Request: 2, ID: 1})
	b.office(true)
	b.want(Renewed{2, 1, RenewOK, 600}) // nothing to clear now
}

func TestACheckpointInFlightMustBeClearedToo(t *testing.T) {
	b := lead(t, Options{CheckpointInterval: 60 * id.Second})
	b.at(10, Granted{Lease{ID: 1, TTL: 600}})
	b.at(70)
	b.want(ProposeCheckpoint{Number: 1, Term: 7, Checkpoints: []Checkpoint{{1, 540}}})
	b.step(Renew{Request: 1, ID: 1})
	b.office(true)
	b.want()                                     // one proposal at a time
	b.step(CheckpointDone{Number: 1, OK: false}) // perhaps applied later, perhaps not
	b.want(ProposeCheckpoint{Number: 2, Term: 7, Checkpoints: []Checkpoint{{1, 0}}})
	b.step(Checkpointed{1, 540}, Checkpointed{1, 0}, CheckpointDone{Number: 2, OK: true})
	b.want(Renewed{1, 1, RenewOK, 600})
}

func TestARenewalWhoseClearFailedDoesNotCount(t *testing.T) {
	b := lead(t, Options{Extend: id.Second}, Lease{ID: 1, TTL: 600, Remaining: 100})
	b.at(10, Renew{Request: 1, ID: 1})
	b.office(true)
	b.step(CheckpointDone{Number: 1, OK: false})
	b.want(Renewed{1, 1, RenewUnavailable, 0})
	if got := b.x.Deadline(); got != id.Time(102*id.Second) {
		t.Errorf("the lease now ends at %d", got)
	}
}

func TestAClearOfTheLastLeaderIsHonouredWhenItIsAppliedLate(t *testing.T) {
	b := lead(t, Options{Extend: id.Second}, Lease{ID: 1, TTL: 600, Remaining: 2})
	b.at(4, Renew{Request: 1, ID: 1}) // it ran out by the table
	b.want(ConfirmOffice{Round: 1})
	b.step(Checkpointed{1, 0})
	b.want()
	b.step(OfficeConfirmed{Round: 1, OK: true})
	b.want(ConfirmOffice{Round: 2}) // the renewal, alive again
	b.office(true)
	b.want(Renewed{1, 1, RenewOK, 600})
}

func TestAClearAppliedAfterThePromotionGivesTheWholeTTL(t *testing.T) {
	b := lead(t, Options{Extend: id.Second}, Lease{ID: 1, TTL: 600, Remaining: 2})
	b.at(2, Checkpointed{1, 0})
	b.at(500)
	b.want(ProposeCheckpoint{Number: 1, Term: 7, Checkpoints: []Checkpoint{{1, 102}}})
	b.at(602)
	b.want(ConfirmOffice{Round: 1})
}

func TestALongLeaseDiesAlthoughTheLeaderChangesOften(t *testing.T) {
	b := lead(t, Options{CheckpointInterval: 5 * id.Second, Extend: id.Second}, Lease{ID: 1, TTL: 60})
	// Without checkpoints a new leader every 10 s would keep it for ever. With them
	// each costs at most the interval, the extension and the rounding.
	term := id.Term(7)
	for s := 2; s < 400; s++ {
		b.at(float64(s))
		if s%10 == 0 {
			term++
			b.step(Promoted{Term: term})
		}
		for i := 0; i < len(b.out); i++ {
			switch e := b.out[i].(type) {
			case ProposeCheckpoint:
				b.step(Checkpointed(e.Checkpoints[0]), CheckpointDone{Number: e.Number, OK: true})
			case ConfirmOffice:
				b.office(true)
				i = -1
			case ProposeRevoke:
				if s < 60 {
					t.Fatalf("revoked after %d s", s)
				}
				return
			}
		}
	}
	t.Fatal("the lease lives for ever")
}

func TestASnapshotReplacesTheLeases(t *testing.T) {
	x := NewExpirer(Options{}, []Lease{{ID: 1, TTL: 60}})
	x.Step(1, []Event{Replaced{Leases: []Lease{{ID: 2, TTL: 70}}}, Promoted{Term: 2}}, nil)
	if _, granted, found, _ := x.TimeToLive(1, 2); !found || granted != 70 || x.Len() != 1 {
		t.Errorf("found %v, TTL %d, %d leases", found, granted, x.Len())
	}
}
