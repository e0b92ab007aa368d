package loda_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda"
	"github.com/project-loda/loda/loda/agentapi"
)

// shelf is profiles with revisions, in memory.
type shelf struct {
	revision string
	profiles map[string]map[string]loda.Profile
}

func (s *shelf) Names(context.Context) ([]string, error)  { return nil, nil }
func (s *shelf) Revision(context.Context) (string, error) { return s.revision, nil }
func (s *shelf) Profile(context.Context, string) (*loda.Profile, error) {
	return nil, loda.ErrNoProfile
}

// Resolve chooses the profile whose name is the machine's product.
func (s *shelf) Resolve(_ context.Context, subject loda.Subject) (*loda.Profile, error) {
	all, ok := s.profiles[subject.Revision]
	if !ok {
		return nil, fmt.Errorf("there is no commit %s", subject.Revision)
	}
	name := subject.Profile
	if name == "" {
		if subject.Facts == nil {
			return nil, loda.ErrByFacts
		}
		name = subject.Facts.System.Product
	}
	p, ok := all[name]
	if !ok {
		return nil, fmt.Errorf("%w matches the machine: its product is %s", loda.ErrNoProfile, name)
	}
	p.Name, p.Revision = name, subject.Revision
	return &p, nil
}

func (s *shelf) push(revision string, profiles map[string]loda.Profile) {
	if s.profiles == nil {
		s.profiles = map[string]map[string]loda.Profile{}
	}
	s.revision, s.profiles[revision] = revision, profiles
}

// vault is a site's secrets and artifacts.
type vault map[string]string

func (v vault) Secret(name string) (string, bool) { s, ok := v[name]; return s, ok }

func (v vault) CheckArtifact(_ context.Context, a loda.Artifact) error {
	if v[a.Path] != a.SHA256 {
		return errors.New("its sha256 is another")
	}
	return nil
}

func newShelfBench(t *testing.T) (*bench, *shelf) {
	s := &shelf{}
	b := newBench(t)
	b.profiles, b.vault = s, vault{"root-password": "pass-w0rd", "linux": "ab12", "initrd.gz": "cd34"}
	b.open(b.store)
	return b, s
}

var installerProfile = loda.Profile{Installer: &loda.DistroInstaller{Kind: "preseed",
	Kernel: loda.Artifact{Path: "linux", SHA256: "ab12"}, Initrds: []loda.Artifact{{Path: "initrd.gz", SHA256: "cd34"}},
	Args:    "auto=true url=" + loda.LateAnswers.String() + "/preseed.cfg mac=" + loda.LateMAC.String(),
	Answers: map[string]string{"preseed.cfg": "password " + loda.LateSecret("root-password").String() + "\nreport " + loda.LateReport.String() + "\n"},
}}

// untilInstaller drives a machine to where its installer's kernel was handed out, and returns the token.
func (b *bench) untilInstaller() string {
	b.t.Helper()
	s := b.session(b.boot("sn-0001", mac).Token)
	b.finish(s, b.next(s), agentapi.Result{OK: true, Data: facts(b.t, "SN-0001")})
	reboot := b.next(s)
	require.Equal(b.t, agentapi.ActionBoot, reboot.Kind)
	require.Equal(b.t, "reboot", reboot.Boot.Method)
	b.requireState(inventory.Installing)
	b.finish(s, reboot, agentapi.Result{OK: true})
	return b.bootInstaller()
}

func (b *bench) bootInstaller() string {
	b.t.Helper()
	d := b.boot("sn-0001", mac)
	require.False(b.t, d.BootOS)
	require.Equal(b.t, "linux", d.Kernel)
	require.Equal(b.t, []string{"initrd.gz"}, d.Initrds)
	token, rest, _ := strings.Cut(strings.TrimPrefix(d.Args, "auto=true url=http://10.77.0.1:8080/installer/"), "/answers/")
	require.Equal(b.t, "preseed.cfg mac="+mac, rest)
	return token
}

func (b *bench) answer(token, name, from string) (string, error) {
	return b.Answer(b.t.Context(), token, name, from, loda.Base{Boot: "http://10.77.0.1:8080"})
}

