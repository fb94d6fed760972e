package exec

import (
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/id"
)

// The file of docs/format/identity.md, version 1.
func TestIdentityReadsAsItsPageSays(t *testing.T) {
	i := Identity{Cluster: 0xabc, Self: id.NodeID{Node: 12, Incarnation: 3}, Directory: id.DirectoryID{0x0f, 0xf0, 15: 1}, Boot: 7}
	const golden = `quorate-identity 1
cluster 0000000000000abc
node 12
incarnation 3
directory 0ff00000000000000000000000000001
boot 7
crc32c bab76b1b
`
	got := string(i.encode())
	if got != golden {
		t.Fatalf("IDENTITY is\n%s", got)
	}
	if back, err := decodeIdentity([]byte(got)); err != nil || back != i {
		t.Errorf("it reads as %+v, %v", back, err)
	}
	for what, bad := range map[string]string{
		"a further line":   got + "x 1\n",
		"no last newline":  strings.TrimSuffix(got, "\n"),
		"another spelling": strings.Replace(got, "node 12", "node 012", 1),
	} {
		if _, err := decodeIdentity([]byte(bad)); err == nil {
			t.Errorf("%s is accepted", what)
		}
	}
}
