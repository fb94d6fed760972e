// Replicatedmap is a map of strings replicated over three processes. Start one
// per member, then type "set KEY VALUE" and "get KEY" into any of them:
//
//	go run ./examples/replicatedmap 1 127.0.0.1:7001 127.0.0.1:7002 127.0.0.1:7003
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/quorate/quorate"
	"github.com/quorate/quorate/rsm"
)

// Map is the state machine: the same commands in the same order on every member.
type Map struct {
	values  map[string]string
	applied quorate.Index
}

func (m *Map) Apply(b rsm.Batch, results []rsm.Result) ([]rsm.Result, error) {
	m.values = maps.Clone(m.values) // Views share the old one
	for _, c := range b.Commands {
		key, value, _ := strings.Cut(string(c.Data), " ")
		m.values[key] = value
		results = append(results, rsm.Result("ok"))
	}
	m.applied = b.Applied
	return results, nil
}

func (m *Map) View() rsm.View { return View(*m) }

func (m *Map) Restore(meta rsm.Meta, r io.Reader) error {
	m.values, m.applied = map[string]string{}, meta.Index
	return json.NewDecoder(r).Decode(&m.values)
}

// View is the map as it was at one index. JSON writes keys in order: the same
// state gives the same bytes.
type View Map

func (v View) Applied() quorate.Index { return v.applied }
func (v View) Close() error           { return nil }
func (v View) WriteTo(w io.Writer) (int64, error) {
	b, err := json.Marshal(v.values)
	n, werr := w.Write(b)
	if err == nil {
		err = werr
	}
	return int64(n), err
}

func main() {
	if len(os.Args) < 3 {
		log.Fatal("usage: replicatedmap MEMBER ADDRESS…   (MEMBER counts from 1; one peer address per member)")
	}
	self, err := strconv.Atoi(os.Args[1])
	if err != nil || self < 1 || self > len(os.Args)-2 {
		log.Fatalf("MEMBER must be a number from 1 to %d, not %q", len(os.Args)-2, os.Args[1])
	}
	var members []quorate.Member
	for i, address := range os.Args[2:] {
		members = append(members, quorate.Voter(uint64(i+1), address))
	}
	ctx := context.Background()
	h, err := quorate.Open(ctx, fmt.Sprintf("replicatedmap-%d", self), quorate.Options{Node: uint64(self), Listen: os.Args[self+1]})
	if err != nil {
		log.Fatal(err)
	}
	how := quorate.Bootstrap(members...)
	if h.HasData(1) {
		how = quorate.Resume()
	}
	g, err := h.Start(1, &Map{values: map[string]string{}}, how)
	if err != nil {
		log.Fatal(err)
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		verb, rest, _ := strings.Cut(in.Text(), " ")
		switch verb {
		case "set":
			if _, err := g.Propose(ctx, []byte(rest)); err != nil {
				fmt.Println(err)
			} else {
				fmt.Println("ok")
			}
		case "get":
			if v, err := g.Barrier(ctx); err != nil {
				fmt.Println(err)
			} else {
				fmt.Println(v.View.(View).values[rest])
				v.Release()
			}
		default:
			fmt.Println("set KEY VALUE, or get KEY")
		}
		cancel()
	}
	if err := h.Close(ctx); err != nil {
		log.Fatal(err)
	}
}
