//go:build tools

package bench

// The peer that is built and measured.
import _ "go.etcd.io/etcd/server/v3"
