// Package http is everything the client port serves that is not gRPC: the plain
// key-value door that a person with curl can use, and what operators and their
// tools ask for.
//
//	PUT    /v1/kv/KEY   the body becomes the value        204
//	GET    /v1/kv/KEY   the value, ?serializable=true     200, 404
//	DELETE /v1/kv/KEY                                     204, 404
//	GET    /health      {"health":"true","reason":""}     200, 503
//	GET    /version     {"etcdserver":…,"etcdcluster":…}
//	GET    /metrics     Prometheus text, under etcd's names
//
// Between members it answers what a joiner and the other servers ask, on the peer
// port (peer.go).
//
// Port lets gRPC and HTTP/1.1 share one listener: it looks at the first bytes
// of a connection and hands gRPC to grpc-go's own transport, whose ServeHTTP
// would cost several times as much (DESIGN 23).
package http
