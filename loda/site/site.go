// Package site runs everything that one provisioning site needs: DHCP, TFTP, the boot server, the API, the agents'
// protocol and the deadlines, over one inventory. The program lodad is this package with a configuration file; another
// program embeds it with a [Config].
package site

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"github.com/project-loda/loda/dhcp"
	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda"
	"github.com/project-loda/loda/loda/apiserver"
	"github.com/project-loda/loda/loda/depot"
	"github.com/project-loda/loda/loda/gitprofiles"
	"github.com/project-loda/loda/loda/image"
	"github.com/project-loda/loda/loda/trust"
	"github.com/project-loda/loda/pxe"
)

// Config of a [Site]. Dir, Store and one of Profiles and Repository are needed, everything else has a default.
type Config struct {
	// Name of the site. Default: `default`.
	Name string
	// Version is told to API clients.
	Version string
	// Dir is where the site keeps its files; see [Layout].
	Dir Layout
	// Store remembers everything. It is not closed.
	Store inventory.Store
	// Profiles say what becomes of machines.
	Profiles loda.Profiles
	// Repository is where profiles come from instead: the site follows it. Its source is not closed.
	Repository *gitprofiles.Profiles
	// WebhookSecret is what pushes are signed with, which then are fetched at once. Nil: no webhook is served.
	WebhookSecret func() (string, error)
	// Secrets that profiles name. Nil: there are none.
	Secrets loda.Secrets
	// Deadlines per state.
	Deadlines loda.Deadlines

	// Interfaces to answer DHCP on. Empty: no DHCP; then another server has to send machines here.
	Interfaces []string
	// RawDHCP receives and sends by packet sockets; see [dhcp.Server.Raw].
	RawDHCP bool
	// Subnets to give addresses in.
	Subnets []dhcp.Subnet
	// ProfileSettings and MachineSettings are told to machines in place of what their subnet says: by the name of the
	// profile that is being installed, else of the one that they were imported with; by serial number, which comes first.
	ProfileSettings map[string]dhcp.Settings
	MachineSettings map[inventory.Serial]dhcp.Settings
	// Quirks say how firmware must be answered, after [dhcp.DefaultQuirks].
	Quirks []dhcp.Quirk
	// Racks say in which rack a machine is, by what its relay says. The first that fits is recorded at machines without one.
	Racks []dhcp.RackRule
	// Servers are DHCP servers besides this that may answer on Interfaces. Any other is an alarm; where Servers is empty
	// and a subnet is not for provisioning, only one that says what to boot.
	Servers []netip.Addr
	// AskForServers is how often others are looked for by asking; 0 only listens.
	AskForServers time.Duration

	// API is the address for HTTPS, Boot for plain HTTP, TFTP for TFTP. Defaults :8443, :8080, :69.
	API, Boot, TFTP string
	// ArtifactsTLS is the address of a second boot server that speaks HTTPS, with the certificate of the API. iPXE is then
	// sent there for kernels and initrds. Empty: none.
	ArtifactsTLS string
	// Socket is a Unix socket on which the API is served as well, for this host. Empty: none.
	Socket string
	// NBPDirs are searched for the programs of boot chains: iPXE, shim, GRUB. Default: where Debian's packages ipxe,
	// shim-signed and grub-efi-amd64-signed put them.
	NBPDirs []string
	// Chain is the boot chain of machines whose profile does not say one. Default: [loda.ChainIPXE].
	Chain string
	// UserClass is the user class that the iPXE in NBPDirs was built to send (DHCP option 77). An iPXE that sends another
	// one, such as that in a NIC's ROM, is made to load it first. Empty: each iPXE is good enough, unless Chainload is set.
	UserClass string
	// Chainload makes machines load that iPXE even if their NIC has one in its ROM.
	Chainload bool

	Logger *slog.Logger
}

// DefaultNBPDirs are where Debian's packages put the programs of boot chains.
func DefaultNBPDirs() []string {
	return []string{"/usr/lib/ipxe", "/boot", "/usr/lib/shim", "/usr/lib/grub/x86_64-efi-signed"}
}

// Layout is the directory of a site.
type Layout string

// CA is where the certificate authority lives.
func (l Layout) CA() string { return filepath.Join(string(l), "ca") }

// Artifacts is served below /artifacts/ to everyone who can reach the boot server.
func (l Layout) Artifacts() string { return filepath.Join(string(l), "artifacts") }

