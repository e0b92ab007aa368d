package loda

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda/agentapi"
	"github.com/project-loda/loda/loda/image"
	"github.com/project-loda/loda/pxe"
	"github.com/project-loda/loda/raid"
)

// A Rendering is what one machine would get, to the byte. What only its boot decides, such as tokens, and what only its
// site knows, such as secrets, stands in it as placeholders: see [Late].
type Rendering struct {
	Serial   inventory.Serial `json:"serial"`
	Profile  string           `json:"profile"`
	Revision string           `json:"revision,omitempty"`
	// Differences of the machine to the profile's model; those of severity fail put it into quarantine.
	Differences []hw.Difference `json:"differences"`
	// Plan is what would be done, in order, a sentence each.
	Plan []string `json:"plan"`
	// Files are the texts that the machine would be given.
	Files []RenderedFile `json:"files"`
}

// RenderedFile is one text of a [Rendering].
type RenderedFile struct {
	// Name such as boot.ipxe, installer.ipxe, answers/preseed.cfg, steps/1-name, seed/user-data.
	Name string `json:"name"`
	Text string `json:"text"`
}

// lateToken stands for tokens in a rendering.
const lateToken Late = "boot:token"

// Render resolves a machine's profile at a revision (empty: the current one) and renders it. The machine's facts have to
// be known. It changes nothing.
func (in *Installer) Render(ctx context.Context, serial inventory.Serial, revision string) (*Rendering, error) {
	m, err := in.store.Machine(ctx, serial)
	if err != nil {
		return nil, fmt.Errorf("machine %s: %w", serial, err)
	}
	if len(m.Facts) == 0 {
		return nil, fmt.Errorf("machine %s: its hardware is not known yet; let it netboot once with an installation open: %w",
			serial, ErrRefused)
	}
	facts, err := hw.Decode(m.Facts)
	if err != nil {
		return nil, fmt.Errorf("machine %s: %w", serial, err)
	}
	if revision == "" {
		if revision, err = in.profiles.Revision(ctx); err != nil {
			return nil, fmt.Errorf("profiles: %w", err)
		}
	}
	profile, err := in.profiles.Resolve(ctx, Subject{Revision: revision, Profile: m.Profile, Machine: m, Facts: facts})
	if err != nil {
		return nil, fmt.Errorf("machine %s: %w", serial, err)
	}
	return NewRendering(profile, m, facts)
}

