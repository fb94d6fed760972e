package main

import (
	"crypto/sha1"
	"encoding/binary"
	"net"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// urls is a flag that holds URLs, separated by commas. The last repetition wins.
type urls []*url.URL

func (u urls) String() string {
	parts := make([]string, len(u))
	for i, v := range u {
		parts[i] = v.String()
	}
	return strings.Join(parts, ",")
}

func (u *urls) Set(s string) error {
	var out urls
	for _, part := range strings.Split(s, ",") {
		v, err := parseURL(strings.TrimSpace(part))
		if err != nil {
			return err
		}
		out = append(out, v)
	}
	*u = out
	return nil
}

// strings returns the URLs as text.
func (u urls) strings() []string {
	out := make([]string, len(u))
	for i, v := range u {
		out[i] = v.String()
	}
	return out
}

// anyWildcard is true when one of them is an address to listen on everywhere.
func (u urls) anyWildcard() bool {
	return slices.ContainsFunc(u, func(v *url.URL) bool {
		ip := net.ParseIP(v.Hostname())
		return v.Scheme[:4] == "http" && (v.Hostname() == "" || ip != nil && ip.IsUnspecified())
	})
}

func parseURL(s string) (*url.URL, error) {
	v, err := url.Parse(s)
	if err != nil {
		return nil, usagef("%q is not a URL: write http://HOST:PORT", s)
	}
	switch v.Scheme {
	case "http", "https":
		if v.Host == "" || v.Port() == "" {
			return nil, usagef("URL %q needs a host and a port: write http://HOST:PORT", s)
		}
		if port, err := strconv.Atoi(v.Port()); err != nil || port < 0 || port > 65535 {
			return nil, usagef("URL %q has no valid port: 0 to 65535", s)
		}
		if v.Path != "" && v.Path != "/" {
			return nil, usagef("URL %q must not have a path", s)
		}
		v.Path = ""
	case "unix", "unixs":
		if v.Host+v.Path == "" {
			return nil, usagef("URL %q needs a path: write unix:///run/quorate.sock", s)
		}
	default:
		return nil, usagef("URL %q needs a scheme: write http://HOST:PORT", s)
	}
	return v, nil
}

// listenAddress is what net.Listen takes for a URL.
func listenAddress(u *url.URL) (network, address string) {
	if u.Scheme == "unix" || u.Scheme == "unixs" {
		return "unix", u.Host + u.Path
	}
	return "tcp", u.Host
}

func sameURLs(a, b urls) bool {
	x, y := a.strings(), b.strings()
	sort.Strings(x)
	sort.Strings(y)
	return slices.Equal(x, y)
}

// namedMember is one part of --initial-cluster.
type namedMember struct {
	name string
	urls urls
}

// parseInitialCluster reads NAME=URL,NAME=URL; a name given twice has two URLs.
// The result is in the order of first mention.
func parseInitialCluster(s string) ([]namedMember, error) {
	var out []namedMember
	for _, part := range strings.Split(s, ",") {
		name, address, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok || name == "" {
			return nil, usagef("--initial-cluster: %q is not NAME=PEER-URL", part)
		}
		u, err := parseURL(address)
		if err != nil {
			return nil, usagef("--initial-cluster: %v", err)
		}
		i := slices.IndexFunc(out, func(m namedMember) bool { return m.name == name })
		if i < 0 {
			out = append(out, namedMember{name: name})
			i = len(out) - 1
		}
		out[i].urls = append(out[i].urls, u)
	}
	seen := map[string]string{}
	for _, m := range out {
		for _, u := range m.urls.strings() {
			if other, twice := seen[u]; twice {
				return nil, usagef("--initial-cluster: %s and %s have the same peer URL %s", other, m.name, u)
			}
			seen[u] = m.name
		}
	}
	return out, nil
}

// memberID is the id of a first member. Every member computes it for every
// other from the same flags, so it depends on nothing else; it equals etcd's.
func memberID(peerURLs urls, token string) uint64 {
	sorted := peerURLs.strings()
	sort.Strings(sorted)
	sum := sha1.Sum([]byte(strings.Join(sorted, "") + token))
	return binary.BigEndian.Uint64(sum[:8])
}

// clusterID is the id of a cluster, from its first members' ids; it equals etcd's.
func clusterID(members []uint64) uint64 {
	ids := slices.Clone(members)
	slices.Sort(ids)
	b := make([]byte, 0, 8*len(ids))
	for _, m := range ids {
		b = binary.BigEndian.AppendUint64(b, m)
	}
	sum := sha1.Sum(b)
	return binary.BigEndian.Uint64(sum[:8])
}
