package mvcc

import (
	"fmt"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/status"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/kv/engine/mem"
)

// The bytes of the hash of an empty store: CRC-32C of "key".
func TestErrorsHaveEtcdsTexts(t *testing.T) {
	for ours, theirs := range map[error]error{
		ErrEmptyKey: rpctypes.ErrGRPCEmptyKey, ErrKeyNotFound: rpctypes.ErrGRPCKeyNotFound,
		ErrValueProvided: rpctypes.ErrGRPCValueProvided, ErrLeaseProvided: rpctypes.ErrGRPCLeaseProvided,
		ErrTooManyOps: rpctypes.ErrGRPCTooManyOps, ErrDuplicateKey: rpctypes.ErrGRPCDuplicateKey,
		ErrInvalidSortOption: rpctypes.ErrGRPCInvalidSortOption, ErrCompacted: rpctypes.ErrGRPCCompacted,
		ErrFutureRev: rpctypes.ErrGRPCFutureRev, ErrLeaseNotFound: rpctypes.ErrGRPCLeaseNotFound,
	} {
		if text := status.Convert(theirs).Message(); ours.Error() != text {
			t.Errorf("%q, etcd says %q", ours, text)
		}
	}
}

func TestReadOnlyTxnOnAView(t *testing.T) {
	x := newFixture(t)
	x.put("a=1")
	x.view(func(v *View) {
		resp, err := v.Txn(&TxnRequest{
			Compare: []Compare{{Target: CompareValue, Key: []byte("a"), Value: []byte("2")}},
			Success: []Op{rangeOp("b")}, Failure: []Op{rangeOp("a")}})
		if err != nil || resp.Succeeded || resp.Revision != 2 || keyValues(resp.Responses[0].Range.KVs) != "a=1" {
			t.Fatalf("%+v, %v", resp, err)
		}
		_, err = v.Txn(&TxnRequest{Success: []Op{{Range: &RangeRequest{Key: []byte("a"), Revision: 3}}}})
		x.want("future", err, error(ErrFutureRev))
	})
}

func TestOtherPackagesRowsShareTheBatch(t *testing.T) {
	x := newFixture(t)
	list := func(each func(Table, []byte, []byte, func(k, v []byte) bool) error, start, end []byte) (s string) {
		if err := each(TableLease, start, end, func(k, v []byte) bool {
			s += fmt.Sprintf("%s=%s ", k, v)
			return true
		}); err != nil {
			t.Fatal(err)
		}
		return s
	}
	x.do(func(u *Update) {
		u.SetRow(TableLease, []byte("1"), []byte("one"))
		u.SetRow(TableLease, []byte("2"), []byte("two"))
		u.SetRow(TableState, []byte("1"), []byte("other"))
		x.want("inside", list(u.EachRow, nil, nil), "1=one 2=two ")
		v, found, err := u.GetRow(TableLease, []byte("2"))
		x.want("get", fmt.Sprintf("%s %v %v", v, found, err), "two true <nil>")
	})
	u := x.store.Begin()
	u.DeleteRow(TableLease, []byte("1"))
	u.Put(&PutRequest{Key: []byte("k")})
	u.Close()
	x.want("abandoned", x.store.Revision(), int64(1))
	x.do(func(u *Update) { u.DeleteRow(TableLease, []byte("2")) })
	x.view(func(v *View) {
		x.want("after", list(v.EachRow, nil, nil), "1=one ")
		x.want("bounds", list(v.EachRow, []byte("2"), nil)+list(v.EachRow, nil, []byte("1")), "")
		_, found, _ := v.GetRow(TableLease, []byte("2"))
		x.want("deleted", found, false)
		x.want("applied", v.Applied(), id.Index(2))
	})
}

func TestAStoreOfAnotherFormatIsRefusedWithOneLine(t *testing.T) {
	e := mem.New()
	b := e.NewBatch()
	b.Set([]byte{tableStateRow}, []byte{9})
	if err := e.Commit(b); err != nil {
		t.Fatal(err)
	}
	_, err := Open(e, Options{})
	if err == nil || !strings.Contains(err.Error(), "format 9") || strings.Contains(err.Error(), "\n") {
		t.Fatal(err)
	}
}

func TestADamagedRowIsAnErrorThatStopsTheUpdate(t *testing.T) {
	x := newFixture(t)
	x.put("a=1")
	b := x.store.engine.NewBatch()
	b.Set([]byte("ma"), []byte{7})
	if err := x.store.engine.Commit(b); err != nil {
		t.Fatal(err)
	}
	var err error
	if x.store, err = Open(x.store.engine, Options{}); err != nil {
		t.Fatal(err)
	}
	u := x.store.Begin()
	if _, err := u.Put(&PutRequest{Key: []byte("a")}); err == nil || IsRequestError(err) {
		t.Fatalf("put over a damaged row: %v", err)
	}
	if _, _, err := u.Commit(9, 1); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Fatalf("commit: %v", err)
	}
	x.want("applied", x.store.state.applied, id.Index(1))
}
