package configrepo

import (
	"fmt"
	"maps"
	"slices"

	"github.com/project-loda/loda/loda"
	"github.com/project-loda/loda/loda/strictyaml"
)

// Outline returns what a profile says of itself, for no machine in particular: everything but the texts of its templates.
// The error wraps [loda.ErrNoProfile].
func (r *Repo) Outline(name string) (*loda.Profile, error) {
	p, ok := r.profiles[name]
	if !ok {
		return nil, fmt.Errorf("%w: %s; %s", loda.ErrNoProfile, name, strictyaml.Suggest(name, slices.Collect(maps.Keys(r.profiles))))
	}
	return p.outline(r.Revision), nil
}

// outline is a profile without what is rendered.
func (p *ProfileFile) outline(revision string) *loda.Profile {
	y, o := &p.yaml, &p.os.yaml
	out := &loda.Profile{Name: p.Name, Revision: revision, Model: p.Model, RAID: p.RAID, Disk: p.Disk, Boot: y.Boot, Chain: y.Chain,
		SSHKeys: slices.Clone(y.SSHKeys), KernelArgs: slices.Clone(y.KernelArgs)}
	if p.RAID != nil {
		out.Tools, out.RAIDDrivers = maps.Clone(p.tools), slices.Clone(y.RAIDDrivers)
	}
	if o.Kind == "image" {
		out.Image, out.ImageSHA256 = o.Image, o.SHA256
		return out
	}
	out.Installer = &loda.DistroInstaller{Kind: o.Installer, Kernel: loda.Artifact(*o.Kernel), Answers: map[string]string{}}
	for _, a := range o.Initrds {
		out.Installer.Initrds = append(out.Installer.Initrds, loda.Artifact(a))
	}
	return out
}
