package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/quorate/quorate"
	apihttp "github.com/quorate/quorate/api/http"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/membership"
)

// identity is who this member is. It is decided once, before the first start,
// and kept in the data directory, so that on a restart the --initial flags do
// not matter, as etcd's unit files expect.
type identity struct {
	Name        string `json:"name"`
	Node        uint64 `json:"node"`
	Incarnation uint32 `json:"incarnation,omitempty"`
	Cluster     uint64 `json:"cluster"`
	Token       string `json:"token"`
	Joined      bool   `json:"joined,omitempty"`  // added to a running cluster, not one of its first members
	Removed     bool   `json:"removed,omitempty"` // for good: the cluster does not know this member any more
}

const identityFile = "member.json"

// joinLimit is how long a joiner looks for somebody who knows the cluster.
const joinLimit = 30 * time.Second

// identify reads the identity of a data directory, or decides it from the flags.
// fresh is true for a directory that holds no member yet.
func identify(ctx context.Context, c *serveConfig, peers *tls.Config) (i identity, fresh bool, err error) {
	if err := refuseForeign(c.DataDir); err != nil {
		return identity{}, false, err
	}
	text, err := os.ReadFile(filepath.Join(c.DataDir, identityFile))
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return identity{}, false, fmt.Errorf("data directory: %w", err)
	default:
		if err := json.Unmarshal(text, &i); err != nil || i.Node == 0 {
			return identity{}, false, fmt.Errorf("%s is damaged: restore it from a backup, or remove the data directory and add this member anew", filepath.Join(c.DataDir, identityFile))
		}
		if i.Removed {
			return identity{}, false, fmt.Errorf("member %x was removed from its cluster for good; to come back, remove %s and add it anew: quorate ctl member add %s --peer-urls=%s", i.Node, c.DataDir, c.Name, c.AdvertisePeer)
		}
		return i, false, sameMember(c, i)
	}
	if c.Unplaced != nil {
		return identity{}, false, c.Unplaced
	}
	members, err := parseInitialCluster(c.InitialCluster)
	if err != nil {
		return identity{}, false, err
	}
	if c.InitialState == "existing" {
		i, err = findMyself(ctx, c, members, peers)
		return i, true, err
	}
	i = identity{Name: c.Name, Token: c.InitialToken}
	var all []uint64
	for _, m := range members {
		node := memberID(m.urls, c.InitialToken)
		all = append(all, node)
		if m.name == c.Name {
			i.Node = node
		}
	}
	i.Cluster = clusterID(all)
	return i, true, nil
}

// refuseForeign names a directory that etcd made.
func refuseForeign(dir string) error {
	for _, path := range []string{"member/snap/db", "member/wal"} {
		if _, err := os.Stat(filepath.Join(dir, path)); err == nil {
			return fmt.Errorf("%s is a data directory of etcd, which this program cannot read; choose another --data-dir and copy the keys with 'quorate ctl make-mirror'", dir)
		}
	}
	return nil
}

// sameMember refuses flags that clearly mean another cluster or member.
func sameMember(c *serveConfig, i identity) error {
	if c.given["initial-cluster-token"] && c.InitialToken != i.Token {
		return fmt.Errorf("%s belongs to a cluster with token %q, not %q; choose another --data-dir or correct --initial-cluster-token", c.DataDir, i.Token, c.InitialToken)
	}
	if !i.Joined && c.given["name"] && c.Name != i.Name && memberID(c.AdvertisePeer, i.Token) != i.Node {
		return fmt.Errorf("%s belongs to member %q of cluster %x, not to %q; choose another --data-dir", c.DataDir, i.Name, i.Cluster, c.Name)
	}
	return nil
}

// findMyself asks the members there are which of them this one is.
func findMyself(ctx context.Context, c *serveConfig, members []namedMember, peers *tls.Config) (identity, error) {
	client := apihttp.NewPeerClient(0, peers)
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, joinLimit)
	defer cancel()
	mine := c.AdvertisePeer.strings()
	last := errors.New("--initial-cluster names nobody else")
	for ctx.Err() == nil {
		for _, m := range members {
			if m.name == c.Name {
				continue
			}
			for _, u := range m.urls.strings() {
				cluster, list, err := client.Cluster(ctx, u)
				if err != nil {
					last = fmt.Errorf("%s (%s): %w", m.name, u, err)
					continue
				}
				if self, ok := memberAt(list, mine); ok {
					return identity{
						Name: c.Name, Node: self.ID.Node, Incarnation: self.ID.Incarnation,
						Cluster: cluster, Token: c.InitialToken, Joined: true,
					}, nil
				}
				return identity{}, fmt.Errorf("no member of the cluster at %s has the peer URL %s; add it first: quorate ctl member add %s --peer-urls=%s", u, c.AdvertisePeer, c.Name, c.AdvertisePeer)
			}
		}
		if len(members) < 2 {
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
	return identity{}, fmt.Errorf("no member of the existing cluster could be asked: %w", last)
}

func memberAt(list []membership.Member, urls []string) (membership.Member, bool) {
	for _, m := range list {
		for _, u := range m.PeerURLs {
			for _, mine := range urls {
				if u == mine {
					return m, true
				}
			}
		}
	}
	return membership.Member{}, false
}

// keep writes the identity before anything else is in the directory.
func (i identity) keep(dir string) error {
	text, err := json.MarshalIndent(i, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return replaceFile(filepath.Join(dir, identityFile), append(text, '\n'))
}

// removedForGood reports whether the member of a data directory was removed.
func removedForGood(dir string) bool {
	text, err := os.ReadFile(filepath.Join(dir, identityFile))
	var i identity
	return err == nil && json.Unmarshal(text, &i) == nil && i.Removed
}

// firstMembers is --initial-cluster as the library takes it.
func firstMembers(c *serveConfig) ([]quorate.Member, error) {
	named, err := parseInitialCluster(c.InitialCluster)
	if err != nil {
		return nil, err
	}
	var out []quorate.Member
	for _, m := range named {
		out = append(out, quorate.Member{
			ID: id.NodeID{Node: memberID(m.urls, c.InitialToken)}, Role: membership.Voter, PeerURLs: m.urls.strings(),
		})
	}
	return out, nil
}

// peerTLS reads the peers' certificates; nil for clear text.
func peerTLS(c *serveConfig) (*tls.Config, error) {
	if c.PeerCert == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(c.PeerCert, c.PeerKey)
	if err != nil {
		return nil, fmt.Errorf("--peer-cert-file and --peer-key-file: %w", err)
	}
	authority, err := os.ReadFile(c.PeerCA)
	if err != nil {
		return nil, fmt.Errorf("--peer-trusted-ca-file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authority) {
		return nil, fmt.Errorf("--peer-trusted-ca-file %s holds no certificate in PEM", c.PeerCA)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool, ClientCAs: pool, MinVersion: tls.VersionTLS12}, nil
}
