package lab

import (
	"errors"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/sim"
)

// Whatever a recipe's text is, it is read or refused with one line that names a line
// of the text; and what is read prints as a text that reads the same.
func FuzzTemplate(f *testing.F) {
	for _, body := range []string{
		"length 60s+60s|2T\nvoters all\nspares aux\nfault 3T/2 60s|2T split r1,r2/r3,r4,r5,aux\nfault 1s T hold *>* message=REPLY by=T count=1\n",
		"length 9s\nvoters all\nfault 1s@held2 60s crash leader lose=torn reset=no\ndo 1s r2 write x\nexpect zab,p: gap < 3T\nexpect leader = r3\nthen kept1 = yes\nbreak x\n",
		"length 9s\nvoters r1,r9\n", "length 9s\nvoters all\ncaption 2T {r1} for {T}, {x} {\ncaption.zh T {all}\ntitle {aux}\n",
		"length T/0\nvoters all\n", "length 999T+999T+999T\nvoters all\n", "length 9s\nvoters all\nfault T T cut r1<>r2\nfault T T cut >\nfault @ @ T T\n",
		"length 9s\nvoters all\nexpect role r2 = x\nexpect =\nexpect do9 = answered\nworkload every T\nfork 3\nprotocol q\n", "protocol", "caption", "",
	} {
		f.Add("quorate recipe 2\nseed 1\n" + body)
	}
	p := Protocol{Name: "p", Slowest: 10 * id.Second, Ranks: []Node{3, 0, 0, 2, 1}, Helpers: 2, Reply: "Vote"}
	f.Fuzz(func(t *testing.T, text string) {
		refused := func(err error) {
			var e *sim.Error
			if !errors.As(err, &e) || e.Line > strings.Count(text, "\n")+1 || strings.Contains(e.What, "\n") {
				t.Errorf("%q: %v", text, err)
			}
		}
		r, err := Template(text, p)
		if err != nil {
			refused(err)
			return
		}
		for _, read := range []func(sim.Recipe) ([]Expectation, error){Expectations, Controls} {
			if _, err := read(r); err != nil {
				refused(err)
			}
		}
		printed := r.String()
		again, err := sim.Parse(printed)
		if err != nil || again.String() != printed {
			t.Errorf("%q prints as %q, which reads as %q, %v", text, printed, again.String(), err)
		}
	})
}
