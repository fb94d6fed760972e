package matrix

import "slices"

// cost is what an acknowledged write costs a protocol: of every script the median
// run, of those the median script.
func (r Row) cost() (messages, bytes, syncs string) {
	var m, b, s []uint64
	for _, c := range r.Cells {
		if c.NotApplicable == "" && c.Runs > c.WithoutAcknowledging {
			m, b, s = append(m, c.Messages.Median), append(b, c.Bytes.Median), append(s, c.Syncs.Median)
		}
	}
	if m == nil {
		return None.Mark(), None.Mark(), None.Mark()
	}
	middle := func(list []uint64) string {
		slices.Sort(list)
		return thousandths(list[(len(list)-1)/2])
	}
	return middle(m), middle(b), middle(s)
}