// NewRendering renders a resolved profile for a machine.
func NewRendering(p *Profile, m *inventory.Machine, facts *hw.Facts) (*Rendering, error) {
	r := &Rendering{Serial: m.Serial, Profile: p.Name, Revision: p.Revision, Differences: []hw.Difference{}}
	if p.Model != nil {
		r.Differences = append(r.Differences, p.Model.Compare(facts)...)
	}
	base := Base{API: "https://lodad.invalid:8443", Boot: "http://lodad.invalid:8080"}
	var macs []net.HardwareAddr
	for _, text := range facts.MACs() {
		if mac, err := net.ParseMAC(text); err == nil {
			macs = append(macs, mac)
		}
	}
	script := func(name string, d Decision) error {
		text, err := pxe.RenderScript(d.Instruction(base, macs), pxe.Client{MACs: macs, BaseURL: base.Boot,
			Local: netip.AddrPort{}, Platform: pxe.BIOS})
		if err != nil {
			return fmt.Errorf("profile %s: %s: %w", p.Name, name, err)
		}
		r.add(name, text)
		if p.Chain != ChainShimGRUB {
			return nil
		}
		name = strings.TrimSuffix(name, ".ipxe") + ".grub"
		text, err = pxe.RenderGRUB(d.Instruction(base, macs), pxe.Client{MACs: macs, BaseURL: base.Boot, Platform: pxe.EFI,
			Loader: pxe.LoaderGRUB})
		if err != nil {
			return fmt.Errorf("profile %s: %s: %w", p.Name, name, err)
		}
		r.add(name, text)
		return nil
	}
	if err := script("boot.ipxe", Decision{BootOS: true, Token: lateToken.String(), KernelArgs: p.KernelArgs}); err != nil {
		return nil, err
	}
	r.say("boot bootOS, detect the hardware")
	if p.Model != nil {
		r.say("compare it with the model: %d differences now", len(r.Differences))
	}
	for i, step := range p.Steps {
		r.say("run step %d of %d, %s (%s), for at most %s", i+1, len(p.Steps), step.Name, strings.Join(step.Interpreter, " "), step.Timeout)
		var env strings.Builder
		for _, name := range slices.Sorted(maps.Keys(step.Env)) {
			fmt.Fprintf(&env, "%s=%s\n", name, step.Env[name])
		}
		r.add(fmt.Sprintf("steps/%d-%s", i+1, step.Name), step.Script)
		if env.Len() > 0 {
			r.add(fmt.Sprintf("steps/%d-%s.env", i+1, step.Name), env.String())
		}
	}
	target := "the disks that its answers name"
	var disk *hw.Disk
	if p.RAID != nil {
		r.say("%s", raidSentence(p.RAID))
		if v := p.RAID.BootVolume(); v != nil && p.Disk == (hw.DiskRule{}) {
			target = "RAID volume " + v.Name
		} else if p.Disk != (hw.DiskRule{}) {
			target = "the disk that the profile's rule chooses, once the volumes are there"
		}
	} else {
		var err error
		if disk, err = (*RAIDRun)(nil).chooseDisk(p, &image.Image{}, facts); err != nil {
			r.say("fail: %v", err)
		}
	}
	if disk != nil {
		target = fmt.Sprintf("%s %s (serial %s, %s, %s)", disk.Vendor, disk.Model, orDash(disk.Serial), orDash(disk.Path), hw.Size(disk.Bytes))
		target = strings.TrimSpace(target)
	}
	if d := p.Installer; d != nil {
		r.say("reboot into the %s installer (%s), onto %s", d.Kind, d.Kernel.Path, target)
		decision := Decision{Kernel: d.Kernel.Path, Args: d.Args}
		for _, initrd := range d.Initrds {
			decision.Initrds = append(decision.Initrds, initrd.Path)
		}
		if err := script("installer.ipxe", decision); err != nil {
			return nil, err
		}
		for _, name := range slices.Sorted(maps.Keys(d.Answers)) {
			r.add("answers/"+name, d.Answers[name])
		}
		r.say("wait for the installed system's report")
		return r, nil
	}
	r.say("write image %s (sha256 %s) to %s", p.Image, orDash(p.ImageSHA256), target)
	seed, err := image.Seed(image.SeedOptions{Hostname: HostnameOf(m), InstanceID: "INSTALLATION", SSHKeys: p.SSHKeys,
		UserData: p.UserData, FirstBoot: agentapi.FirstBoot{}})
	if err != nil {
		return nil, fmt.Errorf("profile %s: %w", p.Name, err)
	}
	for _, name := range slices.Sorted(maps.Keys(seed)) {
		r.add("seed/"+name, seed[name])
	}
	r.say("%s into the installed system, and wait for its first boot's report", bootMethod(*p))
	return r, nil
}

// raidSentence says what becomes of the machine's controllers.
func raidSentence(l *raid.Layout) string {
	var volumes []string
	for _, c := range l.Controllers {
		for _, v := range c.Volumes {
			volumes = append(volumes, fmt.Sprintf("%s (level %s, controller %s)", v.Name, v.Level, c.Controller))
		}
	}
	text := "read the RAID controllers, plan and apply the layout"
	if len(volumes) > 0 {
		text += ": " + strings.Join(volumes, ", ")
	}
	if len(l.Allow) == 0 {
		return text + "; a plan that would destroy anything puts the machine into quarantine"
	}
	return text + "; the plan may cost: " + permissionWords(l.Allow)
}

func (r *Rendering) add(name, text string) {
	r.Files = append(r.Files, RenderedFile{Name: name, Text: text})
}

func (r *Rendering) say(format string, args ...any) {
	r.Plan = append(r.Plan, fmt.Sprintf(format, args...))
}
