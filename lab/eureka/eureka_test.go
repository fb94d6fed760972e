package eureka

import (
	"fmt"
	"strings"
	"testing"

	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/lab/recipes"
)

// shows runs a recipe (or template) with more lines behind it, and checks what the
// expect lines among these say.
func shows(t *testing.T, text string, more ...string) {
	t.Helper()
	p := Protocols()[0]
	r, err := lab.Template(text+"\n"+strings.Join(more, "\n"), p)
	if err != nil {
		t.Fatal(err)
	}
	expected, err := lab.Expectations(r)
	if err != nil {
		t.Fatal(err)
	}
	if len(expected) == 0 {
		t.Fatal("nothing is expected")
	}
	res, err := lab.Run(lab.Options{Recipe: r, Protocol: p, Quiet: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := lab.Met(expected, res); err != nil {
		t.Error(err)
	}
}

// TestRow pins what the fault scripts show: the row of Eureka in the matrix.
func TestRow(t *testing.T) {
	for _, c := range []struct{ script, expect string }{
		{"f1", "lost = 0; gap < 1s; refused = 0"},
		{"f2", "lost = 0; gap < 1s; refused = 0; unknown = 0; stale > 500; fired R3 > 0"}, // both sides answer, and meet
		{"f3", "lost = 0; gap < 1s; refused = 0; unknown = 0; stale > 500"},
		{"f5", "lost = 0; gap < 1s; stale > 100"},
		{"f8", "lost = 0; gap < 1s"},         // the isolated server pushes it when its instance renews
		{"f9", "lost = 0; fired R3 > 0"},     // all gone, and registered again
		{"f10w", "lost > 100; fired R4 > 0"}, // who ran on the wiped host runs no more: evicted, as it should be
	} {
		t.Run(c.script, func(t *testing.T) {
			text, ok := recipes.Text(c.script)
			if !ok {
				t.Fatal("no such script")
			}
			for _, seed := range []string{"1", "2"} {
				var lines []string
				for _, e := range strings.Split(c.expect, "; ") {
					lines = append(lines, "expect "+e)
				}
				shows(t, strings.Replace(text, "seed 1\n", "seed "+seed+"\n", 1), lines...)
			}
		})
	}
}

// ten is a quiet group of five servers, each with two instances: a1, b1 on n1 and so
// on.
func ten() string {
	text := "quorate recipe 2\nseed 1\nlength 1200s\nvoters all\nworkload clients 0\n"
	for n := 1; n <= 5; n++ {
		text += fmt.Sprintf("do %ds n%d register a%d\ndo %ds n%d register b%d\n", n, n, n, n, n, n)
	}
	return text
}

const (
	everybody = "a1@n1 a2@n2 a3@n3 a4@n4 a5@n5 b1@n1 b2@n2 b3@n3 b4@n4 b5@n5"
	withoutA1 = "a2@n2 a3@n3 a4@n4 a5@n5 b1@n1 b2@n2 b3@n3 b4@n4 b5@n5"
)

func TestOneOfTenIsEvictedOfTwoNone(t *testing.T) {
	shows(t, ten(), "do 100s n1 kill a1", "do 295s n3 fetch", "do 305s n3 fetch",
		"expect said12 = "+everybody, "expect said13 = "+withoutA1)
	two := []string{"do 100s n1 kill a1", "do 100s n2 kill a2", "do 1190s n3 fetch"}
	shows(t, ten(), append(two[:3:3], "expect said13 = "+everybody, "expect fired R4 = 0")...)
	shows(t, ten(), append(two[:3:3], "broken no-self-preservation", "expect said13 = a3@n3 a4@n4 a5@n5 b1@n1 b2@n2 b3@n3 b4@n4 b5@n5")...)
}

// TestARenewedLeaseLivesTwiceAsLong is the kept bug: 180 s, where 90 are written.
func TestARenewedLeaseLivesTwiceAsLong(t *testing.T) {
	shows(t, ten(), "broken lease-as-written", "do 100s n1 kill a1", "do 245s n3 fetch", "expect said12 = "+withoutA1)
	shows(t, ten(), "do 100s n1 kill a1", "do 245s n3 fetch", "expect said12 = "+everybody)
}

func TestASweepEvictsAtMostFifteenPercent(t *testing.T) {
	four := []string{"broken no-self-preservation", "do 100s n1 kill a1", "do 100s n1 kill b1", "do 100s n2 kill a2", "do 100s n2 kill b2"}
	shows(t, ten(), append(four[:5:5], "expect fired R6 = 5", "expect fired R4 = 10")...)
	shows(t, ten(), append(four[:5:5], "broken evict-all", "expect fired R6 = 0", "expect fired R4 = 5")...)
}

// TestBothSidesRegisterAndMeetM122: within one renewal of the healing.
func TestBothSidesRegisterAndMeetM122(t *testing.T) {
	split := []string{"fault 100s 60s split n1,n2/n3,n4,n5", "do 110s n1 register left", "do 110s n5 register right", "do 159s n3 fetch", "do 191s n3 fetch", "do 191s n1 fetch",
		"expect do11 = answered", "expect do12 = answered", "expect said13 = " + everybody + " right@n5"}
	shows(t, ten(), append(split[:9:9], "expect said14 = "+everybody+" left@n1 right@n5", "expect said15 = "+everybody+" left@n1 right@n5")...)
	shows(t, ten(), append(split[:9:9], "broken forget-unknown", "expect said14 = "+everybody+" right@n5", "expect said15 = "+everybody+" left@n1")...)
}

// TestACancellationDuringACutWaitsForTheLease: nobody pushes it again.
func TestACancellationDuringACutWaitsForTheLease(t *testing.T) {
	cut := []string{"fault 100s 30s isolate n1", "do 110s n1 cancel a1", "do 170s n1 fetch", "do 170s n3 fetch", "do 400s n3 fetch",
		"expect said12 = " + withoutA1, "expect said13 = " + everybody}
	shows(t, ten(), append(cut[:7:7], "expect said14 = "+withoutA1)...)
	shows(t, ten(), append(cut[:7:7], "do 115s n2 kill a2", "expect said14 = "+everybody)...)
}

func TestTheOlderStampLoses(t *testing.T) {
	moved := []string{"fault 50s 100s jump n1 by=90s", "do 60s n1 register web", "do 70s n2 register web", "do 80s n3 fetch"}
	shows(t, ten(), append(moved[:4:4], "expect said13 = "+everybody+" web@n1", "expect fired R2 > 0")...)
	shows(t, ten(), append(moved[:4:4], "broken believe-old-stamps", "expect said13 = "+everybody+" web@n2")...)
}

func TestAServerThatStartsCopiesAPeer(t *testing.T) {
	crash := []string{"fault 100s 10s crash n1 lose=all", "do 110100ms n1 fetch"}
	shows(t, ten(), append(crash[:2:2], "expect said11 = "+everybody)...)
	shows(t, ten(), append(crash[:2:2], "broken no-boot-copy", "expect said11 = nothing")...)
}

func TestAServerTellsItsPeersOnce(t *testing.T) {
	shows(t, ten(), "do 50s n1 fetch", "broken no-replication", "broken no-boot-copy", "expect said11 = a1@n1 b1@n1")
	shows(t, ten(), "fault 6s 10s isolate n1", "do 8s n1 register late", "do 17s n3 fetch", "do 50s n3 fetch",
		"expect said12 = "+everybody, "expect said13 = "+everybody+" late@n1")
}

// TestConsumersCompareACountOnly: changes that are forgotten before they are fetched
// are noticed by the hash, unless as many came as went.
func TestConsumersCompareACountOnly(t *testing.T) {
	forgetful := []string{"config delta-retention 1s", "do 100s n1 cancel a1", "do 200s n3 cached"}
	shows(t, ten(), append(forgetful[:3:3], "expect said12 = "+withoutA1, "expect fired R7 > 0")...)
	shows(t, ten(), append(forgetful[:3:3], "broken no-hash", "expect said12 != "+withoutA1)...)
	shows(t, ten(), append(forgetful[:3:3], "do 101s n1 register new", "expect said12 = "+everybody)...)
}

func TestBadRequestsAreRefused(t *testing.T) {
	shows(t, ten(), "do 9s n1 register", "do 9s n1 cancel ghost", "do 9s n1 kill a2", "do 9s n1 fly",
		"expect said11 = register needs one instance, as in: do 5s n1 register web", "expect said12 = R3 404: no instance is called ghost",
		"expect said13 = this host runs no a2", "expect said14 = eureka knows no \"fly\"; it knows write, read, register, cancel, kill, fetch, cached")
}
