// Package etcd is etcd's v3 API: gRPC services KV, Watch, Lease, Cluster and
// Maintenance over the use cases of package server, and grpc.health.v1.
//
// It decides nothing. A service translates a request into plain values
// (convert.go), asks the server, and translates the answer or the error back
// (errors.go). Clients map errors by their text, so texts and codes are etcd's,
// letter by letter; docs/etcd-errors.md is the table, and a test holds it true.
//
// Protobuf is known here and nowhere below (DESIGN 20).
package etcd
