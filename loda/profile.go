package loda

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda/agentapi"
	"github.com/project-loda/loda/loda/image"
	"github.com/project-loda/loda/raid"
)

// A Profile says what becomes of a machine. An installation pins the whole profile when it is opened; a later change
// of the profile does not reach it.
type Profile struct {
	// Name is how machines refer to the profile.
	Name string `json:"name" yaml:"-"`
	// Revision is the commit that the profile was read from; empty for one that was given in code or configuration.
	Revision string `json:"revision,omitempty" yaml:"-"`
	// Model is what the machine must look like. Nil: anything.
	Model *hw.Model `json:"model,omitempty" yaml:"-"`
	// RAID is the layout of the machine's RAID controllers. Nil: they stay as they are.
	RAID *raid.Layout `json:"raid,omitempty" yaml:"-"`
	// Tools are the makers' RAID tools that the site has for its machines. An agent fetches one when it finds a controller
	// that needs it.
	Tools map[raid.Tool]Download `json:"tools,omitempty" yaml:"-"`
	// RAIDDrivers are drivers from outside. They come before those of bootOS.
	RAIDDrivers []RAIDDriver `json:"raid_drivers,omitempty" yaml:"-"`
	// Steps run in bootOS, in order, before the operating system is installed.
	Steps []Step `json:"steps,omitempty" yaml:"-"`
	// Installer is the distribution's own installer, instead of Image.
	Installer *DistroInstaller `json:"installer,omitempty" yaml:"-"`
	// Image names an image of the site. ImageSHA256, if set, is the digest that it must have.
	Image       string `json:"image" yaml:"image"`
	ImageSHA256 string `json:"image_sha256,omitempty" yaml:"-"`
	// Disk chooses the disk that the image is written to. It must match exactly one.
	Disk hw.DiskRule `json:"disk" yaml:"disk"`
	// Boot is how the machine gets from bootOS into the installed system: `reboot` (default) or `kexec`, which
	// saves the minutes of a real server's power-on self test.
	Boot string `json:"boot,omitempty" yaml:"boot,omitempty"`
	// Chain is by which programs a machine with UEFI for x64 comes from its firmware to bootOS: [ChainIPXE] or
	// [ChainShimGRUB]. Empty: the site's. BIOS and other processors have iPXE only. It is in force for a machine whose
	// hardware address is known, by import or from an earlier boot.
	Chain string `json:"chain,omitempty" yaml:"chain,omitempty"`
	// SSHKeys are added to the image's default user, in authorized_keys format.
	SSHKeys []string `json:"ssh_keys,omitempty" yaml:"ssh_keys,omitempty"`
	// UserData is a cloud-config document of the operator's own, given to cloud-init beside Loda's.
	UserData string `json:"user_data,omitempty" yaml:"user_data,omitempty"`
	// KernelArgs are appended to the command line of the bootOS kernel, such as `console=ttyS1,115200`.
	KernelArgs []string `json:"kernel_args,omitempty" yaml:"kernel_args,omitempty"`
}

// A Step is a script that the agent runs. The values of its environment may hold secrets as [Late] values; the script
// itself is run as it is.
type Step struct {
	Name string `json:"name"`
	// File is where the script came from, for people; Script is its content.
	File   string `json:"file,omitempty"`
	Script string `json:"script"`
	// Interpreter is the program that gets the script's path as its last argument, such as `/bin/sh -e`.
	Interpreter []string `json:"interpreter"`
	// Timeout bounds the run.
	Timeout time.Duration `json:"timeout"`
	// Env is added to the environment.
	Env map[string]string `json:"env,omitempty"`
	// ExitCodes are those of success.
	ExitCodes []int `json:"exit_codes"`
}

// Validate says what is wrong with a step: what the agent would refuse to run.
func (s *Step) Validate() error {
	var errs []error
	if s.Timeout < time.Second || s.Timeout > maxStep {
		errs = append(errs, fmt.Errorf("timeout %s: want 1s to %s", s.Timeout, maxStep))
	}
	run := agentapi.RunScript{Installation: "check", Serial: "check", Name: s.Name, File: s.File, Script: s.Script,
		Interpreter: s.Interpreter, TimeoutSeconds: int(maxStep / time.Second), Env: s.Env, ExitCodes: s.ExitCodes}
	return errors.Join(append(errs, run.Validate())...)
}

// maxStep bounds one script: a firmware update takes its time.
const maxStep = 4 * time.Hour

// A DistroInstaller is a distribution's own installer, booted over the network. Its answers may hold all [Late] values,
// its command line those of the boot.
type DistroInstaller struct {
	// Kind is how the answers are written: preseed, kickstart, autoinstall, autoyast or other.
	Kind string `json:"kind"`
	// Kernel and Initrds are files below the site's artifacts.
	Kernel  Artifact   `json:"kernel"`
	Initrds []Artifact `json:"initrds"`
	// Args is the kernel's command line.
	Args string `json:"args"`
	// Answers are the answer files, by the name under which the installer fetches them.
	Answers map[string]string `json:"answers"`
}

// An Artifact is a file below the directory of artifacts.
type Artifact struct {
	// Path is relative, with slashes.
	Path string `json:"path"`
	// SHA256 of the file, hexadecimal.
	SHA256 string `json:"sha256"`
}

// ErrNoProfile is returned, possibly wrapped, when there is no profile of a name.
var ErrNoProfile = errors.New("no such profile")

// ErrByFacts is returned by [Profiles.Resolve] for a machine whose profile follows from what it is made of, before that
// is known.
var ErrByFacts = errors.New("the profile is chosen when the hardware is known")

