// Package server is what the service can do, one method per use case, free of
// any protocol: api/etcd and api/http translate to and from it. It uses the
// replicated group as any program would (Group), and adds what belongs to one
// member rather than to the state: who may ask how much at once, how long to
// wait for a leader, which requests only the leader can answer.
//
//	gRPC, HTTP ──► Server ──Propose──► Group ──► log ──► kv.Store on every member
//	                 │  ◄───View──────  Group                  │ changes
//	                 ├─ watch hub   ◄───────────────────────────┤  (hub.go)
//	                 ├─ lease clock ◄───────────────────────────┘  (leases.go)
//	                 └─ AskLeader ──► the leader's Server          (ask.go)
//
// The decisions about leases and watchers are machines of kv; here each has one
// goroutine that feeds it (DESIGN: server only connects).
//
// Every call ends in one of three ways (DESIGN 15): done; an Error whose text is
// etcd's and which certainly changed nothing; or an Error for which Unknown is
// true: the request may or may not have taken effect.
//
// Bounds: proposals in flight in number and bytes, watchers and their buffers,
// waiting keep-alives. At a bound the client gets ErrTooManyRequests, and memory
// does not grow (DESIGN 18).
package server
