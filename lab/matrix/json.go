package matrix

import (
	"encoding/json"

	"github.com/quorate/quorate/internal/assert"
)

// The JSON of a table. Units stand in the names; every figure has the worst of the
// runs and their median.
//
//	seeds                  runs per cell, seeds 1 to n
//	scripts                columns: name, title
//	protocols              rows: name, title, cells in the order of the scripts
//	outcome                kept, long gap, stale, two leaders, lost, diverged, n/a or failed
//	not_applicable         why the script means nothing for the protocol
//	failed                 the first error of a run
//	runs                   that are in the figures
//	gap_ns                 the longest time without an acknowledged write
//	recovery_ns            from the fault to the next leader's first acknowledgement; 0: none came
//	leader_changes         the leader is another node than the one before
//	two_leaders            acknowledgements while another leader acknowledged
//	same_epoch             epochs with two leaders
//	lost_at_end            acknowledged writes that are absent at the end
//	lost_at_worst          acknowledged writes that a leader was without, at worst
//	stale_reads            reads without a write that was acknowledged before they began
//	divergent_positions    positions that two nodes decided differently
//	acknowledged           acknowledged writes; the worst are the fewest
//	messages_per_1000, bytes_per_1000, fsyncs_per_1000
//	                       between nodes, per thousand acknowledged writes
//	runs_without_acknowledgement
//	                       which are not in the figures per thousand
type (
	tableJSON struct {
		Seeds     int          `json:"seeds"`
		Scripts   []scriptJSON `json:"scripts"`
		Protocols []rowJSON    `json:"protocols"`
	}
	scriptJSON struct {
		Name  string `json:"name"`
		Title string `json:"title"`
	}
	rowJSON struct {
		Name  string     `json:"name"`
		Title string     `json:"title"`
		Cells []cellJSON `json:"cells"`
	}
	cellJSON struct {
		Script        string       `json:"script"`
		Outcome       string       `json:"outcome"`
		NotApplicable string       `json:"not_applicable,omitempty"`
		Failed        string       `json:"failed,omitempty"`
		Runs          int          `json:"runs"`
		Figures       *figuresJSON `json:"figures,omitempty"` // absent without runs
	}
	// figuresJSON leaves out what means nothing for the protocol.
	figuresJSON struct {
		Gap         Stat  `json:"gap_ns"`
		Recovery    *Stat `json:"recovery_ns,omitempty"`
		Changes     *Stat `json:"leader_changes,omitempty"`
		TwoLeaders  *Stat `json:"two_leaders,omitempty"`
		SameEpoch   *Stat `json:"same_epoch,omitempty"`
		Lost        Stat  `json:"lost_at_end"`
		LostWorst   Stat  `json:"lost_at_worst"`
		Stale       Stat  `json:"stale_reads"`
		Divergent   Stat  `json:"divergent_positions"`
		Acked       Stat  `json:"acknowledged"`
		Messages    *Stat `json:"messages_per_1000,omitempty"`
		Bytes       *Stat `json:"bytes_per_1000,omitempty"`
		Syncs       *Stat `json:"fsyncs_per_1000,omitempty"`
		WithoutAcks int   `json:"runs_without_acknowledgement"`
	}
)

// JSON is every figure.
func (t Table) JSON() []byte {
	out := tableJSON{Seeds: t.Seeds, Scripts: []scriptJSON{}, Protocols: []rowJSON{}}
	for _, s := range t.Scripts {
		out.Scripts = append(out.Scripts, scriptJSON(s))
	}
	for _, r := range t.Rows {
		row := rowJSON{Name: r.Protocol, Title: r.Title, Cells: []cellJSON{}}
		for _, c := range r.Cells {
			cell := cellJSON{Script: c.Script, Outcome: c.Outcome().Word(), NotApplicable: c.NotApplicable, Failed: c.Failed, Runs: c.Runs}
			if c.Runs > 0 {
				cell.Figures = c.json(r)
			}
			row.Cells = append(row.Cells, cell)
		}
		out.Protocols = append(out.Protocols, row)
	}
	b, err := json.MarshalIndent(out, "", "  ")
	assert.That(err == nil, "a table has no value that JSON lacks: %v", err)
	return append(b, '\n')
}

func (c Cell) json(r Row) *figuresJSON {
	f := &figuresJSON{
		Gap: c.Gap, Lost: c.Lost, LostWorst: c.LostWorst, Stale: c.Stale, Divergent: c.Divergent, Acked: c.Acked,
		WithoutAcks: c.WithoutAcknowledging,
	}
	if led(r) {
		f.Recovery, f.Changes, f.TwoLeaders = &c.Recovery, &c.Changes, &c.TwoLeaders
	}
	if epoch(r) {
		f.SameEpoch = &c.SameEpoch
	}
	if c.Runs > c.WithoutAcknowledging {
		f.Messages, f.Bytes, f.Syncs = &c.Messages, &c.Bytes, &c.Syncs
	}
	return f
}
