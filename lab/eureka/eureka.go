// Package eureka is Netflix's Eureka, the registry without a leader: every server
// takes everything, tells its peers, and hopes. It is in the family because its
// answer to the question "who decides?" is: nobody has to.
//
//	instances ──Register, Renew (30 s), Cancel──▶ server ──the same, once──▶ peers
//	    ▲                                          │ lease 90 s
//	    └────────── delta or full copy ────────────┘ sweep 60 s, unless too many are
//	                                                 silent (self-preservation)
//
// # Rules
//
// From the sources of com.netflix.eureka (AbstractInstanceRegistry,
// PeerAwareInstanceRegistryImpl, Lease, DiscoveryClient).
//
//	R1  a server applies, answers, then pushes to every peer once; what came as a
//	    push is not pushed on, and no push is repeated.
//	R2  of two registrations of one instance the older dirty stamp (the wall clock of
//	    the instance's host) loses; a server that pushes the older one is told.
//	R3  a renewal of an unknown instance is answered 404, and the sender registers it:
//	    the instance at its server, a server at its peer.
//	R4  a lease lasts 90 s. A renewal puts its start 90 s into the future, so a renewed
//	    lease lives 180 s (Lease.renew; a bug that is kept), a never renewed one 90 s.
//	R5  self-preservation: leases expire only while the renewals of the last minute are
//	    more than ⌊instances × 2 × 0.85⌋.
//	R6  a sweep (60 s) evicts at most 15 % of the registry, chosen by dice. An eviction
//	    is not pushed.
//	R7  consumers fetch the changes of the last three minutes each 30 s, with a hash of
//	    what the registry should come to; if theirs differs, they fetch everything. The
//	    hash is a count of instances ("UP_10_"): equal numbers look equal.
//	R8  a server that starts copies a peer: up to five tries, 30 s apart, until it gets
//	    something.
//
// Everything is volatile.
//
// # What is promised
//
// Any server answers at any time, alone or not. Servers that hear each other agree
// within one renewal (30 s) about what is registered and renewed.
//
// # What is not
//
//   - Agreement during a partition: both sides register and both serve (M122). After
//     it, registrations meet within 30 s (R3). A cancellation does not: nobody pushes
//     it again, and the other side serves the instance until its lease expires (C5),
//     which with self-preservation may be never.
//   - That who is served is alive: of ten instances one that dies is evicted, of two
//     none is, ever (R5).
//   - Anything after a loss of power, but for what the instances say again.
//
// # What the fault scripts show (F1 to F12, pinned in TestRow)
//
// No script stops a server from answering. F2 and F3: both sides register; reads miss
// what the other side knows, until a renewal after the healing brings it. F9: all is
// gone, and registered again within a renewal. F10w: the instances of the wiped host
// are gone with it and evicted, which C3 counts as lost and Eureka as its duty. While
// the workload registers more and more, the renewals of the last minute lag behind the
// threshold, so self-preservation holds most of the time.
//
// # What an operation is here
//
// A write registers a new instance, w17 for operation 17, that then renews for ever.
// A node's log is the registrations (and cancellations) in the order in which it
// applied them; an eviction takes the registration out. Orders differ between
// servers, and nothing is wrong with that. Nothing is ever decided: C4 has nothing to
// compare.
// By do lines: register NAME, cancel NAME, kill NAME (the instance falls silent),
// fetch (what the server serves), cached (what the instances beside it believe).
//
// # What the model leaves out, and how it counts
//
//   - An instance stands on the host of the server that it registered with, and talks
//     to that one: the host's crash takes both, and both come back. Which instances a
//     host runs is remembered across power cuts (lab.HostFile, synced): that is the
//     deployment's disk and not Eureka's, and the lab does not count it.
//   - Talk on one host is no message. All instances of a host renew in one beat of
//     30 s; a server pushes that as Eureka's batches do, at most 250 in a message.
//   - A push that fails is tried again for 30 s by Eureka; ours is sent once. Renewals
//     repair either.
//   - Eureka counts nobody for the threshold of R5 until it copied somebody or a
//     15-minute task ran; ours counts from the first registration. It serves nothing
//     for five minutes after an empty R8; ours serves at once. Its 30 s response
//     cache is not there.
package eureka

import (
	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
)

// Switches. Each takes one rule away.
const (
	noReplication      = faults.Switch("no-replication")       // R1
	believeOldStamps   = faults.Switch("believe-old-stamps")   // R2
	forgetUnknown      = faults.Switch("forget-unknown")       // R3
	leaseAsWritten     = faults.Switch("lease-as-written")     // R4
	noSelfPreservation = faults.Switch("no-self-preservation") // R5
	evictAll           = faults.Switch("evict-all")            // R6
	noHash             = faults.Switch("no-hash")              // R7
	noBootCopy         = faults.Switch("no-boot-copy")         // R8
)

// Protocols is the one protocol of this package.
func Protocols() []lab.Protocol {
	return []lab.Protocol{{
		Name: "eureka", Title: "Netflix Eureka", Chinese: "Netflix Eureka",
		About:   "a registry of equals: no leader, every server answers, and pushes to its peers what it was told",
		Slowest: 90 * id.Second, Leaderless: true,
		Switches: []lab.Switch{
			{Name: noReplication, What: "R1: a server tells its peers nothing"},
			{Name: believeOldStamps, What: "R2: the registration that comes last wins, whatever its stamp"},
			{Name: forgetUnknown, What: "R3: nobody registers again what a server does not know"},
			{Name: leaseAsWritten, What: "R4: a renewed lease lives 90 s, as its documentation says, and not 180 s"},
			{Name: noSelfPreservation, What: "R5: leases expire however many are silent"},
			{Name: evictAll, What: "R6: a sweep evicts everything that has expired"},
			{Name: noHash, What: "R7: consumers trust the changes and never compare"},
			{Name: noBootCopy, What: "R8: a server starts empty"},
		},
		New: func(c lab.Config) lab.Machine { return newMachine(c) },
	}}
}

// timers are Eureka's defaults.
type timers struct {
	renew id.Duration // an instance renews and fetches
	lease id.Duration
	sweep id.Duration // also the minute over which renewals are counted
	keep  id.Duration // of changes, for deltas
	retry id.Duration // between tries to copy a peer
	tries int
}

const (
	batchMax  = 250     // instances in a pushed message (Eureka's replication batch)
	hostMax   = 100_000 // instances on one host; the next registration is refused
	changeMax = 100_000 // remembered changes; beyond, the oldest go, and deltas fail by their hash
)