// Images is the directory of images, within the artifacts.
func (l Layout) Images() string { return filepath.Join(l.Artifacts(), "images") }

// BootOS holds kernel and initramfs, within the artifacts.
func (l Layout) BootOS() string { return filepath.Join(l.Artifacts(), "bootos") }

// Repository is the copy of the git repository of profiles.
func (l Layout) Repository() string { return filepath.Join(string(l), "repository") }

// Downloads is where RAID tools and drivers are kept that machines are given, by their digest.
func (l Layout) Downloads() string { return filepath.Join(string(l), "downloads") }

// Make makes the directories that are missing.
func (l Layout) Make() error {
	for _, dir := range []string{string(l), l.CA(), l.Artifacts(), l.Images(), l.BootOS(), l.Repository(), l.Downloads()} {
		mode := fs.FileMode(0o755)
		switch dir {
		case string(l), l.CA():
			mode = 0o750
		case l.Repository(), l.Downloads():
			mode = 0o700
		}
		if err := os.MkdirAll(dir, mode); err != nil {
			return fmt.Errorf("data directory: %w", err)
		}
	}
	return nil
}

// Site is everything that runs.
type Site struct {
	c         Config
	log       *slog.Logger
	authority *trust.Authority
	images    *image.Dir
	installer *loda.Installer
	timeline  *timeline
	chainload *pxe.Chainload
	downloads *depot.Depot
	metrics   *metrics
	placer    *placer
	bootPort  string
	apiPort   string

	exhaustion exhaustion
}

