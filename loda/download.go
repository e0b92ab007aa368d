package loda

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda/agentapi"
	"github.com/project-loda/loda/raid"
)

// A Download is a program that machines of the site are given when they need it: a maker's RAID tool, which cannot be
// shipped, or a RAID driver from outside. The site fetches it once, and checks the digest; machines get it from the site.
type Download struct {
	// URL is http or https. Artifact is a file below the site's artifacts instead.
	URL      string `json:"url,omitempty" yaml:"url"`
	Artifact string `json:"artifact,omitempty" yaml:"artifact"`
	// SHA256 of the file, hexadecimal.
	SHA256 string `json:"sha256" yaml:"sha256"`
	// Files are what the program wants beside it, such as shared libraries, by name. They have none themselves.
	Files map[string]Download `json:"files,omitempty" yaml:"files"`
}

// Source is the URL or the artifact, for people.
func (d *Download) Source() string {
	if d.URL != "" {
		return d.URL
	}
	return d.Artifact
}

var (
	sha256Digest = regexp.MustCompile(`^[0-9a-f]{64}$`)
	downloadName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._+-]{0,99}$`)
	pciID        = regexp.MustCompile(`^[0-9a-f]{4}:[0-9a-f]{4}(:[0-9a-f]{4}:[0-9a-f]{4})?$`)
)

// maxBeside bounds the files beside a program. A C library and what else a maker's tool is linked against are a dozen.
const maxBeside = 32

// Validate reports everything that is wrong, each with the path of the field.
func (d *Download) Validate() error {
	var errs []error
	switch u, err := url.Parse(d.URL); {
	case d.URL == "" && d.Artifact == "":
		errs = append(errs, errors.New("url: missing; want where the site gets the file, or artifact: a file below its artifacts"))
	case d.URL != "" && d.Artifact != "":
		errs = append(errs, errors.New("url, artifact: both are given; want one of them"))
	case d.Artifact != "" && !filepath.IsLocal(d.Artifact):
		errs = append(errs, fmt.Errorf("artifact: %q leaves the directory of artifacts", d.Artifact))
	case d.URL != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Fragment != ""):
		errs = append(errs, fmt.Errorf("url: %q; want one that begins with https:// or http://", d.URL))
	case u.User != nil:
		errs = append(errs, errors.New("url: it holds a password, and everybody can read a repository"))
	}
	if !sha256Digest.MatchString(d.SHA256) {
		errs = append(errs, errors.New("sha256: want the digest of the file, 64 hexadecimal digits in small letters"))
	}
	if len(d.Files) > maxBeside {
		errs = append(errs, fmt.Errorf("files: %d; want at most %d", len(d.Files), maxBeside))
	}
	for _, name := range slices.Sorted(maps.Keys(d.Files)) {
		f := d.Files[name]
		if !downloadName.MatchString(name) {
			errs = append(errs, fmt.Errorf("files.%s: want a name of letters, digits and . _ + -", name))
		}
		if len(f.Files) > 0 {
			errs = append(errs, fmt.Errorf("files.%s.files: a file beside a program has none beside itself", name))
			continue
		}
		errs = append(errs, prefixed("files."+name+".", f.Validate())...)
	}
	return errors.Join(errs...)
}

// prefixed puts the path of a field before each error.
func prefixed(at string, err error) []error {
	if err == nil {
		return nil
	}
	all := []error{err}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		all = many.Unwrap()
	}
	for i := range all {
		all[i] = fmt.Errorf("%s%w", at, all[i])
	}
	return all
}

// FileName is the name that the program has on a machine.
func (d *Download) FileName() string {
	source := d.Artifact
	if u, err := url.Parse(d.URL); err == nil && d.URL != "" {
		source = u.Path
	}
	if name := path.Base(source); downloadName.MatchString(name) {
		return name
	}
	return "program"
}

// forAgent is what an agent has to know of it.
func (d *Download) forAgent() agentapi.Download {
	a := agentapi.Download{Name: d.FileName(), SHA256: d.SHA256}
	for name, f := range d.Files {
		if a.Files == nil {
			a.Files = map[string]string{}
		}
		a.Files[name] = f.SHA256
	}
	return a
}

// A RAIDDriver is a RAID driver from outside; see package raid/plugin.
type RAIDDriver struct {
	Name     string `json:"name" yaml:"name"`
	Download `yaml:",inline"`
	// For are the controllers that it is for: vendor:device, or vendor:device:subvendor:subdevice, hexadecimal.
	For []string `json:"for" yaml:"for"`
}

// Validate reports everything that is wrong, each with the path of the field.
func (d *RAIDDriver) Validate() error {
	var errs []error
	if !profileName.MatchString(d.Name) {
		errs = append(errs, fmt.Errorf("name: %q; want up to 63 letters, digits, dots, dashes and underscores", d.Name))
	}
	if len(d.For) == 0 || len(d.For) > 64 {
		errs = append(errs, errors.New("for: want the PCI ids of 1 to 64 controllers, such as 1000:005d"))
	}
	for i, id := range d.For {
		if !pciID.MatchString(id) {
			errs = append(errs, fmt.Errorf("for[%d]: %q; want vendor:device or vendor:device:subvendor:subdevice, such as 1000:005d", i, id))
		}
	}
	return errors.Join(append(errs, prefixed("", d.Download.Validate())...)...)
}

// FetchedTools are the tools that machines can be given. The kernel's mdadm and nvme-cli are in bootOS or not.
var FetchedTools = []raid.Tool{raid.Storcli, raid.Storcli2, raid.Perccli, raid.Perccli2, raid.Megacli, raid.Ssacli, raid.Arcconf,
	raid.Mvcli, raid.Mnvcli, raid.Sas2ircu, raid.Sas3ircu, raid.Nvme}

// Downloads is where an [Installer] gets the files that machines are given.
type Downloads interface {
	// Open returns a file of which the digest was checked, and fetches it if it is not there. The caller closes it. Where
	// it cannot, a *[DownloadError] says whether asking again may help.
	Open(ctx context.Context, d Download) (*os.File, error)
}

// A DownloadError is why a file cannot be given to machines.
type DownloadError struct {
	// Temporary: it may be had later without anybody's doing. It is being fetched, or where it is fetched from is away.
	Temporary bool
	Err       error
}

func (e *DownloadError) Error() string { return e.Err.Error() }

func (e *DownloadError) Unwrap() error { return e.Err }

// downloads are all files of a profile, by digest.
func (p *Profile) downloads() map[string]namedDownload {
	all := map[string]namedDownload{}
	add := func(name string, d Download) {
		all[d.SHA256] = namedDownload{name, d}
		for file, beside := range d.Files {
			all[beside.SHA256] = namedDownload{file, beside}
		}
	}
	for tool, d := range p.Tools {
		add(string(tool), d)
	}
	for _, d := range p.RAIDDrivers {
		add("RAID driver "+d.Name, d.Download)
	}
	return all
}

type namedDownload struct {
	name string
	Download
}

// OpenDownload opens a file that the agent of an installation wants. Only those that its own profile names are given.
func (in *Installer) OpenDownload(ctx context.Context, id, digest string) (*os.File, error) {
	inst, err := in.store.Installation(ctx, id)
	if err != nil {
		return nil, err
	}
	plan, err := planOf(inst)
	if err != nil {
		return nil, err
	}
	d, ok := plan.Profile.downloads()[strings.ToLower(digest)]
	if !ok {
		return nil, fmt.Errorf("file %.64s: profile %s names no such file: %w", printable(digest), orDash(plan.Profile.Name), ErrNoDownload)
	}
	if in.downloads == nil {
		return nil, fmt.Errorf("%s: this site has no downloads: %w", d.name, ErrNoDownload)
	}
	f, err := in.downloads.Open(ctx, d.Download)
	if err != nil {
		return nil, fmt.Errorf("%s from %s: %w", d.name, d.Source(), err)
	}
	info, err := f.Stat()
	if err == nil {
		err = in.store.AppendEvents(ctx, event(inst, inventory.KindAction, in.now(), nil, "the agent fetches %s, %d bytes, sha256 %.12s…", d.name,
			info.Size(), d.SHA256))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// ErrNoDownload is wrapped by errors about files that a machine is not given.
var ErrNoDownload = errors.New("not for this machine")
