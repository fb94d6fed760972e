package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// byHand is one command as a person types it, and what it prints. Both may name
// what an earlier command printed: (?P<lease>…) in want keeps it, $lease is it.
type byHand struct {
	command string // split at spaces; ” is the empty word
	stdin   string
	want    string // a regular expression for all of stdout
	fails   string // a part of stderr; the exit code is then 1
}

// etcdctl's commands by hand, in the order of a long session. Every command goes
// to another member than the one before it: any member takes any of them.
var session = []byHand{
	{command: "put a 1", want: `OK\n`},
	{command: "put b 2", want: `OK\n`},
	{command: "put a/x 3", want: `OK\n`},
	{command: "put a 4 --prev-kv", want: `OK\na\n1\n`},
	{command: "put fromstdin", stdin: "piped", want: `OK\n`},

	{command: "get a", want: `a\n4\n`},
	{command: "get a --consistency=s", want: `a\n4\n`},
	{command: "get nothing", want: ``},
	{command: "get a --prefix", want: `a\n4\na/x\n3\n`},
	{command: "get a b", want: `a\n4\na/x\n3\n`},
	{command: "get b --from-key", want: `b\n2\nfromstdin\npiped\n`},
	{command: "get a --prefix --limit=1", want: `a\n4\n`},
	{command: "get a --rev=2", want: `a\n1\n`},
	{command: "get ” --prefix --rev=3 --print-value-only", want: `1\n2\n`},
	{command: "get ” --prefix --order=DESCEND --sort-by=KEY --keys-only", want: `fromstdin\n\nb\n\na/x\n\na\n\n`},
	{command: "get ” --prefix --sort-by=MODIFY --keys-only", want: `b\n\na/x\n\na\n\nfromstdin\n\n`},
	{command: "get a --prefix --count-only -w fields", want: `(?s).*"Count" : 2\n`},
	{command: "get a -w json", want: `\{"header":\{"cluster_id":\d+,"member_id":\d+,"revision":6,"raft_term":\d+\},"kvs":\[\{"key":"YQ==","create_revision":2,"mod_revision":5,"version":2,"value":"NA=="\}\],"count":1\}\n`},
	{command: "get a --rev=99", fails: "etcdserver: mvcc: required revision is a future revision"},

	{command: "txn -i", stdin: "value(\"a\") = \"4\"\nmod(\"b\") < \"9\"\n\nput a 5\nget b\n\nget a\n\n",
		want: `(?s)compares:\n.*SUCCESS\n\nOK\n\nb\n2\n`},
	{command: "txn", stdin: "version(\"a\") > \"7\"\n\nput a no\n\nget a\n\n", want: `FAILURE\n\na\n5\n`},
	{command: "txn", stdin: "create(\"new\") = \"0\"\n\nput new 1\ndel b\n\n\n", want: `SUCCESS\n\nOK\n\n1\n`},

	{command: "del a/x --prev-kv", want: `1\na/x\n3\n`},
	{command: "del nothing", want: `0\n`},
	{command: "del a --prefix", want: `1\n`},
	{command: "get a --rev=5", want: `a\n4\n`},
	{command: "compaction 6", want: `compacted revision 6\n`},
	{command: "get a --rev=5", fails: "etcdserver: mvcc: required revision has been compacted"},
	{command: "compaction 6", fails: "etcdserver: mvcc: required revision has been compacted"},
	{command: "get ” --prefix --keys-only", want: `fromstdin\n\nnew\n\n`},

	{command: "lease grant 500", want: `lease (?P<lease>[0-9a-f]{16}) granted with TTL\(500s\)\n`},
	{command: "put leased 1 --lease=$lease", want: `OK\n`},
	{command: "lease list", want: `found 1 leases\n$lease\n`},
	{command: "lease keep-alive $lease --once", want: `lease $lease keepalived with TTL\(500\)\n`},
	{command: "lease timetolive $lease --keys", want: `lease $lease granted with TTL\(500s\), remaining\(\d+s\), attached keys\(\[leased\]\)\n`},
	{command: "lease revoke $lease", want: `lease $lease revoked\n`},
	{command: "get leased", want: ``},
	{command: "lease timetolive $lease", want: `lease $lease already expired\n`},
	{command: "lease revoke $lease", fails: "etcdserver: requested lease not found"},
	{command: "put k v --lease=1234", fails: "etcdserver: requested lease not found"},

	{command: "member list", want: `([0-9a-f]+, started, m[123], http://127\.0\.0\.1:\d+, http://127\.0\.0\.1:\d+, false\n){3}`},
	{command: "endpoint health", want: `http\S+ is healthy: successfully committed proposal: took = \S+\n`},
	{command: "endpoint health --cluster", want: `(http\S+ is healthy: successfully committed proposal: took = \S+\n){3}`},
	{command: "endpoint status --cluster", want: `(http\S+, [0-9a-f]+, 3\.7\.\d+, 3\.7\.0, .*, false\n){3}`},
	{command: "endpoint hashkv --cluster", want: `http\S+, (?P<hash>\d+), \d+\nhttp\S+, $hash, \d+\nhttp\S+, $hash, \d+\n`},
	{command: "alarm list", want: ``},
	{command: "defrag", want: `Finished defragmenting etcd member\[http\S+\]\. took \S+\n`},
	{command: "check perf --bogus", fails: "unknown flag: --bogus"},
}

