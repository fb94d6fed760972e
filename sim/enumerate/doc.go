// Package enumerate visits every state that three members of production's Raft
// can be in around one command, up to stated bounds, and says how each of the
// seven situations of a leader's failure ends (docs/MISSION, M51 to M57, M59).
// Seven samples show that something can happen; only visiting everything shows
// what cannot.
//
//	report, err := enumerate.Run(enumerate.Small())
//	fmt.Print(report)
//
// A member is raft.Node itself, with a disk around it; nothing of Raft is
// modelled. A state is the three members, the messages in flight, and a little
// history for the checks. The search is breadth first over all that may happen
// next, each different state once:
//
//	the client's command reaches a leader, or a leader answers it
//	any message in flight arrives, in any order, or never, or (bounded) twice
//	a disk finishes its oldest write
//	a member crashes, with none, some or all of what it was writing; it restarts
//	a member hears no leader for an election timeout and stands
//
// In every state the rules of check.go must hold. From every state behind the
// first leader's failure the group is then left alone with all members up, six
// times, so that they stand in every order; it must come to rest with one leader
// and one log, and what that log holds is the outcome that the table counts. A broken rule ends the search with a shortest story that leads to it.
//
// # What is one step, and why that is enough
//
//   - A crash between two effects of one pass is not a step of its own. Effects of
//     a pass go to different places: a write to the disk, messages to the network.
//     That the crash came before an effect is the same as that write lost or that
//     message never delivered, and every choice of these is visited.
//   - A lost message is one that is never delivered.
//   - Each member has a clock of its own that stands still, until the search moves
//     it to a deadline. Messages carry no time, so no two clocks need agree.
//   - A request for a vote finds its receiver without a leader heard lately. The
//     other case, in which it is ignored, is that of a lost message.
//   - The pre-vote changes nothing at whoever is asked: asking one peer and its
//     answer are part of the step in which a member stands (Options.PreVoteSteps
//     takes them apart).
//   - The state machine is volatile, so when it applies shows only in the answer.
//   - A write that only saves a commit index goes with the next write or with a
//     crash, for nobody waits for it.
//   - Messages that can change nothing any more are taken away (act.go, bury).
//   - Two states that differ only by the names of the two followers are one.
//
// # What is left out
//
// Membership changes, snapshots, transfers, reads, a leader that steps down
// because it hears nobody, stalled disks, a second command. A follower "has" the
// command when it is on its disk; what is only in its memory goes with its next
// crash, and is visited as well.
//
// # What the enumeration taught
//
//   - What decides is not the situation but the disks: on two of three when the
//     leader fails, the command is kept in every continuation, also where nobody
//     knew it committed (half of situation 4). On one or none, both outcomes are
//     met, also in situation 2 with nothing on any disk: a message still under way.
//   - M57 says that the old leader cannot commit. It can still learn, with a new
//     leader in office, that something is committed: the acknowledgement was under
//     way when its sender voted. The new leader then has that entry, and this is
//     what is checked. Report.LateCommits counts it.
//   - A leader may be elected with an older log than both others have by then: its
//     votes were given in time and arrived after a later term had a leader. So the
//     check of the newest log leaves out who is in a greater term (M54).
package enumerate
