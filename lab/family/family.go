// Package family is the list of the lab's protocols: one line each.
package family

import (
	"fmt"
	"slices"
	"strings"

	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/lab/bully"
	"github.com/quorate/quorate/lab/dledger"
	"github.com/quorate/quorate/lab/eureka"
	"github.com/quorate/quorate/lab/kafka"
	"github.com/quorate/quorate/lab/mongo"
	"github.com/quorate/quorate/lab/paxos"
	"github.com/quorate/quorate/lab/raft"
	"github.com/quorate/quorate/lab/recipes"
	"github.com/quorate/quorate/lab/redis"
	"github.com/quorate/quorate/lab/twophase"
	"github.com/quorate/quorate/lab/writers"
	"github.com/quorate/quorate/lab/zab"
	"github.com/quorate/quorate/lab/zen"
	"github.com/quorate/quorate/sim"
)

// All returns every protocol, in the order in which the lab shows them.
func All() []lab.Protocol {
	return slices.Concat(
		raft.Protocols(),
		paxos.Protocols(),
		zab.Protocols(),
		bully.Protocols(),
		zen.Protocols(),
		mongo.Protocols(),
		kafka.Protocols(),
		redis.Protocols(),
		dledger.Protocols(),
		eureka.Protocols(),
		twophase.Protocols(),
		writers.Protocols(),
	)
}

// Find returns a protocol by its name; the error names those there are.
func Find(name string) (lab.Protocol, error) {
	var names []string
	for _, p := range All() {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return lab.Protocol{}, fmt.Errorf("unknown protocol %q; known: %s", name, strings.Join(names, ", "))
}

// Default is the protocol of a recipe that names none.
const Default = "raft"

// Named is the protocol a recipe's text names, or Default. An error has the line.
func Named(text string) (lab.Protocol, error) {
	name, line := Default, 0
	for i, l := range strings.Split(text, "\n") {
		if words := strings.Fields(l); len(words) == 2 && words[0] == "protocol" {
			name, line = words[1], i+1
		}
	}
	p, err := Find(name)
	if err != nil {
		return p, &sim.Error{Line: line, What: err.Error()}
	}
	return p, nil
}

// Speaks are the protocols a recipe's expect lines speak of; its own alone, if they
// speak of none.
func Speaks(text string) ([]string, error) {
	own, err := Named(text)
	if err != nil {
		return nil, err
	}
	names := []string{own.Name}
	for i, l := range strings.Split(text, "\n") {
		words := strings.Fields(l)
		if len(words) < 3 || words[0] != "expect" || !strings.HasSuffix(words[1], ":") {
			continue
		}
		for _, name := range strings.Split(strings.TrimSuffix(words[1], ":"), ",") {
			if _, err := Find(name); err != nil {
				return nil, &sim.Error{Line: i + 1, What: err.Error()}
			}
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names, nil
}

// Load returns a recipe by its name, resolved for a protocol; an empty protocol is
// the recipe's own.
func Load(name, protocol string) (sim.Recipe, lab.Protocol, error) {
	text, ok := recipes.Text(name)
	if !ok {
		return sim.Recipe{}, lab.Protocol{}, fmt.Errorf("unknown recipe %q", name)
	}
	return Resolve(text, protocol)
}

// Resolve resolves a recipe's text likewise.
func Resolve(text, protocol string) (r sim.Recipe, p lab.Protocol, err error) {
	if protocol == "" {
		p, err = Named(text)
	} else {
		p, err = Find(protocol)
	}
	if err != nil {
		return r, p, err
	}
	r, err = lab.Template(text, p)
	return r, p, err
}