// New checks the configuration, makes what is missing in the directory (the certificate authority among it), and
// returns a site that does nothing yet.
func New(c Config) (*Site, error) {
	if c.Repository != nil && c.Profiles == nil {
		c.Profiles = c.Repository
	}
	if c.Store == nil || c.Profiles == nil || c.Dir == "" {
		return nil, errors.New("site: Config needs Dir, Store and Profiles or Repository")
	}
	for _, d := range []struct {
		field *string
		value string
	}{{&c.Name, "default"}, {&c.API, ":8443"}, {&c.Boot, ":8080"}, {&c.TFTP, ":69"}} {
		if *d.field == "" {
			*d.field = d.value
		}
	}
	if c.NBPDirs == nil {
		c.NBPDirs = DefaultNBPDirs()
	}
	if err := loda.CheckChain(c.Chain); err != nil {
		return nil, fmt.Errorf("boot chain: %w", err)
	}
	if c.Chain == "" {
		c.Chain = loda.ChainIPXE
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	s := &Site{c: c, log: c.Logger}
	var err error
	if err := c.Dir.Make(); err != nil {
		return nil, err
	}
	if s.authority, err = trust.Open(c.Dir.CA()); err != nil {
		return nil, err
	}
	if s.images, err = image.Open(c.Dir.Images()); err != nil {
		return nil, err
	}
	s.downloads, err = depot.Open(depot.Config{Dir: c.Dir.Downloads(), Artifacts: c.Dir.Artifacts(), Observe: s.observeFetch})
	if err != nil {
		return nil, err
	}
	s.installer, err = loda.NewInstaller(loda.Config{Store: c.Store, Profiles: c.Profiles, Images: s.images,
		Artifacts: &artifacts{dir: c.Dir}, Downloads: s.downloads, Secrets: c.Secrets, CA: s.authority.PEM(), Deadlines: c.Deadlines, Logger: c.Logger})
	if err != nil {
		return nil, err
	}
	if _, s.bootPort, err = net.SplitHostPort(c.Boot); err != nil {
		return nil, fmt.Errorf("address of the boot server %q: %w", c.Boot, err)
	}
	if _, s.apiPort, err = net.SplitHostPort(c.API); err != nil {
		return nil, fmt.Errorf("address of the API %q: %w", c.API, err)
	}
	s.timeline = newTimeline(c.Store, c.Logger)
	s.metrics = newMetrics(c.Name, c.Store, s.timeline)
	s.placer = newPlacer(c, s.timeline.add)
	if c.Repository != nil {
		s.metrics.registry.MustRegister(newRepositoryMetrics(c.Name, c.Repository))
	}
	if c.Chainload {
		s.chainload = &pxe.Chainload{}
	}
	return s, nil
}

// Installer owns the site's installations.
func (s *Site) Installer() *loda.Installer { return s.installer }

// Authority is the site's certificate authority.
func (s *Site) Authority() *trust.Authority { return s.authority }

// grace is how long requests in flight may take to finish when the site stops.
const grace = 10 * time.Second

// Run serves until ctx ends, then finishes what is in flight (for up to ten seconds) and returns nil. It fails if
// something cannot be started or breaks down. Installations go on where they stood when the site runs again.
func (s *Site) Run(ctx context.Context) error {
	// The timeline outlives the servers: what they finish while they stop belongs into it.
	rest := context.WithoutCancel(ctx)
	writing, stop := context.WithCancel(rest)
	written := make(chan struct{})
	go func() {
		defer close(written)
		s.timeline.run(writing)
	}()

	g, ctx := errgroup.WithContext(ctx)
	boot, err := s.start(ctx, g)
	if err != nil {
		g.Go(func() error { return err })
	}
	err = g.Wait()
	s.downloads.Close()
	if boot != nil {
		flush, cancel := context.WithTimeout(rest, time.Second)
		defer cancel()
		_ = boot.Flush(flush)
	}
	stop()
	<-written
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// start opens the sockets one after the other, so that a port in use is found at once. It returns the boot server.
func (s *Site) start(ctx context.Context, g *errgroup.Group) (*pxe.Handler, error) {
	if err := s.timeline.recall(ctx, s.c.Store, time.Now()); err != nil {
		return nil, err
	}
	nbps, err := pxe.OpenNBPs(s.c.NBPDirs...)
	if err != nil {
		return nil, fmt.Errorf("iPXE's binaries: %w; install Debian's package ipxe or set the directories", err)
	}
	artifacts, err := pxe.OpenDir(s.c.Dir.Artifacts())
	if err != nil {
		return nil, errors.Join(err, nbps.Close())
	}
	g.Go(func() error { <-ctx.Done(); return errors.Join(nbps.Close(), artifacts.Close()) })

	boot := &pxe.Handler{Booter: &booter{s}, NBPs: nbps, Artifacts: artifacts, Observe: s.observeTransfer, Logger: s.log}
	if s.c.ArtifactsTLS != "" {
		_, port, err := net.SplitHostPort(s.c.ArtifactsTLS)
		if err != nil {
			return nil, fmt.Errorf("address of the boot server for HTTPS %q: %w", s.c.ArtifactsTLS, err)
		}
		boot.ArtifactsURL = "https://{server}:" + port
	}
	config := apiserver.Config{Installer: s.installer, Profiles: s.c.Profiles, Images: s.images, Site: s.c.Name,
		Version: s.c.Version, BaseOf: s.baseOf, Logger: s.log,
		Metrics: promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{ErrorLog: slogPrinter{s.log}})}
	if s.c.Repository != nil {
		config.Source = s.c.Repository.Source()
		config.WebhookSecret = s.c.WebhookSecret
		g.Go(func() error { return s.followRepository(ctx) })
	}
	api := apiserver.New(config)

	installers := apiserver.Installers(s.installer, s.baseOf, s.log)
	plain := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, loda.InstallerPath) {
			installers.ServeHTTP(w, r)
			return
		}
		boot.ServeHTTP(w, r)
	})
	if err := s.serveHTTP(ctx, g, "tcp", s.c.Boot, nil, plain, "boot server"); err != nil {
		return boot, err
	}
	if s.c.ArtifactsTLS != "" {
		if err := s.serveHTTP(ctx, g, "tcp", s.c.ArtifactsTLS, s.authority.TLSConfig(), boot, "boot server, HTTPS"); err != nil {
			return boot, err
		}
	}
	if err := s.serveHTTP(ctx, g, "tcp", s.c.API, s.authority.TLSConfig(), api, "API"); err != nil {
		return boot, err
	}
	if s.c.Socket != "" {
		if err := s.serveHTTP(ctx, g, "unix", s.c.Socket, nil, api, "API"); err != nil {
			return boot, err
		}
	}
	conn, err := listenUDP(s.c.TFTP)
	if err != nil {
		return boot, fmt.Errorf("TFTP: %w", err)
	}
	grub := &pxe.GRUB{Booter: &booter{s}, BaseURL: "http://{server}:" + s.bootPort, Logger: s.log}
	tftp := &pxe.TFTPServer{Files: nbps, GRUB: grub, Artifacts: artifacts, Observe: s.observeTransfer, Logger: s.log}
	g.Go(func() error { return tftp.Serve(ctx, conn) })
	if len(s.c.Interfaces) > 0 {
		if err := s.serveDHCP(ctx, g, s.bootFiles(nbps), &reservations{store: s.c.Store}); err != nil {
			return boot, err
		}
	}
	g.Go(func() error { return s.installer.Run(ctx) })
	if s.c.Chain == loda.ChainShimGRUB {
		if err := checkShim(nbps); err != nil {
			s.log.Warn("no machine with UEFI can netboot yet", "reason", err)
		}
	}
	if err := s.c.Dir.checkBootOS(); err != nil {
		s.log.Warn("no machine can be installed yet", "reason", err)
	}
	s.log.Info("site is up", "site", s.c.Name, "api", s.c.API, "boot", s.c.Boot, "tftp", s.c.TFTP, "dhcp", s.c.Interfaces,
		"socket", s.c.Socket)
	return boot, nil
}

