package etcd

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/quorate/quorate/kv/mvcc"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/server"
)

var rewrite = flag.Bool("rewrite", false, "write docs/etcd-errors.md anew")

const errorsPage = "../../docs/etcd-errors.md"

// The page is the table: clients live by these texts and codes.
func TestTheErrorPageIsTrue(t *testing.T) {
	var b strings.Builder
	b.WriteString(`# What an etcd client is told when something did not work

Every outcome of a request, its code on the wire and its text, which clients compare letter by letter. "Certainly refused" means that nothing was changed and the request may be sent again; "unknown" means that it may still take effect, once. The table is the one in ` + "`api/etcd/errors.go`" + `, written by its test (` + "`go test ./api/etcd -run TestTheErrorPageIsTrue -rewrite`" + `).

| text | code | outcome |
|---|---|---|
`)
	seen := map[string]bool{}
	for _, o := range outcomes {
		row := fmt.Sprintf("| %s | %s | %s |\n", rpctypes.ErrorDesc(o.wire), status.Code(o.wire), o.means)
		if !seen[row] {
			b.WriteString(row)
		}
		seen[row] = true
	}
	b.WriteString("\n\"too many requests\" and \"not enough started members\" arrive as Unknown because etcd sends them so.\n")
	if *rewrite {
		if err := os.WriteFile(errorsPage, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	page, err := os.ReadFile(errorsPage)
	if err != nil {
		t.Fatal(err)
	}
	if string(page) != b.String() {
		t.Fatalf("docs/etcd-errors.md is not the table any more; read the difference, then run this test with -rewrite")
	}
}

func TestEveryOutcomeHasEtcdsText(t *testing.T) {
	for _, o := range outcomes {
		var told server.Error
		var refused mvcc.RequestError
		if errors.As(o.ours, &told) || errors.As(o.ours, &refused) {
			if o.ours.Error() != rpctypes.ErrorDesc(o.wire) {
				t.Errorf("ours %q, on the wire %q", o.ours, rpctypes.ErrorDesc(o.wire))
			}
		}
		if got := wireError(fmt.Errorf("wrapped: %w", o.ours)); got != o.wire {
			t.Errorf("%v becomes %v, want %v", o.ours, got, o.wire)
		}
		if server.Unknown(o.ours) && !strings.HasPrefix(o.means, "unknown") {
			t.Errorf("%v leaves the outcome open, the page says %q", o.ours, o.means)
		}
	}
	for _, e := range []error{server.ErrTooManyRequests, server.ErrNotEnoughStarted} {
		if code := status.Code(wireError(e)); code != codes.Unknown {
			t.Errorf("%v has code %v, want Unknown as from etcd", e, code)
		}
	}
	if err := wireError(errors.New("odd")); status.Code(err) != codes.Unknown || rpctypes.ErrorDesc(err) != "odd" {
		t.Errorf("an error without a row: %v", err)
	}
	if err := wireError(&server.Failure{Why: raft.ChangeIllegal, Detail: "no"}); rpctypes.ErrorDesc(err) != "refused: no" {
		t.Errorf("a failure: %v", err)
	}
	// Another member's answer carries the text only.
	if err := wireError(server.Error(mvcc.ErrLeaseNotFound)); err != rpctypes.ErrGRPCLeaseNotFound {
		t.Errorf("an answer of another member: %v", err)
	}
}
