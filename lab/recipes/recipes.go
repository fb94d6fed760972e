// Package recipes holds the lab's recipes as text: the fault scripts f1 to f12b,
// which run with every protocol, and the walk-throughs, each with the protocols it
// speaks of. docs/format/recipe.md is the format, lab.Template reads it.
package recipes

import (
	"embed"
	"io/fs"
	"strings"

	"github.com/quorate/quorate/internal/assert"
)

//go:embed *.recipe
var files embed.FS

// Scripts are the fault scripts in their order.
func Scripts() []string {
	return []string{"f1", "f1s", "f2", "f3", "f4", "f4f", "f5", "f6", "f7", "f8", "f8n", "f9", "f10", "f10w", "f11", "f12a", "f12b"}
}

// Names are all recipes, sorted.
func Names() []string {
	list, err := fs.Glob(files, "*.recipe")
	assert.That(err == nil, "the pattern is constant: %v", err)
	for i := range list {
		list[i] = strings.TrimSuffix(list[i], ".recipe")
	}
	return list
}

// Text returns a recipe's text by its name.
func Text(name string) (string, bool) {
	b, err := files.ReadFile(name + ".recipe")
	return string(b), err == nil
}
