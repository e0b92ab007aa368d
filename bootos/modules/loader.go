package modules

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// Loader loads modules with their dependencies. It is safe for concurrent use; a module is loaded once.
type Loader struct {
	Index *Index
	// Dir is where the index's paths start, such as /lib/modules/6.1.0-9-amd64.
	Dir string
	// Insert puts one module file with its parameters into the kernel; see [Insert].
	Insert func(file, params string) error
	// Params are parameters by module name, as the kernel command line gives them; see [Cmdline].
	Params map[string]string
	// Deny are modules that are not loaded by alias.
	Deny map[string]bool

	mu     sync.Mutex
	loaded map[string]*once
}

type once struct {
	sync.Once
	err error
}

// Load loads the modules for a name or an alias. An alias that nothing is for is [ErrNoModule]. Of several modules
// for one alias all are tried: the kernel binds the driver that fits.
func (l *Loader) Load(alias string) error {
	names := l.Index.Lookup(alias)
	if len(names) == 0 {
		if l.Index.Builtin(alias) {
			return nil
		}
		return fmt.Errorf("%s: %w", alias, ErrNoModule)
	}
	var errs []error
	for _, name := range names {
		if l.Deny[name] && name != CanonicalName(alias) {
			continue
		}
		if err := l.load(name, 0); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// ErrNoModule says that no module is for an alias.
var ErrNoModule = errors.New("no such module")

// maxSoft bounds soft dependencies of soft dependencies, which may go round in circles.
const maxSoft = 4

func (l *Loader) load(name string, depth int) error {
	if depth < maxSoft {
		for _, soft := range l.Index.softPre[name] {
			for _, s := range l.Index.Lookup(soft) {
				if l.Deny[s] {
					continue
				}
				// Soft: a CPU without the instructions that crc32c_intel wants does not keep ext4 from loading.
				_ = l.load(s, depth+1)
			}
		}
	}
	for _, path := range l.Index.Files(name) {
		if err := l.insert(path); err != nil {
			return fmt.Errorf("module %s: %w", name, err)
		}
	}
	return nil
}

func (l *Loader) insert(path string) error {
	name := nameOfFile(path)
	l.mu.Lock()
	if l.loaded == nil {
		l.loaded = map[string]*once{}
	}
	o := l.loaded[name]
	if o == nil {
		o = &once{}
		l.loaded[name] = o
	}
	l.mu.Unlock()
	o.Do(func() {
		err := l.Insert(filepath.Join(l.Dir, filepath.FromSlash(path)), l.Params[name])
		if err != nil && !errors.Is(err, syscall.EEXIST) {
			o.err = err
		}
	})
	return o.err
}

// Cmdline reads what a kernel command line says about modules: `modprobe.blacklist=a,b` and `module.param=value`.
func Cmdline(cmdline string) (params map[string]string, deny map[string]bool) {
	params, deny = map[string]string{}, map[string]bool{}
	for word := range strings.FieldsSeq(cmdline) {
		key, value, _ := strings.Cut(word, "=")
		name, param, ok := strings.Cut(key, ".")
		if !ok || name == "" || param == "" {
			continue
		}
		name = CanonicalName(name)
		if name == "modprobe" && param == "blacklist" {
			for n := range strings.SplitSeq(value, ",") {
				deny[CanonicalName(n)] = true
			}
			continue
		}
		params[name] = strings.TrimSpace(params[name] + " " + strings.TrimPrefix(word, key[:len(key)-len(param)]))
	}
	return params, deny
}
