package enumerate

import (
	"github.com/quorate/quorate/raft"
)

// Situation is how far the command had come when the first leader failed. The
// source document tells seven; Answered and Deposed complete them, so that every
// end of an office has its place.
type Situation uint8

const (
	Unfailed          Situation = iota // it has not failed
	BeforeData                         // 1: it failed before the command reached it
	OnlyLeader                         // 2: it has the command, no follower has
	AllFollowers                       // 3: all followers have it, it is not committed
	SomeFollower                       // 4: some followers have it, it is not committed
	CommittedAtLeader                  // 5: the leader knows it committed, not everybody does
	CommittedAll                       // 6: everybody knows it committed, the client has no answer
	TwoLeaders                         // 7: partition: it is still in office when another is elected
	Answered                           // the client had its answer
	Deposed                            // it lived, and learned of a newer term before it had a leader
	situations                         // how many there are
)

var shortNames = [situations]string{
	"not failed", "before the command", "only the leader", "all followers", "some follower",
	"committed at the leader", "committed everywhere", "two leaders", "answered", "deposed",
}

func (s Situation) String() string {
	if s < situations {
		return shortNames[s]
	}
	return "no situation"
}

// MarshalText makes it readable in JSON.
func (s Situation) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Text is one sentence in the two languages of the lab.
type Text struct{ English, Chinese string }

var captions = [situations]Text{
	Unfailed:          {"The first leader has not failed.", "第一任领导者尚未失效。"},
	BeforeData:        {"The leader crashes before the command reaches it.", "命令到达领导者之前，领导者崩溃。"},
	OnlyLeader:        {"The leader has the command, no follower has it on its disk; the leader crashes.", "命令已到领导者，还没有任何跟随者写入磁盘；领导者崩溃。"},
	AllFollowers:      {"All followers have the command on their disks, it is not committed yet; the leader crashes.", "所有跟随者都已将命令写入磁盘，但尚未提交；领导者崩溃。"},
	SomeFollower:      {"One follower of two has the command on its disk, it is not committed; the leader crashes.", "两个跟随者中只有一个已将命令写入磁盘，尚未提交；领导者崩溃。"},
	CommittedAtLeader: {"The leader knows that the command is committed, not every follower does; the leader crashes.", "领导者已知命令提交，但并非所有跟随者都知道；领导者崩溃。"},
	CommittedAll:      {"Everybody knows that the command is committed, the client has no answer; the leader crashes.", "所有节点都已提交命令，但客户端还没有收到答复；领导者崩溃。"},
	TwoLeaders:        {"Partition: another leader is elected while the old one still believes in its office.", "网络分区：旧领导者仍以为自己在任时，另一个领导者已当选。"},
	Answered:          {"The client has been answered; then the leader crashes.", "客户端已收到答复，之后领导者崩溃。"},
	Deposed:           {"The leader lives, but hears of a newer term and steps down before that term has a leader.", "领导者没有崩溃，但得知更新的任期而退位，此时新任期还没有领导者。"},
}

// outcomes as MISSION M51 to M57 states them, made precise by the disks: what is
// on two of three when the leader fails is kept, whoever wins.
var expectations = [situations]Text{
	Unfailed:          {"", ""},
	BeforeData:        {"Nothing happened: the command appears nowhere, ever.", "什么都没有发生：命令不会出现在任何地方。"},
	OnlyLeader:        {"No answer. Lost, or kept if the old leader comes back first or a message of it was still under way. A retry may apply it twice; a session prevents that.", "没有答复。命令丢失；若旧领导者先恢复，或仍有在途消息，则保留。重试可能使其执行两次，会话可避免。"},
	AllFollowers:      {"Kept: the new leader has it, and commits it through an entry of its own term.", "保留：新领导者已有该命令，并通过自己任期的条目将其提交。"},
	SomeFollower:      {"The newest log wins and forces the rest: on two disks it is kept, on one it depends on who wins.", "日志最新者当选并令其余节点与之一致：在两个磁盘上则必保留，仅在一个磁盘上则取决于谁当选。"},
	CommittedAtLeader: {"Kept, as in situation 3.", "保留，与情形三相同。"},
	CommittedAll:      {"Kept; a retry does no harm when sessions remember the first.", "保留；会话记住第一次请求，重试无害。"},
	TwoLeaders:        {"The old leader commits nothing that the new one does not have; after healing one leader is left and all logs are its log.", "旧领导者不能提交新领导者没有的内容；恢复后只剩一个领导者，所有日志与之一致。"},
	Answered:          {"Kept: what was answered is never lost.", "保留：已答复的内容永不丢失。"},
	Deposed:           {"As in a crash: what is on two disks is kept.", "与崩溃相同：在两个磁盘上的内容必保留。"},
}

var missions = [situations]string{
	BeforeData: "M51", OnlyLeader: "M52", AllFollowers: "M53", SomeFollower: "M54",
	CommittedAtLeader: "M55", CommittedAll: "M56", TwoLeaders: "M57", Answered: "M49",
}

// Number is what the source document calls it, 0 for those it does not have.
func (s Situation) Number() int {
	if s >= BeforeData && s <= TwoLeaders {
		return int(s)
	}
	return 0
}

// classify notes the situation in which the first leader's first office ends.
func classify(before *state, a step, after *state) {
	if before.past.situation != Unfailed {
		return
	}
	was, is := before.members[0], after.members[0]
	if was.role != raft.Leader || was.term != firstTerm || was.node == nil {
		return
	}
	h := &after.past
	switch {
	case a.kind == crash && a.who == 0:
		h.situation = whereTheDataIs(before)
		h.attempts = max(h.attempts, 1) // a command that was under way to it is lost
	case is.role != raft.Leader || is.term != firstTerm:
		h.situation = Deposed
	default:
		for _, m := range after.members[1:] {
			if m.node != nil && m.role == raft.Leader {
				h.situation = TwoLeaders
			}
		}
	}
	if h.situation == Unfailed {
		return
	}
	for _, m := range after.members {
		if has(m.disk, 1) {
			h.disks++
		}
	}
}

// whereTheDataIs classifies a crash by what the members had when it came. A
// follower has what is on its disk: what is only in its memory was not
// acknowledged to anybody and goes with its next crash.
func whereTheDataIs(s *state) Situation {
	leader := s.members[0]
	if !has(leader.log, 1) {
		return BeforeData
	}
	if s.past.answered != 0 {
		return Answered
	}
	knowing, having := 0, 0
	for _, m := range s.members {
		if int(m.commit) > 0 && has(m.log[:m.commit], 1) {
			knowing++
		}
	}
	for _, m := range s.members[1:] {
		if has(m.disk, 1) {
			having++
		}
	}
	switch {
	case knowing == members:
		return CommittedAll
	case has(leader.log[:leader.commit], 1):
		return CommittedAtLeader
	case having == members-1:
		return AllFollowers
	case having > 0:
		return SomeFollower
	}
	return OnlyLeader
}
