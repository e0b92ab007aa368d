package loda

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/loda/image"
)

// A Profile says what becomes of a machine. An installation pins the whole profile when it is opened; a later change
// of the profile does not reach it.
type Profile struct {
	// Name is how machines refer to the profile.
	Name string `json:"name" yaml:"-"`
	// Image names an image of the site.
	Image string `json:"image" yaml:"image"`
	// Disk chooses the disk that the image is written to. It must match exactly one.
	Disk hw.DiskRule `json:"disk" yaml:"disk"`
	// Boot is how the machine gets from bootOS into the installed system: `reboot` (default) or `kexec`, which
	// saves the minutes of a real server's power-on self test.
	Boot string `json:"boot,omitempty" yaml:"boot,omitempty"`
	// SSHKeys are added to the image's default user, in authorized_keys format.
	SSHKeys []string `json:"ssh_keys,omitempty" yaml:"ssh_keys,omitempty"`
	// UserData is a cloud-config document of the operator's own, given to cloud-init beside Loda's.
	UserData string `json:"user_data,omitempty" yaml:"user_data,omitempty"`
	// KernelArgs are appended to the command line of the bootOS kernel, such as `console=ttyS1,115200`.
	KernelArgs []string `json:"kernel_args,omitempty" yaml:"kernel_args,omitempty"`
}

// ErrNoProfile is returned, possibly wrapped, when there is no profile of a name.
var ErrNoProfile = errors.New("no such profile")

// Profiles is where an [Installer] finds profiles.
type Profiles interface {
	// Profile returns the profile of that name, or [ErrNoProfile].
	Profile(ctx context.Context, name string) (*Profile, error)
	// Names lists all profiles, sorted.
	Names(ctx context.Context) ([]string, error)
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
	if p.Image == "" {
		errs = append(errs, errors.New("image: missing; name an image that `lodad image list` shows"))
	}
	if err := p.Disk.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("disk: %w", err))
	}
	switch p.Boot {
	case "", "reboot", "kexec":
	default:
		errs = append(errs, fmt.Errorf("boot: %q is unknown; want reboot or kexec", p.Boot))
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