// Profiles is where an [Installer] finds profiles.
type Profiles interface {
	// Names lists all profiles of the current revision, sorted.
	Names(ctx context.Context) ([]string, error)
	// Profile returns the profile of that name of the current revision, or [ErrNoProfile]. It is made for no machine:
	// texts that depend on one are empty.
	Profile(ctx context.Context, name string) (*Profile, error)
	// Revision is what an installation pins that is opened now, such as a commit. Empty: profiles have none, and the
	// profile itself is pinned.
	Revision(ctx context.Context) (string, error)
	// Resolve returns the profile of one machine, with all its texts. A machine that no profile is for, or more than one,
	// or not the one that was named, is [ErrNoProfile] with the reasons. It is only called for revisions that Revision
	// has returned, and must return the same for the same subject.
	Resolve(ctx context.Context, s Subject) (*Profile, error)
}

// A Subject is a machine that a profile is wanted for.
type Subject struct {
	// Revision that was pinned.
	Revision string
	// Profile is the name that a person gave; empty: the one that matches.
	Profile string
	Machine *inventory.Machine
	// Facts are nil before the hardware is known; then a profile that was not named is [ErrByFacts].
	Facts *hw.Facts
	// Disk is the one that the operating system goes to, where that is known already: the profile's RAID layout is there.
	// Nil: the profile's rule chooses, or the layout has yet to make it.
	Disk *hw.Disk
}

// StaticProfiles are profiles that never change, by name.
type StaticProfiles map[string]Profile

// NewStaticProfiles validates profiles, sets their names, and reports everything that is wrong at once.
func NewStaticProfiles(profiles map[string]Profile) (StaticProfiles, error) {
	var errs []error
	static := StaticProfiles{}
	for _, name := range slices.Sorted(maps.Keys(profiles)) {
		p := profiles[name]
		p.Name = name
		errs = append(errs, p.Validate())
		static[name] = p
	}
	return static, errors.Join(errs...)
}

// Profile implements [Profiles].
func (s StaticProfiles) Profile(_ context.Context, name string) (*Profile, error) {
	if p, ok := s[name]; ok {
		return &p, nil
	}
	return nil, ErrNoProfile
}

// Revision implements [Profiles]: there are none.
func (s StaticProfiles) Revision(context.Context) (string, error) { return "", nil }

// Resolve implements [Profiles]. A machine must name its profile.
func (s StaticProfiles) Resolve(ctx context.Context, subject Subject) (*Profile, error) {
	if subject.Profile == "" {
		return nil, fmt.Errorf("%w: none was given, and the machine has none", ErrNoProfile)
	}
	p, err := s.Profile(ctx, subject.Profile)
	if err != nil {
		return nil, fmt.Errorf("profile %s: %w", subject.Profile, err)
	}
	return p, nil
}

// Names implements [Profiles].
func (s StaticProfiles) Names(context.Context) ([]string, error) {
	return slices.Sorted(maps.Keys(s)), nil
}

var profileName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$`)

// Validate reports everything that is wrong with p at once.
func (p *Profile) Validate() error {
	var errs []error
	if !profileName.MatchString(p.Name) {
		errs = append(errs, fmt.Errorf("name %q: want up to 63 letters, digits, dots, dashes and underscores", p.Name))
	}
	switch {
	case p.Image == "" && p.Installer == nil:
		errs = append(errs, errors.New("image: missing; name an image that `lodad image list` shows"))
	case p.Image != "" && p.Installer != nil:
		errs = append(errs, errors.New("image, installer: both are given; want one of them"))
	}
	for i, step := range p.Steps {
		if err := step.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("steps[%d]: %w", i, err))
		}
	}
	if p.Model != nil {
		if err := p.Model.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("model: %w", err))
		}
	}
	if p.RAID != nil {
		if err := p.RAID.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("raid: %w", err))
		}
	}
	for _, tool := range slices.Sorted(maps.Keys(p.Tools)) {
		d := p.Tools[tool]
		if !slices.Contains(FetchedTools, tool) {
			errs = append(errs, fmt.Errorf("tools: %q is none of the tools that machines are given", tool))
		}
		errs = append(errs, prefixed("tools."+string(tool)+".", d.Validate())...)
	}
	for i := range p.RAIDDrivers {
		errs = append(errs, prefixed(fmt.Sprintf("raid_drivers[%d].", i), p.RAIDDrivers[i].Validate())...)
	}
	if err := p.Disk.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("disk: %w", err))
	}
	switch p.Boot {
	case "", "reboot", "kexec":
	default:
		errs = append(errs, fmt.Errorf("boot: %q is unknown; want reboot or kexec", p.Boot))
	}
	if err := CheckChain(p.Chain); err != nil {
		errs = append(errs, fmt.Errorf("chain: %w", err))
	}
	// What cloud-init is given is made when a machine asks for it; nobody wants to hear of a typing error only then.
	if _, err := image.Seed(image.SeedOptions{InstanceID: "check", SSHKeys: p.SSHKeys, UserData: p.UserData}); err != nil {
		errs = append(errs, fmt.Errorf("ssh_keys, user_data: %w", err))
	}
	for i, arg := range p.KernelArgs {
		if !kernelArg.MatchString(arg) {
			errs = append(errs, fmt.Errorf("kernel_args[%d]: %q is not one printable word without spaces or $", i, arg))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("profile %s: %w", p.Name, err)
	}
	return nil
}

// A dollar sign would be expanded by iPXE.
var kernelArg = regexp.MustCompile(`^[!-#%-~]{1,256}$`)