func (b *bench) report(token string, kind loda.ReportKind, text, from string) error {
	return b.ReportInstaller(b.t.Context(), token, loda.InstallerReport{Kind: kind, Text: text}, from)
}

const home = "10.77.0.30"

func TestADistributionsInstallerGoesFromKernelToInstalled(t *testing.T) {
	b, s := newShelfBench(t)
	s.push("c1", map[string]loda.Profile{"Lab": installerProfile})
	b.load("serial\nSN-0001\n", true)
	token := b.untilInstaller()
	require.NotEqual(t, token, b.bootInstaller(), "iPXE asks again when an answer is lost, and gets a new token")
	token = b.bootInstaller()

	s.push("c2", map[string]loda.Profile{}) // a push in the middle changes nothing
	text, err := b.answer(token, "preseed.cfg", home)
	require.NoError(t, err)
	require.Equal(t, "password pass-w0rd\nreport http://10.77.0.1:8080/installer/"+token+"/report\n", text)
	require.NoError(t, b.report(token, loda.ReportStage, "partman", home))
	require.NoError(t, b.report(token, loda.ReportLog, "one\ntwo", home))
	b.requireState(inventory.Installing)
	require.NoError(t, b.report(token, loda.ReportDone, "", home))
	require.NoError(t, b.report(token, loda.ReportDone, "", home), "a report may come twice")
	b.requireState(inventory.Finishing)
	d := b.boot("sn-0001", mac)
	require.False(t, d.BootOS)
	require.Empty(t, d.Kernel, "a machine whose system is on disk boots its disk")
	require.NoError(t, b.report(token, loda.ReportInstalled, "", "10.77.0.99"))
	b.requireState(inventory.Installed)
	require.NoError(t, b.report(token, loda.ReportInstalled, "", "10.77.0.99"), "its answer may be lost, and it comes again")
	b.requireState(inventory.Installed)
	require.ErrorIs(t, b.report(token, loda.ReportStage, "late", home), loda.ErrRefused, "the token ends with the installation")
	require.Len(t, b.alarms(inventory.EventFilter{Serial: serial}), 1)
}

func TestSecretsStandInNoPlan(t *testing.T) {
	b, s := newShelfBench(t)
	s.push("c1", map[string]loda.Profile{"Lab": installerProfile})
	b.load("serial\nSN-0001\n", true)
	token := b.untilInstaller()
	_, err := b.answer(token, "preseed.cfg", home)
	require.NoError(t, err)
	inst, err := b.store.OpenInstallation(t.Context(), serial)
	require.NoError(t, err)
	require.NotContains(t, string(inst.Plan), "pass-w0rd")
	require.NotContains(t, string(inst.Plan), token)
}

func TestAnAnswerFileIsForOneInstallerOnly(t *testing.T) {
	b, s := newShelfBench(t)
	s.push("c1", map[string]loda.Profile{"Lab": installerProfile})
	b.load("serial\nSN-0001\n", true)
	old := b.untilInstaller()
	b.now = b.now.Add(time.Minute)
	token := b.bootInstaller()

	_, err := b.answer("nonsense", "preseed.cfg", home)
	require.ErrorIs(t, err, loda.ErrRefused)
	_, err = b.answer(token+"x", "preseed.cfg", home)
	require.ErrorIs(t, err, loda.ErrRefused)
	_, err = b.answer(token, "preseed.cfg", home)
	require.NoError(t, err)
	_, err = b.answer(token, "vendor-data", home)
	require.ErrorIs(t, err, loda.ErrNoAnswer, "some installers ask for more than there is")
	_, err = b.answer(token, "preseed.cfg", "10.77.0.66")
	require.ErrorContains(t, err, "its token belongs to the installer at 10.77.0.30")
	_, err = b.answer(old, "preseed.cfg", home)
	require.ErrorContains(t, err, "not that of the installer at work")
	_, err = b.answer(token, "preseed.cfg", home)
	require.NoError(t, err, "an installer may read it again in its second stage")
	b.now = b.now.Add(11 * time.Minute)
	_, err = b.answer(token, "preseed.cfg", home)
	require.ErrorContains(t, err, "was fetched before")
	require.ErrorIs(t, b.report(token, loda.ReportDone, "", "10.77.0.66"), loda.ErrRefused)
	require.Len(t, b.alarms(inventory.EventFilter{Serial: serial}), 5)
	b.requireState(inventory.Installing)
}

