package server

import (
	"context"
	"errors"

	"github.com/quorate/quorate/kv"
	"github.com/quorate/quorate/kv/mvcc"
)

// propose takes one operation through the log and returns its Result. A Result
// with an Err comes back as that error.
func (s *Server) propose(ctx context.Context, op kv.Op) (*kv.Result, error) {
	if s.stopping() {
		return nil, ErrStopped
	}
	command := kv.Command{RequestID: s.requests.Add(1), Op: op}
	data, err := command.Encode()
	if errors.Is(err, kv.ErrTooLarge) || err == nil && len(data) > s.o.RequestBytesMax {
		return nil, ErrRequestTooLarge
	}
	if err != nil {
		return nil, err
	}
	if !s.admit(len(data)) {
		return nil, ErrTooManyRequests
	}
	defer s.release(len(data))

	limited, cancel := s.limited(ctx)
	defer cancel()
	var raw []byte
	err = s.untilTaken(limited, func(ctx context.Context) (err error) {
		raw, err = s.group.Propose(ctx, data)
		return err
	})
	if err != nil {
		s.Counters.ProposalsFailed.Add(1)
		return nil, s.clientError(ctx, err)
	}
	result, err := kv.DecodeResult(raw)
	if err != nil {
		return nil, err
	}
	return result, result.Err
}

// proposeOnce is propose for this member's own affairs: it is not sent again.
func (s *Server) proposeOnce(ctx context.Context, op kv.Op) (*kv.Result, error) {
	data, err := (&kv.Command{RequestID: s.requests.Add(1), Op: op}).Encode()
	if err != nil {
		return nil, err
	}
	ctx, cancel := s.limited(ctx)
	defer cancel()
	raw, err := s.group.Propose(ctx, data)
	if err != nil {
		return nil, err
	}
	result, err := kv.DecodeResult(raw)
	if err != nil {
		return nil, err
	}
	return result, result.Err
}

// admit takes room for a proposal of n bytes, or refuses it: too many wait here
// already, or this member is far behind in applying.
func (s *Server) admit(n int) bool {
	if st := s.group.Status(); st.Commit > st.Applied+s.o.ApplyLagMax {
		return false
	}
	if s.inFlight.Add(1) > int64(s.o.InFlightMax) {
		s.inFlight.Add(-1)
		return false
	}
	if s.inFlightBytes.Add(int64(n)) > s.o.InFlightBytesMax {
		s.release(n)
		return false
	}
	return true
}

func (s *Server) release(n int) {
	s.inFlight.Add(-1)
	s.inFlightBytes.Add(-int64(n))
}

// Pending is the number of proposals that wait here.
func (s *Server) Pending() int64 { return s.inFlight.Load() }

// view returns the View to read from.
func (s *Server) view(ctx context.Context, serializable bool) (View, error) {
	if s.stopping() {
		return View{}, ErrStopped
	}
	if serializable {
		v, err := s.group.Local()
		if err != nil {
			return View{}, s.clientError(ctx, err)
		}
		return v, nil
	}
	limited, cancel := s.limited(ctx)
	defer cancel()
	var v View
	// A read has no effect, so every try is a round of its own and none is reused.
	err := s.untilTaken(limited, func(ctx context.Context) (err error) {
		v, err = s.group.Linearizable(ctx)
		return err
	})
	if err != nil {
		s.Counters.ReadsFailed.Add(1)
		return View{}, s.clientError(ctx, err)
	}
	return v, nil
}

// Range reads keys: linearizable, or serializable from what this member has.
func (s *Server) Range(ctx context.Context, r *mvcc.RangeRequest, serializable bool) (Header, *mvcc.RangeResponse, error) {
	if err := r.Validate(); err != nil {
		return Header{}, nil, err
	}
	v, err := s.view(ctx, serializable)
	if err != nil {
		return Header{}, nil, err
	}
	defer v.Close()
	if err := s.refused(); err != nil {
		return Header{}, nil, err
	}
	res, err := v.Range(r)
	if err != nil {
		return Header{}, nil, err
	}
	return s.header(res.Revision), res, nil
}

// Put writes one key.
func (s *Server) Put(ctx context.Context, r *mvcc.PutRequest) (Header, *mvcc.PutResponse, error) {
	if err := r.Validate(); err != nil {
		return Header{}, nil, err
	}
	res, err := s.propose(ctx, kv.Op{Put: r})
	if err != nil {
		return Header{}, nil, err
	}
	return s.header(res.Revision), res.Put, nil
}

// DeleteRange deletes keys.
func (s *Server) DeleteRange(ctx context.Context, r *mvcc.DeleteRangeRequest) (Header, *mvcc.DeleteRangeResponse, error) {
	if err := r.Validate(); err != nil {
		return Header{}, nil, err
	}
	res, err := s.propose(ctx, kv.Op{DeleteRange: r})
	if err != nil {
		return Header{}, nil, err
	}
	return s.header(res.Revision), res.DeleteRange, nil
}

// Txn runs a transaction. One that only reads goes past the log: linearizable,
// or, if all its ranges ask for it, serializable.
func (s *Server) Txn(ctx context.Context, r *mvcc.TxnRequest, serializable bool) (Header, *mvcc.TxnResponse, error) {
	if err := r.Validate(s.o.TxnOpsMax); err != nil {
		return Header{}, nil, err
	}
	if !r.ReadOnly() {
		res, err := s.propose(ctx, kv.Op{Txn: r})
		if err != nil {
			return Header{}, nil, err
		}
		return s.header(res.Revision), res.Txn, nil
	}
	v, err := s.view(ctx, serializable)
	if err != nil {
		return Header{}, nil, err
	}
	defer v.Close()
	if err := s.refused(); err != nil {
		return Header{}, nil, err
	}
	res, err := v.Txn(r)
	if err != nil {
		return Header{}, nil, err
	}
	return s.header(res.Revision), res, nil
}