func TestEtcdctlByHandAgainstAnyMember(t *testing.T) {
	parallel(t)
	members := startMembers(t, 3)
	kept := map[string]string{}
	fill := func(s string) string {
		for name, value := range kept {
			s = strings.ReplaceAll(s, "$"+name, value)
		}
		return s
	}
	for i, step := range session {
		at := members[i%3]
		args := []string{"ctl", "--endpoints", at.client}
		for _, word := range strings.Fields(fill(step.command)) {
			args = append(args, strings.ReplaceAll(word, "”", ""))
		}
		a := run(t, step.stdin, args...)
		if step.fails != "" {
			if a.code == 0 || !strings.Contains(a.stderr, step.fails) {
				t.Errorf("%s at %s: exit code %d, want %q in:\n%s", step.command, at.name, a.code, step.fails, a.stderr)
			}
			continue
		}
		want := step.want
		if name := regexp.MustCompile(`\(\?P<(\w+)>`).FindStringSubmatch(want); name != nil {
			// The same pattern may go on with $name: the part before it decides.
			before, _, _ := strings.Cut(want, "$"+name[1])
			if m := regexp.MustCompile("^" + before).FindStringSubmatch(a.stdout); m != nil {
				kept[name[1]] = m[1]
			}
		}
		if a.code != 0 || !regexp.MustCompile("^(?:"+fill(want)+")$").MatchString(a.stdout) {
			t.Errorf("%s at %s: exit code %d, printed:\n%s%s\nwant:\n%s", step.command, at.name, a.code, a.stdout, a.stderr, want)
		}
	}
}

func TestEtcdctlWatchShowsThePastAndThePresentAtAnyMember(t *testing.T) {
	parallel(t)
	members := startMembers(t, 3)
	all := endpointsOf(members)
	mustCtl(t, all, "put", "w/1", "old")
	mustCtl(t, all, "put", "w/1", "older is gone")
	var watches []*process
	for _, m := range members {
		w := start(t, "ctl", "--endpoints", m.client, "watch", "w/", "--prefix", "--rev=2", "--prev-kv")
		w.out.await(t, "PUT\nw/1\nold\nPUT\nw/1\nold\nw/1\nolder is gone\n")
		watches = append(watches, w)
	}
	mustCtl(t, all, "put", "w/2", "new")
	mustCtl(t, all, "put", "elsewhere", "unseen")
	mustCtl(t, all, "del", "w/2")
	for i, w := range watches {
		w.out.await(t, "PUT\nw/2\nnew\nDELETE\nw/2\nnew\nw/2\n\n")
		if strings.Contains(w.out.text(), "elsewhere") {
			t.Errorf("the watch of w/ at m%d saw another key:\n%s", i+1, w.out.text())
		}
	}
}

// The office moves to the member that a person names (M75).
func TestEtcdctlMoveLeaderM75(t *testing.T) {
	parallel(t)
	members := startMembers(t, 3)
	endpoints := endpointsOf(members)
	leader, before := leaderOf(t, endpoints)
	target := members[(leader+1)%3]
	s, err := status(t, target.client)
	if err != nil {
		t.Fatal(err)
	}
	targetID := fmt.Sprintf("%x", s.Header.MemberId)
	if a := ctlAt(t, []string{target.client}, "move-leader", targetID); a.code == 0 || !strings.Contains(a.stderr, "no leader endpoint given") {
		t.Errorf("asked of a follower: %+v", a)
	}
	want := fmt.Sprintf("Leadership transferred from %x to %s\n", before.Header.MemberId, targetID)
	if got := mustCtl(t, endpoints, "move-leader", targetID); got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
	now, after := leaderOf(t, endpoints)
	if members[now] != target || after.RaftTerm != before.RaftTerm+1 {
		t.Errorf("%s leads in term %d; before it was %s in term %d", members[now].name, after.RaftTerm, members[leader].name, before.RaftTerm)
	}
}
