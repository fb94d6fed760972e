package quorate

import (
	"fmt"
	"io"
	"net"
	"slices"

	"github.com/quorate/quorate/host"
	"github.com/quorate/quorate/host/exec"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/membership"
	"github.com/quorate/quorate/raft"
	"github.com/quorate/quorate/transport"
)

// peers is the Host as the driver's door to the network.
type peers Host

func (p *peers) Send(to id.NodeID, g id.GroupID, m raft.Message) { p.net.Send(to, g, m) }
func (p *peers) Ask(to id.NodeID, ask uint64, data []byte)       { p.net.Ask(to, ask, data) }
func (p *peers) Answer(to id.NodeID, ask uint64, data []byte)    { p.net.Answer(to, ask, data) }
func (p *peers) SendSnapshot(to id.NodeID, g id.GroupID, header raft.InstallSnapshot, body io.WriterTo) error {
	return p.net.SendSnapshot(to, g, header, body)
}

// transportOptions hands what comes from the network to the driver.
func (h *Host) transportOptions(l net.Listener, i exec.Identity) transport.Options {
	return transport.Options{
		Self: h.self, Cluster: i.Cluster, Directory: i.Directory, Advertise: h.o.Advertise,
		Listener: l, TLS: h.o.TLS, Seed: seed(i, 0), Logf: h.o.Logf, Pinned: h.pinned,
		OnFrame: func(from id.NodeID, g id.GroupID, m raft.Message) {
			h.run.Deliver(host.Frame{From: from, Group: g, Message: m})
		},
		OnAsked: func(from id.NodeID, ask uint64, data []byte) {
			if !h.asked(from, ask, data) {
				h.run.Deliver(host.Asked{From: from, ID: ask, Data: data})
			}
		},
		OnAnswered: func(from id.NodeID, ask uint64, data []byte, unknown bool) {
			if !h.asks.answered(ask, data, unknown) {
				h.run.Deliver(host.Answered{From: from, ID: ask, Data: data, Unknown: unknown})
			}
		},
		OnUnreachable: func(n id.NodeID) { h.run.Deliver(host.Unreachable{Node: n}) },
		OnSnapshot: func(from id.NodeID, g id.GroupID, m raft.InstallSnapshot, body io.Reader) error {
			gr := h.find(g)
			if gr == nil {
				return fmt.Errorf("group %d is not open here", g)
			}
			if err := gr.exec.Receive(m.Snapshot, body); err != nil {
				return err
			}
			h.run.Deliver(host.Frame{From: from, Group: g, Message: m})
			return nil
		},
	}
}

// learnPeers tells the transport where the members of all groups are.
func (h *Host) learnPeers(g GroupID, c membership.Config) {
	h.learning.Lock()
	defer h.learning.Unlock()
	h.mu.Lock()
	h.configs[g] = c
	var list []transport.Peer
	for _, c := range h.configs {
		for _, m := range c.Members {
			known := slices.ContainsFunc(list, func(p transport.Peer) bool { return p.ID == m.ID })
			if m.ID != h.self && !known {
				list = append(list, transport.Peer{ID: m.ID, URLs: m.PeerURLs})
			}
		}
	}
	h.mu.Unlock()
	h.net.SetPeers(list)
}

// pinned is the data directory that the configuration names for a member.
func (h *Host) pinned(n id.NodeID) id.DirectoryID {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.configs {
		if m, ok := c.Find(n); ok && m.Directory != (id.DirectoryID{}) {
			return m.Directory
		}
	}
	return id.DirectoryID{}
}