func TestATokenOfAnInstallerThatNeverCameExpires(t *testing.T) {
	b, s := newShelfBench(t)
	s.push("c1", map[string]loda.Profile{"Lab": installerProfile})
	b.load("serial\nSN-0001\n", true)
	token := b.untilInstaller()
	b.now = b.now.Add(31 * time.Minute)
	_, err := b.answer(token, "preseed.cfg", home)
	require.ErrorContains(t, err, "its token expired")
}

func TestAMachineThatNetbootsInTheMiddleOfItsInstallerStartsOver(t *testing.T) {
	b, s := newShelfBench(t)
	s.push("c1", map[string]loda.Profile{"Lab": installerProfile})
	b.load("serial\nSN-0001\n", true)
	token := b.untilInstaller()
	_, err := b.answer(token, "preseed.cfg", home)
	require.NoError(t, err)
	require.True(t, b.boot("sn-0001", mac).BootOS, "it is looked at again before its disk is written to again")
	b.requireState(inventory.Netbooting)
	require.ErrorIs(t, b.report(token, loda.ReportDone, "", home), loda.ErrRefused)
	token = b.untilInstaller()
	_, err = b.answer(token, "preseed.cfg", home)
	require.NoError(t, err)
}

func TestAnInstallerThatFailsOrFallsSilentSaysWhere(t *testing.T) {
	b, s := newShelfBench(t)
	s.push("c1", map[string]loda.Profile{"Lab": installerProfile})
	b.load("serial\nSN-0001\n", true)
	token := b.untilInstaller()
	require.NoError(t, b.report(token, loda.ReportStage, "partman", home))
	b.now = b.now.Add(time.Hour)
	require.NoError(t, b.Expire(t.Context()))
	require.Contains(t, b.requireState(inventory.Failed), "last seen: installer at 10.77.0.30: partman")
	require.NoError(t, b.report(token, loda.ReportStage, "base-installer", home), "it was only slow")
	b.requireState(inventory.Installing)
	require.NoError(t, b.report(token, loda.ReportFailed, "no mirror", home))
	require.Equal(t, "the installer failed: no mirror", b.requireState(inventory.Failed))
	require.NoError(t, b.report(token, loda.ReportLog, "its log follows", home))
	require.NoError(t, b.report(token, loda.ReportStage, "cleaning up", home))
	require.ErrorIs(t, b.report(token, loda.ReportDone, "", home), loda.ErrTransition)
	require.Equal(t, "the installer failed: no mirror", b.requireState(inventory.Failed), "it has given up, whatever it still says")
	_, err := b.answer(token, "preseed.cfg", home)
	require.ErrorContains(t, err, "no mirror")
}

func TestAnInstallerThatTookLongToComeGetsItsAnswers(t *testing.T) {
	b, s := newShelfBench(t)
	s.push("c1", map[string]loda.Profile{"Lab": installerProfile})
	b.load("serial\nSN-0001\n", true)
	token := b.untilInstaller()
	b.now = b.now.Add(20 * time.Minute)
	require.NoError(t, b.Expire(t.Context()))
	b.requireState(inventory.Failed)
	text, err := b.answer(token, "preseed.cfg", home)
	require.NoError(t, err)
	require.Contains(t, text, "password pass-w0rd")
	b.requireState(inventory.Installing)
}

