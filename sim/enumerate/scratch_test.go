package enumerate
import ("testing";"github.com/quorate/quorate/internal/faults";"encoding/json")
func TestScratch(t *testing.T) {
	for _, o := range []Options{
		{Elections: 1, Crashes: 1, Break: []faults.Switch{faults.ApplyBeforeDurable}},
		{Elections: 1, Break: []faults.Switch{faults.CommitPastVerified}, Candidates: []int{3}},
		{Elections: 1, Break: []faults.Switch{faults.KeepConflict}},
		{Elections: 1, Break: []faults.Switch{faults.NoPreVote}},
	} {
		o.StatesMax=300000
		r, err := Run(o)
		t.Log(err, r.String())
		_, err = json.Marshal(r); if err != nil { t.Error(err) }
	}
}