func listenUDP(addr string) (*net.UDPConn, error) {
	a, err := net.ResolveUDPAddr("udp4", addr)
	if err != nil {
		return nil, err
	}
	return net.ListenUDP("udp4", a)
}

func (s *Site) serveHTTP(ctx context.Context, g *errgroup.Group, network, addr string, tlsConfig *tls.Config, h http.Handler, what string) error {
	if network == "unix" {
		// A socket that a killed process left behind refuses connections; one that accepts them belongs to a living one.
		if c, err := net.DialTimeout("unix", addr, time.Second); err == nil {
			c.Close()
			return fmt.Errorf("%s: another lodad serves %s", what, addr)
		}
		if err := os.Remove(addr); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	l, err := net.Listen(network, addr)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if network == "unix" {
		if err := os.Chmod(addr, 0o660); err != nil {
			return errors.Join(err, l.Close())
		}
	}
	if tlsConfig != nil {
		tlsConfig.NextProtos = []string{"h2", "http/1.1"}
		l = tls.NewListener(l, tlsConfig)
	}
	// Long polls look at this context, so that they end at once when the site stops.
	requests, stop := context.WithCancel(context.Background())
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10, BaseContext: func(net.Listener) context.Context { return requests },
		ErrorLog: log.New(connectionLog{s, what}, "", 0)}
	g.Go(func() error {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		late, cancel := context.WithTimeout(context.Background(), grace)
		defer cancel()
		end := time.AfterFunc(grace/5, stop)
		defer end.Stop()
		defer stop()
		if err := server.Shutdown(late); err != nil {
			return server.Close() // an image stream does not end in time; the agent takes it up again
		}
		return nil
	})
	return nil
}

// baseOf says how an agent reaches this server: by the address that it came in by.
func (s *Site) baseOf(r *http.Request) loda.Base {
	host := ""
	if a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		host, _, _ = net.SplitHostPort(a.String())
	}
	return s.base(host)
}

func (s *Site) base(host string) loda.Base {
	return loda.Base{API: "https://" + net.JoinHostPort(host, s.apiPort), Boot: "http://" + net.JoinHostPort(host, s.bootPort)}
}

// connectionLog gets what net/http has to say of connections. A handshake that fails is an agent that was built for
// another site, or a stranger; the rest is noise of people who hang up.
type connectionLog struct {
	*Site
	what string
}

func (l connectionLog) Write(text []byte) (int, error) {
	line := strings.TrimSpace(string(text))
	_, failed, isTLS := strings.Cut(line, "TLS handshake error from ")
	if !isTLS || strings.HasSuffix(line, "EOF") {
		l.log.Debug(line, "server", l.what)
		return len(text), nil
	}
	l.log.Warn("connection refused", "server", l.what, "reason", line)
	// net/http has no other way to tell who it was and what they said:
	// http: TLS handshake error from 10.77.0.30:4711: remote error: tls: bad certificate
	peer, why, _ := strings.Cut(failed, ": ")
	if addr, err := netip.ParseAddrPort(peer); err == nil && strings.Contains(why, "certificate") {
		l.timeline.distrusted(addr.Addr(), why, time.Now())
	}
	return len(text), nil
}

// slogPrinter lets promhttp log.
type slogPrinter struct{ log *slog.Logger }

func (p slogPrinter) Println(v ...any) { p.log.Error("metrics", "error", fmt.Sprint(v...)) }

var _ prometheus.Collector = (*metrics)(nil)
