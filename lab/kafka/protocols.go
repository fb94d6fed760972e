package kafka

import (
	"github.com/quorate/quorate/internal/faults"
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
)

// Switches: the rules that a recipe can break.
const (
	NoLeaderEpochs faults.Switch = "no-leader-epochs"
	NoFencing      faults.Switch = "no-fencing"
	Unclean        faults.Switch = "unclean"
	AcksLeader     faults.Switch = "acks-1"
	NoShrink       faults.Switch = "no-shrink"
	NoMinimum      faults.Switch = "no-minimum"
	FlushEach      faults.Switch = "flush-each"
)

func switches() []lab.Switch {
	return []lab.Switch{
		{Name: NoLeaderEpochs, What: "A follower of a new leader cuts its log at the high watermark it remembers, as before KIP-101, instead of asking where the epochs end."},
		{Name: NoFencing, What: "Nobody compares epochs and versions: an old leader can still change the in-sync set, and brokers obey whoever speaks last."},
		{Name: Unclean, What: "If nobody in sync is alive, any live replica may lead (unclean.leader.election.enable)."},
		{Name: AcksLeader, What: "The leader answers as soon as it has a write itself (acks=1)."},
		{Name: NoShrink, What: "A replica that falls behind never leaves the in-sync set by itself."},
		{Name: NoMinimum, What: "The in-sync set may be as small as it likes: min.insync.replicas is not looked at."},
		{Name: FlushEach, What: "A write counts only once it is on disk (flush.messages=1), which Kafka does not do by default."},
	}
}

// Protocols are Kafka with acks=all and its defaults, and two other settings of it.
func Protocols() []lab.Protocol {
	plain := preset("kafka", "Kafka's in-sync replicas", "Kafka 的同步副本集", options{minimum: 1})
	plain.About = "A controller makes the first live replica of the in-sync set leader; a write is answered once every replica of that set holds it in memory, and who falls behind is taken out of the set."
	two := preset("kafka/min-insync-2", "Kafka, at least two in sync", "Kafka，至少两个同步副本", options{minimum: 2})
	two.About = "The same, but a leader that is alone in the in-sync set refuses writes (min.insync.replicas=2)."
	unclean := preset("kafka/unclean", "Kafka with unclean elections", "Kafka，允许不干净的选举", options{minimum: 1, unclean: true})
	unclean.About = "The same, but if nobody of the in-sync set is alive, any live replica leads, whatever it lacks."
	return []lab.Protocol{plain, two, unclean}
}

func preset(name, title, chinese string, o options) lab.Protocol {
	return lab.Protocol{
		Name: name, Title: title, Chinese: chinese,
		Slowest: sessionTimeout, Helpers: 3, Epochs: true, SyncedAtStart: []string{"raft"}, // the coordination service's; a broker syncs nothing
		Switches: switches(),
		New:      func(c lab.Config) lab.Machine { return newMachine(c, o) },
	}
}

// options are what an operator can set, and what a recipe broke.
type options struct {
	session id.Duration // zookeeper.session.timeout.ms
	lag     id.Duration // replica.lag.time.max.ms
	wait    id.Duration // replica.fetch.wait.max.ms
	flush   id.Duration // how long the page cache keeps what was written
	minimum int         // min.insync.replicas
	unclean bool        // unclean.leader.election.enable

	hwCut, unfenced, acksLeader, noShrink, flushEach bool // broken
}

// Kafka's defaults (3.x with ZooKeeper), and what has no setting here.
const (
	sessionTimeout = 18 * id.Second
	lagMax         = 30 * id.Second
	fetchWait      = 500 * id.Millisecond
	pageCache      = 30 * id.Second // Linux: dirty_expire_centisecs
	checkpointed   = 5 * id.Second  // replica.high.watermark.checkpoint.interval.ms
	backOff        = id.Second      // replica.fetch.backoff.ms
	produceMax     = 30 * id.Second // a producer's request.timeout.ms
	again          = 2 * id.Second  // what got no answer is sent again; TCP does that for Kafka
	startGap       = 10 * id.Millisecond
)

func newMachine(c lab.Config, o options) lab.Machine {
	o.session = c.Settings.Duration("session", sessionTimeout, id.Second, 600*id.Second)
	o.lag = c.Settings.Duration("lag", lagMax, id.Second, 600*id.Second)
	o.wait = c.Settings.Duration("fetch-wait", fetchWait, 10*id.Millisecond, id.Second)
	o.flush = c.Settings.Duration("page-cache", pageCache, id.Millisecond, 600*id.Second)
	o.minimum = int(c.Settings.Int("min-insync", int64(o.minimum), 1, 9))
	defaultWord := "off"
	other := "on"
	if o.unclean {
		defaultWord, other = other, defaultWord
	}
	o.unclean = c.Settings.Word("unclean", defaultWord, other) == "on" || c.Broken(Unclean)
	if c.Broken(NoMinimum) {
		o.minimum = 0
	}
	o.hwCut, o.unfenced = c.Broken(NoLeaderEpochs), c.Broken(NoFencing)
	o.acksLeader, o.noShrink, o.flushEach = c.Broken(AcksLeader), c.Broken(NoShrink), c.Broken(FlushEach)
	for _, n := range c.Helpers {
		if n == c.Self {
			return newService(c, &o)
		}
	}
	return newBroker(c, &o)
}
