package rsm

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/quorate/quorate/internal/id"
)

// counter does next to nothing, so that what is measured are the sessions.
type counter struct{ applied id.Index }

func (c *counter) Apply(b Batch, results []Result) ([]Result, error) {
	for range b.Commands {
		results = append(results, Result("ok"))
	}
	c.applied = b.Applied
	return results, nil
}
func (c *counter) View() View                        { return journalView{applied: c.applied} }
func (c *counter) Restore(m Meta, r io.Reader) error { return nil }

// BenchmarkSessions applies batches of commands, each of another session, and
// takes a View after each batch, as the host does.
func BenchmarkSessions(b *testing.B) {
	for _, sessions := range []int{16, 4096, 65536} {
		for _, batch := range []int{1, 64} {
			b.Run(fmt.Sprintf("sessions=%d/batch=%d", sessions, batch), func(b *testing.B) {
				m := WithSessions(&counter{})
				at := id.Index(0)
				results := []Result(nil)
				apply := func(commands ...[]byte) {
					c := make([]Command, len(commands))
					for i, data := range commands {
						at++
						c[i] = Command{Index: at, Data: data}
					}
					var err error
					if results, err = m.Apply(Batch{Commands: c, Applied: at}, results[:0]); err != nil {
						b.Fatal(err)
					}
					m.View()
				}
				apply(EncodeSessionLimits(SessionLimits{Sessions: sessions, Window: 8, AnswerBytes: 100}))
				for range sessions {
					apply(EncodeRegister())
				}
				commands := make([][]byte, batch)
				data := bytes.Repeat([]byte("x"), 100)
				b.ReportAllocs()
				b.ResetTimer()
				for i := 0; i < b.N; i += batch {
					for k := range commands {
						n := i + k
						s := SessionID(2 + n*31%sessions) // 31 shares no factor with a power of two
						commands[k] = EncodeCommand(s, Sequence(n/sessions+1), Sequence(max(n/sessions-2, 1)), data)
					}
					apply(commands...)
				}
			})
		}
	}
}
