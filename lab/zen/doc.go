// Package zen is Zen, how Elasticsearch before version 7 chose a master and agreed
// on its cluster state. It has no terms and no durable votes: who joins a node
// votes for it, and may join another one a second later. An update is committed
// when a majority holds it, but it holds it in memory, as something that is not
// yet true; that is the hole through which acknowledged updates fell
// (elasticsearch#20384, #32006), and why version 7 began anew.
//
// An operation is a change of the cluster state, as the creation of an index is:
// the master publishes a new version, and answers the client.
//
//	master                   others
//	  │ Send{state 8}          │
//	  ├───────────────────────▶│ keeps it, applies nothing
//	  │◀───────────SendAck─────┤
//	  │ minimum with its own: committed
//	  │ Commit{8}              │
//	  ├───────────────────────▶│ applies, fsync
//	  │◀─────────CommitAck─────┤
//	  │ all applied, or 30 s: applies, fsync, answers the client
//
// # The rules (as in the family's list)
//
//	R1   Without a master: a ping round of 3 s asks every node for its master and
//	     the version of its state.
//	R2   A live master is reported, by whomever: join the one with the lowest id,
//	     and elect nobody.
//	R3   Else at least minimum_master_nodes must have been heard, this one
//	     included. The highest version wins, then the lowest id.
//	R4   The winner waits up to 30 s for the joins of minimum − 1 others. Then it
//	     publishes a state with itself as master.
//	R5   Who did not win joins the winner (60 s, three tries): a vote that is kept
//	     nowhere and revoked by joining somebody else. The master tries the way
//	     back (ValidateJoin) before it counts.
//	R6   An update goes to all nodes; minimum acknowledgements, its own included,
//	     commit it, and Commit follows, for stragglers later. Not within the commit
//	     timeout of 30 s: the update is rejected and the master steps down.
//	R7   After the commit the master waits for all to apply, at most until the
//	     publish timeout (30 s, from the start), then answers the client and goes on.
//	R8   With a master: refuse the states of others and older ones. Without:
//	     accept any version, even one older than what was applied.
//	R9   A master that has fewer than the minimum of nodes steps down and pings.
//	R10  A master that gets three pings from another one, or its state: the one
//	     with the lower version is to rejoin.
//	R11  Three pings of 30 s to the master fail, or the connection breaks, or it
//	     says that it is not master or does not know this node: back to R1.
//	R12  Applying a committed state writes it (fsync), so after Commit. A master
//	     elected after a full restart recovers the highest version that the
//	     minimum of disks has.
//
// Preset unsafe: the minimum is 1 (the default was −1, the same). Preset document:
// instead of R2 to R5 what the source document tells, in front of the same joins:
//
//	D1  The ping round asks who sees a master. Unless more than half do not:
//	    join it, or ask again.
//	D2  Else Election{version} to all. Who is better (higher version, then lower
//	    id) answers Alive and calls an election itself.
//	D3  No Alive within a second: Victory to all, then R4. Alive: wait 3 s for a
//	    Victory, else D1.
//	D4  Victory from a node that is better: join it.
//
// # What it promises
//
// With the minimum at a majority: no two masters that both commit, and an update
// that was answered because all have applied it is on all of their disks. A
// returning lower id does not bully (R2).
//
// # What it lacks
//
//   - An update may be committed, answered at the publish timeout, and applied by
//     nobody but the master: if the master is cut off, it is gone (C3; script F8,
//     recipe zen-loses-f8).
//   - With a minimum of 1 every side of a split has its master, and after the
//     split they stay two clusters: each has removed the other from its nodes,
//     so R10 has nothing to hear. All that one of them acknowledged is missing in
//     the other.
//   - A host that falls silent is noticed after 90 s, and every update meanwhile
//     takes 30 s, since the master waits for the silent one (R7). So F5, F12a and
//     F4f, which change no master, have a gap of 30 s.
//   - A vote can be revoked: nothing keeps a node from joining one winner and then
//     another, nor from acknowledging the first state of both. That two masters do
//     not go on so is due to R8, at the next update.
//   - Document mode: in F12b the joins of the others may be split between the two
//     who both believe they have won, round after round until the link is whole.
//   - The version a restarted node says in R3 is 0, whatever is on its disk: a
//     node with an older state in memory wins against it.
//   - A client's retry takes effect twice.
//
// # Where this differs from the source
//
// The operations stand for the metadata. The master puts the writes that wait into
// one update (at most 100; 1000 may wait). The version that is saved is that of
// the state in which the operations changed, which stands for the metadata's own
// version. Nodes that are no master send clients there; the source forwards.
// Leave, the message of an orderly stop, is left out, since nobody stops in order.
// After a node is removed for its silence it must join again by itself, as in the
// source. Pings are answered with what a node knows and carry nothing.
//
// Sources: ZenDiscovery, ElectMasterService, NodeJoinController,
// PublishClusterStateAction, MasterFaultDetection, NodesFaultDetection and Gateway
// of Elasticsearch 5 and 6; the resiliency page; issues 20384 and 32006.
package zen

import (
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
)

// Protocols are Zen with a minimum of a majority, with the default of old, and
// the election of the source document.
func Protocols() []lab.Protocol {
	with := func(name, title, chinese, about, reply string, minimum func(lab.Config) int, document bool) lab.Protocol {
		return lab.Protocol{
			Name: name, Title: title, Chinese: chinese, About: about,
			Slowest: 90 * id.Second, SyncedAtStart: []string{"state"}, Ranks: []lab.Node{1, 2, 3, 4, 5},
			Reply: reply, Switches: switches,
			New: func(c lab.Config) lab.Machine { return newMachine(c, settings(c, minimum(c), document)) },
		}
	}
	one := func(lab.Config) int { return 1 }
	return []lab.Protocol{
		with("zen", "Elasticsearch Zen", "Elasticsearch Zen", "the node with the newest state wins, then the lowest id; a majority (minimum_master_nodes) must join it and acknowledge each update, but only in memory", "JoinAnswer", lab.Config.Quorum, false),
		with("zen/unsafe", "Elasticsearch Zen, minimum_master_nodes 1", "Elasticsearch Zen，minimum_master_nodes 为 1", "as installed: any single node may elect itself and commit alone", "JoinAnswer", one, false),
		with("zen/document", "Elasticsearch Zen as the source document tells it", "来源文档所述的 Elasticsearch Zen", "asks whether more than half cannot see the master, then Election, Alive and Victory as in Bully, by version and id", "Alive", lab.Config.Quorum, true),
	}
}
