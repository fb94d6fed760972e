package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/quorate/quorate/membership"
	"github.com/quorate/quorate/raft"
)

// What only the leader can answer travels from server to server as JSON: these
// requests are rare beside puts, and a version that does not know one says so.
// Table: docs/format/ask.md.

// askKind says what is asked. Never reuse a name.
type askKind string

const (
	askRenew   askKind = "renew"   // Lease → TTL; 0: no such lease
	askTTL     askKind = "ttl"     // Lease, Keys → TTL, Granted, Keys, Revision; TTL -1: no such lease
	askAdd     askKind = "add"     // URLs, Learner → Member, Members
	askRemove  askKind = "remove"  // Member → Members
	askUpdate  askKind = "update"  // Member, URLs → Members
	askPromote askKind = "promote" // Member → Members
	askPublish askKind = "publish" // Member, Name, ClientURLs
)

// askBytesMax bounds a request: peer URLs, nothing larger.
const askBytesMax = 64 << 10

type ask struct {
	Do         askKind  `json:"do"`
	Lease      int64    `json:"lease,omitempty"`
	Keys       bool     `json:"keys,omitempty"`
	Member     uint64   `json:"member,omitempty"`
	Name       string   `json:"name,omitempty"`
	URLs       []string `json:"urls,omitempty"`
	ClientURLs []string `json:"clientURLs,omitempty"`
	Learner    bool     `json:"learner,omitempty"`
	TimeoutMS  int64    `json:"timeoutMS"` // what is left for the leader to act in
}

// again reports whether asking twice does what asking once does.
func (a ask) again() bool { return a.Do == askRenew || a.Do == askTTL || a.Do == askPublish }

type askAnswer struct {
	TTL      int64               `json:"ttl,omitempty"`
	Granted  int64               `json:"granted,omitempty"`
	Keys     [][]byte            `json:"keys,omitempty"`
	Revision int64               `json:"revision,omitempty"`
	Member   *membership.Member  `json:"member,omitempty"`
	Members  []membership.Member `json:"members,omitempty"`

	// At most one of the two is set. Refused is a raft.Refusal: certainly nothing
	// happened. Error is a text for the client.
	Refused uint8  `json:"refused,omitempty"`
	Error   string `json:"error,omitempty"`
	Unknown bool   `json:"unknown,omitempty"` // with Error: it may still happen
}

// refusedFor is a certain refusal of this member.
func refusedFor(why raft.Refusal) error { return &Failure{Why: why} }

// atLeader does a at the leader, wherever that is, and waits for one.
func (s *Server) atLeader(ctx context.Context, a ask) (askAnswer, error) {
	if s.stopping() {
		return askAnswer{}, ErrStopped
	}
	limited, cancel := s.limited(ctx)
	defer cancel()
	var answer askAnswer
	err := s.untilTaken(limited, func(ctx context.Context) (err error) {
		if s.Leading() {
			answer, err = s.act(ctx, a)
			return err
		}
		answer, err = s.askOnce(ctx, a)
		var f *Failure
		if a.again() && errors.As(err, &f) && f.Unknown {
			return refusedFor(raft.NotLeader) // harmless to ask again
		}
		return err
	})
	if err != nil {
		return askAnswer{}, s.clientError(ctx, err)
	}
	return answer, nil
}

// askOnce sends a to the leader this member knows.
func (s *Server) askOnce(ctx context.Context, a ask) (askAnswer, error) {
	if deadline, ok := ctx.Deadline(); ok {
		a.TimeoutMS = max(1, time.Until(deadline).Milliseconds())
	}
	request, err := json.Marshal(a)
	if err != nil {
		return askAnswer{}, err
	}
	if len(request) > askBytesMax {
		return askAnswer{}, ErrRequestTooLarge
	}
	raw, err := s.group.AskLeader(ctx, request)
	if err != nil {
		return askAnswer{}, err
	}
	var answer askAnswer
	if err := json.Unmarshal(raw, &answer); err != nil {
		return askAnswer{}, fmt.Errorf("the leader's answer does not parse: %w", err)
	}
	switch {
	case answer.Refused != 0:
		return askAnswer{}, refusedFor(raft.Refusal(answer.Refused))
	case answer.Error != "" && answer.Unknown:
		return askAnswer{}, &Failure{Unknown: true, Detail: answer.Error}
	case answer.Error != "":
		return askAnswer{}, Error(answer.Error)
	}
	return answer, nil
}

// Answer is what this member says to another member's request. It is called on
// a goroutine of the caller's; malformed requests get an answer that says so.
func (s *Server) Answer(ctx context.Context, request []byte) []byte {
	var a ask
	answer, err := askAnswer{}, error(nil)
	if len(request) > askBytesMax {
		err = ErrRequestTooLarge
	} else if err = json.Unmarshal(request, &a); err != nil {
		err = fmt.Errorf("a request of another member does not parse: %w", err)
	} else {
		ctx, cancel := context.WithTimeout(ctx, min(s.o.RequestTimeout, time.Duration(max(1, a.TimeoutMS))*time.Millisecond))
		defer cancel()
		answer, err = s.act(ctx, a)
	}
	if err != nil {
		answer = askAnswer{Error: err.Error(), Unknown: Unknown(err)}
		var f *Failure
		if errors.As(err, &f) {
			answer.Unknown = f.Unknown
			if !f.Unknown {
				answer = askAnswer{Refused: uint8(f.Why)}
			}
		}
	}
	raw, err := json.Marshal(answer)
	if err != nil {
		raw = []byte(`{"error":"the answer cannot be encoded"}`)
	}
	return raw
}

// act does a here, if this member is the leader.
func (s *Server) act(ctx context.Context, a ask) (askAnswer, error) {
	if !s.Leading() {
		return askAnswer{}, refusedFor(raft.NotLeader)
	}
	switch a.Do {
	case askRenew:
		return s.renewHere(ctx, a.Lease)
	case askTTL:
		return s.ttlHere(ctx, a.Lease, a.Keys)
	case askAdd:
		return s.addHere(ctx, a.URLs, a.Learner)
	case askRemove:
		return s.removeHere(ctx, a.Member)
	case askUpdate:
		return s.updateHere(ctx, a.Member, a.URLs)
	case askPromote:
		return s.promoteHere(ctx, a.Member)
	case askPublish:
		return s.publishHere(ctx, a.Member, a.Name, a.ClientURLs)
	}
	return askAnswer{}, fmt.Errorf("this version does not know the request %q", a.Do)
}
