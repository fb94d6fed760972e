package enumerate

import "testing"

func TestTry(t *testing.T) {
	r, err := Run(Small())
	if err != nil {
		t.Fatal(err)
	}
	t.Log(r.String())
}
