package eureka

import (
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
	"github.com/quorate/quorate/trace"
)

// instance is what is registered.
type instance struct {
	name   string
	host   lab.Node
	dirty  id.Time // when it was registered, by its host's wall clock
	op     uint64
	client lab.Node
}

// Messages between servers.
type (
	register struct{ instances []instance }
	renew    struct{ instances []instance } // as the sender knows them
	cancel   struct {
		name   string
		op     uint64
		client lab.Node
	}
	notFound struct{ names []string }       // 404: renewals of what is unknown
	conflict struct{ instances []instance } // 409: the receiver of a push knows newer ones
	fetch    struct{}
	registry struct{ instances []instance }
)

func (register) Name() string { return "Register" }
func (renew) Name() string    { return "Renew" }
func (cancel) Name() string   { return "Cancel" }
func (notFound) Name() string { return "NotFound" }
func (conflict) Name() string { return "Conflict" }
func (fetch) Name() string    { return "Fetch" }
func (registry) Name() string { return "Registry" }

func (m register) Fields() []trace.Field { return listed(m.instances) }
func (m renew) Fields() []trace.Field    { return listed(m.instances) }
func (m conflict) Fields() []trace.Field { return listed(m.instances) }
func (m registry) Fields() []trace.Field { return listed(m.instances) }
func (m cancel) Fields() []trace.Field   { return []trace.Field{trace.Text("instance", m.name)} }
func (m notFound) Fields() []trace.Field {
	return []trace.Field{trace.Num("instances", uint64(len(m.names)))}
}
func (m fetch) Fields() []trace.Field { return nil }

// listed names a single instance, and counts several.
func listed(l []instance) []trace.Field {
	if len(l) == 1 {
		return []trace.Field{trace.Text("instance", l[0].name)}
	}
	return []trace.Field{trace.Num("instances", uint64(len(l)))}
}

// An instance is its name, host, stamp and operation; a renewal its name and stamp.
func (m register) Bytes() int { return 16 + 32*len(m.instances) }
func (m renew) Bytes() int    { return 16 + 16*len(m.instances) }
func (m conflict) Bytes() int { return 16 + 32*len(m.instances) }
func (m registry) Bytes() int { return 16 + 32*len(m.instances) }
func (m notFound) Bytes() int { return 16 + 8*len(m.names) }

// Records of the file "host": what a host runs.
type (
	runs  struct{ instance instance }
	stops struct{ name string }
)

func (runs) Name() string  { return "runs" }
func (stops) Name() string { return "stops" }

func (r runs) Fields() []trace.Field  { return []trace.Field{trace.Text("instance", r.instance.name)} }
func (r stops) Fields() []trace.Field { return []trace.Field{trace.Text("instance", r.name)} }
