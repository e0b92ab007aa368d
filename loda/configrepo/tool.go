package configrepo

import (
	"maps"
	"slices"

	"github.com/project-loda/loda/loda"
	"github.com/project-loda/loda/loda/strictyaml"
	"github.com/project-loda/loda/raid"
)

// toolFile is a file of tools/: where the site gets a maker's RAID tool.
type toolFile struct {
	doc  *strictyaml.Document
	yaml toolYAML
}

type toolYAML struct {
	Description   string `yaml:"description"`
	loda.Download `yaml:",inline"`
}

// checkTools returns the tools that machines can be given. A name that is none of a tool's would never be asked for.
func (r *loader) checkTools() map[raid.Tool]loda.Download {
	var tools map[raid.Tool]loda.Download
	known := make([]string, len(loda.FetchedTools))
	for i, t := range loda.FetchedTools {
		known[i] = string(t)
	}
	for _, name := range slices.Sorted(maps.Keys(r.tools)) {
		t := r.tools[name]
		if !slices.Contains(known, name) {
			r.errs = append(r.errs, strictyaml.Error{File: t.doc.File, Message: "no controller asks for a tool of that name; " +
				strictyaml.Suggest(name, known)})
			continue
		}
		if tools == nil {
			tools = map[raid.Tool]loda.Download{}
		}
		tools[raid.Tool(name)] = t.yaml.Download
	}
	return tools
}