func TestASystemThatIsOnDiskIsNotInstalledAgainForALateWord(t *testing.T) {
	b, s := newShelfBench(t)
	s.push("c1", map[string]loda.Profile{"Lab": installerProfile})
	b.load("serial\nSN-0001\n", true)
	token := b.untilInstaller()
	require.NoError(t, b.report(token, loda.ReportDone, "", home))
	b.now = b.now.Add(time.Hour)
	require.NoError(t, b.Expire(t.Context()))
	b.requireState(inventory.Failed)
	require.NoError(t, b.report(token, loda.ReportLog, "first boot takes its time", home))
	b.requireState(inventory.Failed)
	require.NoError(t, b.report(token, loda.ReportInstalled, "", home))
	b.requireState(inventory.Installed)
}

func TestWhatAnInstallerLogsHoldsNeitherItsTokenNorSecrets(t *testing.T) {
	b, s := newShelfBench(t)
	s.push("c1", map[string]loda.Profile{"Lab": installerProfile})
	b.load("serial\nSN-0001\n", true)
	token := b.untilInstaller()
	require.NoError(t, b.report(token, loda.ReportLog, "Command line: url=http://x/installer/"+token+"/answers\nroot:pass-w0rd", home))
	require.NoError(t, b.report(token, loda.ReportStage, "pass-w0rd", home))
	require.NoError(t, b.report(token, loda.ReportFailed, "cannot hash pass-w0rd", home))
	require.Equal(t, "the installer failed: cannot hash ***", b.requireState(inventory.Failed))
	events, err := b.Timeline(t.Context(), serial, inventory.EventFilter{Limit: 1000})
	require.NoError(t, err)
	texts := fmt.Sprint(events)
	require.Contains(t, texts, "url=http://x/installer/***/answers")
	require.NotContains(t, texts, token)
	require.NotContains(t, texts, "pass-w0rd")
}

func TestLinesThatAreTooManyAreCounted(t *testing.T) {
	b, s := newShelfBench(t)
	s.push("c1", map[string]loda.Profile{"Lab": installerProfile})
	b.load("serial\nSN-0001\n", true)
	require.NoError(t, b.report(b.untilInstaller(), loda.ReportLog, strings.Repeat("line\n", 250), home))
	events, err := b.Timeline(t.Context(), serial, inventory.EventFilter{Limit: 1, Latest: true})
	require.NoError(t, err)
	require.Contains(t, events[0].Message, "50 more lines")
}

func TestAnInstallerThatComesFromElsewhereRaisesAnAlarm(t *testing.T) {
	b, s := newShelfBench(t)
	s.push("c1", map[string]loda.Profile{"Lab": installerProfile})
	b.load("serial\nSN-0001\n", true)
	b.untilInstaller()
	d, err := b.Boot(t.Context(), loda.Sighting{Serial: "SN-0001", MACs: []string{mac}, Remote: netip.MustParseAddr("10.77.0.66"),
		Base: loda.Base{Boot: "http://10.77.0.1:8080"}})
	require.NoError(t, err)
	require.Equal(t, "linux", d.Kernel)
	require.Contains(t, b.alarms(inventory.EventFilter{Serial: serial})[0], "asked for from 10.77.0.66 while the agent's session is from 10.77.0.30")
	_, err = b.answer(b.bootInstaller(), "preseed.cfg", "10.77.0.67")
	require.NoError(t, err)
	require.Contains(t, b.alarms(inventory.EventFilter{Serial: serial})[1], "comes from 10.77.0.67, its boot script was asked for from 10.77.0.30")
}

func TestAnAnswerFileKnowsTheAddressThatTheMachineBootedBy(t *testing.T) {
	b, s := newShelfBench(t)
	p := installerProfile
	distro := *p.Installer
	distro.Answers = map[string]string{"preseed.cfg": "interface " + loda.LateMAC.String()}
	p.Installer = &distro
	s.push("c1", map[string]loda.Profile{"Lab": p})
	b.load("serial\nSN-0001\n", true)
	text, err := b.answer(b.untilInstaller(), "preseed.cfg", home)
	require.NoError(t, err)
	require.Equal(t, "interface "+mac, text)
}

