package zen

import (
	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/lab"
)

// Protocols are Zen with a minimum of a majority, with the default of old, and
// the election of the source document.
func Protocols() []lab.Protocol {
	with := func(name, title, chinese, about, reply string, minimum func(lab.Config) int, document bool) lab.Protocol {
		return lab.Protocol{
			Name: name, Title: title, Chinese: chinese, About: about,
			Slowest: 90 * id.Second, Ranks: []lab.Node{1, 2, 3, 4, 5},
			Reply: reply, Switches: switches,
			New: func(c lab.Config) lab.Machine { return newMachine(c, settings(c, minimum(c), document)) },
		}
	}
	one := func(lab.Config) int { return 1 }
	return []lab.Protocol{
		with("zen", "Elasticsearch Zen", "Elasticsearch Zen", "the node with the newest state wins, then the lowest id; a majority (minimum_master_nodes) must join it and acknowledge each update, but only in memory", "JoinAnswer", lab.Config.Quorum, false),
		with("zen/unsafe", "Elasticsearch Zen, minimum_master_nodes 1", "Elasticsearch Zen,minimum_master_nodes 为 1", "as installed: any single node may elect itself and commit alone", "JoinAnswer", one, false),
		with("zen/document", "Elasticsearch Zen as the source document tells it", "来源文档所述的 Elasticsearch Zen", "asks whether more than half cannot see the master, then Election, Alive and Victory as in Bully, by version and id", "Alive", lab.Config.Quorum, true),
	}
}
