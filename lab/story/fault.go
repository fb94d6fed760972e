package story

import (
	"fmt"
	"strings"

	"github.com/quorate/quorate/sim"
)

// faultText says in plain words what a fault is, from its line in a recipe. over
// says instead that it has ended.
func faultText(line string, over bool) string {
	words := strings.Fields(line)
	if len(words) < 5 {
		return line
	}
	kind, target := sim.FaultKind(words[3]), words[4]
	args := map[string]string{}
	for _, w := range words[5:] {
		name, value, _ := strings.Cut(w, "=")
		args[name] = value
	}
	what, end := faultWords(kind, target, args)
	if over {
		return end
	}
	if kind == sim.FaultCrash || kind == sim.FaultPower || kind == sim.FaultWipe {
		return what + ", down for " + spanText(words[2])
	}
	return what + ", for " + spanText(words[2])
}

func spanText(text string) string {
	d, err := sim.ParseDuration(text)
	if err != nil {
		return text
	}
	return Span(d)
}

// faultWords says what begins, and what it is when it ends.
func faultWords(kind sim.FaultKind, target string, args map[string]string) (begins, ends string) {
	share := "every message"
	if r := args["rate"]; r != "" && r != "1000" {
		share = r + " of 1000 messages"
	}
	if m := args["message"]; m != "" {
		share = strings.Replace(share, "message", m+" message", 1)
	}
	switch kind {
	case sim.FaultCrash:
		begins = target + " crashes: its process dies"
		if args["lose"] != "none" {
			begins = target + " loses its power, and what was not synced"
		} else if args["reset"] == "no" {
			begins = "the host of " + target + " falls silent; nobody is told"
		}
		return begins, target + " comes back"
	case sim.FaultPower:
		return "the power fails everywhere; what was not synced is gone", "the power is back"
	case sim.FaultWipe:
		return target + " loses its disk", target + " comes back under its old name, with an empty disk"
	case sim.FaultPause:
		return target + " is paused", target + " goes on where it was"
	case sim.FaultIsolate:
		return target + " is cut off from all others", target + " is connected again"
	case sim.FaultSplit:
		return "the network splits: " + sides(target), "the split heals"
	case sim.FaultFlap:
		return "the network splits and heals every " + spanText(args["period"]) + ": " + sides(target), "the network is whole again"
	case sim.FaultCut:
		return "nothing passes " + between(target), "messages pass again " + between(target)
	case sim.FaultDrop:
		return share + " " + between(target) + " is lost", "no more losses " + between(target)
	case sim.FaultHold:
		return fmt.Sprintf("%s %s %s comes %s late", args["count"], args["message"], between(target), spanText(args["by"])), "nothing is held back any more"
	case sim.FaultDelay:
		return "everything " + between(target) + " takes " + spanText(args["by"]) + " longer", "no more delay " + between(target)
	case sim.FaultClog:
		return "everything " + between(target) + " waits, and then comes at once", "the jam " + between(target) + " dissolves"
	case sim.FaultDuplicate:
		return share + " " + between(target) + " comes twice", "no more copies " + between(target)
	case sim.FaultReplay:
		return share + " " + between(target) + " comes again later", "no more copies " + between(target)
	case sim.FaultReorder:
		return share + " " + between(target) + " is overtaken", "messages keep their order again " + between(target)
	case sim.FaultJump:
		return "the wall clock of " + target + " is " + spanText(args["by"]) + " ahead", "the wall clock of " + target + " is right again"
	case sim.FaultDrift:
		return "the clock of " + target + " runs at " + args["rate"] + " millionths of the true rate", "the clock of " + target + " runs well again"
	case sim.FaultFreeze:
		return "the clock of " + target + " stands still", "the clock of " + target + " goes on"
	}
	return string(kind) + " " + target, string(kind) + " " + target + " is over"
}

// sides writes n5,n4/n3 as n5 n4 | n3.
func sides(target string) string {
	return strings.ReplaceAll(strings.ReplaceAll(target, ",", " "), "/", " | ")
}

// between says which link: from n1 to n2, between n1 and n2, from n1 to everybody.
func between(target string) string {
	end := func(n, everybody string) string {
		if n == "*" {
			return everybody
		}
		return n
	}
	if from, to, both := strings.Cut(target, "<>"); both {
		return "between " + end(from, "everybody") + " and " + end(to, "everybody")
	}
	from, to, _ := strings.Cut(target, ">")
	if from == "*" && to == "*" {
		return "anywhere"
	}
	return "from " + end(from, "everybody") + " to " + end(to, "everybody")
}