func TestACommandLineWithASecretIsNotBooted(t *testing.T) {
	b, s := newShelfBench(t)
	p := installerProfile
	distro := *p.Installer
	distro.Args += " password=" + loda.LateSecret("root-password").String()
	p.Installer = &distro
	s.push("c1", map[string]loda.Profile{"Lab": p})
	b.load("serial\nSN-0001\n", true)
	session := b.session(b.boot("sn-0001", mac).Token)
	b.finish(session, b.next(session), agentapi.Result{OK: true, Data: facts(t, "SN-0001")})
	b.finish(session, b.next(session), agentapi.Result{OK: true})
	d := b.boot("sn-0001", mac)
	require.Empty(t, d.Kernel)
	require.Contains(t, b.requireState(inventory.Failed), "names secret root-password")
}

func TestAnInstallerWhoseFilesAreOthersIsNotBooted(t *testing.T) {
	b, s := newShelfBench(t)
	s.push("c1", map[string]loda.Profile{"Lab": installerProfile})
	b.vault["linux"] = "ffff"
	b.load("serial\nSN-0001\n", true)
	session := b.session(b.boot("sn-0001", mac).Token)
	b.finish(session, b.next(session), agentapi.Result{OK: true, Data: facts(t, "SN-0001")})
	require.Equal(t, "profile Lab: artifact linux: its sha256 is another", b.requireState(inventory.Failed))
}

func TestAnInstallerWhoseFilesWereReplacedSinceIsNotBooted(t *testing.T) {
	b, s := newShelfBench(t)
	s.push("c1", map[string]loda.Profile{"Lab": installerProfile})
	b.load("serial\nSN-0001\n", true)
	b.untilInstaller()
	b.vault["initrd.gz"] = "ffff"
	d := b.boot("sn-0001", mac)
	require.Empty(t, d.Kernel)
	require.False(t, d.BootOS)
	require.Contains(t, b.requireState(inventory.Failed), "artifact initrd.gz: its sha256 is another")
}

func TestRefusalsFillNoDatabase(t *testing.T) {
	b, s := newShelfBench(t)
	s.push("c1", map[string]loda.Profile{"Lab": installerProfile})
	b.load("serial\nSN-0001\n", true)
	token := b.untilInstaller()
	for range 250 {
		_, err := b.answer(token+"x", "preseed.cfg", "10.77.0.66")
		require.ErrorIs(t, err, loda.ErrRefused)
		require.ErrorIs(t, b.report(token+"x", loda.ReportDone, "", "10.77.0.66"), loda.ErrRefused)
	}
	alarms := b.alarms(inventory.EventFilter{Serial: serial})
	require.Len(t, alarms, 100)
	require.Contains(t, alarms[99], "this is number 100, further ones stand in the server's log only")
	_, err := b.answer(token, "preseed.cfg", home)
	require.NoError(t, err, "who has the token is not kept out by others")
}

func TestASecretThatTheSiteLacksFailsTheInstallation(t *testing.T) {
	b, s := newShelfBench(t)
	s.push("c1", map[string]loda.Profile{"Lab": installerProfile})
	delete(b.vault, "root-password")
	b.load("serial\nSN-0001\n", true)
	_, err := b.answer(b.untilInstaller(), "preseed.cfg", home)
	require.ErrorIs(t, err, loda.ErrRefused)
	require.Equal(t, "answer file preseed.cfg: this site has no secret root-password", b.requireState(inventory.Failed))
}

func TestAnInstallerOfAMachineWhoseIdentityComesIntoDoubtGetsNoSecret(t *testing.T) {
	b, s := newShelfBench(t)
	s.push("c1", map[string]loda.Profile{"Lab": installerProfile})
	b.load("serial\nSN-0001\n", true)
	token := b.untilInstaller()
	b.load("serial,mac\nSN-0002,"+otherMAC+"\n", false)
	b.boot("sn-0001", otherMAC)
	b.requireState(inventory.Quarantined)
	text, err := b.answer(token, "preseed.cfg", home)
	require.ErrorIs(t, err, loda.ErrRefused)
	require.Empty(t, text)
	require.ErrorIs(t, b.report(token, loda.ReportInstalled, "", home), loda.ErrRefused)
	b.requireState(inventory.Quarantined)
}
